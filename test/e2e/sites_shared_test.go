package e2e

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/load"
)

// twoBanks is a network of which site a has the orderers and bank A, and site b has bank B; both have to endorse the
// contract. All of it was set up by commands, and one port is open between the sites.
type twoBanks struct {
	a, b *linkedSite
	name string
	// sides are a and b with a client of the bank's own peer.
	sides []*sideOf
}

// sideOf is one of the two sites.
type sideOf struct {
	*linkedSite
	// partner is what the other site is called here, peer this site's own, and foreign the other's as it is imported.
	partner, peer, foreign string
	// organization of foreign, at the other site.
	other *linkedSite
	bank  string
	// caller submits at the own peer.
	caller *load.Client
}

// openShared brings up two sites with one network, called trade, and its channel demo with the sample contract.
func openShared(ctx context.Context, t *testing.T, lab string) *twoBanks {
	t.Helper()
	sites := openSites(ctx, t, lab, 2)
	n := &twoBanks{a: sites[0], b: sites[1], name: tradeNetwork}
	n.sides = []*sideOf{
		{linkedSite: n.a, partner: "bank-b", peer: "peer0-banka", foreign: "peer0-bankb", other: n.b, bank: "bankb"},
		{linkedSite: n.b, partner: "bank-a", peer: "peer0-bankb", foreign: "peer0-banka", other: n.a, bank: "banka"},
	}
	partners(ctx, t, n.a, n.b, "bank-a", "bank-b")
	shareTrade(ctx, t, n.a, n.b)
	n.deploy(ctx, t)
	return n
}

// shareTrade stretches a network and a channel over two sites that are partners: a has the orderers and bank A, b bank B.
func shareTrade(ctx context.Context, t *testing.T, a, b *linkedSite) {
	t.Helper()
	apply(ctx, t, a.Cluster, shape{
		Name: tradeNetwork, Consensus: "Raft", Orderers: 3, Channels: []string{demoChannel}, Orgs: []org{{Name: "banka", MSP: "BankAMSP", Peers: 1}},
	}.yaml(t))
	ready(ctx, t, a.Cluster, network(tradeNetwork))
	heddle(ctx, t, a.Cluster, "network", "invite", tradeNetwork, "bank-b")
	heddle(ctx, t, b.Cluster, "network", "join", tradeNetwork, "--from", "bank-a", "--org", "bankb:BankBMSP:peers=1")
	ready(ctx, t, b.Cluster, network(tradeNetwork))
	progress("both sites have the network")
	heddle(ctx, t, a.Cluster, "channel", "invite", tradeNetwork+"/"+demoChannel, "bankb")
	heddle(ctx, t, b.Cluster, "channel", "accept", tradeNetwork+"/"+demoChannel, "--from", "bank-a")
	for _, s := range []*linkedSite{a, b} {
		ready(ctx, t, s.Cluster, sharedChannel())
	}
	progress("both sites have the channel")
}

// deploy has both sites deploy the contract that both have to endorse, and connects a client to each one's peer.
func (n *twoBanks) deploy(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, s := range n.sides {
		apply(ctx, t, s.Cluster, n.contract("asset", "AND('BankAMSP.peer', 'BankBMSP.peer')"))
	}
	for _, s := range n.sides {
		ready(ctx, t, s.Cluster, chaincode(n.name, "demo"))
		found, done, err := s.Clients(ctx, n.name, "demo", "asset")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(done)
		if len(found) != 1 {
			t.Fatalf("%s has %d peers, want 1", s.id, len(found))
		}
		s.caller = found[0]
		submit(ctx, t, found, "first-of-"+s.id)
	}
}

// contract is the sample contract under a name and a policy.
func (n *twoBanks) contract(name, policy string) string {
	return fmt.Sprintf(`
apiVersion: heddle.dev/v1alpha1
kind: Chaincode
metadata: {name: demo-%[2]s, namespace: %[1]s}
spec: {channel: demo, chaincodeName: %[2]s, image: %[3]s, endorsementPolicy: "%[4]s"}
`, n.name, name, assetImage, policy)
}

// ordered deploys a contract that each bank may endorse alone, and connects a client at site b to it, which needs nothing
// of site a but its orderers.
func (n *twoBanks) ordered(ctx context.Context, t *testing.T) *load.Client {
	t.Helper()
	for _, s := range n.sides {
		apply(ctx, t, s.Cluster, n.contract("any", "OR('BankAMSP.peer', 'BankBMSP.peer')"))
	}
	for _, s := range n.sides {
		ready(ctx, t, s.Cluster, &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: "demo-any"}})
	}
	found, done, err := n.b.Clients(ctx, n.name, "demo", "any")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	submit(ctx, t, found, "ordered")
	return found[0]
}

// callers are the clients of both sides.
func (n *twoBanks) callers() []*load.Client {
	return []*load.Client{n.sides[0].caller, n.sides[1].caller}
}

// imported opens a connection to the other's peer by its Service here, as a node of this site does.
func (s *sideOf) imported(ctx context.Context, t *testing.T, network string) *liveTunnel {
	t.Helper()
	roots, err := s.other.TLSRoots(ctx, network, s.bank)
	if err != nil {
		t.Fatal(err)
	}
	return way{from: s.Cluster, to: s.foreign + "." + network + ":7051"}.open(t, s.foreign+"."+network, roots)
}
