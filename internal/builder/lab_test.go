package builder

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/specs/launch"
)

const (
	node      = "peer0-banka"
	packageID = "asset:abababababababababababababababababababababababababababababababab"
	imageJSON = `{"name":"registry.local/asset","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000"}`
)

// lab is a peer's pod at a real API server: its environment and its token. The test is the kubelet.
type lab struct {
	*controllertest.Env
	peer             launch.Peer
	contract         launch.Contract
	output, metadata string
	log              bytes.Buffer
	done             chan error
}

func newLab(t *testing.T) *lab {
	t.Helper()
	env := controllertest.New(t, func(s *runtime.Scheme) error {
		for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, rbacv1.AddToScheme, authenticationv1.AddToScheme} {
			if err := add(s); err != nil {
				return err
			}
		}
		return nil
	})
	for _, name := range []string{"rbac/network.yaml", "admission/peer-fence.yaml"} {
		raw, err := os.ReadFile(filepath.Join("../../config", name))
		if err != nil {
			t.Fatal(err)
		}
		env.Apply(t, string(raw))
	}
	l := &lab{Env: env, output: t.TempDir(), metadata: t.TempDir()}
	folder := t.TempDir()
	write(t, filepath.Join(folder, tokenFile), l.place(t)+"\n")
	write(t, filepath.Join(folder, rootsFile), string(roots(t, env.Rest)))
	l.setEnv(t, folder)
	write(t, filepath.Join(l.output, metadataFile), `{"type":"k8s","label":"asset"}`)
	write(t, filepath.Join(l.output, imageFile), imageJSON)
	l.certificate(t, "first")
	l.Eventually(t, "the peer's rights are in force", func(ctx context.Context) error {
		return l.launcher(t).sweep(ctx)
	})
	return l
}

// place makes the peer's namespace, rights and pod, and returns the pod's token.
func (l *lab) place(t *testing.T) string {
	t.Helper()
	l.peer = launch.Peer{Node: node, Network: controllertest.Name("builder"), NetworkID: "id-12345", PodName: node + "-0", PodIP: "10.0.0.1"}
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: l.peer.Network, Name: node}}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: l.peer.Network}}
	standard := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: l.peer.Network, Name: "default"}}
	account := specs.PeerServiceAccount(p)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: l.peer.Network, Name: l.peer.PodName}, Spec: corev1.PodSpec{
		ServiceAccountName: account.Name, Containers: []corev1.Container{{Name: "peer", Image: "none"}},
	}}
	for _, o := range []client.Object{namespace, standard, account, specs.PeerRoleBinding(p), pod} {
		if err := l.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = l.Client.Delete(context.WithoutCancel(t.Context()), namespace) })
	l.peer.PodUID = string(pod.UID)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	if err := l.Client.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

func (l *lab) setEnv(t *testing.T, folder string) {
	t.Helper()
	at, err := url.Parse(l.Rest.Host)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"KUBERNETES_SERVICE_HOST": at.Hostname(), "KUBERNETES_SERVICE_PORT": at.Port(), launch.EnvAPI: folder,
		launch.EnvNode: l.peer.Node, launch.EnvNetwork: l.peer.Network, launch.EnvNetworkID: l.peer.NetworkID,
		launch.EnvPodName: l.peer.PodName, launch.EnvPodUID: l.peer.PodUID, launch.EnvPodIP: l.peer.PodIP,
	} {
		t.Setenv(name, value)
	}
}

// roots verify the API server: those of the kubeconfig, or what a server for tests shows.
func roots(t *testing.T, cfg *rest.Config) []byte {
	t.Helper()
	cfg = rest.CopyConfig(cfg)
	if err := rest.LoadTLSFiles(cfg); err != nil {
		t.Fatal(err)
	}
	if len(cfg.CAData) > 0 {
		return cfg.CAData
	}
	at, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", at.Host, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var out []byte
	for _, c := range conn.ConnectionState().PeerCertificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// certificate is a new one, as the peer makes for each launch.
func (l *lab) certificate(t *testing.T, cert string) {
	t.Helper()
	l.contract = launch.Contract{
		PackageID: packageID, Address: node + "." + l.peer.Network + ":7052", MSPID: "BankAMSP", Cert: cert, Key: "key", Root: "root",
	}
	write(t, filepath.Join(l.metadata, chaincodeFile), `{"chaincode_id":"`+packageID+`","peer_address":"`+l.contract.Address+
		`","client_cert":"`+cert+`","client_key":"key","root_cert":"root","mspid":"BankAMSP"}`)
}

func (l *lab) launcher(t *testing.T) *launcher {
	t.Helper()
	out, err := newLauncher([]string{l.output, l.metadata}, &l.log)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// start calls run as the peer does, and returns the pod that comes of it and what stops the peer's wish.
func (l *lab) start(t *testing.T) (*corev1.Pod, context.CancelFunc) {
	t.Helper()
	l.certificate(t, controllertest.Name("cert"))
	l.log.Reset()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	l.done = make(chan error, 1)
	go func() { l.done <- Run(ctx, []string{"/opt/heddle/bin/run", l.output, l.metadata}, &l.log) }()
	t.Cleanup(cancel)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: l.peer.Network, Name: launch.Name(l.peer, l.contract)}}
	l.Eventually(t, "the contract's pod is made", func(ctx context.Context) error {
		return l.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod)
	})
	return pod, cancel
}

// ended waits for run's end and wants it to have left nothing.
func (l *lab) ended(t *testing.T, pod *corev1.Pod) error {
	t.Helper()
	err := <-l.done
	for _, o := range []client.Object{&corev1.Pod{}, &corev1.Secret{}} {
		o.SetNamespace(pod.Namespace)
		o.SetName(pod.Name)
		if err := l.Gone(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
	return err
}

func (l *lab) bind(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	to := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "n1"}}
	if err := l.Client.SubResource("binding").Create(t.Context(), pod, to); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) status(t *testing.T, pod *corev1.Pod, change func(*corev1.PodStatus)) {
	t.Helper()
	l.Get(t, pod)
	change(&pod.Status)
	if err := l.Client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) delete(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	if err := l.Client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
}

// state sets what the kubelet says of the one container.
func state(s corev1.ContainerState) func(*corev1.PodStatus) {
	return func(status *corev1.PodStatus) {
		status.ContainerStatuses = []corev1.ContainerStatus{{Name: launch.Container, State: s}}
	}
}

func running() func(*corev1.PodStatus) {
	return state(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
}

func terminated(message string) func(*corev1.PodStatus) {
	return state(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 3, Message: message}})
}

// wire is a connection to the API server that can be cut.
type wire struct {
	target string
	mu     sync.Mutex
	open   []net.Conn
}

// newWire puts a wire between run and the API server.
func newWire(t *testing.T, l *lab) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{target: strings.TrimPrefix(l.Rest.Host, "https://")}
	t.Cleanup(func() {
		listener.Close()
		w.cut()
	})
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			w.carry(c)
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_PORT", port)
	return w
}

func (w *wire) carry(c net.Conn) {
	to, err := net.Dial("tcp", w.target)
	if err != nil {
		c.Close()
		return
	}
	w.mu.Lock()
	w.open = append(w.open, c, to)
	w.mu.Unlock()
	go func() { _, _ = io.Copy(to, c); to.Close() }()
	go func() { _, _ = io.Copy(c, to); c.Close() }()
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.open {
		c.Close()
	}
	w.open = nil
}
