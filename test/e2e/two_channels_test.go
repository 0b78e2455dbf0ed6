package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/test/load"
)

// TestTwoChannels: one network has a channel for all and one for a single organization; each has its own ledger, and a
// third comes later by an edit.
func TestTwoChannels(t *testing.T) {
	ctx, c := start(t, 6*time.Minute)
	s := raft3("two-channels")
	s.Channels = []string{"demo", "private, organizations: [banka], channelID: banka.private"}
	up(ctx, t, c, s)

	shared := clients(ctx, t, c, s.Name, "demo")
	keys := submit(ctx, t, shared, "shared")
	own, err := c.Client(ctx, s.Name, "peer0-banka", "banka", "banka.private", "asset")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = own.Close() })
	submit(ctx, t, []*load.Client{own}, "private")
	if _, err := own.Read(ctx, "Read", keys[0]); err == nil {
		t.Error("an asset of one channel can be read in the other")
	}
	stranger, err := c.Client(ctx, s.Name, "peer0-bankb", "bankb", "banka.private", "asset")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Close() })
	if _, err := stranger.Ledger(ctx); err == nil {
		t.Error("the peer of an organization that is no member serves the channel's ledger")
	}

	s.Channels = append(s.Channels, "later, organizations: [bankb]")
	up(ctx, t, c, s)
	late, err := c.Client(ctx, s.Name, "peer0-bankb", "bankb", "later", "asset")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = late.Close() })
	submit(ctx, t, []*load.Client{late}, "late")
	for _, ch := range []string{"demo", "private", "later"} {
		var genesis corev1.ConfigMap
		if err := c.Get(ctx, client.ObjectKey{Namespace: s.Name, Name: ch + "-genesis"}, &genesis); err != nil {
			t.Errorf("genesis block of %q: %v", ch, err)
		}
	}
}
