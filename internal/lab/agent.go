package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"heddle.dev/heddle/internal/lab/storage"
)

const fieldOwner = "heddle-lab"

// runAgent is a site's long-lived helper: it applies the objects that make a
// bare API server a usable cluster, then serves volumes.
func runAgent(ctx context.Context, p *Plan, node string, log *slog.Logger) error {
	s, _, err := p.node(node)
	if err != nil {
		return err
	}
	config, err := adminConfig(s)
	if err != nil {
		return err
	}
	cl, err := client.New(config, client.Options{})
	if err != nil {
		return fmt.Errorf("make client of %q: %w", s.Name, err)
	}
	for _, o := range siteObjects(s) {
		err := poll(ctx, 100*time.Millisecond, func() (bool, error) {
			err := apply(ctx, cl, o)
			if err != nil {
				log.Info("object not applied yet", "kind", o.GetObjectKind().GroupVersionKind().Kind, "name", o.GetName(), "error", err)
			}
			return err == nil, nil
		})
		if err != nil {
			return err
		}
	}
	log.Info("site objects applied")
	ctx = ctrllog.IntoContext(ctx, logr.FromSlogHandler(log.Handler()))
	return storage.Run(ctx, config, s.volumes())
}

func adminConfig(s *SitePlan) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.pki("admin.kubeconfig"))
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig of %q: %w", s.Name, err)
	}
	config.QPS, config.Burst = 100, 200
	return config, nil
}

// apply writes an object, whoever wrote it before.
func apply(ctx context.Context, cl client.Client, o client.Object) error {
	raw, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode %q: %w", o.GetName(), err)
	}
	return cl.Patch(ctx, o, client.RawPatch(types.ApplyPatchType, raw), client.ForceOwnership, client.FieldOwner(fieldOwner))
}
