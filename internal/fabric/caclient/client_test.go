package caclient_test

import (
	"context"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"heddle.dev/heddle/internal/fabric/caclient"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T) (context.Context, *bare.Org, *bare.CA, *caclient.Client) {
	t.Helper()
	program := bare.RequireCA(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	org, err := bare.NewOrg("banka")
	ok(t, err)
	ca, err := bare.StartCA(ctx, program, t.TempDir(), org)
	if ca != nil {
		t.Cleanup(ca.Kill)
	}
	ok(t, err)
	client, err := ca.Client()
	ok(t, err)
	t.Cleanup(client.Close)
	return ctx, org, ca, client
}

func enrol(t *testing.T, ctx context.Context, client *caclient.Client, name, secret string) *identity.Identity {
	t.Helper()
	key, err := pki.NewKey()
	ok(t, err)
	enrolled, err := client.Enrol(ctx, name, secret, caclient.Enrolment{Key: key})
	ok(t, err)
	id, err := identity.New("bankaMSP", enrolled.Cert, key)
	ok(t, err)
	return id
}

func serial(t *testing.T, id *identity.Identity) *big.Int {
	t.Helper()
	cert, err := pki.ParseCert(id.Credentials())
	ok(t, err)
	return cert.SerialNumber
}

// revoked tells whether a list, signed by the application authority, has a
// serial.
func revoked(t *testing.T, org *bare.Org, text []byte, serial *big.Int) bool {
	t.Helper()
	list, err := pki.ParseCRL(text)
	ok(t, err)
	ok(t, list.CheckSignatureFrom(org.App.Cert))
	for _, entry := range list.RevokedCertificateEntries {
		if entry.SerialNumber.Cmp(serial) == 0 {
			return true
		}
	}
	return false
}

func TestLifeOfAnIdentity(t *testing.T) {
	ctx, org, ca, client := start(t)
	info, err := client.Info(ctx)
	ok(t, err)
	chain, err := pki.ParseCerts(info.Chain)
	ok(t, err)
	if len(chain) != 2 || !chain[0].Equal(org.App.Cert) || info.Version != "v1.5.15" && info.Version != "1.5.15" {
		t.Errorf("a chain of %d, version %q", len(chain), info.Version)
	}
	registrar := enrol(t, ctx, client, ca.Registrar, ca.Secret)
	secret, err := client.Register(ctx, registrar, caclient.Registration{
		Name: "alice", Type: "client", MaxEnrollments: -1,
		Attributes: []caclient.Attribute{{Name: "role", Value: "teller", InCert: true}},
	})
	ok(t, err)
	if secret == "" {
		t.Error("the server drew no secret")
	}
	alice := enrol(t, ctx, client, "alice", secret)
	cert, err := pki.ParseCert(alice.Credentials())
	ok(t, err)
	if cert.Subject.CommonName != "alice" || pki.RoleOf(cert) != pki.RoleClient || cert.CheckSignatureFrom(org.App.Cert) != nil {
		t.Errorf("certificate of %v", cert.Subject)
	}

	key, err := pki.NewKey()
	ok(t, err)
	renewed, err := client.Reenrol(ctx, alice, "alice", caclient.Enrolment{Key: key, Profile: caclient.TLS, Hosts: []string{"app.trade", "10.0.0.9"}})
	ok(t, err)
	served, err := pki.ParseCert(renewed.Cert)
	ok(t, err)
	if got := pki.SANs(served); !slices.Equal(got, []string{"10.0.0.9", "app.trade"}) || !pki.SameKey(served, key) {
		t.Errorf("TLS certificate for %v", got)
	}

	before, err := client.CRL(ctx, registrar)
	ok(t, err)
	if revoked(t, org, before, serial(t, alice)) {
		t.Error("alice is revoked before her time")
	}
	one := enrol(t, ctx, client, "alice", secret)
	oneCert, err := pki.ParseCert(one.Credentials())
	ok(t, err)
	list, err := client.Revoke(ctx, registrar, caclient.Revocation{Serial: hex.EncodeToString(oneCert.SerialNumber.Bytes()), AKI: hex.EncodeToString(oneCert.AuthorityKeyId)})
	ok(t, err)
	if !revoked(t, org, list, oneCert.SerialNumber) || revoked(t, org, list, serial(t, alice)) {
		t.Error("not exactly one certificate is revoked")
	}
	list, err = client.Revoke(ctx, registrar, caclient.Revocation{Name: "alice", Reason: "keycompromise"})
	ok(t, err)
	if !revoked(t, org, list, serial(t, alice)) {
		t.Error("alice is not revoked")
	}
	after, err := client.CRL(ctx, registrar)
	ok(t, err)
	if !revoked(t, org, after, serial(t, alice)) {
		t.Error("alice is not in the list")
	}
}

func TestRefusals(t *testing.T) {
	ctx, org, ca, client := start(t)
	key, err := pki.NewKey()
	ok(t, err)
	var refused *caclient.Error
	if _, err := client.Enrol(ctx, ca.Registrar, "wrong", caclient.Enrolment{Key: key}); !errors.As(err, &refused) || !refused.Unauthorized() || refused.Message == "" {
		t.Errorf("a wrong secret: %v", err)
	}
	registrar := enrol(t, ctx, client, ca.Registrar, ca.Secret)
	if _, err := client.Register(ctx, registrar, caclient.Registration{Name: ca.Registrar, Type: "client"}); !errors.As(err, &refused) {
		t.Errorf("a name that is taken: %v", err)
	}
	if _, err := client.Revoke(ctx, registrar, caclient.Revocation{Name: "nobody"}); !errors.As(err, &refused) {
		t.Errorf("revoking nobody: %v", err)
	}
	stranger, err := bare.NewOrg("stranger")
	ok(t, err)
	if _, err := client.Register(ctx, stranger.Admin, caclient.Registration{Name: "bob"}); !errors.As(err, &refused) || !refused.Unauthorized() {
		t.Errorf("a stranger registers: %v", err)
	}
	if _, err := client.CRL(ctx, stranger.Admin); !errors.As(err, &refused) {
		t.Errorf("a stranger's list: %v", err)
	}
	distrusting, err := caclient.New(caclient.Options{Address: ca.Address, Roots: stranger.TLSRoots()})
	ok(t, err)
	defer distrusting.Close()
	if _, err := distrusting.Info(ctx); err == nil {
		t.Error("a foreign authority is trusted")
	}
	for name, options := range map[string]caclient.Options{
		"no roots": {Address: ca.Address}, "no port": {Address: "ca", Roots: org.TLSRoots()},
	} {
		if _, err := caclient.New(options); err == nil {
			t.Errorf("%s: made a client", name)
		}
	}
	other, err := caclient.New(caclient.Options{Address: ca.Address, Roots: org.TLSRoots(), CAName: "other"})
	ok(t, err)
	defer other.Close()
	if _, err := other.Info(ctx); !errors.As(err, &refused) {
		t.Errorf("another CA's name: %v", err)
	}
}
