package proposal_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/proposal"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/link/documents"
	"heddle.dev/heddle/internal/operator"
)

// receiver is a site that shares a network with site-a, and not with site-x. Nothing runs there but the handlers.
func receiver(t *testing.T) (*controllertest.Env, *proposal.Reconciler, string) {
	t.Helper()
	env := controllertest.New(t, operator.AddToScheme)
	network := controllertest.Name("trade")
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: network}},
		&v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: network}, Spec: v1alpha1.NetworkSpec{
			NetworkID: networkID, Partners: []v1alpha1.NetworkPartner{{Link: "site-a"}, {Link: "site-c"}},
			Organizations: []v1alpha1.NetworkOrganization{{Name: "bankb", OrganizationSpec: v1alpha1.OrganizationSpec{MSPID: "BankbMSP"}}},
		}},
		&v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "demo"}, Spec: v1alpha1.ChannelSpec{
			ChannelSettings: v1alpha1.ChannelSettings{ChannelID: "demo.1"},
		}},
	} {
		if err := env.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return env, proposal.New(proposal.Options{Client: env.Client, Reader: env.Client}), network
}

func envelope(t *testing.T, payload any) *link.Envelope {
	t.Helper()
	raw, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	return &link.Envelope{Payload: raw}
}

func TestProposalsThatAreRefused(t *testing.T) {
	env, r, network := receiver(t)
	good := documents.Proposal{
		Network: network, NetworkID: networkID, ChannelID: "demo.1", Update: []byte("update"), BaseSequence: 3, ExpiresAt: time.Now().Add(time.Hour),
	}
	for name, c := range map[string]struct {
		from  string
		spoil func(p *documents.Proposal)
	}{
		"somebody who is no partner": {"site-x", func(*documents.Proposal) {}},
		"another network":            {"site-a", func(p *documents.Proposal) { p.Network = "nowhere" }},
		"another networkID":          {"site-a", func(p *documents.Proposal) { p.NetworkID = "id-of-other" }},
		"an unknown channel":         {"site-a", func(p *documents.Proposal) { p.ChannelID = "demo" }},
		"a deadline that has passed": {"site-a", func(p *documents.Proposal) { p.ExpiresAt = time.Now().Add(-time.Hour) }},
		"a deadline far away":        {"site-a", func(p *documents.Proposal) { p.ExpiresAt = time.Now().AddDate(1, 0, 0) }},
		"nothing to change":          {"site-a", func(p *documents.Proposal) { p.Update = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			c.spoil(&p)
			if _, refused := link.AsRefusal(r.ReceiveProposal(t.Context(), c.from, envelope(t, p))); !refused {
				t.Error("it was not refused in words")
			}
		})
	}
	var all v1alpha1.ProposalList
	if err := env.Client.List(t.Context(), &all, client.InNamespace(network)); err != nil || len(all.Items) != 0 {
		t.Fatalf("%d proposals were made, %v", len(all.Items), err)
	}
	for range 3 { // again and again: one Proposal
		if err := r.ReceiveProposal(t.Context(), "site-a", envelope(t, good)); err != nil {
			t.Fatal(err)
		}
	}
	if _, refused := link.AsRefusal(r.ReceiveProposal(t.Context(), "site-c", envelope(t, good))); !refused {
		t.Error("another partner made the proposal its own")
	}
	if err := env.Client.List(t.Context(), &all, client.InNamespace(network)); err != nil || len(all.Items) != 1 {
		t.Fatalf("%d proposals, %v", len(all.Items), err)
	}
	if p := all.Items[0].Spec; p.Link != "site-a" || p.Decision != "" || string(p.UpdateBytes()) != "update" || *p.BaseSequence != 3 {
		t.Errorf("%+v", p)
	}
}

// A partner that floods fills its own share and nobody else's.
func TestFloodOfProposals(t *testing.T) {
	_, r, network := receiver(t)
	send := func(from string, i int) error {
		return r.ReceiveProposal(t.Context(), from, envelope(t, documents.Proposal{
			Network: network, NetworkID: networkID, ChannelID: "demo.1", Update: fmt.Appendf(nil, "update %d", i), BaseSequence: 3, ExpiresAt: time.Now().Add(time.Hour),
		}))
	}
	for i := range 32 {
		if err := send("site-a", i); err != nil {
			t.Fatal(err)
		}
	}
	if _, refused := link.AsRefusal(send("site-a", 32)); !refused {
		t.Error("the 33rd open proposal was taken")
	}
	if err := send("site-c", 100); err != nil {
		t.Errorf("another partner: %v", err)
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	env, r, network := receiver(t)
	own := &v1alpha1.Proposal{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "own"}, Spec: v1alpha1.ProposalSpec{
		Channel: "demo", ChannelID: "demo.1", Update: "dXBkYXRl", BaseSequence: ptr.To(int64(3)), ExpiresAt: ptr.To(metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second))),
	}}
	theirs := own.DeepCopy()
	theirs.Name, theirs.Spec.Link, theirs.Spec.Update = "theirs", "site-c", "b3RoZXIh"
	for _, p := range []*v1alpha1.Proposal{own, theirs} {
		if err := env.Client.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}

	sign := documents.Signature{
		Network: network, NetworkID: networkID, ChannelID: "demo.1", Digest: sum("update"), Decision: "Sign",
		Signatures: []documents.ConfigSignature{{MSPID: "BankaMSP", Header: []byte("h"), Signature: []byte("s")}},
	}
	for name, c := range map[string]struct {
		from  string
		spoil func(s *documents.Signature)
	}{
		"somebody who is no partner": {"site-x", func(*documents.Signature) {}},
		"another networkID":          {"site-a", func(s *documents.Signature) { s.NetworkID = "id-of-other" }},
		"an unknown proposal":        {"site-a", func(s *documents.Signature) { s.Digest = sum("nothing") }},
		"a proposal of others":       {"site-a", func(s *documents.Signature) { s.Digest = sum("other!") }},
		"another channel":            {"site-a", func(s *documents.Signature) { s.ChannelID = "demo" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := sign
			c.spoil(&s)
			if _, refused := link.AsRefusal(r.ReceiveSignature(t.Context(), c.from, envelope(t, s))); !refused {
				t.Error("it was not refused in words")
			}
		})
	}
	reject := sign
	reject.Decision, reject.Signatures, reject.Reason = "Reject", nil, "no"
	for _, s := range []documents.Signature{reject, sign} {
		if err := r.ReceiveSignature(t.Context(), "site-a", envelope(t, s)); err != nil {
			t.Fatal(err)
		}
	}
	if _, refused := link.AsRefusal(r.ReceiveSignature(t.Context(), "site-a", envelope(t, reject))); !refused {
		t.Error("a signature was taken back")
	}
	if err := r.ReceiveSignature(t.Context(), "site-c", envelope(t, reject)); err != nil {
		t.Fatal(err)
	}
	env.Get(t, own)
	got := map[string]v1alpha1.Decision{}
	for _, a := range own.Spec.Answers {
		got[a.Link] = a.Decision
	}
	if len(own.Spec.Answers) != 2 || got["site-a"] != v1alpha1.DecisionSign || got["site-c"] != v1alpha1.DecisionReject {
		t.Errorf("answers %+v", own.Spec.Answers)
	}
}

func sum(update string) string {
	s := sha256.Sum256([]byte(update))
	return hex.EncodeToString(s[:])
}
