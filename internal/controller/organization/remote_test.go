package organization_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/organization"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/bare"
)

// partner is an organization with its keys, as its own site has it.
func partner(t *testing.T, name string) *bare.Org {
	t.Helper()
	o, err := bare.NewOrg(name)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func joined(blocks [][]byte) string { return string(slices.Concat(blocks...)) }

// leaves are an orderer's certificates, enrolment and TLS.
func leaves(t *testing.T, o *bare.Org, node, namespace string, role pki.Role) (enrolment, tls string) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	sign, err := o.Ops.Enrol(pki.EnrolRequest{CommonName: node, Role: role, Public: key.Public(), Lifetime: time.Hour, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	served, err := o.TLSOps.IssueTLS(pki.TLSRequest{
		CommonName: node, SANs: pki.NodeSANs(node, namespace), Public: key.Public(), Lifetime: time.Hour, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(pki.EncodeCerts(sign)), string(pki.EncodeCerts(served))
}

func remote(t *testing.T, e *controllertest.Space, from *bare.Org) *v1alpha1.Organization {
	t.Helper()
	o := banka(e)
	o.Name, o.Spec.MSPID = "bankb", "BankBMSP"
	sign, tls := leaves(t, from, "orderer0-bankb", e.Namespace, pki.RoleOrderer)
	o.Spec.Remote = &v1alpha1.RemoteOrganization{
		Link:           "site-b",
		CACertificates: joined(from.Material.CACerts), IntermediateCertificates: joined(from.Material.IntermediateCerts),
		TLSCACertificates: joined(from.Material.TLSCACerts), TLSIntermediateCertificates: joined(from.Material.TLSIntermediates),
		Nodes: []v1alpha1.RemoteNode{
			{Name: "orderer0-bankb", Port: v1alpha1.PortOrderer, Certificate: sign, TLSCertificate: tls},
			{Name: "peer0-bankb", Port: v1alpha1.PortPeer},
		},
	}
	return o
}

func TestRemoteOrganizationIsPublishedAndHasNoKeys(t *testing.T) {
	e := start(t, organization.Options{})
	from := partner(t, "bankb")
	o := remote(t, e, from)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)

	var cm corev1.ConfigMap
	if !e.Read(t, &cm, "bankb-msp") {
		t.Fatal("there is no ConfigMap bankb-msp")
	}
	id, material, err := specs.MSPMaterial(&cm)
	if err != nil || id != "BankBMSP" {
		t.Fatalf("the ConfigMap is of %q: %v", id, err)
	}
	if !slices.EqualFunc(material.IntermediateCerts, from.Material.IntermediateCerts, bytes.Equal) ||
		!slices.EqualFunc(material.TLSCACerts, from.Material.TLSCACerts, bytes.Equal) {
		t.Error("the published certificates are not the partner's")
	}
	if o.Status.CAAddress != "" || len(o.Status.MSPHash) != 64 {
		t.Errorf("status %+v", o.Status)
	}
	var secrets corev1.SecretList
	if err := e.Client.List(t.Context(), &secrets, client.InNamespace(e.Namespace)); err != nil {
		t.Fatal(err)
	}
	for i := range secrets.Items {
		if strings.HasPrefix(secrets.Items[i].Name, "bankb") {
			t.Errorf("Secret %s was made for an organization of another site", secrets.Items[i].Name)
		}
	}
}

func TestRemoteOrganizationThatCannotBeUsed(t *testing.T) {
	e := start(t, organization.Options{})
	from, other := partner(t, "bankb"), partner(t, "bankc")
	for name, c := range map[string]struct {
		spoil func(o *v1alpha1.Organization)
		say   string
	}{
		"no PEM":        {func(o *v1alpha1.Organization) { o.Spec.Remote.CACertificates = "certificate" }, "PEM"},
		"a private key": {func(o *v1alpha1.Organization) { o.Spec.Remote.CACertificates += privateKey(t) }, "PRIVATE KEY"},
		"no root":       {func(o *v1alpha1.Organization) { o.Spec.Remote.CACertificates = joined(from.Material.IntermediateCerts) }, "no root"},
		"other intermediates": {func(o *v1alpha1.Organization) {
			o.Spec.Remote.IntermediateCertificates = joined(other.Material.IntermediateCerts)
		}, "does not lead to a root"},
		"other TLS":            {func(o *v1alpha1.Organization) { o.Spec.Remote.TLSCACertificates = joined(other.Material.TLSCACerts) }, "TLS"},
		"node of another name": {func(o *v1alpha1.Organization) { o.Spec.Remote.Nodes[1].Name = "peer0-banka" }, "does not end in -bankb"},
		"orderer of another": {func(o *v1alpha1.Organization) {
			o.Spec.Remote.Nodes[0].Certificate, _ = leaves(t, other, "orderer0-bankb", e.Namespace, pki.RoleOrderer)
		}, "orderer0-bankb"},
		"orderer that is a peer": {func(o *v1alpha1.Organization) {
			o.Spec.Remote.Nodes[0].Certificate, _ = leaves(t, from, "orderer0-bankb", e.Namespace, pki.RolePeer)
		}, "none of an orderer"},
		"TLS for another network": {func(o *v1alpha1.Organization) {
			_, o.Spec.Remote.Nodes[0].TLSCertificate = leaves(t, from, "orderer0-bankb", "elsewhere", pki.RoleOrderer)
		}, "orderer0-bankb"},
	} {
		t.Run(name, func(t *testing.T) {
			o := remote(t, e, from)
			c.spoil(o)
			e.Make(t, o)
			e.AwaitReason(t, o, v1alpha1.ReasonInvalidSpec)
			if err := controllertest.Contains(kube.ReadyMessage(o), c.say); err != nil {
				t.Error(err)
			}
			var cm corev1.ConfigMap
			if e.Read(t, &cm, "bankb-msp") {
				t.Error("it was published")
			}
			if err := e.Client.Delete(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			e.Eventually(t, "the object is gone", func() bool { return !e.Read(t, &v1alpha1.Organization{}, "bankb") })
		})
	}
}

func privateKey(t *testing.T) string {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRemoteOrganizationExpires(t *testing.T) {
	e := start(t, organization.Options{Now: func() time.Time { return time.Now().AddDate(40, 0, 0) }})
	o := remote(t, e, partner(t, "bankb"))
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonInvalidSpec)
	if err := controllertest.Contains(kube.ReadyMessage(o), "expired"); err != nil {
		t.Error(err)
	}
}

// Where our organization's name ends in the partner's, a node of the partner could have the name of one of ours.
func TestRemoteNodeWithOurName(t *testing.T) {
	e := start(t, organization.Options{})
	own := withoutCA(e)
	own.Name, own.Spec.MSPID = "x-bankb", "XMSP"
	e.Make(t, own)
	e.AwaitReason(t, own, v1alpha1.ReasonReady)
	o := remote(t, e, partner(t, "bankb"))
	o.Spec.Remote.Nodes[1].Name = "peer0-x-bankb"
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonInvalidSpec)
	if err := controllertest.Contains(kube.ReadyMessage(o), "peer0-x-bankb", "of this site"); err != nil {
		t.Error(err)
	}
}

// An organization whose keys are here is nobody else's, even when its object is gone.
func TestRemoteOrganizationBesideKeys(t *testing.T) {
	e := start(t, organization.Options{})
	own := withoutCA(e)
	own.Name, own.Spec.MSPID = "bankb", "BankBMSP"
	e.Make(t, own)
	e.AwaitReason(t, own, v1alpha1.ReasonReady)
	if err := e.Client.Delete(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the object is gone", func() bool { return !e.Read(t, &v1alpha1.Organization{}, "bankb") })
	o := remote(t, e, partner(t, "bankb"))
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonInvalidOwnership)
}

// A partner cannot take an MSP ID that another organization of the network has.
func TestRemoteOrganizationWithOurMSPID(t *testing.T) {
	e := start(t, organization.Options{})
	own := withoutCA(e)
	e.Make(t, own)
	e.AwaitReason(t, own, v1alpha1.ReasonReady)
	o := remote(t, e, partner(t, "bankb"))
	o.Spec.MSPID = own.Spec.MSPID
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonInvalidSpec)
	if err := controllertest.Contains(kube.ReadyMessage(o), "BankAMSP", "banka"); err != nil {
		t.Error(err)
	}
}
