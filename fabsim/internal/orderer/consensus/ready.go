package consensus

import (
	"context"
	"fmt"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
)

const defaultSnapshotBytes = 16 << 20

func (c *Chain) gauge(vec *prometheus.GaugeVec, value uint64) {
	vec.WithLabelValues(c.channelID()).Set(float64(value))
}

// step gives Raft a message, and those that wait behind it.
func (c *Chain) step(message raftpb.Message) {
	for range cap(c.steps) {
		if err := c.raw.Step(message); err != nil {
			c.log.Debugf("Raft refused a message of node %d: %s", message.From, err)
		}
		select {
		case message = <-c.steps:
		default:
			return
		}
	}
}

// settle does what Raft asks for: keep, send, apply; until it asks for nothing
// more.
func (c *Chain) settle(ctx context.Context) error {
	for c.raw.HasReady() {
		ready := c.raw.Ready()
		begun := time.Now()
		if err := c.store.Save(&ready); err != nil {
			return err
		}
		c.o.Metrics.persist.WithLabelValues(c.channelID()).Observe(time.Since(begun).Seconds())
		if ready.SoftState != nil {
			c.noteLeader(ctx, *ready.SoftState)
		}
		if !raft.IsEmptySnap(ready.Snapshot) {
			if err := c.restore(ctx, ready.Snapshot); err != nil {
				return err
			}
		}
		c.send(ready.Messages)
		c.backlog = append(c.backlog, ready.CommittedEntries...)
		if err := c.apply(); err != nil { //nolint:contextcheck // connections live as long as Run
			return err
		}
		c.raw.Advance(ready)
	}
	return nil
}

func (c *Chain) send(messages []raftpb.Message) {
	for i := range messages {
		message := &messages[i]
		if message.To == raft.None {
			continue
		}
		if message.Type == raftpb.MsgSnap {
			// The snapshot may be from before the node came: it would not take
			// one that does not name it.
			snapshot := *message.Snapshot
			snapshot.Metadata.ConfState = c.voters
			message.Snapshot = &snapshot
		}
		raw, err := message.Marshal()
		if err != nil {
			c.log.Errorf("Marshal a message of Raft: %s", err)
			continue
		}
		sent := c.peers.Send(message.To, &ab.ConsensusRequest{Channel: c.channelID(), Payload: raw, Metadata: c.tracker.news(message.To)})
		if !sent {
			c.raw.ReportUnreachable(message.To)
		}
		if message.Type == raftpb.MsgSnap {
			status := raft.SnapshotFinish
			if !sent {
				status = raft.SnapshotFailure
			}
			c.raw.ReportSnapshot(message.To, status)
		}
	}
}

// apply takes in what Raft has decided, unless blocks before it are still
// being fetched.
func (c *Chain) apply() error {
	if c.catching {
		return nil
	}
	entries := c.backlog
	c.backlog = nil
	for i := range entries {
		entry := &entries[i]
		c.logged += uint64(len(entry.Data))
		var err error
		switch {
		case entry.Type == raftpb.EntryConfChange:
			err = c.applyConf(entry)
		case len(entry.Data) > 0 && entry.Index > c.applied:
			err = c.write(entry)
		}
		if err != nil {
			return err
		}
		c.applied = max(c.applied, entry.Index)
		if c.evicted {
			return nil
		}
	}
	return c.shorten()
}

func (c *Chain) applyConf(entry *raftpb.Entry) error {
	var conf raftpb.ConfChange
	if err := conf.Unmarshal(entry.Data); err != nil {
		return fmt.Errorf("read change of members: %w", err)
	}
	c.voters = *c.raw.ApplyConfChange(conf)
	if entry.Index <= c.applied {
		return nil // it took effect before a restart
	}
	c.log.Infof("Change of members: %s of node %d, now %v", conf.Type, conf.NodeID, c.voters.Voters)
	if conf.Type == raftpb.ConfChangeRemoveNode && conf.NodeID == c.id {
		c.evicted = true
		return nil
	}
	if c.pendingConf == nil || c.pendingConf.NodeID != conf.NodeID || c.pendingConf.Type != conf.Type {
		return nil
	}
	c.pendingConf = nil
	return c.connect()
}

// write writes a block that was decided.
func (c *Chain) write(entry *raftpb.Entry) error {
	block := &cb.Block{}
	if err := proto.Unmarshal(entry.Data, block); err != nil {
		return fmt.Errorf("read block of raft's entry %d: %w", entry.Index, err)
	}
	number, next := block.GetHeader().GetNumber(), c.last.GetNumber()+1
	if number < next {
		c.log.Infof("Block %d was fetched before it was decided here", number)
		return nil
	}
	if number > next {
		return fmt.Errorf("got block %d from raft instead of %d", number, next)
	}
	c.inflight = max(c.inflight-1, 0)
	c.lastBlock = entry.Data
	if blocks.IsConfig(block) {
		return c.writeConfig(block, entry.Index)
	}
	return c.append(block, entry.Index)
}

func (c *Chain) append(block *cb.Block, index uint64) error {
	c.members.meta.RaftIndex = index
	meta, err := proto.Marshal(c.members.meta)
	if err != nil {
		return fmt.Errorf("marshal consenters' numbers: %w", err)
	}
	if err := blocks.Seal(block, c.o.Identity, c.lastConfig, meta); err != nil {
		return err
	}
	if err := c.o.Ledger.Append(block); err != nil {
		return err
	}
	c.last = block.GetHeader()
	c.gauge(c.o.Metrics.committedBlock, c.last.GetNumber())
	c.log.Debugf("Wrote block %d of %d transactions", c.last.GetNumber(), len(block.GetData().GetData()))
	return nil
}

// writeConfig writes a configuration block and puts it in force. If it changes
// the consenters, Raft has to be told; the leader does that in takeLead.
func (c *Chain) writeConfig(block *cb.Block, index uint64) error {
	next, err := c.config.ApplyBlock(block)
	if err != nil {
		return err
	}
	raft, err := next.RaftMetadata()
	if err != nil {
		return err
	}
	change, err := c.members.become(raft.GetConsenters())
	if err != nil {
		return err
	}
	c.members, c.lastConfig = change.next, block.GetHeader().GetNumber()
	if err := c.append(block, index); err != nil {
		return err
	}
	c.config, c.raft, c.configInFlight = next, raft.GetOptions(), false
	c.view.Store(&view{members: c.members})
	c.o.Config.Store(next)
	c.gauge(c.o.Metrics.clusterSize, uint64(len(c.members.nodes)))
	if c.o.Changed != nil {
		c.o.Changed(next)
	}
	c.log.Infof("Configuration %d is in force from block %d on", next.Sequence(), c.lastConfig)
	c.pendingConf = change.conf
	if len(change.removed) == 1 && change.conf != nil {
		return nil // it is still to hear that it was removed
	}
	return c.connect()
}

// shorten takes a snapshot when the log has grown enough.
func (c *Chain) shorten() error {
	limit := uint64(c.raft.GetSnapshotIntervalSize())
	if limit == 0 {
		limit = defaultSnapshotBytes
	}
	if c.logged < limit || c.lastBlock == nil {
		return nil
	}
	if err := c.store.Shorten(c.applied, c.voters, c.lastBlock); err != nil {
		return err
	}
	c.log.Infof("Took a snapshot at block %d, raft's entry %d", c.last.GetNumber(), c.applied)
	c.gauge(c.o.Metrics.snapshotBlock, c.last.GetNumber())
	c.logged = 0
	return nil
}
