package proposal_test

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

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/chaincode"
	"heddle.dev/heddle/internal/controller/channel"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/proposal"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/link/documents"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/podless"
)

const networkID = "id-of-trade"

// site is one of two, each with an API server of its own.
type site struct {
	*controllertest.Env
	t *testing.T
	// name of the site as its partner's SiteLink has it, and the one of the partner here.
	name, partner string
	nodes         *podless.Namespace
	proposals     *proposal.Reconciler
	post          *post
}

// post carries documents between the sites by calling the other's handlers, as the link's server would.
type post struct {
	mu sync.Mutex
	// to is the other site; nil until it is there.
	to   *proposal.Reconciler
	from string
	// closed loses everything.
	closed bool
	sent   []string
}

// Send hands a document over.
func (p *post) Send(ctx context.Context, _ *v1alpha1.SiteLink, kind, _ string, payload any) error {
	p.mu.Lock()
	to, closed := p.to, p.closed
	p.sent = append(p.sent, kind)
	p.mu.Unlock()
	if to == nil || closed {
		return errors.New("nobody answers")
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	switch kind {
	case documents.KindProposal:
		return to.ReceiveProposal(ctx, p.from, &link.Envelope{Payload: raw})
	case documents.KindSignature:
		return to.ReceiveSignature(ctx, p.from, &link.Envelope{Payload: raw})
	}
	return fmt.Errorf("kind %q", kind)
}

func (p *post) close(closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = closed
}

// twoSites are A, with an orderer and a peer of banka, and B with the same of bankb.
func twoSites(t *testing.T) (a, b *site) {
	t.Helper()
	network := controllertest.Name("trade")
	a = &site{Env: controllertest.New(t, operator.AddToScheme), t: t, name: "site-a", partner: "site-b", post: &post{from: "site-a"}}
	b = &site{Env: controllertest.Another(t, operator.AddToScheme), t: t, name: "site-b", partner: "site-a", post: &post{from: "site-b"}}
	for s, org := range map[*site]string{a: "banka", b: "bankb"} {
		s.nodes = podless.New(t, s.Client, network)
		s.nodes.AddOrg(org, strings.ToUpper(org[:1])+org[1:]+"MSP")
		s.nodes.AddOrderer("orderer0-"+org, org)
		s.nodes.AddPeer("peer0-"+org, org)
		net := &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: network}, Spec: v1alpha1.NetworkSpec{
			NetworkID: networkID, Partners: []v1alpha1.NetworkPartner{{Link: s.partner}},
			Organizations: []v1alpha1.NetworkOrganization{{
				Name: org, OrganizationSpec: v1alpha1.OrganizationSpec{MSPID: s.nodes.Orgs[org].MSPID},
				Orderers: &v1alpha1.NetworkOrderers{Count: ptr.To(int32(1))}, Peers: &v1alpha1.NetworkPeers{Count: ptr.To(int32(1))},
			}},
		}}
		link := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: s.partner}, Spec: v1alpha1.SiteLinkSpec{
			SiteID: strings.ReplaceAll(s.partner, "-", ""), Endpoints: []string{"192.0.2.1:8443"},
		}}
		for _, obj := range []client.Object{net, link} {
			if err := s.Client.Create(t.Context(), obj); client.IgnoreAlreadyExists(err) != nil {
				t.Fatal(err)
			}
		}
	}
	a.nodes.Meet(b.nodes)
	a.nodes.AddRemote(b.nodes, "bankb", "site-b", "orderer0-bankb", "peer0-bankb")
	b.nodes.AddRemote(a.nodes, "banka", "site-a", "orderer0-banka", "peer0-banka")
	a.start()
	b.start()
	a.post.to, b.post.to = b.proposals, a.proposals
	return a, b
}

func (s *site) start() {
	s.t.Helper()
	mgr := podless.Manager(s.t, s.Rest, s.Client.Scheme(), s.nodes.Name)
	nodes := access.New(access.Options{Reader: mgr.GetClient(), Dial: s.nodes.Dial})
	channels := channel.New(channel.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"), Nodes: nodes,
	})
	contracts := chaincode.New(chaincode.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"), Nodes: nodes,
	})
	s.proposals = proposal.New(proposal.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"), Channels: channels, Sender: s.post,
	})
	for _, c := range []controllertest.Registrar{channels, contracts, s.proposals} {
		if err := c.Register(mgr); err != nil {
			s.t.Fatal(err)
		}
	}
	s.Run(s.t, mgr.Start)
}

func (s *site) channel() *v1alpha1.Channel {
	return &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: s.nodes.Name, Name: "demo"}}
}

// ready waits until the channel is Ready here and check is content.
func (s *site) ready(what string, check func(ch *v1alpha1.Channel) error) *v1alpha1.Channel {
	s.t.Helper()
	ch := s.channel()
	s.Eventually(s.t, s.name+": "+what, func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
			return err
		}
		if !kube.IsReady(ch) {
			return fmt.Errorf("not ready: %s", kube.ReadyMessage(ch))
		}
		if check == nil {
			return nil
		}
		return check(ch)
	})
	return ch
}

// edit changes the channel's spec.
func (s *site) edit(change func(spec *v1alpha1.ChannelSpec)) {
	s.t.Helper()
	ch := s.channel()
	s.Eventually(s.t, "edit the channel", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
			return err
		}
		change(&ch.Spec)
		return s.Client.Update(ctx, ch)
	})
}

// proposal waits for a Proposal that holds.
func (s *site) proposal(what string, holds func(p *v1alpha1.Proposal) bool) *v1alpha1.Proposal {
	s.t.Helper()
	var found v1alpha1.Proposal
	var last []string
	defer func() {
		if s.t.Failed() {
			ch := s.channel()
			_ = s.Client.Get(context.WithoutCancel(s.t.Context()), client.ObjectKeyFromObject(ch), ch)
			s.t.Logf("%s: %q; channel: %s, %+v", s.name, last, kube.ReadyMessage(ch), ch.Status.Nodes)
		}
	}()
	s.Eventually(s.t, s.name+": "+what, func(ctx context.Context) error {
		var all v1alpha1.ProposalList
		if err := s.Client.List(ctx, &all, client.InNamespace(s.nodes.Name)); err != nil {
			return err
		}
		var seen []string
		for i := range all.Items {
			p := &all.Items[i]
			if holds(p) {
				found = *p
				return nil
			}
			seen = append(seen, fmt.Sprintf("%s from %q: %s, %s", p.Name, p.Spec.Link, p.Status.State, kube.ReadyMessage(p)))
		}
		last = seen
		return fmt.Errorf("there are %q", seen)
	})
	return &found
}

// decide is a person at this site.
func (s *site) decide(p *v1alpha1.Proposal, d v1alpha1.Decision, reason string) {
	s.t.Helper()
	s.Eventually(s.t, "decide", func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return err
		}
		p.Spec.Decision, p.Spec.Reason = d, reason
		return s.Client.Update(ctx, p)
	})
}

// open finds the partner's proposal that waits for a decision.
func (s *site) open() *v1alpha1.Proposal {
	s.t.Helper()
	return s.proposal("a proposal waits for a decision", func(p *v1alpha1.Proposal) bool {
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		return p.Spec.Link == s.partner && p.Spec.Decision == "" && p.Status.State == v1alpha1.ProposalOpen && c != nil && c.Reason == v1alpha1.ReasonNeedsDecision
	})
}

// state waits until a proposal is known here in that state, by its digest.
func (s *site) state(digest string, want v1alpha1.ProposalState) *v1alpha1.Proposal {
	s.t.Helper()
	return s.proposal("the proposal is "+string(want), func(p *v1alpha1.Proposal) bool { return p.Status.Digest == digest && p.Status.State == want })
}

func diverged(ch *v1alpha1.Channel) bool {
	return meta.IsStatusConditionTrue(ch.Status.Conditions, v1alpha1.ConditionDiverged)
}

func at(sequence int64) func(ch *v1alpha1.Channel) error {
	return func(ch *v1alpha1.Channel) error {
		if ch.Status.ConfigSequence == nil || *ch.Status.ConfigSequence < sequence {
			return fmt.Errorf("configuration %v, want %d", ch.Status.ConfigSequence, sequence)
		}
		return nil
	}
}

// TestTwoSites is a channel of two organizations at two sites: made at one, joined by the other, ordered by both, and
// changed by agreement.
func TestTwoSites(t *testing.T) {
	a, b := twoSites(t)
	ch := a.channel()
	ch.Spec.Organizations = []string{"banka", "bankb"}
	if err := a.Client.Create(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	ch = a.ready("the channel is made with the partner as a member", func(ch *v1alpha1.Channel) error {
		if ch.Status.Members == nil || *ch.Status.Members != 2 {
			return fmt.Errorf("members %v", ch.Status.Members)
		}
		return nil
	})
	genesis := ch.Status.GenesisHash
	remote := slices.IndexFunc(ch.Status.Nodes, func(n v1alpha1.ChannelNode) bool { return n.Name == "peer0-bankb" })
	if remote < 0 || ch.Status.Nodes[remote].Link != "site-b" || ch.Status.Nodes[remote].State != v1alpha1.NodeUnreachable {
		t.Errorf("the partner's peer, which is not imported, is shown as %+v", ch.Status.Nodes)
	}

	t.Run("another ledger than the agreed one is refused", func(t *testing.T) {
		wrong := b.channel()
		wrong.Name = "wrong"
		wrong.Spec.ChannelID = "demo"
		wrong.Spec.Invitation = &v1alpha1.ChannelInvitation{Link: "site-a", GenesisHash: strings.Repeat("0", 64)}
		if err := b.Client.Create(t.Context(), wrong); err != nil {
			t.Fatal(err)
		}
		b.Eventually(t, "the channel is refused", func(ctx context.Context) error {
			if err := b.Client.Get(ctx, client.ObjectKeyFromObject(wrong), wrong); err != nil {
				return err
			}
			if c := meta.FindStatusCondition(wrong.Status.Conditions, v1alpha1.ConditionStalled); c == nil || c.Reason != v1alpha1.ReasonConflict {
				return fmt.Errorf("conditions %+v", wrong.Status.Conditions)
			}
			return nil
		})
		if err := b.Client.Delete(t.Context(), wrong); err != nil {
			t.Fatal(err)
		}
	})

	joined := b.channel()
	joined.Spec.Invitation = &v1alpha1.ChannelInvitation{Link: "site-a", GenesisHash: genesis}
	joined.Spec.Batch.MaxMessageCount = 77 // a default of this site that differs is no wish to change the ledger
	joined.Spec.Consenters = nil
	if err := b.Client.Create(t.Context(), joined); err != nil {
		t.Fatal(err)
	}
	// B runs an orderer that the channel does not have yet: that is a wish, and needs A.
	joining := a.open()
	if err := controllertest.Contains(strings.Join(joining.Status.Changes, "\n"), "BankbMSP"); err != nil {
		t.Error(err)
	}
	a.decide(joining, v1alpha1.DecisionSign, "")
	a.state(joining.Status.Digest, v1alpha1.ProposalSubmitted)
	// Its organization orders now; the consenter comes next, when it has caught up.
	consenter := a.open()
	if err := controllertest.Contains(strings.Join(consenter.Status.Changes, "\n"), "Add the consenter orderer0-bankb."+b.nodes.Name+":7050"); err != nil {
		t.Error(err)
	}
	a.decide(consenter, v1alpha1.DecisionSign, "")
	for _, s := range []*site{a, b} {
		s.ready("both sites order", func(ch *v1alpha1.Channel) error {
			if len(ch.Status.Consenters) != 2 || diverged(ch) {
				return fmt.Errorf("consenters %v, diverged %t", ch.Status.Consenters, diverged(ch))
			}
			if ch.Status.GenesisHash != genesis {
				return fmt.Errorf("genesis %s, want %s", ch.Status.GenesisHash, genesis)
			}
			return nil
		})
	}
	t.Run("a change needs both", func(t *testing.T) { a.t, b.t = t, t; changeNeedsBoth(t, a, b) })
	t.Run("a rejected change stops", func(t *testing.T) { a.t, b.t = t, t; rejectedChange(t, a, b) })
	t.Run("both at once", func(t *testing.T) { a.t, b.t = t, t; bothAtOnce(t, a, b) })
	t.Run("a policy signs", func(t *testing.T) { a.t, b.t = t, t; policySigns(t, a, b) })
	t.Run("a contract is approved by each", func(t *testing.T) { a.t, b.t = t, t; contractOfBoth(t, a, b) })
}

// contract waits until the site's Chaincode is committed and says what check wants.
func (s *site) contract(what string, check func(cc *v1alpha1.Chaincode) error) *v1alpha1.Chaincode {
	s.t.Helper()
	cc := &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: s.nodes.Name, Name: "asset"}}
	s.Eventually(s.t, s.name+": "+what, func(ctx context.Context) error {
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
			return err
		}
		if err := check(cc); err != nil {
			return fmt.Errorf("%w: %s; %+v", err, kube.ReadyMessage(cc), cc.Status.Organizations)
		}
		return nil
	})
	return cc
}

// contractOfBoth deploys one contract at both sites: each approves for its own organization and installs on its own
// peer, and a transaction needs both.
func contractOfBoth(t *testing.T, a, b *site) {
	t.Helper()
	program := bare.BuildContract(t)
	deploy := func(s *site) {
		if err := s.Client.Create(t.Context(), &v1alpha1.Chaincode{ObjectMeta: s.nodes.Meta("asset"), Spec: v1alpha1.ChaincodeSpec{
			Channel: "demo", ChaincodeName: "asset", Image: "registry.local/asset:1", EndorsementPolicy: "AND('BankaMSP.peer','BankbMSP.peer')",
		}}); err != nil {
			t.Fatal(err)
		}
	}
	deploy(a)
	a.contract("it waits for the other site", func(cc *v1alpha1.Chaincode) error {
		if c := meta.FindStatusCondition(cc.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Reason != v1alpha1.ReasonNeedsSignatures {
			return errors.New("it does not wait for signatures")
		}
		return nil
	})
	deploy(b)
	for s, mspID := range map[*site]string{a: "BankaMSP", b: "BankbMSP"} {
		cc := s.contract("it is committed", func(cc *v1alpha1.Chaincode) error {
			if cc.Status.Sequence == nil || *cc.Status.Sequence != 1 || cc.Status.CommittedVersion == "" {
				return errors.New("not committed")
			}
			return nil
		})
		if len(cc.Status.Organizations) != 1 || cc.Status.Organizations[0].MSPID != mspID {
			t.Errorf("%s approves for %+v", s.name, cc.Status.Organizations)
		}
		s.nodes.RunContract("asset", program, cc.Status.PackageID)
	}
	for s, org := range map[*site]string{a: "banka", b: "bankb"} {
		s.submit("demo", org)
	}
}

// submit makes a transaction at the site's own peer, as an application would.
func (s *site) submit(channelID, org string) {
	s.t.Helper()
	o := s.nodes.Orgs[org]
	leaf, err := o.Issue("app", pki.RoleClient)
	if err != nil {
		s.t.Fatal(err)
	}
	who, err := identity.New(o.MSPID, leaf.Sign, leaf.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := admin.Target{
		Address: specs.Address("peer0-"+org, s.nodes.Name, v1alpha1.PortPeer), Roots: o.TLSRoots(), DialContext: s.nodes.Dial,
	}.Connect()
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	gw, err := gateway.New(conn, who)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Eventually(s.t, s.name+": a transaction that needs both is committed", func(ctx context.Context) error {
		_, err := gw.Submit(ctx, gateway.Call{
			Channel: channelID, Contract: "asset", Function: "Create", Args: [][]byte{[]byte("of-" + org), []byte("alice"), []byte("5")},
		})
		return err
	})
}

func changeNeedsBoth(t *testing.T, a, b *site) {
	t.Helper()
	before := *a.ready("rests", nil).Status.ConfigSequence
	// The partner is not to be reached at first: nothing is lost by that.
	a.post.close(true)
	a.edit(func(s *v1alpha1.ChannelSpec) { s.Batch.MaxMessageCount = 55 })
	mine := a.proposal("its own proposal", func(p *v1alpha1.Proposal) bool {
		return p.Spec.Link == "" && p.Status.State == v1alpha1.ProposalOpen && *p.Spec.BaseSequence == before
	})
	a.post.close(false)
	theirs := b.open()
	if diff := slices.Compare(theirs.Status.Changes, []string{"Change the messages per block from 500 to 55"}); diff != 0 {
		t.Errorf("changes %q", theirs.Status.Changes)
	}
	b.decide(theirs, v1alpha1.DecisionSign, "")
	for _, s := range []*site{a, b} {
		p := s.state(mine.Status.Digest, v1alpha1.ProposalSubmitted)
		if !kube.IsReady(p) {
			t.Errorf("%s: %+v", s.name, p.Status.Conditions)
		}
		ch := s.ready("has the new configuration", at(before+1))
		if *ch.Status.ConfigSequence != before+1 || diverged(ch) || ch.Status.Proposal != "" {
			t.Errorf("%s: configuration %d, diverged %t, proposal %q", s.name, *ch.Status.ConfigSequence, diverged(ch), ch.Status.Proposal)
		}
	}
}

func rejectedChange(t *testing.T, a, b *site) {
	t.Helper()
	before := *a.ready("rests", nil).Status.ConfigSequence
	a.edit(func(s *v1alpha1.ChannelSpec) { s.Batch.MaxMessageCount = 66 })
	theirs := b.open()
	b.decide(theirs, v1alpha1.DecisionReject, "too large")
	mine := a.state(theirs.Status.Digest, v1alpha1.ProposalRejected)
	if err := controllertest.Contains(kube.ReadyMessage(mine), "site-b", "too large"); err != nil {
		t.Error(err)
	}
	ch := a.channel()
	a.Eventually(t, "the channel says so", func(ctx context.Context) error {
		if err := a.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
			return err
		}
		if c := meta.FindStatusCondition(ch.Status.Conditions, v1alpha1.ConditionStalled); c == nil || c.Reason != v1alpha1.ReasonRejected {
			return fmt.Errorf("conditions %+v", ch.Status.Conditions)
		}
		return nil
	})
	a.edit(func(s *v1alpha1.ChannelSpec) { s.Batch.MaxMessageCount = 55 })
	if ch := a.ready("goes on", nil); *ch.Status.ConfigSequence != before {
		t.Errorf("configuration %d, want %d", *ch.Status.ConfigSequence, before)
	}
}

// bothAtOnce has both sites change one setting: one wins, the other shows it, and nobody makes a third update.
func bothAtOnce(t *testing.T, a, b *site) {
	t.Helper()
	before := *a.ready("rests", nil).Status.ConfigSequence
	a.edit(func(s *v1alpha1.ChannelSpec) { s.Batch.MaxMessageCount = 111 })
	b.edit(func(s *v1alpha1.ChannelSpec) { s.Batch.MaxMessageCount = 222 })
	atA, atB := a.open(), b.open()
	var wg sync.WaitGroup
	wg.Go(func() { a.decide(atA, v1alpha1.DecisionSign, "") })
	wg.Go(func() { b.decide(atB, v1alpha1.DecisionSign, "") })
	wg.Wait()
	var won, lost *site
	a.Eventually(t, "one wins and the other shows it", func(ctx context.Context) error {
		cha, chb := a.channel(), b.channel()
		if err := errors.Join(a.Client.Get(ctx, client.ObjectKeyFromObject(cha), cha), b.Client.Get(ctx, client.ObjectKeyFromObject(chb), chb)); err != nil {
			return err
		}
		if diverged(cha) == diverged(chb) || !kube.IsReady(cha) || !kube.IsReady(chb) {
			return fmt.Errorf("A diverged %t (%s), B diverged %t (%s)", diverged(cha), kube.ReadyMessage(cha), diverged(chb), kube.ReadyMessage(chb))
		}
		won, lost = a, b
		if diverged(cha) {
			won, lost = b, a
		}
		return nil
	})
	// A third update would come within the first seconds: a lost one is computed again at once.
	end := time.Now().Add(8 * time.Second)
	for _, s := range []*site{won, lost} {
		s.Eventually(t, "time passes", func(context.Context) error {
			if time.Now().Before(end) {
				return errors.New("not yet")
			}
			return nil
		})
		ch := s.ready("stays", at(before+1))
		if *ch.Status.ConfigSequence != before+1 {
			t.Errorf("%s: configuration %d, want %d", s.name, *ch.Status.ConfigSequence, before+1)
		}
	}
	ch := lost.ready("shows it", nil)
	if c := meta.FindStatusCondition(ch.Status.Conditions, v1alpha1.ConditionDiverged); c == nil || controllertest.Contains(c.Message, "batch.maxMessageCount") != nil {
		t.Errorf("Diverged: %+v", c)
	}
	// Whoever lost makes it up with the ledger.
	value := int32(111)
	if won == b {
		value = 222
	}
	lost.edit(func(s *v1alpha1.ChannelSpec) { s.Batch.MaxMessageCount = value })
	lost.ready("agrees", func(ch *v1alpha1.Channel) error {
		if diverged(ch) {
			return errors.New("still diverged")
		}
		return nil
	})
}

func policySigns(t *testing.T, a, b *site) {
	t.Helper()
	net := &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: b.nodes.Name}}
	b.Get(t, net)
	net.Spec.Partners[0].Proposals = v1alpha1.ProposalSign
	if err := b.Client.Update(t.Context(), net); err != nil {
		t.Fatal(err)
	}
	before := *a.ready("rests", nil).Status.ConfigSequence
	a.edit(func(s *v1alpha1.ChannelSpec) { s.Batch.TimeoutMilliseconds = 321 })
	a.ready("is changed", at(before+1))
	p := b.proposal("the proposal", func(p *v1alpha1.Proposal) bool { return *p.Spec.BaseSequence == before && p.Spec.Link == "site-a" })
	if p.Spec.Decision != "" {
		t.Errorf("decision %q", p.Spec.Decision)
	}
}
