package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/harness"
)

// linkedSite is one of the sites of a lab, with the CA of its gateway, so that the test can play its links.
type linkedSite struct {
	*harness.Cluster
	id string
	ca *pki.Issuer
}

// openSites brings up a lab of its own with sites between which only the gateways' port is open: sitea, siteb and so on.
func openSites(ctx context.Context, t *testing.T, lab string, count int) []*linkedSite {
	t.Helper()
	cluster, err := harness.Open(ctx, harness.Options{Name: labName() + "-" + lab, Sites: count, Progress: progress})
	if errors.Is(err, harness.ErrUnavailable) {
		t.Skipf("skipped, not passed: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	all := append([]*harness.Cluster{cluster}, cluster.Others...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		for _, c := range all {
			if t.Failed() {
				t.Log(c.Report(ctx, "trade"))
			}
		}
		if err := closeUnlessKept(ctx, cluster); err != nil {
			t.Error(err)
		}
	})
	if cluster.Lab == nil {
		t.Skip("skipped, not passed: several sites take a lab")
	}
	if err := cluster.Lab.Firewall(ctx, harness.GatewayPort); err != nil {
		t.Fatal(err)
	}
	var out []*linkedSite
	for i, c := range all {
		out = append(out, foundSite(ctx, t, "site"+string(rune('a'+i)), c))
	}
	return out
}

// foundSite makes a cluster a site, and waits for its gateway.
func foundSite(ctx context.Context, t *testing.T, id string, c *harness.Cluster) *linkedSite {
	t.Helper()
	s := &linkedSite{Cluster: c, id: id}
	if err := c.InitSite(ctx, id); errors.Is(err, harness.ErrUnavailable) {
		t.Skipf("skipped, not passed: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: harness.SystemNamespace, Name: specs.GatewayCASecret}, &secret); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.ca, err = pki.LoadIssuer(secret.Data["tls.crt"], secret.Data["tls.key"]); err != nil {
		t.Fatal(err)
	}
	return s
}

// heddle runs a command that has to succeed, and returns what it printed.
func heddle(ctx context.Context, t *testing.T, c *harness.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Heddle(ctx, append(args, "-q")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// partners has site a invite site b, and a person approve it. Each is called by the other's name as given.
func partners(ctx context.Context, t *testing.T, a, b *linkedSite, nameOfA, nameOfB string) {
	t.Helper()
	if err := harness.JoinSites(ctx, a.Cluster, b.Cluster, nameOfA, nameOfB); err != nil {
		t.Fatal(err)
	}
}

// await waits for the state of a partner.
func (s *linkedSite) await(ctx context.Context, t *testing.T, name string, state v1alpha1.SiteLinkState) {
	t.Helper()
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := s.Until(ctx, l, func() bool { return l.Status.State == state }); err != nil {
		t.Fatal(err)
	}
	progress("%s: partner %s is %s", s.id, name, state)
}

// leaf is a certificate that an issuer makes for a link.
func leaf(t *testing.T, ca *pki.Issuer, name string) *tls.Certificate {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueTLS(pki.TLSRequest{CommonName: name, SANs: []string{name}, Public: key.Public(), Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// endpoint is the site's public address.
func (s *linkedSite) endpoint(t *testing.T) string {
	t.Helper()
	address, err := s.Site.NodeAddress(s.Site.NodeNames()[0])
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", address, harness.GatewayPort)
}

// create makes objects that the suite's lab is taken down with.
func create(ctx context.Context, t *testing.T, c *harness.Cluster, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Create(ctx, o); err != nil {
			t.Fatalf("create %T %q: %v", o, o.GetName(), err)
		}
	}
}

// offered says which nodes a partner offers, as its own descriptor would.
func (s *linkedSite) offered(ctx context.Context, t *testing.T, name string, nodes ...v1alpha1.OfferedNode) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var l v1alpha1.SiteLink
		if err := s.Get(ctx, client.ObjectKey{Name: name}, &l); err != nil {
			return err
		}
		l.Status.Offered = nodes
		return s.Status().Update(ctx, &l)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// namespace makes the place of a network of which this site has no node of its own, with the operator's rights there.
func (s *linkedSite) namespace(ctx context.Context, t *testing.T, name, networkID string) {
	t.Helper()
	create(ctx, t, s.Cluster,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			v1alpha1.LabelNetwork: name, v1alpha1.LabelNetworkID: networkID, "pod-security.kubernetes.io/enforce": "restricted",
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: specs.RoleBindingOperator, Namespace: name, Labels: map[string]string{v1alpha1.LabelNetwork: name}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: specs.ClusterRoleNetwork},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: specs.OperatorName, Namespace: harness.SystemNamespace}},
		})
}

// way is how a connection comes to a node: through the gateway of its site, with the test in the place of a partner's
// link, or, where there is no outer name, by the Service of an import.
type way struct {
	// from is the cluster in whose network the connection starts, and to the address of gateway or Service.
	from *harness.Cluster
	to   string
	// outer is the SNI for the gateway, which its certificate has to bear, and verifies is what verifies it.
	outer    string
	verifies *pki.Issuer
	// shows is the certificate for it; nil shows none.
	shows *tls.Certificate
	// version of TLS at most; any unless given.
	version uint16
}

// dial goes as far as the link of the node's site.
func (w way) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if w.outer == "" {
		return w.from.Dial(ctx, w.to)
	}
	raw, err := w.from.Site.DialContext(ctx, "tcp", w.to)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(w.verifies.Cert)
	config := &tls.Config{RootCAs: roots, ServerName: w.outer, MinVersion: tls.VersionTLS12, MaxVersion: w.version}
	if w.shows != nil {
		config.Certificates = []tls.Certificate{*w.shows}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("outer TLS: %w", err)
	}
	return conn, nil
}

// reach opens the inner TLS to a node and calls it once.
func (w way) reach(ctx context.Context, t *testing.T, node string, roots []byte) error {
	t.Helper()
	tunnel := w.open(t, node, roots)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return tunnel.ping(ctx)
}

// liveTunnel is a connection to a node that counts how often it had to be made.
type liveTunnel struct {
	*grpc.ClientConn
	dials atomic.Int32
}

// open prepares a connection to a node, such as peer0-banka.trade.
func (w way) open(t *testing.T, node string, roots []byte) *liveTunnel {
	t.Helper()
	out := &liveTunnel{}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		t.Fatal("no TLS roots")
	}
	conn, err := grpc.NewClient("passthrough:///"+node,
		grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(pool, node)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			out.dials.Add(1)
			return w.dial(ctx)
		}))
	if err != nil {
		t.Fatal(err)
	}
	out.ClientConn = conn
	t.Cleanup(func() { _ = conn.Close() })
	return out
}

// ping asks the node at the other end. gRPC's word that it knows no gossip is an answer: orderers and simulated peers say so.
func (l *liveTunnel) ping(ctx context.Context) error {
	err := l.Invoke(ctx, "/gossip.Gossip/Ping", &emptypb.Empty{}, &emptypb.Empty{})
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	return err
}

// dies waits for the connection to end.
func (l *liveTunnel) dies(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if state := l.GetState(); state != connectivity.Ready {
		return nil
	}
	if !l.WaitForStateChange(ctx, connectivity.Ready) {
		return errors.New("it lives on")
	}
	return nil
}

// lives demands that a connection is the very one from before, and works.
func (l *liveTunnel) lives(ctx context.Context, t *testing.T, whose string) {
	t.Helper()
	if err := l.ping(ctx); err != nil || l.dials.Load() != 1 {
		t.Errorf("the tunnel of %s was made %d times, and says %v", whose, l.dials.Load(), err)
	}
}

// closeUnlessKept takes a test's own lab away.
func closeUnlessKept(ctx context.Context, c *harness.Cluster) error {
	if os.Getenv(keepEnv) != "" {
		return nil
	}
	return c.Close(ctx)
}
