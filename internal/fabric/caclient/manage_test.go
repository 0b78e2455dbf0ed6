package caclient_test

import (
	"slices"
	"testing"

	"heddle.dev/heddle/internal/fabric/caclient"
	"heddle.dev/heddle/internal/pki"
)

func TestKnownAndModify(t *testing.T) {
	ctx, _, ca, client := start(t)
	registrar := enrol(t, ctx, client, ca.Registrar, ca.Secret)
	known, err := client.Identity(ctx, registrar, "bob")
	ok(t, err)
	if known != nil {
		t.Fatalf("the CA knows %+v", known)
	}
	_, err = client.Register(ctx, registrar, caclient.Registration{
		Name: "bob", Type: "client", Secret: "first", MaxEnrollments: -1,
		Attributes: []caclient.Attribute{{Name: "owner", Value: "a/b"}, {Name: "role", Value: "teller", InCert: true}, {Name: "old", Value: "x", InCert: true}},
	})
	ok(t, err)
	known, err = client.Identity(ctx, registrar, "bob")
	ok(t, err)
	if known == nil || !slices.Contains(known.Attributes, caclient.Attribute{Name: "owner", Value: "a/b"}) {
		t.Fatalf("the CA knows %+v", known)
	}
	ok(t, client.Modify(ctx, registrar, caclient.Registration{
		Name: "bob", Secret: "second", MaxEnrollments: -1,
		Attributes: []caclient.Attribute{{Name: "role", Value: "boss", InCert: true}, {Name: "old"}},
	}))
	key, err := pki.NewKey()
	ok(t, err)
	if _, err := client.Enrol(ctx, "bob", "first", caclient.Enrolment{Key: key}); err == nil {
		t.Error("the old secret still works")
	}
	bob := enrol(t, ctx, client, "bob", "second")
	cert, err := pki.ParseCert(bob.Credentials())
	ok(t, err)
	attributes := pki.AttributesOf(cert)
	if _, there := attributes["old"]; there || attributes["role"] != "boss" {
		t.Errorf("attributes %v", attributes)
	}
	if _, there := attributes["owner"]; there {
		t.Error("an attribute that is not for certificates stands in one")
	}
}
