package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

func issuer(t *testing.T, name string) *pki.Issuer {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	i, err := pki.NewRoot(pki.IssuerRequest{CommonName: name, Key: key, Lifetime: 100 * time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestParseOrganization(t *testing.T) {
	root := string(pki.EncodeCerts(issuer(t, "root").Cert))
	good := func() map[string]string {
		return map[string]string{
			specs.KeyMSPID: "BankaMSP", specs.KeyCACerts: root, specs.KeyTLSCACerts: root, specs.KeyTLSRoots: root,
		}
	}
	crl, err := issuer(t, "ca").CRL(nil, 1, time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(map[string]string)
		fail   string
	}{
		"the least":            {func(map[string]string) {}, ""},
		"with a CRL":           {func(d map[string]string) { d[specs.KeyCRLs] = string(crl) + string(crl) }, ""},
		"no MSP id":            {func(d map[string]string) { delete(d, specs.KeyMSPID) }, "lacks"},
		"no TLS roots":         {func(d map[string]string) { delete(d, specs.KeyTLSRoots) }, "lacks"},
		"no root":              {func(d map[string]string) { delete(d, specs.KeyCACerts) }, specs.KeyCACerts},
		"a broken CRL":         {func(d map[string]string) { d[specs.KeyCRLs] = "nonsense" }, specs.KeyCRLs},
		"a CRL that is a cert": {func(d map[string]string) { d[specs.KeyCRLs] = root }, specs.KeyCRLs},
		"a broken certificate": {func(d map[string]string) { d[specs.KeyIntermediates] = "nonsense" }, specs.KeyIntermediates},
	} {
		t.Run(name, func(t *testing.T) {
			data := good()
			c.change(data)
			o, err := ParseOrganization("banka", data)
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Fatalf("got %v, want %q", err, c.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.MSPID != "BankaMSP" || len(o.MSP.CACerts) != 1 || !o.MSP.NodeOUs.Enable {
				t.Errorf("%+v", o)
			}
		})
	}
}

// TestParticipation shows that an orderer's admin listener gets a certificate of the organisation's own issuer, that
// one is enough for all orderers, and that another network of the same name gets another.
func TestParticipation(t *testing.T) {
	ops := issuer(t, "tls ops")
	key, err := pki.EncodeKey(ops.Key)
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	reader := counting{fake.NewClientBuilder().WithObjects(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "trade", Name: specs.OpsSecret("ord")},
		Data:       map[string][]byte{specs.KeyTLSCert: pki.EncodeCerts(ops.Cert), specs.KeyTLSKey: key},
	}).Build(), &reads}
	seen := map[string]bool{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen[r.TLS.PeerCertificates[0].SerialNumber.String()] = true
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"channels":[]}`))
	}))
	now := time.Now()
	server.TLS = serverTLS(t, ops)
	server.TLS.Time = func() time.Time { return now }
	server.StartTLS()
	defer server.Close()
	n := New(Options{Reader: reader, Now: func() time.Time { return now }, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server.Listener.Addr().String())
	}})
	defer n.Close()
	org := &Organization{Name: "ord", MSPID: "OrdMSP", TLSRoots: pki.EncodeCerts(ops.Cert)}
	ask := func(address string) {
		t.Helper()
		api, err := n.Participation(t.Context(), "trade", org, address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := api.List(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ask("orderer0-ord.trade:7053")
	ask("orderer0-ord.trade:7053")
	ask("orderer1-ord.trade:7053")
	if len(seen) != 1 || reads != 1 {
		t.Errorf("%d certificates, %d reads of the issuer; want one each", len(seen), reads)
	}
	now = now.Add(clientLifetime / 2)
	ask("orderer0-ord.trade:7053")
	if len(seen) != 2 {
		t.Errorf("%d certificates after half of a life, want 2", len(seen))
	}
	if _, err := n.Participation(t.Context(), "other", org, "orderer0-ord.other:7053"); !errors.Is(err, ErrMissing) {
		t.Errorf("without an issuer: %v", err)
	}
}

type counting struct {
	client.Reader
	reads *int
}

func (c counting) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if key.Namespace == "trade" {
		*c.reads++
	}
	return c.Reader.Get(ctx, key, obj, opts...)
}

func serverTLS(t *testing.T, ops *pki.Issuer) *tls.Config {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ops.IssueTLS(pki.TLSRequest{CommonName: "o", SANs: []string{"orderer0-ord.trade", "orderer1-ord.trade"}, Public: key.Public(), Lifetime: 99 * time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ops.Cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	}
}

func TestMembers(t *testing.T) {
	peer := func(name, org string) v1alpha1.Peer {
		return v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.PeerSpec{Organization: org}}
	}
	org := func(name string) v1alpha1.Organization {
		return v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	gone := org("gone")
	gone.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	r := &Roster{
		Organizations: []v1alpha1.Organization{org("a"), org("b-a"), org("c"), gone},
		Peers:         []v1alpha1.Peer{peer("peer0-a", "a"), peer("peer0-gone", "gone")},
	}
	for name, c := range map[string]struct {
		channel v1alpha1.Channel
		want    string
	}{
		"those with peers": {v1alpha1.Channel{}, "a"},
		"those named":      {v1alpha1.Channel{Spec: v1alpha1.ChannelSpec{ChannelSettings: v1alpha1.ChannelSettings{Organizations: []string{"c", "gone"}}}}, "c"},
		"one whose peer is made anew": {v1alpha1.Channel{Status: v1alpha1.ChannelStatus{Nodes: []v1alpha1.ChannelNode{
			{Name: "peer0-b-a", Role: v1alpha1.RolePeer}, {Name: "orderer0-c", Role: v1alpha1.RoleConsenter},
		}}}, "a b-a"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := strings.Join(r.Members(&c.channel), " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestAdminIsKept: an administrator is read once in a while and not for every question; another network of the same
// name has another.
func TestAdminIsKept(t *testing.T) {
	ca := issuer(t, "ops")
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Enrol(pki.EnrolRequest{CommonName: "admin", Role: pki.RoleAdmin, Public: key.Public(), Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	text, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	reads := 0
	reader := counting{fake.NewClientBuilder().WithObjects(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "trade", Name: specs.AdminSecret("banka")},
		Data:       map[string][]byte{specs.KeyCert: pki.EncodeCerts(cert), specs.KeyKey: text},
	}).Build(), &reads}
	now := time.Now()
	n := New(Options{Reader: reader, Now: func() time.Time { return now }})
	org := &Organization{Name: "banka", MSPID: "BankaMSP", TLSRoots: []byte("a")}
	for _, step := range []struct {
		name  string
		after time.Duration
		roots string
		reads int
	}{{"first", 0, "a", 1}, {"soon", time.Minute, "a", 1}, {"other roots", 0, "b", 2}, {"later", signerTime, "b", 3}} {
		now, org.TLSRoots = now.Add(step.after), []byte(step.roots)
		id, err := n.Admin(t.Context(), "trade", org)
		if err != nil {
			t.Fatal(err)
		}
		if id.MspID() != "BankaMSP" || reads != step.reads {
			t.Errorf("%s: %s, %d reads, want %d", step.name, id.MspID(), reads, step.reads)
		}
	}
}

func TestReading(t *testing.T) {
	ca := issuer(t, "tls")
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.IssueTLS(pki.TLSRequest{CommonName: "n", Public: key.Public(), Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	one, chain := pki.EncodeCerts(leaf), pki.EncodeCerts(leaf, ca.Cert)
	root := string(pki.EncodeCerts(ca.Cert))
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "trade", Name: name} }
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&corev1.ConfigMap{ObjectMeta: at(specs.MSPConfigMap("banka")), Data: map[string]string{
			specs.KeyMSPID: "BankaMSP", specs.KeyCACerts: root, specs.KeyTLSCACerts: root, specs.KeyTLSRoots: root,
		}},
		&corev1.Secret{ObjectMeta: at("peer0-banka"), Data: map[string][]byte{specs.KeyCert: one, specs.KeyNodeTLSCert: chain}},
		&corev1.Secret{ObjectMeta: at("broken"), Data: map[string][]byte{specs.KeyCert: one}},
		&v1alpha1.Organization{ObjectMeta: at("banka")},
		&v1alpha1.Peer{ObjectMeta: at("peer1-banka"), Spec: v1alpha1.PeerSpec{Organization: "banka"}},
		&v1alpha1.Peer{ObjectMeta: at("peer0-banka"), Spec: v1alpha1.PeerSpec{Organization: "banka"}},
		&v1alpha1.Orderer{ObjectMeta: at("orderer0-ord"), Spec: v1alpha1.OrdererSpec{Organization: "ord"}},
		&v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "peer9-banka"}, Spec: v1alpha1.PeerSpec{Organization: "banka"}},
	).Build()
	n := New(Options{Reader: reader, Now: func() time.Time { return now }})
	defer n.Close()

	org, err := n.Organization(t.Context(), "trade", "banka")
	if err != nil || org.MSPID != "BankaMSP" {
		t.Fatalf("organisation: %+v, %v", org, err)
	}
	if _, err := n.Organization(t.Context(), "trade", "bankb"); !errors.Is(err, ErrMissing) {
		t.Errorf("an organisation without material: %v", err)
	}
	certs, err := n.NodeCertificates(t.Context(), "trade", "peer0-banka")
	if err != nil || string(certs.TLS) != string(one) || string(certs.Enrolment) != string(one) {
		t.Errorf("certificates: leaves alone are wanted; %v", err)
	}
	if _, err := n.NodeCertificates(t.Context(), "trade", "peer9-banka"); !errors.Is(err, ErrMissing) {
		t.Errorf("a node without a Secret: %v", err)
	}
	if _, err := n.NodeCertificates(t.Context(), "trade", "broken"); err == nil || errors.Is(err, ErrMissing) {
		t.Errorf("a broken Secret: %v", err)
	}
	r, err := LoadRoster(t.Context(), reader, "trade")
	if err != nil {
		t.Fatal(err)
	}
	peers := r.PeersOf("banka")
	if len(peers) != 2 || peers[0].Name != "peer0-banka" || len(r.Orderers) != 1 || r.Organization("banka") == nil || r.Organization("nobody") != nil {
		t.Errorf("roster: %+v", r)
	}

	first, err := n.Conn("peer0-banka.trade:7051", org.TLSRoots)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := n.Conn("peer0-banka.trade:7051", org.TLSRoots); err != nil || again != first {
		t.Errorf("a second connection to one node: %v", err)
	}
	now = now.Add(keepTime + time.Second)
	if later, err := n.Conn("peer0-banka.trade:7051", org.TLSRoots); err != nil || later == first {
		t.Errorf("a connection that nobody used is still there: %v", err)
	}
	if _, err := n.Conn("peer0-banka.trade:7051", []byte("nonsense")); err == nil {
		t.Error("a connection without roots")
	}
}
