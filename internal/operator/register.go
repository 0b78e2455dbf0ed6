package operator

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"

	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/chaincode"
	"heddle.dev/heddle/internal/controller/channel"
	"heddle.dev/heddle/internal/controller/network"
	"heddle.dev/heddle/internal/controller/node"
	"heddle.dev/heddle/internal/controller/organization"
	"heddle.dev/heddle/internal/specs"
)

// register adds every controller to the manager. Networks are cluster-wide: they are left alone in the namespaced mode.
func register(ctx context.Context, mgr ctrl.Manager, cfg Config) error {
	nodes := access.New(access.Options{Reader: mgr.GetClient(), Dial: cfg.Dial})
	go func() {
		<-ctx.Done()
		nodes.Close()
	}()
	channels := channel.New(channel.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("heddle"),
		Nodes: nodes, Namespaced: len(cfg.Namespaces) > 0,
	})
	if err := channels.Register(mgr); err != nil {
		return fmt.Errorf("add controller of channels: %w", err)
	}
	chaincodes := chaincode.New(chaincode.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("heddle"), Nodes: nodes,
	})
	if err := chaincodes.Register(mgr); err != nil {
		return fmt.Errorf("add controller of chaincodes: %w", err)
	}
	if err := organization.New(organization.Options{}).Register(mgr); err != nil {
		return err
	}
	if err := node.New(node.Options{BuilderImage: cfg.BuilderImage, Dial: cfg.Dial}).Register(mgr); err != nil {
		return err
	}
	if len(cfg.Namespaces) == 0 {
		r := network.New(network.Options{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("heddle"),
			Operator: specs.Operator{Namespace: SystemNamespace, ServiceAccount: specs.OperatorName},
			NewID:    func() string { return strings.ToLower(rand.Text()) },
		})
		if err := r.Register(mgr); err != nil {
			return fmt.Errorf("add controller of networks: %w", err)
		}
	}
	return nil
}
