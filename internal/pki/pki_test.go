package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const year = 365 * 24 * time.Hour

func key(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func hierarchy(t *testing.T) (root, ops *Issuer) {
	t.Helper()
	root, err := NewRoot(IssuerRequest{CommonName: "banka root", Organization: "banka", Key: key(t), Lifetime: 10 * year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	ops, err = root.NewIntermediate(IssuerRequest{CommonName: "banka ops", Organization: "banka", Key: key(t), Lifetime: 5 * year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	return root, ops
}

func TestKeyRoundTrip(t *testing.T) {
	k := key(t)
	text, err := EncodeKey(k)
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(text); block.Type != "PRIVATE KEY" {
		t.Errorf("block type %q", block.Type)
	}
	back, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if !k.(*ecdsa.PrivateKey).Equal(back) {
		t.Error("another key came back")
	}
	der, err := x509.MarshalECPrivateKey(k.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	if back, err = ParseKey(sec1); err != nil || !k.(*ecdsa.PrivateKey).Equal(back) {
		t.Errorf("SEC 1 form: %v", err)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := EncodeKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"empty": nil, "garbage": []byte("no key here"), "another curve": text,
		"a broken block": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1, 2, 3}}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseKey(text); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestChainVerifies(t *testing.T) {
	root, ops := hierarchy(t)
	k := key(t)
	leaf, err := ops.IssueTLS(TLSRequest{CommonName: "peer0-banka", SANs: NodeSANs("peer0-banka", "trade", "10.0.0.7"), Public: k.Public(), Lifetime: year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root.Cert)
	for _, cert := range ops.Chain() {
		between.AddCert(cert)
	}
	for _, name := range []string{"peer0-banka", "peer0-banka.trade", "peer0-banka.trade.svc", "peer0-banka.trade.svc.cluster.local", "localhost", "10.0.0.7"} {
		opts := x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between, CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if _, err := leaf.Verify(opts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: noon}); err == nil {
		t.Error("the leaf verifies without its intermediate")
	}
	if leaf.NotBefore.Before(ops.Cert.NotBefore) || !leaf.NotBefore.Before(noon) {
		t.Errorf("leaf valid from %s, issuer from %s, issued %s", leaf.NotBefore, ops.Cert.NotBefore, noon)
	}
	if want := noon.Add(-10 * time.Minute); !ops.Cert.NotBefore.Equal(want) || !root.Cert.NotBefore.Equal(want) {
		t.Errorf("issuers valid from %s and %s, want %s", root.Cert.NotBefore, ops.Cert.NotBefore, want)
	}
	if len(leaf.SubjectKeyId) != 32 || string(leaf.AuthorityKeyId) != string(ops.Cert.SubjectKeyId) {
		t.Error("key identifiers are missing or wrong")
	}
}

// TestMutualTLS shakes hands over loopback with the chain a node presents.
func TestMutualTLS(t *testing.T) {
	now := time.Now()
	root, err := NewRoot(IssuerRequest{CommonName: "tls root", Key: key(t), Lifetime: year, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	ops, err := root.NewIntermediate(IssuerRequest{CommonName: "tls ops", Key: key(t), Lifetime: year, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	k := key(t)
	leaf, err := ops.IssueTLS(TLSRequest{CommonName: "n", SANs: []string{"n.trade"}, Public: k.Public(), Lifetime: time.Hour, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	keyText, err := EncodeKey(k)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(EncodeCerts(append([]*x509.Certificate{leaf}, ops.Chain()...)...), keyText)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root.Cert)
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	done := make(chan error, 1)
	go func() {
		done <- tls.Server(there, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}).Handshake()
	}()
	if err := tls.Client(here, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "n.trade"}).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestIssuerBounds(t *testing.T) {
	root, ops := hierarchy(t)
	k := key(t)
	leaf, err := ops.Enrol(EnrolRequest{CommonName: "a", Role: RoleClient, Public: k.Public(), Lifetime: 50 * year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.NotAfter.Equal(ops.Cert.NotAfter) {
		t.Errorf("leaf lives until %s, its issuer until %s", leaf.NotAfter, ops.Cert.NotAfter)
	}
	if _, err := ops.Enrol(EnrolRequest{CommonName: "a", Role: RoleClient, Public: k.Public(), Lifetime: year, Now: noon.Add(20 * year)}); err == nil {
		t.Error("an expired issuer signed")
	}
	if _, err := ops.Enrol(EnrolRequest{CommonName: "a", Role: "king", Public: k.Public(), Lifetime: year, Now: noon}); err == nil {
		t.Error("an unknown role was signed")
	}
	third, err := ops.NewIntermediate(IssuerRequest{CommonName: "third", Key: key(t), Lifetime: year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root.Cert)
	between.AddCert(ops.Cert)
	between.AddCert(third.Cert)
	below, err := third.Enrol(EnrolRequest{CommonName: "a", Role: RoleClient, Public: k.Public(), Lifetime: year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := below.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: noon}); err == nil {
		t.Error("an intermediate may sign intermediates")
	}
	for name, req := range map[string]IssuerRequest{
		"no name": {Key: key(t), Lifetime: year, Now: noon}, "no key": {CommonName: "a", Lifetime: year, Now: noon},
		"no lifetime": {CommonName: "a", Key: key(t), Now: noon}, "no time": {CommonName: "a", Key: key(t), Lifetime: year},
	} {
		if _, err := NewRoot(req); err == nil {
			t.Errorf("%s: made a root", name)
		}
	}
}

func TestLoadIssuer(t *testing.T) {
	root, ops := hierarchy(t)
	keyText, err := EncodeKey(ops.Key)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadIssuer(EncodeCerts(ops.Cert, root.Cert), keyText)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(loaded.Chain()); got != 1 || !loaded.Cert.Equal(ops.Cert) {
		t.Errorf("chain of %d, want the intermediate alone", got)
	}
	if len(root.Chain()) != 0 {
		t.Error("a root is part of the chain")
	}
	if _, err := LoadIssuer(EncodeCerts(root.Cert), keyText); err == nil {
		t.Error("a foreign key was accepted")
	}
	leaf, err := ops.Enrol(EnrolRequest{CommonName: "a", Role: RoleClient, Public: ops.Key.Public(), Lifetime: year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIssuer(EncodeCerts(leaf), keyText); err == nil {
		t.Error("a leaf was accepted as an authority")
	}
}

func TestCRL(t *testing.T) {
	_, ops := hierarchy(t)
	text, err := ops.CRL([]Revoked{{big.NewInt(9), noon}, {big.NewInt(4), noon}}, 2, noon, noon.Add(year))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseCRL(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(ops.Cert); err != nil {
		t.Error(err)
	}
	if string(list.AuthorityKeyId) != string(ops.Cert.SubjectKeyId) {
		t.Error("the list does not name its authority's key")
	}
	var got []int64
	for _, entry := range list.RevokedCertificateEntries {
		got = append(got, entry.SerialNumber.Int64())
	}
	if diff := cmp.Diff([]int64{4, 9}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := ParseCRL(EncodeCerts(ops.Cert)); err == nil {
		t.Error("a certificate was read as a list")
	}
}

func TestRenewal(t *testing.T) {
	_, ops := hierarchy(t)
	_, other := hierarchy(t)
	k := key(t)
	enrolled, err := ops.Enrol(EnrolRequest{CommonName: "peer0", Role: RolePeer, Public: k.Public(), Lifetime: year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	served, err := ops.IssueTLS(TLSRequest{CommonName: "peer0", SANs: []string{"peer0", "10.0.0.1"}, Public: k.Public(), Lifetime: year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	server, err := ops.IssueTLS(TLSRequest{CommonName: "peer0", SANs: []string{"peer0"}, ServerOnly: true, Public: k.Public(), Lifetime: year, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(change func(*Leaf)) Leaf {
		l := Leaf{Cert: enrolled, Key: k, CommonName: "peer0", Role: RolePeer, Issuer: ops.Cert, RenewBefore: 30 * 24 * time.Hour, Now: noon}
		change(&l)
		return l
	}
	serve := func(change func(*Leaf)) Leaf {
		return sign(func(l *Leaf) { l.Cert, l.Role, l.SANs = served, "", []string{"10.0.0.1", "peer0"}; change(l) })
	}
	for name, test := range map[string]struct {
		chain Predicates
		leaf  Leaf
		want  string
	}{
		"a good enrolment":   {EnrolmentPredicates(), sign(func(*Leaf) {}), ""},
		"no certificate":     {EnrolmentPredicates(), sign(func(l *Leaf) { l.Cert = nil }), ReasonMissing},
		"no key":             {EnrolmentPredicates(), sign(func(l *Leaf) { l.Key = nil }), ReasonMissing},
		"another key":        {EnrolmentPredicates(), sign(func(l *Leaf) { l.Key = key(t) }), ReasonKeyMismatch},
		"another issuer":     {EnrolmentPredicates(), sign(func(l *Leaf) { l.Issuer = other.Cert }), ReasonIssuerDrift},
		"another role":       {EnrolmentPredicates(), sign(func(l *Leaf) { l.Role = RoleAdmin }), ReasonRoleDrift},
		"another name":       {EnrolmentPredicates(), sign(func(l *Leaf) { l.CommonName = "peer1" }), ReasonNameDrift},
		"outside the window": {EnrolmentPredicates(), sign(func(l *Leaf) { l.Now = noon.Add(year - 31*24*time.Hour) }), ""},
		"in the window":      {EnrolmentPredicates(), sign(func(l *Leaf) { l.Now = noon.Add(year - 30*24*time.Hour) }), ReasonExpiring},
		"expired":            {EnrolmentPredicates(), sign(func(l *Leaf) { l.Now = noon.Add(year) }), ReasonExpired},
		"a window too wide":  {EnrolmentPredicates(), sign(func(l *Leaf) { l.RenewBefore = 2 * year }), ""},
		"... past its half":  {EnrolmentPredicates(), sign(func(l *Leaf) { l.RenewBefore, l.Now = 2*year, noon.Add(year*51/100) }), ReasonExpiring},
		"a good server":      {TLSPredicates(), serve(func(*Leaf) {}), ""},
		"a name more":        {TLSPredicates(), serve(func(l *Leaf) { l.SANs = []string{"peer0", "peer0.trade"} }), ReasonSANDrift},
		"a name less":        {TLSPredicates(), serve(func(l *Leaf) { l.SANs = []string{"peer0"} }), ""},
		"only a server":      {TLSPredicates(), serve(func(l *Leaf) { l.Cert, l.SANs, l.ServerOnly = server, nil, true }), ""},
		"... and a client":   {TLSPredicates(), serve(func(l *Leaf) { l.ServerOnly = true }), ReasonNotTLSUsable},
		"... and should be":  {TLSPredicates(), serve(func(l *Leaf) { l.Cert, l.SANs = server, nil }), ReasonNotTLSUsable},
		"not for servers":    {TLSPredicates(), serve(func(l *Leaf) { l.Cert, l.SANs = enrolled, nil }), ReasonNotTLSUsable},
	} {
		t.Run(name, func(t *testing.T) {
			reason, message, failed := test.chain.Check(test.leaf)
			if reason != test.want || failed != (test.want != "") || failed != (message != "") {
				t.Errorf("got %q %q %v, want %q", reason, message, failed, test.want)
			}
		})
	}
}

func TestDaysLeft(t *testing.T) {
	cert := &x509.Certificate{NotAfter: noon}
	for name, test := range map[string]struct {
		now  time.Time
		want int
	}{
		"a year":          {noon.Add(-year), 365},
		"under a day":     {noon.Add(-23 * time.Hour), 0},
		"just expired":    {noon.Add(time.Second), -1},
		"expired, 2 days": {noon.Add(48 * time.Hour), -2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := DaysLeft(cert, test.now); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestRoleOf(t *testing.T) {
	_, ops := hierarchy(t)
	for _, role := range []Role{RolePeer, RoleOrderer, RoleAdmin, RoleClient} {
		cert, err := ops.Enrol(EnrolRequest{CommonName: "a", Role: role, Public: key(t).Public(), Lifetime: year, Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		if got := RoleOf(cert); got != role {
			t.Errorf("got %q, want %q", got, role)
		}
	}
	if got := RoleOf(ops.Cert); got != "" {
		t.Errorf("an issuer has the role %q", got)
	}
}

func TestParseCerts(t *testing.T) {
	root, ops := hierarchy(t)
	text := append([]byte("a comment\n"), EncodeCerts(ops.Cert, root.Cert)...)
	certs, err := ParseCerts(text)
	if err != nil || len(certs) != 2 || !certs[1].Equal(root.Cert) {
		t.Fatalf("%d certificates, %v", len(certs), err)
	}
	if !SameCert(text, EncodeCerts(ops.Cert)) || SameCert(text, EncodeCerts(root.Cert)) || SameCert(nil, nil) {
		t.Error("SameCert is wrong")
	}
	if _, err := ParseCerts(nil); err == nil {
		t.Error("no certificate was accepted")
	}
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	if _, err := ParseCert(broken); err == nil {
		t.Error("a broken certificate was accepted")
	}
	if got := NodeSANs("a", "b", "a", ""); slices.Contains(got, "") || len(got) != 5 {
		t.Errorf("got %v", got)
	}
}

func FuzzParse(f *testing.F) {
	root, err := NewRoot(IssuerRequest{CommonName: "r", Key: mustKey(f), Lifetime: year, Now: noon})
	if err != nil {
		f.Fatal(err)
	}
	keyText, err := EncodeKey(root.Key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(EncodeCerts(root.Cert))
	f.Add(keyText)
	f.Fuzz(func(t *testing.T, text []byte) {
		if certs, err := ParseCerts(text); err == nil && len(certs) == 0 {
			t.Error("no error and no certificate")
		}
		if k, err := ParseKey(text); err == nil && k == nil {
			t.Error("no error and no key")
		}
		_, _ = ParseCRL(text)
	})
}

func mustKey(f *testing.F) crypto.Signer {
	k, err := NewKey()
	if err != nil {
		f.Fatal(err)
	}
	return k
}
