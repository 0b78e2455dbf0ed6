package e2e

import (
	"testing"
	"time"
)

// TestBFT4: four SmartBFT orderers order transactions, and go on with one of them dead.
func TestBFT4(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	s := raft3("bft4")
	s.Consensus, s.Orderers = "BFT", 4
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	submit(ctx, t, peers, "all")
	leader, err := c.Leader(ctx, s.Name, "demo")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []string{"orderer0-ord", "orderer1-ord"} {
		if o != leader {
			if err := c.KillNode(ctx, s.Name, o); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	submit(ctx, t, peers, "three")
	sameLedgers(ctx, t, peers)
}
