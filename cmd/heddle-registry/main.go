// Command heddle-registry takes the source of contracts and keeps their images.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"heddle.dev/heddle/internal/registry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "heddle-registry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg, err := registry.Parse(os.Args[1:], os.Getenv, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	logger := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	ctrl.SetLogger(logger)
	rest, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the cluster (in a pod, or by KUBECONFIG): %w", err)
	}
	if cfg.Builds, err = newBuilds(rest); err != nil {
		return err
	}
	return registry.Run(ctrl.LoggerInto(ctx, logger), cfg)
}
