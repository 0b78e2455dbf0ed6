package e2e

import (
	"testing"
	"time"
)

// TestAddPeer: a peer that is added by an edit joins the channel, gets the contract, catches up and serves; a peer that
// is taken away is gone, and the rest goes on.
func TestAddPeer(t *testing.T) {
	ctx, c := start(t, 6*time.Minute)
	s := raft3("add-peer")
	up(ctx, t, c, s)
	submit(ctx, t, clients(ctx, t, c, s.Name, "demo"), "before")

	s.Orgs[0].Peers = 2
	apply(ctx, t, c, s.yaml(t))
	ready(ctx, t, c, network(s.Name))
	ready(ctx, t, c, chaincode(s.Name, "demo"))
	peers := clients(ctx, t, c, s.Name, "demo")
	if len(peers) != 3 {
		t.Fatalf("got %d peers, want 3", len(peers))
	}
	submit(ctx, t, peers, "with")
	sameLedgers(ctx, t, peers)

	s.Orgs[0].Peers = 1
	apply(ctx, t, c, s.yaml(t))
	ready(ctx, t, c, network(s.Name))
	peers = clients(ctx, t, c, s.Name, "demo")
	if len(peers) != 2 {
		t.Fatalf("got %d peers, want 2", len(peers))
	}
	submit(ctx, t, peers, "without")
	sameLedgers(ctx, t, peers)
}
