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
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/harness"
)

// gatewayPort is the one port that a site opens to the others.
const gatewayPort = 30443

// linkedSite is one end of a partnership, as the test knows it. One without a cluster is played by the test alone.
type linkedSite struct {
	id string
	ca *pki.Issuer
	*harness.Cluster
}

func newSite(t *testing.T, id string, c *harness.Cluster) *linkedSite {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.IssuerRequest{CommonName: "gateway of " + id, Key: key, Lifetime: 100 * time.Hour, Now: time.Now().Add(-2 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return &linkedSite{id: id, ca: ca, Cluster: c}
}

func (s *linkedSite) caText() string { return string(pki.EncodeCerts(s.ca.Cert)) }

// leaf is a certificate that the site shows to its partners.
func (s *linkedSite) leaf(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := s.ca.IssueTLS(pki.TLSRequest{CommonName: name, SANs: []string{name}, Public: key.Public(), Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// endpoint is the site's public address.
func (s *linkedSite) endpoint(t *testing.T) string {
	t.Helper()
	if s.Cluster == nil {
		return "192.0.2.1:443"
	}
	address, err := s.Site.NodeAddress(s.Site.NodeNames()[0])
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", address, gatewayPort)
}

// create makes objects that the suite's lab is taken down with.
func create(ctx context.Context, t *testing.T, c *harness.Cluster, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Create(ctx, o); client.IgnoreAlreadyExists(err) != nil {
			t.Fatalf("create %T %q: %v", o, o.GetName(), err)
		}
	}
}

// found makes the site what it is: its name, its CA, and the operator's right to that.
func (s *linkedSite) found(ctx context.Context, t *testing.T) {
	t.Helper()
	key, err := pki.EncodeKey(s.ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: "hand-made-site", Namespace: harness.SystemNamespace}
	site := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName}}
	site.Spec.SiteID, site.Spec.Endpoints = s.id, []string{s.endpoint(t)}
	create(ctx, t, s.Cluster,
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: specs.GatewayCASecret, Namespace: harness.SystemNamespace},
			Data:       map[string][]byte{"tls.crt": []byte(s.caText()), "tls.key": key},
		},
		&rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}}},
		&rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: specs.OperatorName, Namespace: harness.SystemNamespace}},
		}, site)
	site.Status.SiteID = s.id
	if err := s.Status().Update(ctx, site); err != nil {
		t.Fatal(err)
	}
}

// partner makes a SiteLink that is up.
func (s *linkedSite) partner(ctx context.Context, t *testing.T, name string, p *linkedSite, offered ...v1alpha1.OfferedNode) {
	t.Helper()
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}}
	l.Spec.SiteID, l.Spec.Endpoints, l.Spec.CACertificates = p.id, []string{p.endpoint(t)}, p.caText()
	create(ctx, t, s.Cluster, l)
	s.state(ctx, t, name, v1alpha1.LinkUp, offered...)
}

// state says what the controller of SiteLinks would.
func (s *linkedSite) state(ctx context.Context, t *testing.T, name string, state v1alpha1.SiteLinkState, offered ...v1alpha1.OfferedNode) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var l v1alpha1.SiteLink
		if err := s.Get(ctx, client.ObjectKey{Name: name}, &l); err != nil {
			return err
		}
		l.Status.State = state
		if offered != nil {
			l.Status.Offered = offered
		}
		return s.Status().Update(ctx, &l)
	})
	if err != nil {
		t.Fatal(err)
	}
	progress("%s: partner %s is %s", s.id, name, state)
}

// gateway runs the site's public port with routes to links.
func (s *linkedSite) gateway(ctx context.Context, t *testing.T, routes ...nginx.Route) {
	t.Helper()
	var dns corev1.ServiceList
	if err := s.List(ctx, &dns, client.InNamespace("kube-system")); err != nil || len(dns.Items) == 0 {
		t.Fatalf("find DNS: %v", err)
	}
	text, err := nginx.Gateway{Resolvers: []string{dns.Items[0].Spec.ClusterIP}, Routes: routes}.Render()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentGateway}
	meta := metav1.ObjectMeta{Name: "hand-made-gateway", Namespace: harness.SystemNamespace, Labels: labels}
	tcp := corev1.ProtocolTCP
	create(ctx, t, s.Cluster,
		&corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{nginx.ConfigFile: text}},
		specs.NginxPod{
			Image: "heddle.dev/heddle-nginx:dev", Labels: labels, ConfigMap: meta.Name,
			Ports: []corev1.ContainerPort{{Name: "public", ContainerPort: nginx.PortPublic}},
		}.Deployment(meta, labels, 1),
		&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: labels,
			Ports: []corev1.ServicePort{{Port: nginx.PortPublic, TargetPort: intstr.FromInt32(nginx.PortPublic), NodePort: gatewayPort}},
		}},
		&networkingv1.NetworkPolicy{ObjectMeta: meta, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: labels},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: ptr.To(intstr.FromInt32(nginx.PortPublic))}}}},
			Egress:      []networkingv1.NetworkPolicyEgressRule{{}},
		}})
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

// way is how the test, in the place of a partner's link, comes to a node.
type way struct {
	// from is the site whose network the connection starts in, and to the endpoint of the other.
	from *harness.Cluster
	to   string
	// outer is the SNI for the gateway, which its certificate has to bear, and verifies is what verifies it.
	outer    string
	verifies *pki.Issuer
	// shows is the certificate for it; nil shows none.
	shows *tls.Certificate
	// versions of TLS; 1.3 unless given.
	version uint16
}

// dial goes as far as the partner's link.
func (w way) dial(ctx context.Context) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
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

// ping makes a call that every peer answers.
func (l *liveTunnel) ping(ctx context.Context) error {
	return l.Invoke(ctx, "/gossip.Gossip/Ping", &emptypb.Empty{}, &emptypb.Empty{})
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

// answered tells whether gRPC answered at all: an orderer knows no gossip, and says so.
func answered(err error) bool { return err == nil || status.Code(err) == codes.Unimplemented }

// closeUnlessKept takes a test's own lab away.
func closeUnlessKept(ctx context.Context, c *harness.Cluster) error {
	if os.Getenv(keepEnv) != "" {
		return nil
	}
	return c.Close(ctx)
}
