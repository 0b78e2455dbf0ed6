package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// TestRaftLeaderKilled: with the leader killed, under load and idle, the next transaction is committed within 6 s.
func TestRaftLeaderKilled(t *testing.T) {
	s := raft3("raft-leader")
	leaderKilled(t, s, 6*time.Second)
}

// TestBFTLeaderKilled: the same for SmartBFT within 20 s.
func TestBFTLeaderKilled(t *testing.T) {
	s := raft3("bft-leader")
	s.Consensus, s.Orderers = "BFT", 4
	leaderKilled(t, s, 20*time.Second)
}

func leaderKilled(t *testing.T, s shape, limit time.Duration) {
	t.Helper()
	ctx, c := start(t, 12*time.Minute)
	if s.Consensus == "BFT" {
		realNodes(t, c, "BFT channels")
	}
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	submit(ctx, t, peers, "warm")
	under(ctx, t, peers, func(run *load.Run) {
		for range 2 {
			leader := settledLeader(ctx, t, c, s)
			flowing(ctx, t, run)
			killed := time.Now()
			if err := c.KillNode(ctx, s.Name, leader); err != nil {
				t.Fatal(err)
			}
			ack, err := run.AckAfter(ctx, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			judge(t, "under load", leader, ack.At.Sub(killed), limit)
		}
	})
	for range 2 {
		leader := settledLeader(ctx, t, c, s)
		killed := time.Now()
		if err := c.KillNode(ctx, s.Name, leader); err != nil {
			t.Fatal(err)
		}
		dead := time.Now()
		// One transaction alone may have died with the leader, and its client would wait for it.
		run, err := load.Start(ctx, peers, load.Options{InFlight: 32, Rate: 4})
		if err != nil {
			t.Fatal(err)
		}
		ack, err := run.AckAfter(ctx, dead)
		run.Stop()
		if err != nil {
			t.Fatal(err)
		}
		judge(t, "idle", leader, ack.At.Sub(killed), limit)
	}
	sameLedgers(ctx, t, peers)
}

func judge(t *testing.T, when, leader string, took, limit time.Duration) {
	t.Helper()
	progress("%s: leader %s killed, next transaction committed after %.1f s", when, leader, took.Seconds())
	if took > limit {
		t.Errorf("%s: committed again after %.1f s, want at most %.0f s", when, took.Seconds(), limit.Seconds())
	}
}

// settledLeader waits until the network has healed from the last fault, and finds the leader then: a second fault in
// the first one's shadow would be more than the ordering service promises to bear.
func settledLeader(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) string {
	t.Helper()
	err := harness.Poll(ctx, func(context.Context) error {
		ready := 0
		for _, ok := range podsOf(t, c, s.Name, "orderer") {
			if ok {
				ready++
			}
		}
		if ready != s.Orderers {
			return fmt.Errorf("%d of %d orderers are ready", ready, s.Orderers)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ready(ctx, t, c, network(s.Name))
	leader, err := c.Leader(ctx, s.Name, "demo")
	if err != nil {
		t.Fatal(err)
	}
	return leader
}
