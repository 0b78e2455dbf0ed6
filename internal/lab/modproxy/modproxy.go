// Package modproxy is a caching proxy for Go modules and npm packages.
//
// It runs on the machine, fetches with the machine's own client settings (where from,
// with which credentials) and keeps what it got, so that build pods, which have no way out, can
// build, and can go on when the machine is cut off. It knows no registry by itself. How
// pods reach it is the lab core's business, in the room above.
package modproxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// GoPath and NpmPath are where the two halves stand below the proxy's address.
	GoPath  = "/go"
	NpmPath = "/npm"
	// EnvPath answers with the environment that a build needs, as a JSON object.
	EnvPath = "/env"

	// DefaultMaxBytes bounds the cache on disk.
	DefaultMaxBytes = 4 << 30
	// maxObject bounds one object; Go refuses larger module archives, too.
	maxObject = 500 << 20

	// fresh is how long an answer that can change is served without asking again.
	fresh = 5 * time.Minute
	// silence is for how long old copies are served without a try after an upstream could not be reached: a build asks
	// for a hundred of them, and each try may take as long as a dial.
	silence     = 30 * time.Second
	dialTimeout = 10 * time.Second
	// fetchTimeout bounds one fetch with its body.
	fetchTimeout     = 10 * time.Minute
	headerTimeout    = time.Minute
	handshakeTimeout = 10 * time.Second
	idleConns        = 16
	closeTimeout     = 2 * time.Second
)

// Options say where a proxy keeps things and where it gets them from.
type Options struct {
	// Dir holds the cache; it is made if need be.
	Dir string
	// MaxBytes bounds it; default DefaultMaxBytes.
	MaxBytes int64
	// Upstreams are found by Discover, at the first request, if this is nil.
	Upstreams *Upstreams
	// Offline, while it says so, has the proxy answer from its cache alone; nil is never.
	Offline func() bool
}

// Proxy answers GET and HEAD below GoPath and NpmPath, and at EnvPath.
type Proxy struct {
	cache     *cache
	transport *http.Transport
	client    *http.Client
	offline   func() bool

	mu        sync.Mutex
	upstreams *Upstreams
	// silent is when an upstream could not be reached last.
	silent time.Time
}

// errNotFound is an upstream's word that something does not exist (404 or 410).
var errNotFound = errors.New("not found")

// errOffline says that the cache alone is asked and does not have it.
var errOffline = errors.New("it is not in the cache, and the uplink of the lab is off")

// New opens the cache.
func New(o Options) (*Proxy, error) {
	c, err := openCache(o.Dir, cmp.Or(o.MaxBytes, DefaultMaxBytes))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment, // the machine's
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       headerTimeout,
		TLSHandshakeTimeout:   handshakeTimeout,
		ResponseHeaderTimeout: headerTimeout,
	}
	p := &Proxy{cache: c, transport: transport, client: &http.Client{Transport: transport}, upstreams: o.Upstreams, offline: o.Offline}
	if p.offline == nil {
		p.offline = func() bool { return false }
	}
	if p.upstreams != nil {
		p.trust(p.upstreams.Npm.CA)
	}
	return p, nil
}

// Close frees the cache's folder.
func (p *Proxy) Close() error { return p.cache.root.Close() }

// Run listens on addr and serves until ctx ends.
func Run(ctx context.Context, addr, dir string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for the module proxy: %w", err)
	}
	return Serve(ctx, l, Options{Dir: dir})
}

// Serve serves on l, which may belong to another network namespace than
// the one this process fetches from, until ctx ends.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	p, err := New(o)
	if err != nil {
		l.Close()
		return err
	}
	defer p.cache.root.Close()
	srv := &http.Server{
		Handler:           p,
		ReadHeaderTimeout: headerTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	var g errgroup.Group
	done := make(chan struct{})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-done:
		}
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if err := srv.Shutdown(closeCtx); err != nil {
			return srv.Close()
		}
		return nil
	})
	err = srv.Serve(l)
	close(done)
	if waitErr := g.Wait(); ctx.Err() != nil {
		return waitErr
	}
	return fmt.Errorf("serve modules: %w", err)
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "the proxy only reads: use GET", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/healthz" {
		fmt.Fprintln(w, "ok")
		return
	}
	ups, err := p.settings(r.Context())
	if err != nil {
		p.fail(w, r, err)
		return
	}
	// EscapedPath, because npm writes the slash of a scope as %2f.
	path := r.URL.EscapedPath()
	switch {
	case path == EnvPath:
		w.Header().Set("Content-Type", fullJSON)
		err = json.NewEncoder(w).Encode(ups.BuildEnv("http://" + r.Host))
	case strings.HasPrefix(path, GoPath+"/"):
		err = p.serveGo(w, r, ups, strings.TrimPrefix(path, GoPath+"/"))
	case strings.HasPrefix(path, NpmPath+"/"):
		err = p.serveNpm(w, r, ups, strings.TrimPrefix(path, NpmPath+"/"))
	default:
		err = fmt.Errorf("%w: use GOPROXY=http://%s%s or registry=http://%s%s/", errNotFound, r.Host, GoPath, r.Host, NpmPath)
	}
	if err != nil {
		p.fail(w, r, err)
	}
}

// settings finds the machine's settings once; a failure is tried again at the next request.
func (p *Proxy) settings(ctx context.Context) (*Upstreams, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.upstreams == nil {
		found, err := Discover(ctx)
		if err != nil {
			return nil, err
		}
		p.upstreams = found
		p.trust(found.Npm.CA)
	}
	return p.upstreams, nil
}

// trust adds certificates to the system's.
func (p *Proxy) trust(pem []byte) {
	if len(pem) == 0 {
		return
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if pool.AppendCertsFromPEM(pem) {
		p.transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
}

func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusBadGateway
	switch {
	case errors.Is(err, errNotFound):
		code = http.StatusNotFound
	case errors.Is(err, errOffline):
		code = http.StatusGatewayTimeout
	}
	if code != http.StatusNotFound && r.Context().Err() == nil {
		log.FromContext(r.Context()).Info("Module not served", "path", r.URL.Path, "reason", err.Error())
	}
	http.Error(w, err.Error(), code)
}

// get opens an object, from the cache alone while the proxy is offline.
func (p *Proxy) get(ctx context.Context, o object) (*os.File, error) {
	fetch := o.fetch
	o.fetch = func(ctx context.Context, w io.Writer) error {
		if p.offline() {
			return errOffline
		}
		return fetch(ctx, w)
	}
	o.oldWillDo = p.offline() || p.isSilent()
	return p.cache.get(ctx, o)
}

func (p *Proxy) isSilent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.silent) < silence
}

// heard notes whether an upstream could be reached.
func (p *Proxy) heard(reached bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = time.Time{}
	if !reached {
		p.silent = time.Now()
	}
}
