package partner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/organization"
	"heddle.dev/heddle/internal/controller/partner"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/link/documents"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/podless"
)

const (
	network   = "trade"
	networkID = "id-of-trade"
	system    = "heddle-system"
	genesis   = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// site is one of two, each with an API server of its own.
type site struct {
	*controllertest.Env
	t *testing.T
	// id of the site, org that it has, and link by which the partner is called here.
	id, org, link string
	partners      *partner.Reconciler
	post          *post
}

// post hands descriptors over to the other site.
type post struct {
	mu   sync.Mutex
	to   *partner.Reconciler
	from string
	sent int
}

// Send hands a document over.
func (p *post) Send(ctx context.Context, _ *v1alpha1.SiteLink, kind, _ string, payload any) error {
	p.mu.Lock()
	to := p.to
	p.sent++
	p.mu.Unlock()
	if to == nil || kind != documents.KindDescriptor {
		return errors.New("nobody answers")
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	return to.Receive(ctx, p.from, &link.Envelope{Payload: raw})
}

func (p *post) connect(to *partner.Reconciler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to
}

func newSite(t *testing.T, id, org, partnerID string) *site {
	t.Helper()
	s := &site{Env: controllertest.Another(t, operator.AddToScheme), t: t, id: id, org: org, link: "at-" + partnerID, post: &post{from: "at-" + id}}
	self := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName}, Spec: v1alpha1.SiteSpec{Endpoints: []string{"192.0.2.1:8443"}}}
	other := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: s.link}, Spec: v1alpha1.SiteLinkSpec{SiteID: partnerID, Endpoints: []string{"192.0.2.1:8443"}}}
	s.make(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}, self, other)
	self.Status.SiteID = id
	other.Status.State = v1alpha1.LinkUp
	for _, o := range []client.Object{self, other} {
		if err := s.Client.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	mgr := podless.Manager(t, s.Rest, s.Client.Scheme())
	s.partners = partner.New(partner.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"),
		Nodes: access.New(access.Options{Reader: mgr.GetClient()}), Sender: s.post, System: system,
	})
	if err := errors.Join(s.partners.Register(mgr), organization.New(organization.Options{}).Register(mgr)); err != nil {
		t.Fatal(err)
	}
	s.Run(t, mgr.Start)
	return s
}

func (s *site) make(objects ...client.Object) {
	s.t.Helper()
	for _, o := range objects {
		if err := s.Client.Create(s.t.Context(), o); err != nil {
			s.t.Fatal(err)
		}
	}
}

// found makes the site's part of the network, with an orderer and a peer that are exported to the partner.
func (s *site) found(id string) {
	s.t.Helper()
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: network, Name: name, Labels: map[string]string{v1alpha1.LabelNetwork: network}}
	}
	mspID := strings.ToUpper(s.org) + "MSP"
	org := &v1alpha1.Organization{ObjectMeta: meta(s.org), Spec: v1alpha1.OrganizationSpec{MSPID: mspID, CA: v1alpha1.OrganizationCA{Mode: v1alpha1.CANone}}}
	export := &v1alpha1.NodeExport{ObjectMeta: meta("all"), Spec: v1alpha1.NodeExportSpec{Links: []string{s.link}, Selector: &metav1.LabelSelector{}}}
	s.make(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: network, Labels: map[string]string{v1alpha1.LabelNetwork: network}}},
		s.network(id), org,
		&v1alpha1.Orderer{ObjectMeta: meta("orderer0-" + s.org), Spec: v1alpha1.OrdererSpec{Organization: s.org}},
		&v1alpha1.Peer{ObjectMeta: meta("peer0-" + s.org), Spec: v1alpha1.PeerSpec{Organization: s.org}},
		&v1alpha1.Peer{ObjectMeta: meta("peer1-" + s.org), Spec: v1alpha1.PeerSpec{Organization: s.org}},
		export,
	)
	s.Eventually(s.t, "the organization has certificates", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(org), org); err != nil {
			return err
		}
		if !kube.IsReady(org) {
			return errors.New(kube.ReadyMessage(org))
		}
		return nil
	})
	s.make(s.nodeSecret(meta("orderer0-" + s.org)))
	export.Status.Nodes = []v1alpha1.ExportedNode{{Name: "orderer0-" + s.org, Port: 7050}, {Name: "peer0-" + s.org, Port: 7051}}
	if err := s.Client.Status().Update(s.t.Context(), export); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) network(id string) *v1alpha1.Network {
	return &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: network}, Spec: v1alpha1.NetworkSpec{
		NetworkID: id, Partners: []v1alpha1.NetworkPartner{{Link: s.link}},
		Organizations: []v1alpha1.NetworkOrganization{{
			Name: s.org, OrganizationSpec: v1alpha1.OrganizationSpec{MSPID: strings.ToUpper(s.org) + "MSP"},
			Orderers: &v1alpha1.NetworkOrderers{Count: ptr.To(int32(1))},
		}},
	}}
}

// nodeSecret has an orderer's certificates, by the issuers that the organization's controller made.
func (s *site) nodeSecret(meta metav1.ObjectMeta) *corev1.Secret {
	s.t.Helper()
	var ops corev1.Secret
	if err := s.Client.Get(s.t.Context(), client.ObjectKey{Namespace: network, Name: specs.OpsSecret(s.org)}, &ops); err != nil {
		s.t.Fatal(err)
	}
	sign, err1 := pki.LoadIssuer(ops.Data[specs.KeySignCert], ops.Data[specs.KeySignKey])
	served, err2 := pki.LoadIssuer(ops.Data[specs.KeyTLSCert], ops.Data[specs.KeyTLSKey])
	key, err3 := pki.NewKey()
	if err := errors.Join(err1, err2, err3); err != nil {
		s.t.Fatal(err)
	}
	now := time.Now()
	enrolment, err1 := sign.Enrol(pki.EnrolRequest{CommonName: meta.Name, Role: pki.RoleOrderer, Public: key.Public(), Lifetime: time.Hour, Now: now})
	tls, err2 := served.IssueTLS(pki.TLSRequest{
		CommonName: meta.Name, SANs: pki.NodeSANs(meta.Name, network), Public: key.Public(), Lifetime: time.Hour, Now: now,
	})
	if err := errors.Join(err1, err2); err != nil {
		s.t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{
		specs.KeyCert: pki.EncodeCerts(enrolment), specs.KeyNodeTLSCert: append(pki.EncodeCerts(tls), pki.EncodeCerts(served.Chain()...)...),
	}}
}

// offers waits until the partner's offers are as check wants them.
func (s *site) offers(what string, check func(status *v1alpha1.SiteLinkStatus) error) {
	s.t.Helper()
	s.Eventually(s.t, s.id+": "+what, func(ctx context.Context) error {
		l := &v1alpha1.SiteLink{}
		if err := s.Client.Get(ctx, client.ObjectKey{Name: s.link}, l); err != nil {
			return err
		}
		return check(&l.Status)
	})
}

// knows waits until the partner's organization is published here, just as there.
func (s *site) knows(other *site) {
	s.t.Helper()
	o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: other.org}}
	s.Eventually(s.t, s.id+" knows "+other.org, func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		if !kube.IsReady(o) {
			return errors.New(kube.ReadyMessage(o))
		}
		if o.Spec.Remote == nil || o.Spec.Remote.Link != s.link {
			return fmt.Errorf("%+v", o.Spec)
		}
		var names []string
		for _, n := range o.Spec.Remote.Nodes {
			names = append(names, n.Name)
		}
		slices.Sort(names)
		if diff := cmp.Diff([]string{"orderer0-" + other.org, "peer0-" + other.org}, names); diff != "" {
			return fmt.Errorf("exported nodes and no others: %s", diff)
		}
		return nil
	})
	here, there := &corev1.ConfigMap{}, &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: network, Name: specs.MSPConfigMap(other.org)}
	if err := errors.Join(s.Client.Get(s.t.Context(), key, here), other.Client.Get(s.t.Context(), key, there)); err != nil {
		s.t.Fatal(err)
	}
	delete(there.Data, specs.KeyCAChain)
	delete(here.Data, specs.KeyCAChain)
	if diff := cmp.Diff(there.Data, here.Data); diff != "" {
		s.t.Errorf("%s publishes another MSP than %s: %s", s.id, other.id, diff)
	}
}

func TestPartnersTellEachOther(t *testing.T) {
	a, b := newSite(t, "sitea", "banka", "siteb"), newSite(t, "siteb", "bankb", "sitea")
	a.post.connect(b.partners)
	b.post.connect(a.partners)
	a.found(networkID)

	b.offers("the network is offered", func(s *v1alpha1.SiteLinkStatus) error {
		if len(s.Networks) != 1 || s.Networks[0].NetworkID != networkID || len(s.Offered) != 2 {
			return fmt.Errorf("networks %+v, nodes %+v", s.Networks, s.Offered)
		}
		return nil
	})
	if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: network, Name: "banka"}, &v1alpha1.Organization{}); !apierrors.IsNotFound(err) {
		t.Errorf("something was made for a network that nobody has joined: %v", err)
	}

	// A network of that name that is another one takes nothing in.
	stranger := b.network("another-one")
	b.make(stranger)
	b.offers("another network of the name is said", func(s *v1alpha1.SiteLinkStatus) error {
		if len(s.Networks) != 1 {
			return fmt.Errorf("networks %+v", s.Networks)
		}
		return controllertest.Contains(s.Networks[0].Refused, "another-one", "another network")
	})
	if err := b.Client.Delete(t.Context(), stranger); err != nil {
		t.Fatal(err)
	}

	b.found(networkID)
	b.knows(a)
	a.knows(b)

	b.Eventually(t, "the offered nodes are imported", func(ctx context.Context) error {
		var list v1alpha1.NodeImportList
		if err := b.Client.List(ctx, &list, client.InNamespace(network)); err != nil {
			return err
		}
		var names []string
		for i := range list.Items {
			names = append(names, fmt.Sprintf("%s of %s:%d", list.Items[i].Name, list.Items[i].Spec.Link, list.Items[i].Spec.Port))
		}
		if diff := cmp.Diff([]string{"orderer0-banka of at-sitea:7050", "peer0-banka of at-sitea:7051"}, names); diff != "" {
			return errors.New(diff)
		}
		return nil
	})

	t.Run("a channel is an invitation", func(t *testing.T) {
		ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "demo"}, Spec: v1alpha1.ChannelSpec{
			ChannelSettings: v1alpha1.ChannelSettings{Organizations: []string{"banka", "bankb"}},
		}}
		other := ch.DeepCopy()
		other.Name, other.Spec.Organizations = "inner", []string{"banka"}
		a.make(ch, other)
		for _, one := range []*v1alpha1.Channel{ch, other} {
			one.Status.ChannelID, one.Status.GenesisHash = one.Name, genesis
			if err := a.Client.Status().Update(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
		b.offers("the channel is offered, and no other", func(s *v1alpha1.SiteLinkStatus) error {
			want := []v1alpha1.OfferedChannel{{Name: "demo", ChannelID: "demo", GenesisHash: genesis, Consensus: v1alpha1.ConsensusRaft, Timing: v1alpha1.TimingLAN}}
			if len(s.Networks) != 1 || !slices.Equal(s.Networks[0].Channels, want) {
				return fmt.Errorf("networks %+v", s.Networks)
			}
			return nil
		})
	})
	t.Run("certificates that come later", func(t *testing.T) { lateCertificates(t, a, b) })
	t.Run("nobody speaks for others", func(t *testing.T) { nobodySpeaksForOthers(t, a, b) })
}

// lateCertificates has A export an orderer that has no certificates yet, and later others in their place.
func lateCertificates(t *testing.T, a, b *site) {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: network, Name: "orderer1-banka", Labels: map[string]string{v1alpha1.LabelNetwork: network}}
	orderer := &v1alpha1.Orderer{ObjectMeta: meta, Spec: v1alpha1.OrdererSpec{Organization: "banka"}}
	a.make(orderer)
	export := &v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "all"}}
	a.Get(t, export)
	export.Status.Nodes = append(export.Status.Nodes, v1alpha1.ExportedNode{Name: meta.Name, Port: 7050}, v1alpha1.ExportedNode{Name: "peer1-banka", Port: 7051})
	if err := a.Client.Status().Update(t.Context(), export); err != nil {
		t.Fatal(err)
	}
	told := func(what string, certificate string) {
		t.Helper()
		b.Eventually(t, what, func(ctx context.Context) error {
			o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "banka"}}
			if err := b.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			got, peer := "", false
			for _, n := range o.Spec.Remote.Nodes {
				if n.Name == meta.Name {
					got = n.Certificate
				}
				peer = peer || n.Name == "peer1-banka"
			}
			if got != certificate || !peer {
				return fmt.Errorf("nodes %+v", o.Spec.Remote.Nodes)
			}
			return nil
		})
	}
	told("the peer is told of, and the orderer not before it has certificates", "")
	secret := a.nodeSecret(meta)
	a.make(secret)
	certified(t, a, orderer, time.Hour)
	told("the orderer is told of", string(secret.Data[specs.KeyCert]))
	secret.Data = a.nodeSecret(meta).Data
	if err := a.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	certified(t, a, orderer, 2*time.Hour)
	told("the renewed certificate is told of", string(secret.Data[specs.KeyCert]))
}

// certified says of an orderer what its controller says when there are certificates.
func certified(t *testing.T, s *site, o *v1alpha1.Orderer, lifetime time.Duration) {
	t.Helper()
	o.Status.Certificates = []v1alpha1.CertificateStatus{{Name: "enrolment", NotAfter: metav1.NewTime(time.Now().Add(lifetime))}}
	if err := s.Client.Status().Update(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// nobodySpeaksForOthers has A say things that are not A's to say.
func nobodySpeaksForOthers(t *testing.T, a, b *site) {
	t.Helper()
	a.post.connect(nil)
	var public corev1.ConfigMap
	if err := a.Client.Get(t.Context(), client.ObjectKey{Namespace: network, Name: specs.MSPConfigMap("banka")}, &public); err != nil {
		t.Fatal(err)
	}
	doc := func(site, name, mspID string) []byte {
		raw, err := json.Marshal(documents.Descriptor{SiteID: site, Networks: []documents.Network{{
			Name: network, NetworkID: networkID, Organizations: []documents.Organization{{
				Name: name, MSPID: mspID, CACertificates: public.Data[specs.KeyCACerts], TLSCACertificates: public.Data[specs.KeyTLSCACerts],
			}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if err := b.partners.Receive(t.Context(), b.link, &link.Envelope{Payload: doc("sitex", "bankx", "BankXMSP")}); err == nil {
		t.Error("a descriptor of another site was taken")
	} else if _, refused := link.AsRefusal(err); !refused {
		t.Errorf("the sender is not told why: %v", err)
	}
	if err := b.partners.Receive(t.Context(), b.link, &link.Envelope{Payload: []byte("{")}); err == nil {
		t.Error("half a descriptor was taken")
	}
	own := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "bankb"}}
	b.Get(t, own)
	for name, c := range map[string]struct{ org, mspID, say string }{
		"our organization": {"bankb", "BANKBMSP", "one of this site"},
		"our MSP ID":       {"bankx", "BANKBMSP", "MSP ID"},
		"another MSP ID":   {"banka", "BankXMSP", "MSP ID"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := b.partners.Receive(t.Context(), b.link, &link.Envelope{Payload: doc("sitea", c.org, c.mspID)}); err != nil {
				t.Fatal(err)
			}
			b.offers("it is refused", func(s *v1alpha1.SiteLinkStatus) error {
				if len(s.Networks) != 1 || len(s.Networks[0].Channels) != 0 {
					return fmt.Errorf("networks %+v", s.Networks)
				}
				return controllertest.Contains(s.Networks[0].Refused, c.say)
			})
			now := own.DeepCopy()
			b.Get(t, now)
			if diff := cmp.Diff(own.Spec, now.Spec); diff != "" {
				t.Errorf("our organization changed: %s", diff)
			}
		})
	}
	if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: network, Name: "bankx"}, &v1alpha1.Organization{}); !apierrors.IsNotFound(err) {
		t.Errorf("bankx was made: %v", err)
	}
}
