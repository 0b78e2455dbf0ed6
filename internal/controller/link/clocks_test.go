package link_test

import (
	"bufio"
	"crypto"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	sites "heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// TestClocks: what an operator issues whose clock is off by twenty minutes is taken by real nginx at both ends of a link,
// whose clocks are off by five.
func TestClocks(t *testing.T) {
	preload, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if _, missing := os.Stat(nginxProgram); err != nil || missing != nil || len(preload) == 0 {
		t.Skip("nginx or libfaketime is not there: apt-get install nginx-light libnginx-mod-stream libfaketime")
	}
	for name, c := range map[string]struct {
		operator, nginx, partner time.Duration
		refused                  bool
	}{
		"all right":                         {},
		"operator ahead, nginx behind":      {operator: 20 * time.Minute, nginx: -5 * time.Minute, partner: -5 * time.Minute},
		"operator behind, nginx ahead":      {operator: -20 * time.Minute, nginx: 5 * time.Minute, partner: 5 * time.Minute},
		"nginx of the two sites apart":      {nginx: -5 * time.Minute, partner: 5 * time.Minute},
		"the partner is two hours behind":   {partner: -2 * time.Hour, refused: true},
		"a leaf of a month is over by then": {partner: sites.LeafLifetime + time.Hour, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newTwoEnds(t, c.operator)
			address := l.ingress(t, preload[0], c.nginx)
			got := l.call(t, l.egress(t, preload[0], c.partner, address))
			if (got == "") != c.refused {
				t.Errorf("the node says %q, want it to be refused: %v", got, c.refused)
			}
		})
	}
}

const nginxProgram = "/usr/sbin/nginx"

// twoEnds is a link of this site, by its operator, and its partner's.
type twoEnds struct {
	*world
	// node is where the exported node listens.
	node string
	// secret and config are what the operator made for this site's nginx.
	secret corev1.Secret
	config string
	// partner is what the partner's nginx shows.
	partner *sites.Self
}

func newTwoEnds(t *testing.T, ahead time.Duration) *twoEnds {
	t.Helper()
	l := &twoEnds{world: startAt(t, func() time.Time { return time.Now().Add(ahead) })}
	ca, err := sites.NewCA("bankb2", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l.partner = &sites.Self{SiteID: "bankb2", CA: ca}
	controllertest.Change(t, l.Space, l.link, func(o *v1alpha1.SiteLink) { o.Spec.CACertificates = string(pki.EncodeCerts(ca.Cert)) })
	l.export(t, "peer0-banka")
	l.state(t, v1alpha1.LinkUp)
	l.Eventually(t, "the link runs", func() bool { return l.replicas(t) == 1 })
	l.Eventually(t, "the Secret is there", func() bool {
		return l.Read(t, &l.secret, l.name()) && string(l.secret.Data[specs.KeyPartnerCA]) == string(pki.EncodeCerts(ca.Cert))
	})
	l.config = l.world.config(t)
	l.serveNode(t)
	return l
}

// serveNode is an exported node that greets in TLS of its own.
func (l *twoEnds) serveNode(t *testing.T) {
	t.Helper()
	leaf, err := l.partner.Leaf(l.host())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*leaf}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	l.node = listener.Addr().String()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, "hello")
			}()
		}
	}()
}

func (l *twoEnds) host() string { return "peer0-banka." + l.Namespace }

// ingress runs this site's nginx, with the files that the operator made.
func (l *twoEnds) ingress(t *testing.T, preload string, ahead time.Duration) string {
	t.Helper()
	config := strings.ReplaceAll(l.config, l.host()+".svc.cluster.local:7051", l.node)
	if config == l.config {
		t.Fatalf("the node is not exported:\n%s", config)
	}
	return runNginx(t, preload, ahead, config, l.secret.Data, nginx.PortIngress)
}

// egress runs the partner's nginx, which goes to this site's.
func (l *twoEnds) egress(t *testing.T, preload string, ahead time.Duration, to string) string {
	t.Helper()
	config, err := nginx.Link{Resolvers: []string{"127.0.0.1"}, Partner: to, Name: specs.OuterSNI(l.Namespace, "bankb2", "banka1")}.Render()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := l.partner.Leaf(specs.OuterSNI(l.Namespace, "banka1", "bankb2"))
	if err != nil {
		t.Fatal(err)
	}
	signer, ok := leaf.PrivateKey.(crypto.Signer)
	if !ok {
		t.Fatal("the leaf has no key")
	}
	key, err := pki.EncodeKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	var ca corev1.Secret
	if err := l.Get(t.Context(), client.ObjectKey{Namespace: l.Namespace, Name: specs.GatewayCASecret}, &ca); err != nil {
		t.Fatal(err)
	}
	return runNginx(t, preload, ahead, config, map[string][]byte{
		specs.KeyNodeTLSCert: pki.EncodeCerts(leaf.Leaf), specs.KeyNodeTLSKey: key, specs.KeyPartnerCA: ca.Data["tls.crt"],
	}, nginx.PortEgress)
}

// runNginx runs nginx by a clock that is ahead by so much, and returns where it listens for the given port.
func runNginx(t *testing.T, preload string, ahead time.Duration, config string, keys map[string][]byte, port int) string {
	t.Helper()
	dir, at := t.TempDir(), map[int]string{}
	for name, content := range keys {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []int{nginx.PortEgress, nginx.PortIngress, nginx.PortHealth} {
		at[p] = unused(t)
		config = strings.ReplaceAll(config, fmt.Sprintf("listen %d", p), "listen "+at[p])
	}
	for old, now := range map[string]string{
		nginx.KeyFolder: dir, nginx.PIDFile: filepath.Join(dir, "nginx.pid"), "/dev/stderr": "stderr", "/dev/stdout": filepath.Join(dir, "access.log"),
	} {
		config = strings.ReplaceAll(config, old, now)
	}
	file := filepath.Join(dir, nginx.ConfigFile)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), nginxProgram, "-e", "stderr", "-c", file)
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+preload, "FAKETIME_DONT_FAKE_MONOTONIC=1", fmt.Sprintf("FAKETIME=%+.0f", ahead.Seconds()))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // a killed master would leave its worker behind
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := net.Dial("tcp", at[nginx.PortHealth])
		if err == nil {
			c.Close()
			return at[port]
		}
		if time.Now().After(end) {
			t.Fatalf("nginx does not listen: %v", err)
		}
	}
}

func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// call goes the whole way to the node, and returns its greeting; nothing if it was refused on the way.
func (l *twoEnds) call(t *testing.T, egress string) string {
	t.Helper()
	c, err := net.Dial("tcp", egress)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	inner := tls.Client(c, &tls.Config{ServerName: l.host(), InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	line, err := bufio.NewReader(inner).ReadString('\n')
	if err != nil {
		t.Logf("refused: %v", err)
		return ""
	}
	return strings.TrimSpace(line)
}
