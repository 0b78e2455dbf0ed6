// Package apiserver runs a real Kubernetes API server on loopback without any node: etcd, kube-apiserver and the two
// controllers that clean up (namespaces and owned objects). Tests of controllers play the part of the kubelet and of
// the workloads' controllers themselves, so those must not run. The program is the lab's `kube`.
package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience is how long the API server may take to get ready.
const patience = 90 * time.Second

// Server is a running API server.
type Server struct {
	// Kubeconfig is a file with the contexts "c" (all rights) and "weak" (none).
	Kubeconfig string
	// Config reaches the server with all rights.
	Config *rest.Config

	dir   string
	stops []func()
}

// Program finds the lab's program kube in HEDDLE_LIBEXEC or in the given folders; empty if it is in none.
func Program(folders ...string) string {
	for _, dir := range append([]string{os.Getenv("HEDDLE_LIBEXEC")}, folders...) {
		if path, err := filepath.Abs(filepath.Join(dir, "kube")); dir != "" && err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	return ""
}

// Start starts a server and returns when it is ready. It has to be stopped, also after an error.
func Start(ctx context.Context, kube string) (*Server, error) {
	dir, err := os.MkdirTemp("", "heddle-apiserver-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, Kubeconfig: filepath.Join(dir, "kubeconfig")}
	return s, s.start(ctx, kube)
}

// start writes the server's files and runs its programs.
func (s *Server) start(ctx context.Context, kube string) error {
	if err := writeKey(s.path("sa.key"), s.path("sa.pub")); err != nil {
		return err
	}
	if err := os.WriteFile(s.path("tokens.csv"), []byte("token,admin,admin,system:masters\nweak,weak,weak\n"), 0o600); err != nil {
		return err
	}
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.Kubeconfig, fmt.Appendf(nil, kubeconfig, ports[2]), 0o600); err != nil {
		return err
	}
	for _, args := range s.programs(ports[0], ports[1], ports[2]) {
		if args[0] == "kube-controller-manager" {
			if err := s.connect(ctx); err != nil {
				return err
			}
		}
		if err := s.run(kube, args); err != nil {
			return err
		}
	}
	return nil
}

// programs are the programs with their arguments, in the order of their start.
func (s *Server) programs(client, peer, api int) [][]string {
	etcd := fmt.Sprintf("http://127.0.0.1:%d", client)
	self := fmt.Sprintf("http://127.0.0.1:%d", peer)
	return [][]string{
		{
			"etcd", "--name=test", "--data-dir=" + s.path("etcd"), "--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			"--listen-peer-urls=" + self, "--initial-advertise-peer-urls=" + self, "--initial-cluster=test=" + self, "--unsafe-no-fsync",
		},
		{
			"kube-apiserver", "--etcd-servers=" + etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", api),
			"--cert-dir=" + s.path("certs"), "--token-auth-file=" + s.path("tokens.csv"), "--service-cluster-ip-range=10.96.0.0/16",
			"--authorization-mode=RBAC", "--service-account-issuer=https://test", "--service-account-key-file=" + s.path("sa.pub"),
			"--service-account-signing-key-file=" + s.path("sa.key"), "--allow-privileged=true",
		},
		{
			"kube-controller-manager", "--kubeconfig=" + s.Kubeconfig, "--controllers=namespace-controller,garbage-collector-controller",
			"--leader-elect=false", "--secure-port=0",
		},
	}
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:%d", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: token}}, {name: weak, user: {token: weak}}]
contexts: [{name: c, context: {cluster: c, user: u}}, {name: weak, context: {cluster: c, user: weak}}]
current-context: c
`

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// run starts a program that dies with the test.
func (s *Server) run(kube string, args []string) error {
	log, err := os.Create(s.path(args[0] + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(kube, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.stops = append(s.stops, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return nil
}

// connect waits until the API server is ready.
func (s *Server) connect(ctx context.Context) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = 200, 400
	s.Config = cfg
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx, hc, cfg.Host)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(s.path("kube-apiserver.log"))
			return fmt.Errorf("wait for the API server: %w; its log ends with\n%s", err, log[max(0, len(log)-2000):])
		}
	}
}

func ready(ctx context.Context, hc *http.Client, host string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/readyz", nil)
	if err != nil {
		return err
	}
	res, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// Stop ends the programs and removes their files.
func (s *Server) Stop() {
	for i := len(s.stops) - 1; i >= 0; i-- {
		s.stops[i]()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func freePorts(ctx context.Context, n int) ([]int, error) {
	var out []int
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		address, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			return nil, errors.New("find a free port: not a TCP address")
		}
		out = append(out, address.Port)
	}
	return out, nil
}

func writeKey(private, public string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	priv := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	pub := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw})
	if err := os.WriteFile(private, priv, 0o600); err != nil {
		return err
	}
	return os.WriteFile(public, pub, 0o600)
}
