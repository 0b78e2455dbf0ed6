// Package operator puts the controllers together and runs them: one manager with its cache, the lease, health and
// metrics. It owns flags and wiring and no decision about any object; those are in internal/controller/*.
// cmd/heddle-operator is its only main; tests run it within their own process.
package operator

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Run runs all controllers until ctx ends. It must be followed by the end of the process where a lease is used.
func Run(ctx context.Context, cfg Config) error {
	completeDNS(&cfg.Links, resolvConf)
	mgr, err := newManager(ctx, cfg)
	if err != nil {
		return err
	}
	if err := register(ctx, mgr, cfg); err != nil {
		return err
	}
	if cfg.MetricsAddress != "0" {
		c := newCollector(ctx, mgr.GetClient(), len(cfg.Namespaces) > 0)
		if err := metrics.Registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
		defer metrics.Registry.Unregister(c)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add readiness check: %w", err)
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run controllers: %w", err)
	}
	return nil
}

func newManager(ctx context.Context, cfg Config) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		return nil, err
	}
	// The API server has its own fairness; the client's default of 20 requests a second would only slow a network's
	// birth down, which is a few hundred requests at once.
	api := rest.CopyConfig(cfg.Rest)
	api.QPS, api.Burst = 200, 400
	api.UserAgent = "heddle-operator"
	opts := ctrl.Options{
		Scheme:                        scheme,
		Cache:                         CacheOptions(cfg.Namespaces),
		Client:                        ClientOptions(),
		Logger:                        ctrl.LoggerFrom(ctx),
		BaseContext:                   func() context.Context { return ctx },
		Metrics:                       metricsserver.Options{BindAddress: cfg.MetricsAddress},
		HealthProbeBindAddress:        cfg.HealthAddress,
		GracefulShutdownTimeout:       ptr.To(5 * time.Second),
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 ptr.To(leaseDuration),
		RenewDeadline:                 ptr.To(leaseRenewal),
		RetryPeriod:                   ptr.To(leaseRetry),
		Controller: config.Controller{
			// One process may run two managers, as tests do.
			SkipNameValidation: ptr.To(true),
			CacheSyncTimeout:   time.Minute,
		},
	}
	if cfg.Lease != "" {
		lock, err := newLock(api, cfg)
		if err != nil {
			return nil, err
		}
		opts.LeaderElection = true
		opts.LeaderElectionResourceLockInterface = lock
	}
	mgr, err := ctrl.NewManager(api, opts)
	if err != nil {
		return nil, fmt.Errorf("make manager: %w", err)
	}
	return mgr, nil
}
