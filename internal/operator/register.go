package operator

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"

	"heddle.dev/heddle/internal/controller/access"
)

// register adds every controller to the manager.
func register(ctx context.Context, mgr ctrl.Manager, cfg Config) error {
	nodes := access.New(access.Options{Reader: mgr.GetClient(), Dial: cfg.Dial})
	go func() {
		<-ctx.Done()
		nodes.Close()
	}()
	return nil
}
