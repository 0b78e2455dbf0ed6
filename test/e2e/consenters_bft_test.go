package e2e

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// TestBFTOverSites: four SmartBFT consenters over two sites, 3 and 1 and then 2 and 2, order transactions from either side,
// bear the loss of one, the leader too, and stand still, saying so, where neither side has enough of them.
func TestBFTOverSites(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 25*time.Minute, errors.New("the test's 25 minutes are over"))
	t.Cleanup(cancel)

	// Made with both: the first block has to wait for the other site's orderer.
	o := orderedBy(ctx, t, "bft", "BFT", "demo, organizations: [banka, bankb], consenters: [orderer0-ord, orderer1-ord, orderer2-ord, orderer0-bankb]")
	o.members = []consenter{{o.a, "orderer0-ord"}, {o.a, "orderer1-ord"}, {o.a, "orderer2-ord"}, {o.b, "orderer0-bankb"}}
	untilDone(ctx, t, o.b, "channel", "accept", "trade/demo", "--from", "bank-a", "--wait=false")
	o.serve(ctx, t)
	o.commits(ctx, t, o.callers...)
	o.lose(ctx, t, o.leader(ctx, t), "3+1, the leader")
	o.lose(ctx, t, o.follower(ctx, t, o.a), "3+1, one of A that follows")
	o.lose(ctx, t, o.members[3], "3+1, the one of B")
	o.cut(ctx, t, o.callers[0])

	// An orderer of B comes to the living channel, and one of A goes.
	changeNetwork(ctx, t, o.b, func(n *v1alpha1.Network) { n.Spec.Organizations[0].Orderers.Count = ptr.To[int32](2) })
	o.members = append(o.members, consenter{o.b, "orderer1-bankb"})
	o.channelReady(ctx, t)
	progress("3+2: %q", o.names())
	o.commits(ctx, t, o.callers...)
	changeNetwork(ctx, t, o.a, func(n *v1alpha1.Network) {
		n.Spec.Channels[0].Consenters = []string{"orderer0-ord", "orderer1-ord", "orderer0-bankb", "orderer1-bankb"}
	})
	o.members = append(o.members[:2:2], o.members[3:]...)
	o.channelReady(ctx, t)
	progress("2+2: %q", o.names())
	o.commits(ctx, t, o.callers...)
	o.lose(ctx, t, o.leader(ctx, t), "2+2, the leader")
	o.lose(ctx, t, o.follower(ctx, t, o.a), "2+2, one of A that follows")
	o.lose(ctx, t, o.follower(ctx, t, o.b), "2+2, one of B that follows")
	o.cut(ctx, t, nil)
}

// changeNetwork edits a site's part of the network.
func changeNetwork(ctx context.Context, t *testing.T, s *linkedSite, edit func(*v1alpha1.Network)) {
	t.Helper()
	n := network("trade")
	if err := s.Get(ctx, client.ObjectKeyFromObject(n), n); err != nil {
		t.Fatal(err)
	}
	before := n.DeepCopy()
	edit(n)
	if err := s.Patch(ctx, n, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}
