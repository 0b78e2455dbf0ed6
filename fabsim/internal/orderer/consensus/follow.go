package consensus

import (
	"context"
	"fmt"
	"slices"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer/pull"
)

const (
	retryEvery = time.Second
	stable     = 3
)

// pulse is what a leader knows of who is alive, and who has been told.
type pulse struct {
	count    int
	metadata []byte
	told     map[uint64]bool
}

// news is what a node has not been told yet.
func (p *pulse) news(to uint64) []byte {
	if len(p.metadata) == 0 || p.told[to] {
		return nil
	}
	p.told[to] = true
	return p.metadata
}

// noteActive takes in whom the leader says to be alive.
func (c *Chain) noteActive(from uint64, metadata []byte) error {
	if len(metadata) == 0 || c.leaderID.Load() != from {
		return nil
	}
	cluster := &etcdraft.ClusterMetadata{}
	if err := proto.Unmarshal(metadata, cluster); err != nil {
		return fmt.Errorf("read who is active: %w", err)
	}
	active := cluster.GetActiveNodes()
	c.active.Store(&active)
	c.gauge(c.o.Metrics.activeNodes, uint64(len(active)))
	return nil
}

func (c *Chain) onTick(ctx context.Context) {
	c.count()
	c.raw.Tick()
	if c.campaigning {
		// Until somebody leads: the others may not have started yet.
		if c.campaign++; c.campaign%(2*int(c.raft.GetHeartbeatTick())) == 0 {
			if err := c.raw.Campaign(); err != nil {
				c.log.Debugf("Stand for election: %s", err)
			}
		}
	}
	if c.transfer != nil {
		if c.transfer.ticks++; c.transfer.ticks > int(c.raft.GetElectionTick()) {
			c.giveUpLead()
		}
	}
	if !c.leaderless.IsZero() && time.Since(c.leaderless) > c.o.Suspicion && !c.asking && !c.catching && len(c.members.nodes) > 1 {
		c.asking = true
		go c.ask(ctx, c.config)
	}
}

// count is a leader's view of who is alive; what it sees for a few ticks it
// tells the others.
func (c *Chain) count() {
	switch {
	case c.soft.Lead == raft.None:
		c.active.Store(&[]uint64{})
		c.gauge(c.o.Metrics.activeNodes, 0)
		return
	case c.soft.Lead != c.id:
		return
	}
	active := []uint64{c.id}
	c.raw.WithProgress(func(id uint64, _ raft.ProgressType, progress tracker.Progress) {
		if id != c.id && progress.RecentActive {
			active = append(active, id)
		}
	})
	slices.Sort(active)
	before := *c.active.Load()
	c.active.Store(&active)
	if !slices.Equal(before, active) {
		c.tracker.count = 0
		return
	}
	if c.tracker.count++; c.tracker.count < stable {
		return
	}
	c.gauge(c.o.Metrics.activeNodes, uint64(len(active)))
	metadata, err := proto.Marshal(&etcdraft.ClusterMetadata{ActiveNodes: active})
	if err != nil {
		c.log.Errorf("Marshal who is active: %s", err)
		return
	}
	// All over again: a node may have restarted, or heard of another leader.
	c.tracker = pulse{metadata: metadata, told: map[uint64]bool{}}
}

// caughtUp is how fetching blocks ended.
type caughtUp struct {
	index  uint64
	voters *raftpb.ConfState
}

// restore begins to fetch the blocks up to a snapshot of Raft. Meanwhile Raft
// goes on, but what it decides waits.
func (c *Chain) restore(ctx context.Context, snapshot raftpb.Snapshot) error {
	if snapshot.Metadata.Index <= c.applied {
		return nil
	}
	block := &cb.Block{}
	if err := proto.Unmarshal(snapshot.Data, block); err != nil {
		return fmt.Errorf("read snapshot of raft: %w", err)
	}
	c.fetch(ctx, block.GetHeader().GetNumber(), caughtUp{index: snapshot.Metadata.Index, voters: &snapshot.Metadata.ConfState})
	return nil
}

func (c *Chain) fetch(ctx context.Context, until uint64, result caughtUp) {
	c.log.Infof("Catching up from block %d to %d", c.last.GetNumber(), until)
	c.catching = true
	chain := pull.NewChain(c.config, c.last)
	go func() {
		for c.fetchOnce(ctx, chain, until) != nil {
			select {
			case <-ctx.Done():
				return
			case <-time.After(retryEvery):
			}
		}
		c.caught <- result
	}()
}

func (c *Chain) fetchOnce(ctx context.Context, chain *pull.Chain, until uint64) error {
	next := c.o.Ledger.Height()
	if next > until {
		return nil
	}
	err := c.o.Puller.Range(ctx, chain.Config, next, until, false, func(block *cb.Block) error {
		before := chain.Config
		if err := chain.Check(block); err != nil {
			return err
		}
		if err := c.o.Ledger.Append(block); err != nil {
			return err
		}
		if chain.Config != before {
			c.o.Config.Store(chain.Config)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		c.log.Warnf("Catching up: %s", err)
	}
	return err
}

// resume goes on with what Raft decided meanwhile.
func (c *Chain) resume(result caughtUp) error {
	c.catching = false
	if result.voters != nil {
		c.applied, c.voters = max(c.applied, result.index), *result.voters
	}
	applied := c.applied
	if err := c.load(); err != nil {
		return err
	}
	if result.voters == nil {
		// Blocks came from elsewhere; Raft's own count goes on.
		c.applied = applied
	}
	c.gauge(c.o.Metrics.committedBlock, c.last.GetNumber())
	c.log.Infof("Caught up to block %d", c.last.GetNumber())
	if c.o.Changed != nil {
		c.o.Changed(c.config)
	}
	if err := c.connect(); err != nil {
		return err
	}
	return c.apply()
}

// suspicion is what the others say of this node's membership.
type suspicion struct {
	config *channel.Config
	number uint64
}

// ask fetches the newest configuration from the others: without a leader for
// long, the node may have been removed while it was away, or the others may
// have moved.
func (c *Chain) ask(ctx context.Context, config *channel.Config) {
	found := suspicion{}
	newest, err := c.o.Puller.Last(ctx, config)
	if err == nil {
		found.number, err = blocks.LastConfigIndex(newest)
	}
	if err == nil {
		err = c.o.Puller.Range(ctx, config, found.number, found.number, false, func(block *cb.Block) (err error) {
			if block.GetHeader().GetNumber() > 0 {
				if err := config.VerifyBlock(block); err != nil {
					return err
				}
			}
			found.config, err = channel.FromBlock(block)
			return err
		})
	}
	if err != nil {
		c.log.Debugf("Ask the others for the newest configuration: %s", err)
	}
	select {
	case c.suspicions <- found:
	case <-ctx.Done():
	}
}

func (c *Chain) conclude(ctx context.Context, found suspicion) error {
	c.asking = false
	if !c.leaderless.IsZero() {
		c.leaderless = time.Now() // ask again only after another while
	}
	if found.config == nil {
		return nil
	}
	member, err := IsMember(found.config, c.o.Certificate)
	if err != nil {
		return err
	}
	switch {
	case !member && found.number >= c.o.Ledger.Height():
		c.log.Warnf("Block %d removes this node from the consenters", found.number)
		c.evicted = true
	case found.number >= c.o.Ledger.Height() && !c.catching:
		c.fetch(ctx, found.number, caughtUp{})
	}
	return nil
}
