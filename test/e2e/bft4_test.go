package e2e

import (
	"syscall"
	"testing"
	"time"

	"heddle.dev/heddle/test/harness"
)

// realNodes marks a test of something that simulated nodes refuse by name (docs/reference/fabsim.md).
func realNodes(t *testing.T, c *harness.Cluster, what string) {
	t.Helper()
	if c.Simulated {
		t.Skipf("skipped, not passed: simulated nodes have no %s", what)
	}
}

// TestBFT4: four SmartBFT orderers order transactions, and go on with one of them silent.
func TestBFT4(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	realNodes(t, c, "BFT channels")
	s := raft3("bft4")
	s.Consensus, s.Orderers = "BFT", 4
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	submit(ctx, t, peers, "all")
	leader, err := c.Leader(ctx, s.Name, "demo")
	if err != nil {
		t.Fatal(err)
	}
	still := "orderer0-ord"
	if still == leader {
		still = "orderer1-ord"
	}
	pod, err := c.PodOf(ctx, s.Name, still)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Signal(pod, pod.Spec.Containers[0].Name, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	progress("%s stands still", still)
	submit(ctx, t, peers, "three")
	if err := c.Signal(pod, pod.Spec.Containers[0].Name, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	sameLedgers(ctx, t, peers)
}
