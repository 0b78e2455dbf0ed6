package e2e

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestRaftOverSites: two Raft orderers at one site and one at the other order transactions from either side and bear the
// loss of one, the leader too. Cut from one another, the side with two goes on and the other says that it cannot.
func TestRaftOverSites(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 15*time.Minute, errors.New("the test's 15 minutes are over"))
	t.Cleanup(cancel)

	// A channel of A alone, to which B comes, with a peer and an orderer.
	o := orderedBy(ctx, t, "raft", "Raft", "demo")
	ready(ctx, t, o.a.Cluster, network("trade"))
	untilDone(ctx, t, o.a, "channel", "invite", "trade/demo", "bankb")
	untilDone(ctx, t, o.b, "channel", "accept", "trade/demo", "--from", "bank-a", "--wait=false")
	o.members = []consenter{{o.a, "orderer0-ord"}, {o.a, "orderer1-ord"}, {o.b, "orderer0-bankb"}}
	o.serve(ctx, t)
	o.commits(ctx, t, o.callers...)
	o.lose(ctx, t, o.members[2], "the one of B")
	o.lose(ctx, t, o.leader(ctx, t), "the leader")
	o.lose(ctx, t, o.follower(ctx, t, o.a), "one of A that follows")
	o.cut(ctx, t, o.callers[0])
}
