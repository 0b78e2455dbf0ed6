package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// goFD is where a node's process 1 reads the word that its network is there.
const goFD = 3

// nodeRole is process 1 of a node.
type nodeRole struct {
	plan *Plan
	site *SitePlan
	node *NodePlan
	log  *slog.Logger
	keep *keeper
	api  *http.Client
}

func runNode(ctx context.Context, p *Plan, name string, log *slog.Logger) error {
	s, n, err := p.node(name)
	if err != nil {
		return err
	}
	hs, err := hierarchies()
	if err != nil {
		return err
	}
	if err := joinCgroup(hs, p.cgroup()+"/"+n.Name+"/init"); err != nil {
		return err
	}
	if err := mountNode(p, n); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(n.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	if err := awaitNetwork(); err != nil {
		return err
	}
	if err := nodeSysctls(); err != nil {
		return err
	}
	api, err := apiClient(s)
	if err != nil {
		return err
	}
	r := &nodeRole{plan: p, site: s, node: n, log: log, api: api, keep: newKeeper(n.path("log"), log)}
	return r.run(ctx)
}

func (r *nodeRole) run(ctx context.Context) error {
	go r.keep.reap(ctx)
	for _, d := range daemons(r.plan, r.site, r.node) {
		r.keep.keep(ctx, d, r.open)
	}
	go r.importBase(ctx)
	if _, err := os.Stat(r.plan.policyOff()); errors.Is(err, os.ErrNotExist) {
		r.keep.keep(ctx, policyDaemon(r.plan, r.node), r.open)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /daemons", answer(func(*http.Request) (any, error) { return r.keep.status(), nil }))
	mux.HandleFunc("POST /policy/{mode}", answer(func(req *http.Request) (any, error) {
		if req.PathValue("mode") == "on" {
			r.keep.keep(ctx, policyDaemon(r.plan, r.node), r.open)
			return nil, nil
		}
		r.keep.drop(policyName)
		return nil, nil
	}))
	return serveSocket(ctx, r.node.socket(), mux)
}

// importBase loads what every node needs, while the control plane starts. One
// archive after the other: at once they would wait for each other's locks.
func (r *nodeRole) importBase(ctx context.Context) {
	for _, name := range baseImages() {
		archive := r.plan.imageFile(name)
		err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
			_, err := os.Stat(archive)
			_, noSocket := os.Stat(socketPath)
			return err == nil && noSocket == nil, nil
		})
		if err != nil {
			return
		}
		err = poll(ctx, 200*time.Millisecond, func() (bool, error) {
			err := r.keep.once(ctx, "images", []string{"ctr", "-a", socketPath, "-n", "k8s.io", "images", "import", archive})
			if err != nil && ctx.Err() == nil {
				r.log.Info("image not imported yet", "image", name, "error", err)
			}
			return err == nil, nil
		})
		if err != nil {
			return
		}
	}
	if err := writeFile(imagesMark, nil, 0o644); err != nil {
		r.log.Error("base images not marked", "error", err)
	}
}

// imagesMark is in a folder that is made anew whenever the node starts.
const imagesMark = "/run/base-images"

// open waits for a gate.
func (r *nodeRole) open(ctx context.Context, g gate) error {
	return poll(ctx, 100*time.Millisecond, func() (bool, error) {
		switch g {
		case gateAPI:
			return r.get(ctx, "/readyz"), nil
		case gateNode:
			return r.get(ctx, "/api/v1/nodes/"+r.node.Name), nil
		case gateImages:
			_, err := os.Stat(imagesMark)
			return err == nil, nil
		default:
			return false, fmt.Errorf("unknown gate %q", g)
		}
	})
}

func (r *nodeRole) get(ctx context.Context, path string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.site.apiURL()+path, nil)
	if err != nil {
		return false
	}
	resp, err := r.api.Do(req)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// apiClient is a bare client with the site's administrator certificate.
func apiClient(s *SitePlan) (*http.Client, error) {
	pair, err := tls.LoadX509KeyPair(s.pki("admin.crt"), s.pki("admin.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(s.pki("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12,
		}},
	}, nil
}

// awaitNetwork waits until the supervisor has joined this node to the network:
// it then closes its end of a pipe after one byte.
func awaitNetwork() error {
	pipe := os.NewFile(goFD, "go")
	defer pipe.Close()
	var one [1]byte
	if _, err := io.ReadFull(pipe, one[:]); err != nil {
		return fmt.Errorf("wait for the network: the supervisor went away: %w", err)
	}
	return nil
}

func raiseFileLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise limit of open files: %w", err)
	}
	return nil
}

// nodeSysctls sets up forwarding; bridged packets must pass the packet filter,
// or Services and NetworkPolicies would not hold between pods of one node.
func nodeSysctls() error {
	values := map[string]string{"net/ipv4/ip_forward": "1"}
	for _, name := range []string{"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"} {
		if _, err := os.Stat("/proc/sys/" + name); err == nil {
			values[name] = "1"
		}
	}
	return setSysctls(values)
}
