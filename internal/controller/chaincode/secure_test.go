package chaincode

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/fabric/msp"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// party makes an organisation's TLS issuers, its Secret, and what is known of it.
func party(t *testing.T, e *controllertest.Space, name string, since time.Time) (*member, *x509.Certificate) {
	t.Helper()
	now := time.Now()
	var chain []*pki.Issuer
	for _, cn := range []string{"root", "ops"} {
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		req := pki.IssuerRequest{CommonName: name + " " + cn, Key: key, Lifetime: 10 * 365 * 24 * time.Hour, Now: now}
		made, err := pki.NewRoot(req)
		if len(chain) > 0 {
			made, err = chain[0].NewIntermediate(req)
		}
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, made)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: specs.OpsSecret(name)}, Data: map[string][]byte{}}
	if err := (keys.Issuers{Sign: chain[1], TLS: chain[1]}).Write(secret.Data); err != nil {
		t.Fatal(err)
	}
	if err := e.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	material := msp.Material{TLSCACerts: [][]byte{pki.EncodeCerts(chain[0].Cert)}, TLSIntermediates: [][]byte{pki.EncodeCerts(chain[1].Cert)}}
	return &member{org: &access.Organization{Name: name, MSP: material}, since: metav1.NewTime(since)}, chain[0].Cert
}

// securing is a contract and those who are on its channel, over several rounds.
type securing struct {
	t       *testing.T
	e       *controllertest.Space
	r       *Reconciler
	cc      *v1alpha1.Chaincode
	parties []*member
	now     time.Time
}

// round returns what one round made: the package id, the certificate, its key, and the world.
func (s *securing) round() (id string, pair keys.Pair, w *world) {
	s.t.Helper()
	w = &world{chaincode: s.cc, channel: &v1alpha1.Channel{}, network: s.e.Namespace, image: s.cc.Spec.Image, parties: s.parties, now: s.now}
	if err := kube.Run(s.t.Context(), w, s.r.secure, s.r.pack, s.r.serve); err != nil {
		s.t.Fatal(err)
	}
	return w.packageID, keys.Read(s.secret().Data, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey), w
}

func (s *securing) secret() *corev1.Secret {
	s.t.Helper()
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.e.Namespace, Name: specs.ChaincodeTLSSecretName(s.cc.Name)}
	if err := s.e.Get(s.t.Context(), key, secret); client.IgnoreNotFound(err) != nil {
		s.t.Fatal(err)
	}
	return secret
}

// verified: the certificate is good for the contract's address, below the root that is in the package, and for nothing
// but a server.
func (s *securing) verified(w *world, pair keys.Pair) {
	s.t.Helper()
	p, err := ccpackage.Read(w.pkg)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := p.Connection()
	if err != nil || !c.TLSRequired || !c.ClientAuthRequired || c.ClientCert != "" || c.ClientKey != "" || bytes.Contains(w.pkg, []byte("PRIVATE KEY")) {
		s.t.Errorf("connection %+v, %v", c, err)
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: s.now,
		DNSName: strings.TrimSuffix(c.Address, ":9999"), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	opts.Roots.AppendCertsFromPEM([]byte(c.RootCert))
	for _, above := range pair.Chain {
		opts.Intermediates.AddCert(above)
	}
	if _, err := pair.Cert.Verify(opts); err != nil {
		s.t.Error(err)
	}
	opts.KeyUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if _, err := pair.Cert.Verify(opts); err == nil {
		s.t.Error("the contract can pass for a client of nodes")
	}
	data := s.secret().Data
	if _, err := tls.X509KeyPair(data[specs.KeyNodeTLSCert], data[specs.KeyNodeTLSKey]); err != nil {
		s.t.Error(err)
	}
}

// TestSecure: a contract that runs as a service has a certificate of the oldest organisation on its channel, renewed for
// the same key in time. Whatever is renewed, the package stays the same one, and the pods are replaced.
func TestSecure(t *testing.T) {
	e := newSpace(t)
	born := time.Now()
	banka, rootA := party(t, e, "banka", born.Add(-time.Minute))
	bankb, rootB := party(t, e, "bankb", born.Add(-time.Hour))
	r := New(Options{Client: e, Reader: e, Nodes: access.New(access.Options{Reader: e})})
	cc := newChaincode(e, v1alpha1.ChaincodeSpec{Image: "registry.local/asset:1"})
	if err := e.Create(t.Context(), cc); err != nil {
		t.Fatal(err)
	}
	s := &securing{t: t, e: e, r: r, cc: cc, parties: []*member{banka, bankb}, now: born}
	id, first, w := s.round()
	s.verified(w, first)
	if secret := s.secret(); !metav1.IsControlledBy(secret, cc) || !bytes.Equal(secret.Data[specs.KeyNodeTLSRoots], pki.EncodeCerts(rootA, rootB)) {
		t.Error("the Secret is not the contract's own, or lets in others than the channel's peers")
	}
	if !bytes.Equal(w.security.root, pki.EncodeCerts(rootB)) {
		t.Error("it is not the oldest organisation that issues")
	}
	if len(w.security.certificates) != 1 || *w.security.certificates[0].DaysLeft < 363 {
		t.Errorf("status %+v", w.security.certificates)
	}
	rolled := func(before *world, what string, want bool) *world {
		t.Helper()
		again, pair, after := s.round()
		s.verified(after, pair)
		if again != id {
			t.Errorf("%s: another package", what)
		}
		if (after.security.material != before.security.material) != want {
			t.Errorf("%s: pods replaced: %t", what, !want)
		}
		if !slices.Equal(first.Cert.RawSubjectPublicKeyInfo, pair.Cert.RawSubjectPublicKeyInfo) {
			t.Errorf("%s: another key", what)
		}
		return after
	}
	w = rolled(w, "nothing new", false)
	s.now = born.AddDate(0, 0, 300)
	w = rolled(w, "a certificate that ends", true)
	older, _ := party(t, e, "old", born.Add(-24*time.Hour))
	s.parties = append(s.parties, older)
	w = rolled(w, "another organisation", true)
	s.parties = []*member{bankb}
	rolled(w, "organisations less", true)

	if err := e.Delete(t.Context(), s.secret()); err != nil {
		t.Fatal(err)
	}
	if again, pair, w := s.round(); again != id || slices.Equal(first.Cert.RawSubjectPublicKeyInfo, pair.Cert.RawSubjectPublicKeyInfo) {
		t.Error("a Secret that was deleted: another package, or the same key")
	} else {
		s.verified(w, pair)
	}
	s.parties = []*member{banka}
	if again, pair, w := s.round(); again == id {
		t.Error("the issuer is gone, and the package the same")
	} else {
		s.verified(w, pair)
	}

	cc.Spec.TLS, cc.Spec.Runtime = v1alpha1.TLSDisabled, v1alpha1.RuntimeService
	cc.Status.Certificates = []v1alpha1.CertificateStatus{{Name: "tls"}}
	_, pair, w := s.round()
	if w.report(cc); pair.Key != nil || w.security != nil || cc.Status.Certificates != nil || w.connection().TLSRequired {
		t.Error("plain text was asked for, and there is a certificate")
	}
}

// TestSecureWaits: where organisations are still being made, the first to have certificates is not the oldest.
func TestSecureWaits(t *testing.T) {
	e := newSpace(t)
	banka, _ := party(t, e, "banka", time.Now())
	cc := newChaincode(e, v1alpha1.ChaincodeSpec{Image: "registry.local/asset:1"})
	r := New(Options{Client: e, Reader: e, Nodes: access.New(access.Options{Reader: e})})
	for name, w := range map[string]*world{
		"nobody":            {},
		"one lacks its own": {parties: []*member{banka}, lacking: "bankb"},
	} {
		w.chaincode, w.channel, w.network, w.now = cc, &v1alpha1.Channel{}, e.Namespace, time.Now()
		if i, ok := kube.AsIntent(r.secure(t.Context(), w)); !ok || i.Stalled || i.Reason != v1alpha1.ReasonWaitingForDependency {
			t.Errorf("%s: %+v", name, i)
		}
	}
}
