package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"heddle.dev/heddle/internal/nginx"
)

// Serve counts and answers Prometheus until ctx ends.
func Serve(ctx context.Context, o Options) error {
	counter := New(o)
	registry := prometheus.NewRegistry()
	if err := registry.Register(counter); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	var lc net.ListenConfig
	notes, err := lc.ListenPacket(ctx, "udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(nginx.PortNotes)))
	if err != nil {
		return fmt.Errorf("listen for nginx's notes: %w", err)
	}
	scrapes, err := lc.Listen(ctx, "tcp", ":"+strconv.Itoa(nginx.PortMetrics))
	if err != nil {
		return errors.Join(fmt.Errorf("listen for Prometheus: %w", err), notes.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	server := &http.Server{Handler: mux, ReadTimeout: ReadTimeout, WriteTimeout: 2 * ReadTimeout, MaxHeaderBytes: maxLine}
	ended := make(chan error, 2)
	go func() { ended <- counter.Listen(ctx, notes) }()
	go func() { ended <- server.Serve(scrapes) }()
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	return errors.Join(err, server.Close())
}
