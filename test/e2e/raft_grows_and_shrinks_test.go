package e2e

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// TestRaftGrowsAndShrinks: three orderers become five and then three again, each in one edit and under load; the
// channel's configuration follows, one consenter at a time.
func TestRaftGrowsAndShrinks(t *testing.T) {
	ctx, c := start(t, 15*time.Minute)
	s := raft3("raft-grows")
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	under(ctx, t, peers, func(*load.Run) {
		for _, n := range []int{5, 3} {
			before := sequence(ctx, t, c, s.Name, "demo")
			s.Orderers = n
			apply(ctx, t, c, s.yaml(t))
			ready(ctx, t, c, network(s.Name))
			ch := channelOf(ctx, t, c, s.Name, "demo")
			if len(ch.Status.Consenters) != n {
				t.Errorf("got consenters %q, want %d", ch.Status.Consenters, n)
			}
			// One consenter at a time: two changes are at least two updates.
			if after := sequence(ctx, t, c, s.Name, "demo"); after < before+2 {
				t.Errorf("configuration went from sequence %d to %d, want at least two updates", before, after)
			}
		}
	})
	submit(ctx, t, peers, "after")
}

// channelOf reads a channel whose status is up to date.
func channelOf(ctx context.Context, t *testing.T, c *harness.Cluster, network, name string) *v1alpha1.Channel {
	t.Helper()
	ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: name}}
	ready(ctx, t, c, ch)
	return ch
}

func sequence(ctx context.Context, t *testing.T, c *harness.Cluster, network, channel string) int64 {
	t.Helper()
	ch := channelOf(ctx, t, c, network, channel)
	if ch.Status.ConfigSequence == nil {
		t.Fatalf("channel %q is Ready without a configSequence", channel)
	}
	return *ch.Status.ConfigSequence
}
