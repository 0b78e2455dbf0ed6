package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// Config is what the program can be told.
type Config struct {
	// Address of the registry, which speaks TLS.
	Address string
	// ProbeAddress is where /healthz and /metrics are, without TLS.
	ProbeAddress string
	// Dir holds everything.
	Dir string
	// Certificate and Key are PEM files; they are read again when they change.
	Certificate, Key string
	// LogLevel below which nothing is logged.
	LogLevel slog.Level
	// Builds that may write.
	Builds Builds
}

// Parse reads the configuration from flags; each flag's default comes from the environment variable HEDDLE_<FLAG>.
func Parse(args []string, env func(string) string, out io.Writer) (Config, error) {
	var (
		cfg   Config
		level string
	)
	f := flag.NewFlagSet("heddle-registry", flag.ContinueOnError)
	f.SetOutput(out)
	str := func(p *string, name, def, usage string) {
		key := "HEDDLE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if v := env(key); v != "" {
			def = v
		}
		f.StringVar(p, name, def, usage+" ($"+key+")")
	}
	str(&cfg.Address, "address", ":5000", "`address` of the registry, with TLS")
	str(&cfg.ProbeAddress, "probe-address", ":8080", "`address` of /healthz and /metrics, without TLS")
	str(&cfg.Dir, "dir", "/var/lib/heddle-registry", "`folder` that holds everything")
	str(&cfg.Certificate, "tls-cert", "/etc/heddle/registry/tls.crt", "`file` with the certificate, in PEM")
	str(&cfg.Key, "tls-key", "/etc/heddle/registry/tls.key", "`file` with the certificate's key, in PEM")
	str(&level, "log-level", "info", "`level` below which nothing is logged: debug, info, warn or error")
	if err := f.Parse(args); err != nil {
		return Config{}, err
	}
	if f.NArg() > 0 {
		return Config{}, fmt.Errorf("read flags: unexpected argument %q", f.Arg(0))
	}
	if err := cfg.LogLevel.UnmarshalText([]byte(level)); err != nil {
		return Config{}, fmt.Errorf("read flag log-level: %q is none of debug, info, warn, error", level)
	}
	return cfg, nil
}

// Run serves until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	var listen net.ListenConfig
	front, err := listen.Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	back, err := listen.Listen(ctx, "tcp", cfg.ProbeAddress)
	if err != nil {
		return errors.Join(fmt.Errorf("listen for probes: %w", err), front.Close())
	}
	return serve(ctx, cfg, front, back)
}

func serve(ctx context.Context, cfg Config, front, back net.Listener) error {
	defer front.Close()
	defer back.Close()
	log := logr.FromContextOrDiscard(ctx)
	quiet(log)
	certificate, err := certwatcher.New(cfg.Certificate, cfg.Key)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	collected := prometheus.NewRegistry()
	if err := collected.Register(collectors.NewGoCollector()); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	r, err := New(ctx, Options{Dir: cfg.Dir, Builds: cfg.Builds, Log: log, Metrics: collected})
	if err != nil {
		return err
	}
	// What goes wrong in handshakes is the other side's matter.
	noise := slog.NewLogLogger(logr.ToSlogHandler(log), slog.LevelDebug)
	// Requests may end after ctx did.
	requests := context.WithoutCancel(ctx)
	server := func(h http.Handler) *http.Server {
		return &http.Server{
			Handler: h, ErrorLog: noise, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
			IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return requests },
		}
	}
	main, side := server(r), server(probes(cfg.Dir, collected))
	encrypted := tls.NewListener(front, &tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: certificate.GetCertificate, NextProtos: []string{"http/1.1"},
	})
	group.Go(func() error { return certificate.Start(ctx) })
	group.Go(func() error { return until(ctx, main, encrypted) })
	group.Go(func() error { return until(ctx, side, back) })
	log.Info("Serving", "address", front.Addr().String(), "probes", back.Addr().String())
	return group.Wait()
}

// until serves until ctx ends, and gives requests a little time then.
func until(ctx context.Context, s *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		// What still runs is cut off.
		return s.Close()
	}
	return nil
}
