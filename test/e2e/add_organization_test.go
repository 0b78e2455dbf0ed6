package e2e

import (
	"testing"
	"time"
)

// TestAddOrganization: an organization that is added by an edit becomes a member of the channel, its peer gets every
// block from the first on, and its administrator can submit; taken away again, it is no member any more.
func TestAddOrganization(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	s := raft3("add-org")
	up(ctx, t, c, s)
	before := submit(ctx, t, clients(ctx, t, c, s.Name, "demo"), "before")

	s.Orgs = append(s.Orgs, org{Name: "bankc", MSP: "BankCMSP", Peers: 1})
	apply(ctx, t, c, s.yaml(t))
	ready(ctx, t, c, network(s.Name))
	ready(ctx, t, c, chaincode(s.Name, "demo"))
	peers := clients(ctx, t, c, s.Name, "demo")
	if len(peers) != 3 {
		t.Fatalf("got %d peers, want 3", len(peers))
	}
	submit(ctx, t, peers, "with")
	sameLedgers(ctx, t, peers)
	for _, p := range peers {
		if _, err := p.Read(ctx, "Read", before[0]); err != nil {
			t.Errorf("read what was committed before: %v", err)
		}
	}

	s.Orgs = s.Orgs[:2]
	apply(ctx, t, c, s.yaml(t))
	ready(ctx, t, c, network(s.Name))
	peers = clients(ctx, t, c, s.Name, "demo")
	if len(peers) != 2 {
		t.Fatalf("got %d peers, want 2", len(peers))
	}
	submit(ctx, t, peers, "without")
}
