package admin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/test/bare"
)

// TestReaddConsenter evicts an orderer, takes the channel off it, and makes it
// a consenter again.
func TestReaddConsenter(t *testing.T) {
	for name, test := range map[string]struct {
		kind     channelconfig.Consensus
		orderers int
	}{"raft": {channelconfig.Raft, 3}, "bft": {channelconfig.BFT, 5}} {
		t.Run(name, func(t *testing.T) {
			ctx, n, client := deployed(t, bare.Options{Consensus: test.kind, Orderers: test.orderers})
			node := follower(t, ctx, n)
			consenter, err := node.Consenter()
			ok(t, err)
			_, err = n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) {
				return c.RemoveConsenter(consenter.Address())
			})
			ok(t, err)
			leave(t, ctx, node)
			submit(t, ctx, client, "without")

			other := n.Orderers[(slices.Index(n.Orderers, node)+1)%len(n.Orderers)]
			reader, err := other.Client(n.OrdererOrg)
			ok(t, err)
			newest, err := reader.ConfigBlock(ctx, "trade")
			ok(t, err)
			until(t, ctx, time.Minute, func() error { return n.JoinOrderer(ctx, node, newest) })
			_, err = n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) { return c.AddConsenter(consenter) })
			ok(t, err)
			submit(t, ctx, client, "with")
			caughtUp(t, ctx, n, node, test.kind)
			if !node.Running() {
				t.Errorf("%s ended:\n%s", node.Name, node.Log())
			}
		})
	}
}

// TestChannelAgain makes a channel of the same name anew on nodes that had one.
func TestChannelAgain(t *testing.T) {
	ctx, n := start(t, bare.Options{Consensus: channelconfig.Raft, Orderers: 3})
	for _, o := range n.Orderers {
		leave(t, ctx, o)
	}
	channel, err := n.Channel()
	ok(t, err)
	channel.Batch.MaxMessages = 7
	again, err := channelconfig.Genesis(channel, time.Now())
	ok(t, err)
	for _, o := range n.Orderers {
		until(t, ctx, time.Minute, func() error { return n.JoinOrderer(ctx, o, again) })
	}
	until(t, ctx, time.Minute, func() error { _, err := n.Leader(ctx); return err })
	config, err := n.Update(ctx, func(c channelconfig.Channel) (channelconfig.Channel, error) { c.Batch.MaxMessages++; return c, nil })
	ok(t, err)
	if config.Channel.Batch.MaxMessages != 8 {
		t.Errorf("%d messages in a block", config.Channel.Batch.MaxMessages)
	}
	for _, o := range n.Orderers {
		if !o.Running() {
			t.Errorf("%s ended:\n%s", o.Name, o.Log())
		}
	}
}

// TestRefusedUpdates tells the refusals of an update apart.
func TestRefusedUpdates(t *testing.T) {
	ctx, n := start(t, bare.Options{Consensus: channelconfig.Raft, Orderers: 1, Orgs: []string{"banka", "bankb"}})
	client, err := n.Orderers[0].Client(n.OrdererOrg)
	ok(t, err)
	var config *channelconfig.Config
	until(t, ctx, 30*time.Second, func() error { config, err = n.Config(ctx, n.Orderers[0]); return err })
	send := func(maxMessages uint32, signers ...*bare.Org) *admin.StatusError {
		t.Helper()
		wish := config.Channel.Clone()
		wish.Batch.MaxMessages = maxMessages
		update, err := config.Update(wish)
		ok(t, err)
		for _, org := range signers {
			ok(t, update.Sign(org.Admin))
		}
		envelope, err := update.Envelope(n.OrdererOrg.Admin, time.Now())
		ok(t, err)
		var refused *admin.StatusError
		until(t, ctx, 30*time.Second, func() error { // there has to be a leader first
			if err = client.Broadcast(ctx, envelope); errors.As(err, &refused) && refused.Retry() {
				return err
			}
			return nil
		})
		refused = nil
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		return refused
	}
	if refused := send(7, n.Orgs[0]); refused == nil || !refused.Unsigned() || refused.Stale() || refused.Retry() {
		t.Errorf("signed by a bank: %v", refused)
	}
	if refused := send(7, n.OrdererOrg); refused != nil {
		t.Errorf("signed by the orderers: %v", refused)
	}
	until(t, ctx, 30*time.Second, func() error {
		now, err := n.Config(ctx, n.Orderers[0])
		if err == nil && now.Sequence != 1 {
			err = fmt.Errorf("sequence %d", now.Sequence)
		}
		return err
	})
	if refused := send(8, n.OrdererOrg); refused == nil || !refused.Stale() || refused.Unsigned() || refused.Retry() {
		t.Errorf("computed against an old configuration: %v", refused)
	}
}

// follower is an orderer that does not lead.
func follower(t *testing.T, ctx context.Context, n *bare.Network) *bare.Orderer {
	t.Helper()
	var leader *bare.Orderer
	until(t, ctx, 30*time.Second, func() (err error) { leader, err = n.Leader(ctx); return err })
	i := slices.IndexFunc(n.Orderers, func(o *bare.Orderer) bool { return o != leader })
	return n.Orderers[i]
}

// leave takes the channel off an orderer that was evicted. Fabric's orderer may
// hang over it or even end, since it notices the eviction at the same time; in
// a cluster it is started again, and so it is here.
func leave(t *testing.T, ctx context.Context, o *bare.Orderer) {
	t.Helper()
	p, err := o.Participation()
	ok(t, err)
	defer p.Close()
	until(t, ctx, time.Minute, func() error {
		if !o.Running() {
			return errors.Join(errThere, o.Restart(ctx))
		}
		call, cancel := context.WithTimeout(ctx, admin.RemovePatience)
		defer cancel()
		err := p.Remove(call, "trade")
		if errors.Is(err, admin.ErrChannelNotFound) {
			return nil
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Logf("%s hangs over leaving the channel: restart", o.Name)
			o.Kill()
			err = errors.Join(err, o.Restart(ctx))
		}
		return err
	})
	until(t, ctx, time.Minute, func() error {
		if !o.Running() {
			t.Logf("%s ended over leaving the channel; its log:\n%s", o.Name, o.Log())
			return errors.Join(errThere, o.Restart(ctx))
		}
		if _, err := p.Info(ctx, "trade"); !errors.Is(err, admin.ErrChannelNotFound) {
			return fmt.Errorf("it is still there: %w", errors.Join(errThere, err))
		}
		return nil
	})
}
