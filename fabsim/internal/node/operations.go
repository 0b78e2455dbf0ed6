package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hyperledger/fabric-lib-go/common/flogging/httpadmin"
	"github.com/hyperledger/fabric-lib-go/healthz"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// OperationsOptions of an operations server.
type OperationsOptions struct {
	// Address to listen on.
	Address string
	// TLS, or nil for none. With it, metrics and log levels need a client
	// certificate; health and version do not.
	TLS *TLS
	// Metrics tells whether /metrics is there.
	Metrics bool
	// Kind of the node, "peer" or "orderer", for the metric that says that it
	// is a simulated one.
	Kind string
}

// Operations is the HTTP server of health, metrics, version and log levels.
type Operations struct {
	// Registry takes the node's metrics.
	Registry *prometheus.Registry

	health *healthz.HealthHandler
	http   *HTTPServer
}

// NewOperations listens, but serves only once Serve is called.
func NewOperations(ctx context.Context, o OperationsOptions) (*Operations, error) {
	ops := &Operations{Registry: prometheus.NewRegistry(), health: healthz.NewHealthHandler()}
	ops.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	constant(ops.Registry, "fabric_version", "The active version of Fabric.", prometheus.Labels{"version": Version})
	constant(ops.Registry, "fabsim_info", "The node is a simulated one.",
		prometheus.Labels{"kind": o.Kind, "simulated": "true", "version": Version})
	mux := http.NewServeMux()
	mux.Handle("/healthz", ops.health)
	mux.HandleFunc("/version", version)
	secure := func(handler http.Handler) http.Handler {
		if o.TLS == nil {
			return handler
		}
		return RequireCertificate(handler)
	}
	mux.Handle("/logspec", secure(httpadmin.NewSpecHandler()))
	if o.Metrics {
		mux.Handle("/metrics", secure(promhttp.HandlerFor(ops.Registry, promhttp.HandlerOpts{})))
	}
	var err error
	ops.http, err = NewHTTPServer(ctx, o.Address, o.TLS, mux)
	return ops, err
}

func constant(registry *prometheus.Registry, name, help string, labels prometheus.Labels) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	gauge.Set(1)
	registry.MustRegister(gauge)
}

func version(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"CommitSHA":%q,"Version":%q}`, CommitSHA, Version)
}

// RequireCertificate lets only clients in that showed a certificate of a known
// authority.
func RequireCertificate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Check adds something that /healthz asks. The node is healthy while it gives
// nil.
func (o *Operations) Check(component string, check func(context.Context) error) error {
	if err := o.health.RegisterChecker(component, checker(check)); err != nil {
		return fmt.Errorf("register health check: %w", err)
	}
	return nil
}

type checker func(context.Context) error

func (c checker) HealthCheck(ctx context.Context) error { return c(ctx) }

// Addr is where the server listens.
func (o *Operations) Addr() string { return o.http.Addr() }

// Serve serves until ctx ends.
func (o *Operations) Serve(ctx context.Context) error { return o.http.Serve(ctx) }

// HTTPServer is an HTTP server of a node: operations, and the orderer's
// participation API.
type HTTPServer struct {
	server   *http.Server
	listener net.Listener
}

// NewHTTPServer listens, but serves only once Serve is called. TLS may be nil.
func NewHTTPServer(ctx context.Context, address string, t *TLS, handler http.Handler) (*HTTPServer, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w", err)
	}
	if t != nil {
		listener = tls.NewListener(listener, t.HTTP())
	}
	return &HTTPServer{
		server:   &http.Server{Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 2 * time.Minute},
		listener: listener,
	}, nil
}

// Addr is where the server listens.
func (s *HTTPServer) Addr() string { return s.listener.Addr().String() }

// Serve serves until ctx ends.
func (s *HTTPServer) Serve(ctx context.Context) error {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		_ = s.server.Shutdown(grace) // who is still there after the grace is cut off
	})
	err := s.server.Serve(s.listener)
	if !stop() {
		<-done
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}
