package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// TestThreeSites: three sites in one network, each of which is a partner of both others. The first has the orderers, each has
// a bank. A network of another identity and a site that is not everybody's partner are refused before anything is made.
func TestThreeSites(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 15*time.Minute, errors.New("the test's 15 minutes are over"))
	t.Cleanup(cancel)
	sites := openSites(ctx, t, "three", 3)
	h := &threeSites{a: sites[0], b: sites[1], c: sites[2]}
	partners(ctx, t, h.a, h.b, "bank-a", "bank-b")
	partners(ctx, t, h.a, h.c, "bank-a", "bank-c")
	h.found(ctx, t)
	t.Run("not everybody's partner", func(t *testing.T) { h.notLinked(ctx, t) })
	partners(ctx, t, h.b, h.c, "bank-b", "bank-c")
	t.Run("a name that is taken", func(t *testing.T) { h.nameTaken(ctx, t) })
	h.join(ctx, t)
	h.contract(ctx, t)
	t.Run("both at once", func(t *testing.T) {
		h.bothAtOnce(ctx, t, h.b, h.c, 61)
		h.bothAtOnce(ctx, t, h.a, h.b, 71)
	})
}

type threeSites struct{ a, b, c *linkedSite }

func (h *threeSites) sites() []*linkedSite { return []*linkedSite{h.a, h.b, h.c} }

// found makes the network at a, which signs what its partners propose, and has b join it.
func (h *threeSites) found(ctx context.Context, t *testing.T) {
	t.Helper()
	apply(ctx, t, h.a.Cluster, shape{
		Name: tradeNetwork, Consensus: "Raft", Orderers: 3, Channels: []string{demoChannel}, Orgs: []org{{Name: "banka", MSP: "BankAMSP", Peers: 1}},
	}.yaml(t))
	ready(ctx, t, h.a.Cluster, network(tradeNetwork))
	heddle(ctx, t, h.a.Cluster, "network", "invite", tradeNetwork, "bank-b", "--proposals", "Sign")
	h.b.isOffered(ctx, t, "bank-a")
	heddle(ctx, t, h.b.Cluster, "network", "join", tradeNetwork, "--from", "bank-a", "--org", "bankb:BankBMSP:peers=1")
	ready(ctx, t, h.b.Cluster, network(tradeNetwork))
	heddle(ctx, t, h.a.Cluster, "channel", "invite", tradeNetwork+"/"+demoChannel, "bankb")
	heddle(ctx, t, h.b.Cluster, "channel", "accept", tradeNetwork+"/"+demoChannel, "--from", "bank-a")
	progress("two of the three sites have the channel")
}

// isOffered waits until a partner's word of the network is here, and returns what is known of it.
func (s *linkedSite) isOffered(ctx context.Context, t *testing.T, partner string) *v1alpha1.OfferedNetwork {
	t.Helper()
	var out *v1alpha1.OfferedNetwork
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var l v1alpha1.SiteLink
		if err := s.Get(ctx, client.ObjectKey{Name: partner}, &l); err != nil {
			return err
		}
		i := slices.IndexFunc(l.Status.Networks, func(n v1alpha1.OfferedNetwork) bool { return n.Name == tradeNetwork })
		if i < 0 {
			return fmt.Errorf("%s does not know that %s offers the network", s.id, partner)
		}
		out = &l.Status.Networks[i]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// nameTaken: c has a network of that name already, and even stretches it to a. Neither of the two sites takes anything of the
// other's, and the command says why.
func (h *threeSites) nameTaken(ctx context.Context, t *testing.T) {
	apply(ctx, t, h.c.Cluster, shape{
		Name: tradeNetwork, Consensus: "Raft", Orderers: 1, Channels: []string{demoChannel}, Orgs: []org{{Name: "bankx", MSP: "BankXMSP", Peers: 1}},
	}.yaml(t))
	ready(ctx, t, h.c.Cluster, network(tradeNetwork))
	heddle(ctx, t, h.c.Cluster, "network", "invite", tradeNetwork, "bank-a", "--keep-nodes")
	atA, atC := h.a.made(ctx, t), h.c.made(ctx, t)
	for s, partner := range map[*linkedSite]string{h.a: "bank-c", h.c: "bank-a"} {
		within(ctx, t, time.Minute, s.id+" refuses the partner's network", func() error {
			if refused := s.isOffered(ctx, t, partner).Refused; !strings.Contains(refused, "another network") {
				return fmt.Errorf("it says %q", refused)
			}
			return nil
		})
	}
	out, err := h.c.Heddle(ctx, "network", "join", tradeNetwork, "--from", "bank-a", "--org", "bankc:BankCMSP:peers=1")
	if err == nil || !strings.Contains(out, "it is another network, and nothing was made") {
		t.Errorf("joining a network whose name is taken: %v\n%s", err, out)
	}
	progress("c: %s", strings.TrimSpace(out))
	for s, before := range map[*linkedSite][]string{h.a: atA, h.c: atC} {
		if diff := cmp.Diff(before, s.made(ctx, t)); diff != "" {
			t.Errorf("%s made something:\n%s", s.id, diff)
		}
	}
	if err := h.c.RemoveNetwork(ctx, tradeNetwork); err != nil {
		t.Fatal(err)
	}
}

// made lists what stands in the network's namespace: kind and name.
func (s *linkedSite) made(ctx context.Context, t *testing.T) []string {
	t.Helper()
	var out []string
	for _, list := range []client.ObjectList{
		&v1alpha1.OrganizationList{}, &v1alpha1.NodeImportList{}, &v1alpha1.NodeExportList{}, &v1alpha1.PeerList{}, &v1alpha1.OrdererList{}, &v1alpha1.ChannelList{},
		&v1alpha1.ProposalList{}, &corev1.ServiceList{}, &corev1.SecretList{}, &corev1.ConfigMapList{}, &appsv1.DeploymentList{},
	} {
		if err := s.List(ctx, list, client.InNamespace(tradeNetwork)); err != nil {
			t.Fatal(err)
		}
		err := eachObject(list, func(o client.Object) { out = append(out, fmt.Sprintf("%T %s", o, o.GetName())) })
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// notLinked: c is a partner of a, but not of b.
func (h *threeSites) notLinked(ctx context.Context, t *testing.T) {
	heddle(ctx, t, h.a.Cluster, "network", "invite", tradeNetwork, "bank-c", "--proposals", "Sign")
	h.c.isOffered(ctx, t, "bank-a")
	out, err := h.c.Heddle(ctx, "network", "join", tradeNetwork, "--from", "bank-a", "--org", "bankc:BankCMSP:peers=1")
	if err == nil || !strings.Contains(out, "no partners of this one: siteb") || !strings.Contains(out, "heddle site invite") {
		t.Errorf("joining without being everybody's partner: %v\n%s", err, out)
	}
	progress("c: %s", strings.TrimSpace(out))
	err = h.c.Get(ctx, client.ObjectKey{Name: tradeNetwork}, network(tradeNetwork))
	if err == nil || client.IgnoreNotFound(err) != nil {
		t.Errorf("the network was made all the same (%v)", err)
	}
	if have := h.c.made(ctx, t); len(have) > 0 {
		t.Errorf("site c made %q", have)
	}
}

// join has c join network and channel, to which a and b agree.
func (h *threeSites) join(ctx context.Context, t *testing.T) {
	t.Helper()
	heddle(ctx, t, h.b.Cluster, "network", "invite", tradeNetwork, "bank-c")
	if out := heddle(ctx, t, h.c.Cluster, "network", "join", tradeNetwork, "--from", "bank-a", "--org", "bankc:BankCMSP:peers=1"); strings.Contains(out, "Warning") {
		t.Errorf("joining warns of what is as it should be: %s", out)
	}
	ready(ctx, t, h.c.Cluster, network(tradeNetwork))
	progress("three sites have the network")
	err := harness.Poll(ctx, func(ctx context.Context) error {
		out, err := h.a.Heddle(ctx, "channel", "invite", tradeNetwork+"/"+demoChannel, "bankc")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	h.b.signs(ctx, t)
	heddle(ctx, t, h.c.Cluster, "channel", "accept", tradeNetwork+"/"+demoChannel, "--from", "bank-a")
	for _, s := range h.sites() {
		ready(ctx, t, s.Cluster, sharedChannel())
	}
	progress("three sites have the channel")
}

// signs has a person at the site sign the one proposal that waits there.
func (s *linkedSite) signs(ctx context.Context, t *testing.T) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var list v1alpha1.ProposalList
		if err := s.List(ctx, &list, client.InNamespace(tradeNetwork)); err != nil {
			return err
		}
		for i := range list.Items {
			p := &list.Items[i]
			if p.Spec.Link == "" || p.Status.State != v1alpha1.ProposalOpen || p.Spec.Decision != "" {
				continue
			}
			progress("%s signs proposal %s of %s: %s", s.id, p.Name, p.Spec.Link, strings.Join(p.Status.Changes, "; "))
			out, err := s.Heddle(ctx, "proposal", "sign", tradeNetwork+"/"+p.Name, "-q")
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		}
		return fmt.Errorf("%s has no proposal to sign", s.id)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// contract puts one contract on the channel that all three have to endorse, and submits from each side.
func (h *threeSites) contract(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, s := range h.sites() {
		apply(ctx, t, s.Cluster, strings.Replace(contract(tradeNetwork, demoChannel), "chaincodeName: asset",
			`chaincodeName: asset, endorsementPolicy: "AND('BankAMSP.peer', 'BankBMSP.peer', 'BankCMSP.peer')"`, 1))
	}
	for _, s := range h.sites() {
		ready(ctx, t, s.Cluster, chaincode(tradeNetwork, demoChannel))
	}
	peers := clientsOf(ctx, t, "asset", h.sites()...)
	for range 3 {
		submit(ctx, t, peers, fmt.Sprintf("three-%d", time.Now().UnixNano()))
	}
	sameLedgers(ctx, t, peers)
	discovers(ctx, t, peers, "BankAMSP peer0-banka.trade:7051", "BankBMSP peer0-bankb.trade:7051", "BankCMSP peer0-bankc.trade:7051")
}
