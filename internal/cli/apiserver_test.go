package cli_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// server is an API server of this package alone: the scripts install and uninstall Heddle, which would pull the rug
// from under the tests of other packages.
type server struct {
	once       sync.Once
	err        error
	dir        string
	stops      []func()
	kubeconfig string
	config     *rest.Config
	client     client.WithWatch
}

var shared server

// apiServer starts the server once for all tests, or skips the test where its program is not built.
func apiServer(t *testing.T) *server {
	t.Helper()
	kube := kubeProgram()
	if kube == "" {
		t.Skip("needs an API server: build the program kube ('make images') or name its folder in HEDDLE_LIBEXEC")
	}
	shared.once.Do(func() { shared.err = shared.start(kube) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return &shared
}

func kubeProgram() string {
	for _, dir := range []string{os.Getenv("HEDDLE_LIBEXEC"), "../../out/bin"} {
		if path, err := filepath.Abs(filepath.Join(dir, "kube")); dir != "" && err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	return ""
}

func (s *server) start(kube string) error {
	dir, err := os.MkdirTemp("", "heddle-cli-test")
	if err != nil {
		return err
	}
	s.dir = dir
	if err := writeKey(s.path("sa.key"), s.path("sa.pub")); err != nil {
		return err
	}
	if err := os.WriteFile(s.path("tokens.csv"), []byte("token,admin,admin,system:masters\nweak,weak,weak\n"), 0o600); err != nil {
		return err
	}
	client, peer, api := freePort(), freePort(), freePort()
	etcd := fmt.Sprintf("http://127.0.0.1:%d", client)
	self := fmt.Sprintf("http://127.0.0.1:%d", peer)
	s.kubeconfig = s.path("kubeconfig")
	if err := os.WriteFile(s.kubeconfig, fmt.Appendf(nil, kubeconfig, api), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{
			"etcd", "--name=cli-test", "--data-dir=" + s.path("etcd"), "--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			"--listen-peer-urls=" + self, "--initial-advertise-peer-urls=" + self, "--initial-cluster=cli-test=" + self, "--unsafe-no-fsync",
		},
		{
			"kube-apiserver", "--etcd-servers=" + etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", api),
			"--cert-dir=" + s.path("certs"), "--token-auth-file=" + s.path("tokens.csv"), "--service-cluster-ip-range=10.96.0.0/16",
			"--authorization-mode=RBAC", "--service-account-issuer=https://test", "--service-account-key-file=" + s.path("sa.pub"),
			"--service-account-signing-key-file=" + s.path("sa.key"),
		},
		{
			"kube-controller-manager", "--kubeconfig=" + s.kubeconfig, "--controllers=namespace-controller,garbage-collector-controller",
			"--leader-elect=false", "--secure-port=0",
		},
	} {
		if args[0] == "kube-controller-manager" {
			if err := s.connect(); err != nil {
				return err
			}
		}
		if err := s.run(kube, args); err != nil {
			return err
		}
	}
	return nil
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:%d", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: token}}, {name: weak, user: {token: weak}}]
contexts: [{name: c, context: {cluster: c, user: u}}, {name: weak, context: {cluster: c, user: weak}}]
current-context: c
`

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }

// run starts a program that dies with the test.
func (s *server) run(kube string, args []string) error {
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
func (s *server) connect() error {
	cfg, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = 200, 400
	s.config = cfg
	hc, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(90 * time.Second)
	for {
		res, err := hc.Get(cfg.Host + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(s.path("kube-apiserver.log"))
			return fmt.Errorf("the API server is not ready: %w; its log ends with\n%s", err, log[max(0, len(log)-2000):])
		}
		time.Sleep(100 * time.Millisecond)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	s.client, err = client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	return err
}

func (s *server) stop() {
	for i := len(s.stops) - 1; i >= 0; i-- {
		s.stops[i]()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

func freePort() int {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
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
