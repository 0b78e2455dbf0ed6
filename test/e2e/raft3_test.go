package e2e

import (
	"testing"
	"time"
)

// TestRaft3: three Raft orderers and two organizations take transactions through every peer.
func TestRaft3(t *testing.T) {
	ctx, c := start(t, 5*time.Minute)
	s := raft3("raft3")
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	submit(ctx, t, peers, "first")
	sameLedgers(ctx, t, peers)
}
