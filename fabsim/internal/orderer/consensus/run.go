package consensus

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"

	"heddle.dev/heddle/fabsim/internal/orderer/cluster"
	"heddle.dev/heddle/fabsim/internal/orderer/raftlog"
)

// Run takes part in the consensus until ctx ends (nil), the orderer is evicted
// (ErrEvicted), or it cannot go on.
func (c *Chain) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer close(c.done)
	defer c.o.Metrics.forget(c.channelID())
	if c.store, err = raftlog.Open(c.log, c.o.WALDir, c.o.SnapDir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.store.Close()) }()
	c.peers = cluster.NewPeers(ctx, cluster.Options{
		Certificate: c.o.Client, Timeout: c.o.Timeout, Unreachable: c.unreachable, Log: c.log,
	})
	defer c.peers.Close()
	if err := c.begin(ctx); err != nil {
		return err
	}
	defer c.o.Service.Unset(c.channelID())
	defer c.setErrored(true)
	return c.loop(ctx)
}

func (c *Chain) unreachable(id uint64) {
	select {
	case c.unreached <- id:
	default:
	}
}

// begin starts Raft: as part of a new channel, as a newcomer to an old one, or
// where it left off.
func (c *Chain) begin(ctx context.Context) error {
	orderers, _ := c.config.OrdererConfig()
	config := &raft.Config{
		ID: c.id, ElectionTick: int(c.raft.GetElectionTick()), HeartbeatTick: int(c.raft.GetHeartbeatTick()),
		MaxSizePerMsg: uint64(orderers.BatchSize().GetPreferredMaxBytes()), MaxInflightMsgs: int(c.raft.GetMaxInflightBlocks()),
		Storage: c.store, Logger: c.log, PreVote: true, CheckQuorum: true, DisableProposalForwarding: true,
	}
	snapshot, err := c.store.Snapshot()
	if err != nil {
		return fmt.Errorf("read raft log: %w", err)
	}
	c.voters = snapshot.Metadata.ConfState
	if c.raw, err = raft.NewRawNode(config); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	if c.store.Fresh() && c.last.GetNumber() == 0 {
		var peers []raft.Peer
		for _, id := range c.members.meta.GetConsenterIds() {
			peers = append(peers, raft.Peer{ID: id})
		}
		if err := c.raw.Bootstrap(peers); err != nil {
			return fmt.Errorf("start raft: %w", err)
		}
		c.campaigning = c.firstLeader()
	}
	if err := c.connect(); err != nil { //nolint:contextcheck // connections live as long as Run
		return err
	}
	c.gauge(c.o.Metrics.committedBlock, c.last.GetNumber())
	c.gauge(c.o.Metrics.clusterSize, uint64(len(c.members.nodes)))
	c.gauge(c.o.Metrics.isLeader, 0)
	c.gauge(c.o.Metrics.activeNodes, 0)
	c.log.Infof("Taking part in the consensus from block %d on", c.last.GetNumber())
	if snapshot.Metadata.Index > c.applied {
		return c.restore(ctx, snapshot)
	}
	return nil
}

// firstLeader picks the node that stands for election at once when a channel
// begins; real orderers pick the same one.
func (c *Chain) firstLeader() bool {
	sum := sha256.Sum256([]byte(c.channelID()))
	number, read := binary.Uvarint(sum[24:])
	if read <= 0 {
		number = 0
	}
	return c.id == number%uint64(len(c.members.nodes))+1
}

// connect tells the network who the others are.
func (c *Chain) connect() error {
	others := c.members.others(c.id)
	var roots [][]byte
	roots = append(roots, c.o.Roots...)
	roots = append(roots, c.config.TLSRoots()...)
	if err := c.peers.Set(others, roots); err != nil {
		return err
	}
	return c.o.Service.Set(c.channelID(), c, others)
}

func (c *Chain) loop(ctx context.Context) error {
	ticker := time.NewTicker(c.tick)
	defer ticker.Stop()
	c.batchTimer = time.NewTimer(time.Hour)
	defer c.batchTimer.Stop()
	c.batchTimer.Stop()
	c.leaderless = time.Now()
	for {
		if err := c.settle(ctx); err != nil {
			return err
		}
		if c.evicted {
			return ErrEvicted
		}
		if c.takeLead() {
			continue
		}
		submits := c.submits
		if c.soft.Lead == c.id && !c.open() {
			submits = nil // whoever submits waits
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			c.onTick(ctx)
		case message := <-c.steps:
			c.step(message)
		case s := <-submits:
			c.take(s)
		case <-c.batchTimer.C:
			c.ticking = false
			c.propose(c.cut())
		case id := <-c.unreached:
			c.raw.ReportUnreachable(id)
		case result := <-c.caught:
			if err := c.resume(result); err != nil { //nolint:contextcheck // connections live as long as Run
				return err
			}
		case result := <-c.suspicions:
			if err := c.conclude(ctx, result); err != nil {
				return err
			}
		}
	}
}
