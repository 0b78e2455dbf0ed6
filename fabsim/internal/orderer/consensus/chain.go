package consensus

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/admission"
	"heddle.dev/heddle/fabsim/internal/orderer/cluster"
	"heddle.dev/heddle/fabsim/internal/orderer/cutter"
	"heddle.dev/heddle/fabsim/internal/orderer/pull"
	"heddle.dev/heddle/fabsim/internal/orderer/raftlog"
)

// ErrEvicted is how Run ends when the orderer is no consenter any more.
var ErrEvicted = errors.New("this orderer is no longer a consenter of the channel")

var (
	errNoLeader = errors.New("no Raft leader")
	errStopped  = errors.New("chain is stopped")
)

// Options of a chain.
type Options struct {
	// Ledger has the blocks, at least the genesis.
	Ledger *blocks.Ledger
	// Config is the configuration in force; the chain replaces it.
	Config *channel.Holder
	// Identity signs blocks.
	Identity *node.Identity
	// Gate admits again what was admitted under an older configuration.
	Gate *admission.Gate
	// Certificate (PEM) is the orderer's TLS certificate, by which it finds
	// itself among the consenters; Client is what it shows to the others.
	Certificate []byte
	Client      tls.Certificate
	// Roots (PEM) are TLS authorities beside those of the channel.
	Roots [][]byte
	// Service receives what the others send.
	Service *cluster.Service
	// Puller fetches blocks when the log does not reach back far enough.
	Puller *pull.Puller
	// WALDir and SnapDir are the folders of the Raft log.
	WALDir, SnapDir string
	// Timeout of messages to the others.
	Timeout time.Duration
	// Tick overrides the channel's own, if it is not zero.
	Tick time.Duration
	// Suspicion is how long there may be no leader before the orderer asks
	// the others whether it was evicted.
	Suspicion time.Duration
	// Changed is told of each new configuration; optional.
	Changed func(*channel.Config)
	// Metrics and Log take what happens.
	Metrics *Metrics
	Log     *node.Logger
}

// Chain orders the transactions of one channel.
type Chain struct {
	o     Options
	log   *node.Logger
	id    uint64
	raft  *etcdraft.Options
	tick  time.Duration
	store *raftlog.Log
	raw   *raft.RawNode
	peers *cluster.Peers

	submits    chan *submission
	steps      chan raftpb.Message
	unreached  chan uint64
	caught     chan caughtUp
	suspicions chan suspicion
	done       chan struct{}

	// What others may look at.
	view     atomic.Pointer[view]
	active   atomic.Pointer[[]uint64]
	leaderID atomic.Uint64
	errorMu  sync.Mutex
	errored  chan struct{}

	state
}

// view is the part of the state that other goroutines judge proposals by.
type view struct{ members *members }

// state belongs to Run.
type state struct {
	config     *channel.Config
	members    *members
	last       *cb.BlockHeader
	lastConfig uint64
	applied    uint64
	voters     raftpb.ConfState
	soft       raft.SoftState
	leaderless time.Time

	// Of a leader: the header that the next block follows, blocks that are on
	// their way, and what holds new ones up.
	cutter         cutter.Cutter
	batchTimer     *time.Timer
	batchBegun     time.Time
	ticking        bool
	head           *cb.BlockHeader
	inflight       int
	elected        bool
	configInFlight bool
	pendingConf    *raftpb.ConfChange
	transfer       *transfer
	campaigning    bool

	// Of one that catches up: committed entries that wait for it.
	catching bool
	backlog  []raftpb.Entry
	asking   bool
	evicted  bool

	// Since the last snapshot.
	logged    uint64
	lastBlock []byte

	tracker  pulse
	campaign int
}

type submission struct {
	request *ab.SubmitRequest
	leader  chan uint64
}

// New makes a chain of a channel that the orderer is a consenter of. Nothing
// happens before Run.
func New(o Options) (*Chain, error) {
	config := o.Config.Load()
	metadata, err := config.RaftMetadata()
	if err != nil {
		return nil, err
	}
	if err := checkMetadata(config, metadata); err != nil {
		return nil, fmt.Errorf("read consensus options of %s: %w", config.ID(), err)
	}
	c := &Chain{
		o: o, raft: metadata.GetOptions(),
		submits: make(chan *submission), steps: make(chan raftpb.Message, 256), unreached: make(chan uint64, 16),
		caught: make(chan caughtUp, 1), suspicions: make(chan suspicion, 1), done: make(chan struct{}),
		errored: make(chan struct{}),
	}
	close(c.errored) // until there is a leader
	c.active.Store(&[]uint64{})
	if c.tick, err = tickInterval(o, c.raft); err != nil {
		return nil, err
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	if c.id, err = c.members.find(o.Certificate); err != nil {
		return nil, err
	}
	if c.id == 0 {
		return nil, fmt.Errorf("find own place in %s: the TLS certificate is that of no consenter", config.ID())
	}
	c.log = o.Log.With("channel", config.ID(), "node", c.id)
	return c, nil
}

func tickInterval(o Options, raft *etcdraft.Options) (time.Duration, error) {
	if o.Tick != 0 {
		return o.Tick, nil
	}
	tick, err := time.ParseDuration(raft.GetTickInterval())
	if err != nil {
		return 0, fmt.Errorf("read tick interval: %w", err)
	}
	return tick, nil
}

// load takes in what the ledger says.
func (c *Chain) load() error {
	last, err := c.o.Ledger.Last()
	if err != nil {
		return err
	}
	c.config = c.o.Config.Load()
	raft, err := c.config.RaftMetadata()
	if err != nil {
		return err
	}
	var meta []byte
	if last.GetHeader().GetNumber() > 0 {
		if meta, err = blocks.ConsenterMetadata(last); err != nil {
			return err
		}
	}
	if c.members, err = newMembers(meta, raft); err != nil {
		return err
	}
	c.view.Store(&view{members: c.members})
	c.last = last.GetHeader()
	c.lastConfig, err = blocks.LastConfigIndex(last)
	c.applied = max(c.applied, c.members.meta.GetRaftIndex())
	return err
}

// Order submits a transaction that was admitted under the configuration of
// that sequence. It returns once the leader has it.
func (c *Chain) Order(ctx context.Context, transaction *cb.Envelope, sequence uint64) error {
	c.o.Metrics.normalProposals.WithLabelValues(c.channelID()).Inc()
	return c.submit(ctx, &ab.SubmitRequest{Channel: c.channelID(), LastValidationSeq: sequence, Payload: transaction})
}

// Configure submits a configuration transaction.
func (c *Chain) Configure(ctx context.Context, transaction *cb.Envelope, sequence uint64) error {
	c.o.Metrics.configProposals.WithLabelValues(c.channelID()).Inc()
	return c.submit(ctx, &ab.SubmitRequest{Channel: c.channelID(), LastValidationSeq: sequence, Payload: transaction})
}

// channelID is the channel's name, which no configuration changes.
func (c *Chain) channelID() string { return c.o.Ledger.Channel() }

func (c *Chain) submit(ctx context.Context, request *ab.SubmitRequest) error {
	err := c.Submit(ctx, request)
	if err != nil {
		c.o.Metrics.proposalFailures.WithLabelValues(c.channelID()).Inc()
	}
	return err
}

// Submit gives a transaction to the leader, be it here or elsewhere. Other
// orderers call it too.
func (c *Chain) Submit(ctx context.Context, request *ab.SubmitRequest) error {
	if request.GetPayload() == nil {
		return errors.New("there is no transaction in the request")
	}
	s := &submission{request: request, leader: make(chan uint64, 1)}
	select {
	case c.submits <- s:
	case <-c.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	switch leader := <-s.leader; leader {
	case raft.None:
		return errNoLeader
	case c.id:
		return nil
	default:
		return c.peers.Submit(ctx, leader, request)
	}
}

// Consensus takes a message of another node's Raft.
func (c *Chain) Consensus(ctx context.Context, from uint64, request *ab.ConsensusRequest) error {
	message := raftpb.Message{}
	if err := message.Unmarshal(request.GetPayload()); err != nil {
		return fmt.Errorf("read message of node %d: %w", from, err)
	}
	if message.To != c.id {
		return fmt.Errorf("got a message for node %d, but this is node %d", message.To, c.id)
	}
	select {
	case c.steps <- message:
	case <-c.done:
		return errStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	return c.noteActive(from, request.GetMetadata())
}

// Errored closes while nobody can say what comes next, for lack of a leader.
func (c *Chain) Errored() <-chan struct{} {
	c.errorMu.Lock()
	defer c.errorMu.Unlock()
	return c.errored
}

func (c *Chain) setErrored(errored bool) {
	c.errorMu.Lock()
	defer c.errorMu.Unlock()
	select {
	case <-c.errored:
		if !errored {
			c.errored = make(chan struct{})
		}
	default:
		if errored {
			close(c.errored)
		}
	}
}
