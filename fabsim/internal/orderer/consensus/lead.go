package consensus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
)

const (
	maxTransfers = 5
	forwardFor   = 30 * time.Second
)

// transfer is leadership on its way to another node, so that a configuration
// that removes this one, or changes its certificate, is not led by it.
type transfer struct {
	request  *ab.SubmitRequest
	attempts int
	ticks    int
}

// noteLeader takes in who leads.
func (c *Chain) noteLeader(ctx context.Context, soft raft.SoftState) {
	before := c.soft
	c.soft = soft
	if soft.Lead != before.Lead {
		c.log.Infof("Raft leader changed: %d -> %d", before.Lead, soft.Lead)
		c.o.Metrics.leaderChanges.WithLabelValues(c.channelID()).Inc()
		c.leaderID.Store(soft.Lead)
		if soft.Lead == c.id {
			c.gauge(c.o.Metrics.isLeader, 1)
			c.elected, c.inflight, c.configInFlight = true, 0, false
		}
		if before.Lead == c.id {
			c.stepDown(ctx)
		}
	}
	if soft.Lead != raft.None {
		c.campaigning = false
		c.leaderless = time.Time{}
	} else if c.leaderless.IsZero() {
		c.leaderless = time.Now()
	}
	// Of two nodes or one, the rest must stay reachable, or the cluster could
	// never grow.
	c.setErrored((soft.Lead == raft.None || candidate(soft.RaftState)) && len(c.members.nodes) > 2)
}

func candidate(state raft.StateType) bool {
	return state == raft.StateCandidate || state == raft.StatePreCandidate
}

// stepDown gives what was accepted but not proposed yet to the next leader.
func (c *Chain) stepDown(ctx context.Context) {
	c.gauge(c.o.Metrics.isLeader, 0)
	c.setTimer(false, 0)
	for _, message := range c.cutter.Cut() {
		c.pass(ctx, &ab.SubmitRequest{Channel: c.channelID(), LastValidationSeq: c.config.Sequence(), Payload: message})
	}
	if c.transfer != nil {
		c.pass(ctx, c.transfer.request)
		c.transfer = nil
	}
	c.elected, c.inflight, c.configInFlight = false, 0, false
}

// pass submits a transaction anew until somebody has it.
func (c *Chain) pass(ctx context.Context, request *ab.SubmitRequest) {
	go func() {
		ctx, cancel := context.WithTimeout(ctx, forwardFor)
		defer cancel()
		for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
			err := c.Submit(ctx, request)
			if err == nil {
				return
			}
			select {
			case <-ctx.Done():
				c.log.Warnf("Lost a transaction with the leadership: %s", err)
				return
			case <-c.done:
				return
			case <-time.After(wait):
			}
		}
	}()
}

// takeLead does what a leader has to do before it takes transactions: wait for
// what its predecessors left, and tell Raft of members that changed. It tells
// whether there is something new for Raft to settle.
func (c *Chain) takeLead() bool {
	if c.soft.Lead != c.id || c.catching || !c.settled() {
		return false
	}
	if c.elected {
		if c.pendingConf == nil {
			c.pendingConf = c.members.missing(c.voters.Voters)
		}
		c.elected, c.head, c.inflight = false, c.last, 0
		c.log.Infof("Start accepting transactions as leader after block %d", c.last.GetNumber())
	}
	if c.pendingConf == nil || c.transfer != nil {
		return false
	}
	if err := c.raw.ProposeConfChange(*c.pendingConf); err != nil {
		c.log.Warnf("Propose change of members: %s", err)
		return false
	}
	return true
}

// settled tells whether everything in the log has been applied.
func (c *Chain) settled() bool {
	last, err := c.store.LastIndex()
	return err == nil && c.applied >= last
}

// open tells whether a leader takes transactions.
func (c *Chain) open() bool {
	return !c.elected && !c.configInFlight && c.pendingConf == nil && c.transfer == nil && !c.catching &&
		c.inflight < int(c.raft.GetMaxInflightBlocks())
}

// take answers a submission, and orders it if this is the leader.
func (c *Chain) take(s *submission) {
	if candidate(c.soft.RaftState) {
		s.leader <- raft.None
		return
	}
	s.leader <- c.soft.Lead
	if c.soft.Lead != c.id {
		return
	}
	if err := c.order(s.request); err != nil {
		c.o.Metrics.proposalFailures.WithLabelValues(c.channelID()).Inc()
		c.log.Warnf("Dropped a transaction: %s", err)
	}
}

func (c *Chain) order(request *ab.SubmitRequest) error {
	header, err := protoutil.ChannelHeader(request.GetPayload())
	if err != nil {
		return fmt.Errorf("read transaction: %w", err)
	}
	late := request.GetLastValidationSeq() < c.config.Sequence()
	if header.GetType() == int32(cb.HeaderType_CONFIG) {
		return c.orderConfig(request, late)
	}
	if late {
		if err := c.o.Gate.Normal(c.config, request.GetPayload()); err != nil {
			return err
		}
	}
	orderers, _ := c.config.OrdererConfig()
	if c.batchBegun.IsZero() {
		c.batchBegun = time.Now()
	}
	batches, pending := c.cutter.Ordered(request.GetPayload(), orderers.BatchSize())
	if len(batches) > 0 {
		c.filled()
	}
	c.propose(batches...)
	c.setTimer(pending, orderers.BatchTimeout())
	return nil
}

// setTimer lets the batch time-out run while transactions wait.
func (c *Chain) setTimer(pending bool, timeout time.Duration) {
	switch {
	case !pending:
		c.batchTimer.Stop()
		c.ticking = false
	case !c.ticking:
		c.batchTimer.Reset(timeout)
		c.ticking = true
	}
	if pending && c.batchBegun.IsZero() {
		c.batchBegun = time.Now()
	}
}

// orderConfig orders a configuration: in a block of its own, after what waits.
func (c *Chain) orderConfig(request *ab.SubmitRequest, late bool) error {
	if late {
		_, proposed, err := channel.ParseConfig(request.GetPayload())
		if err != nil {
			return err
		}
		again, err := c.o.Gate.Update(c.config, proposed.GetLastUpdate(), c.CheckNext)
		if err != nil {
			return err
		}
		request = &ab.SubmitRequest{Channel: request.GetChannel(), LastValidationSeq: c.config.Sequence(), Payload: again}
	}
	mine, err := c.concernsMe(request.GetPayload())
	if err != nil {
		return err
	}
	if mine && len(c.members.nodes) > 1 {
		c.transfer = &transfer{request: request}
		c.giveUpLead()
		return nil
	}
	if waiting := c.cut(); len(waiting) > 0 {
		c.propose(waiting)
	}
	c.setTimer(false, 0)
	c.propose([]*cb.Envelope{request.GetPayload()})
	c.configInFlight = true
	return nil
}

// concernsMe tells whether a configuration removes this node or changes its
// certificate.
func (c *Chain) concernsMe(transaction *cb.Envelope) (bool, error) {
	next, err := channel.FromEnvelope(transaction)
	if err != nil {
		return false, err
	}
	raft, err := next.RaftMetadata()
	if err != nil {
		return false, err
	}
	change, err := c.members.become(raft.GetConsenters())
	if err != nil {
		return false, err
	}
	return change.rotated == c.id || change.next.nodes[c.id] == nil, nil
}

// giveUpLead transfers leadership to a node that is alive.
func (c *Chain) giveUpLead() {
	c.transfer.ticks = 0
	if c.transfer.attempts++; c.transfer.attempts > maxTransfers {
		c.log.Warnf("Dropped a configuration: no other node could take the lead")
		c.transfer = nil
		return
	}
	var candidates []uint64
	c.raw.WithProgress(func(id uint64, _ raft.ProgressType, progress tracker.Progress) {
		if id != c.id && progress.RecentActive && !progress.IsPaused() {
			candidates = append(candidates, id)
		}
	})
	if len(candidates) > 0 {
		to := candidates[rand.N(len(candidates))] //nolint:gosec // any will do
		c.log.Infof("Transferring leadership to node %d before a configuration that concerns this one", to)
		c.raw.TransferLeader(to)
	}
}

// cut ends the waiting batch.
func (c *Chain) cut() []*cb.Envelope {
	batch := c.cutter.Cut()
	if len(batch) > 0 {
		c.filled()
	}
	return batch
}

func (c *Chain) filled() {
	c.o.Metrics.fill.WithLabelValues(c.channelID()).Observe(time.Since(c.batchBegun).Seconds())
	c.batchBegun = time.Time{}
}

// propose makes blocks of batches and gives them to Raft.
func (c *Chain) propose(batches ...[]*cb.Envelope) {
	for _, batch := range batches {
		if len(batch) == 0 {
			continue
		}
		if err := c.proposeBlock(batch); err != nil {
			c.o.Metrics.proposalFailures.WithLabelValues(c.channelID()).Inc()
			c.log.Warnf("Lost a block of %d transactions: %s", len(batch), err)
			c.elected = true // the next block follows what is decided, not this one
			return
		}
	}
}

func (c *Chain) proposeBlock(batch []*cb.Envelope) error {
	transactions := make([][]byte, 0, len(batch))
	for _, message := range batch {
		raw, err := proto.Marshal(message)
		if err != nil {
			return fmt.Errorf("marshal transaction: %w", err)
		}
		transactions = append(transactions, raw)
	}
	block := blocks.Next(c.head, transactions)
	raw, err := proto.Marshal(block)
	if err != nil {
		return fmt.Errorf("marshal block: %w", err)
	}
	if err := c.raw.Propose(raw); err != nil {
		return fmt.Errorf("propose block %d: %w", block.GetHeader().GetNumber(), err)
	}
	c.head = block.GetHeader()
	c.inflight++
	return nil
}
