package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"syscall"
	"testing"
	"time"

	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// TestOperatorKilledAfterFirstJoin: when one orderer has joined a channel and the others could not yet, the operator is
// killed. Its successor must join the others with the same genesis block, not with a new one.
func TestOperatorKilledAfterFirstJoin(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	s := raft3("first-join")
	up(ctx, t, c, s)

	// Two orderers stand still, so that only the first can join the channel that comes now.
	for _, o := range []string{"orderer1-ord", "orderer2-ord"} {
		pod, err := c.PodOf(ctx, s.Name, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Signal(pod, pod.Spec.Containers[0].Name, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Signal(pod, pod.Spec.Containers[0].Name, syscall.SIGCONT) })
	}
	s.Channels = append(s.Channels, "second")
	apply(ctx, t, c, s.yaml(t))
	if err := harness.Poll(ctx, func(ctx context.Context) error {
		_, err := c.OrdererBlock(ctx, s.Name, "orderer0-ord", "second", 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := c.KillOperator(ctx); err != nil {
		t.Fatal(err)
	}
	progress("the operator was killed after the first join")
	for _, o := range []string{"orderer1-ord", "orderer2-ord"} {
		if pod, err := c.PodOf(ctx, s.Name, o); err == nil { // the kubelet may have replaced the container meanwhile
			_ = c.Signal(pod, pod.Spec.Containers[0].Name, syscall.SIGCONT)
		}
	}
	apply(ctx, t, c, contract(s.Name, "second"))
	ready(ctx, t, c, network(s.Name))
	ready(ctx, t, c, chaincode(s.Name, "second"))
	peers := clients(ctx, t, c, s.Name, "second")
	submit(ctx, t, peers, "after")
	oneGenesis(ctx, t, c, s.Name, "second", peers)
}

// oneGenesis demands the same block 0 of every orderer and peer, and that the channel's status tells its hash.
func oneGenesis(ctx context.Context, t *testing.T, c *harness.Cluster, network, channel string, peers []*load.Client) {
	t.Helper()
	want := channelOf(ctx, t, c, network, channel).Status.GenesisHash
	orderers, err := c.Orderers(ctx, network)
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]string{}
	for _, o := range orderers {
		b, err := c.OrdererBlock(ctx, network, o, channel, 0)
		if err != nil {
			t.Errorf("read block 0 of %s: %v", o, err)
			continue
		}
		hashes[o] = hex.EncodeToString(block.Hash(b.GetHeader()))
	}
	for _, p := range peers {
		b, err := p.Block(ctx, 0)
		if err != nil {
			t.Errorf("read block 0 of %s: %v", p.Name(), err)
			continue
		}
		hashes[p.Name()] = hex.EncodeToString(block.Hash(b.GetHeader()))
	}
	for node, hash := range hashes {
		if hash != want {
			t.Errorf("block 0 of %s has hash %s, the channel's status says %q", node, hash, want)
		}
	}
	progress("%s", fmt.Sprintf("%d nodes have block 0 with hash %.12s…", len(hashes), want))
}
