package operator

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"

	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/chaincode"
	"heddle.dev/heddle/internal/controller/chaincodebuild"
	"heddle.dev/heddle/internal/controller/channel"
	"heddle.dev/heddle/internal/controller/identity"
	"heddle.dev/heddle/internal/controller/link"
	"heddle.dev/heddle/internal/controller/network"
	"heddle.dev/heddle/internal/controller/node"
	"heddle.dev/heddle/internal/controller/nodeexport"
	"heddle.dev/heddle/internal/controller/nodeimport"
	"heddle.dev/heddle/internal/controller/organization"
	"heddle.dev/heddle/internal/controller/watch"
	"heddle.dev/heddle/internal/specs"
)

// register adds every controller to the manager. Networks are cluster-wide: they are left alone in the namespaced mode.
func register(ctx context.Context, mgr ctrl.Manager, cfg Config) error {
	nodes := access.New(access.Options{Reader: mgr.GetClient(), Dial: cfg.Dial})
	go func() {
		<-ctx.Done()
		nodes.Close()
	}()
	recorder, namespaced := mgr.GetEventRecorder("heddle"), len(cfg.Namespaces) > 0
	secrets := watch.NewSecrets(cfg.Namespaces)
	channels := channel.New(channel.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Nodes: nodes, Namespaced: namespaced,
	})
	controllers := []interface{ Register(ctrl.Manager) error }{
		secrets,
		organization.New(organization.Options{Secrets: secrets}),
		node.New(node.Options{BuilderImage: cfg.BuilderImage, Dial: cfg.Dial, Secrets: secrets}),
		channels,
		chaincode.New(chaincode.Options{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Nodes: nodes,
			Secrets: secrets,
			Meta:    chaincodebuild.Blobs{Reader: mgr.GetAPIReader(), System: SystemNamespace}.Get,
		}),
		chaincodebuild.New(chaincodebuild.Options{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Settings: cfg.Builds, System: SystemNamespace,
		}),
		identity.New(identity.Options{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Nodes: nodes, Namespaced: namespaced, Secrets: secrets,
		}),
	}
	if !namespaced {
		controllers = append(controllers, network.New(network.Options{
			Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder,
			Operator: specs.Operator{Namespace: SystemNamespace, ServiceAccount: specs.OperatorName},
			NewID:    func() string { return strings.ToLower(rand.Text()) },
		}),
			link.New(link.Options{Settings: cfg.Links, System: SystemNamespace, Secrets: secrets, Now: cfg.Now}),
			nodeexport.New(),
			nodeimport.New(nodeimport.Options{Dial: cfg.Dial}),
		)
	}
	if !namespaced {
		s, err := registerSites(mgr, cfg, recorder)
		if err != nil {
			return err
		}
		controllers = append(controllers, shareNetworks(mgr, cfg, recorder, s, channels, nodes)...)
	}
	for _, c := range controllers {
		if err := c.Register(mgr); err != nil {
			return fmt.Errorf("add %T: %w", c, err)
		}
	}
	return nil
}
