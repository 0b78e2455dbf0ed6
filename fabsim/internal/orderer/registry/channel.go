package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-x-common/common/ledger/blockledger"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer/admission"
	"heddle.dev/heddle/fabsim/internal/orderer/consensus"
	"heddle.dev/heddle/fabsim/internal/orderer/pull"
	"heddle.dev/heddle/fabsim/internal/orderer/raftlog"
)

// Relations of an orderer to a channel, and states of it, as the participation
// API names them.
const (
	RelationConsenter = "consenter"
	RelationFollower  = "follower"

	StatusActive     = "active"
	StatusOnboarding = "onboarding"
	StatusInactive   = "inactive"
	StatusFailed     = "failed"
)

// Info describes a channel.
type Info struct {
	Name             string
	Relation, Status string
	Height           uint64
}

const (
	followSoon = 500 * time.Millisecond
	followLate = 10 * time.Second
)

// Channel is a channel of an orderer.
type Channel struct {
	r      *Registry
	name   string
	ledger *blocks.Ledger
	config channel.Holder
	join   *cb.Block
	chain  atomic.Pointer[consensus.Chain]
	cancel context.CancelFunc
	done   chan struct{}

	mu               sync.Mutex
	relation, status string
}

// newChannel decides what the orderer is to the channel.
func (r *Registry) newChannel(ledger *blocks.Ledger, join *cb.Block) (*Channel, error) {
	c := &Channel{r: r, name: ledger.Channel(), ledger: ledger, join: join, done: make(chan struct{})}
	if join != nil && join.GetHeader().GetNumber() == 0 && ledger.Height() == 0 {
		member, err := c.memberBy(join)
		if err != nil {
			return nil, err
		}
		if member {
			if err := ledger.Append(join); err != nil {
				return nil, err
			}
		}
	}
	if ledger.Height() > 0 {
		config, err := c.inForce()
		if err != nil {
			return nil, err
		}
		c.config.Store(config)
	}
	return c, c.enter()
}

// inForce reads the configuration in force from the ledger.
func (c *Channel) inForce() (*channel.Config, error) {
	block, err := c.ledger.LastConfig()
	if err != nil {
		return nil, err
	}
	return channel.FromBlock(block)
}

func (c *Channel) memberBy(block *cb.Block) (bool, error) {
	config, err := channel.FromBlock(block)
	if err != nil {
		return false, err
	}
	return consensus.IsMember(config, c.r.o.Certificate)
}

// enter makes the chain if the orderer is a consenter that has the blocks up
// to where it joined, or else becomes a follower.
func (c *Channel) enter() error {
	onboarding := c.join != nil && c.ledger.Height() <= c.join.GetHeader().GetNumber()
	if !onboarding {
		member, err := consensus.IsMember(c.config.Load(), c.r.o.Certificate)
		if err != nil {
			return err
		}
		if err := c.r.forgetJoin(c.name); err != nil {
			return err
		}
		c.join = nil
		if !member {
			c.set(RelationFollower, StatusActive)
			return raftlog.Remove(c.r.raftDirs(c.name))
		}
		return c.consent()
	}
	member, err := c.memberBy(c.join)
	if err != nil {
		return err
	}
	relation := RelationFollower
	if member {
		relation = RelationConsenter
	}
	c.set(relation, StatusOnboarding)
	return nil
}

func (c *Channel) consent() error {
	walDir, snapDir := c.r.raftDirs(c.name)
	chain, err := consensus.New(consensus.Options{
		Ledger: c.ledger, Config: &c.config, Identity: c.r.o.Identity, Gate: c.r.o.Gate,
		Certificate: c.r.o.Certificate, Client: c.r.o.Client, Roots: c.r.o.Roots,
		Service: c.r.o.Service, Puller: c.r.puller(), WALDir: walDir, SnapDir: snapDir,
		Timeout: c.r.o.Timeout, Tick: c.r.o.Tick, Suspicion: c.r.o.Suspicion,
		Changed: func(*channel.Config) { c.r.changed() }, Metrics: c.r.o.Consensus, Log: c.r.o.Log,
	})
	if err != nil {
		return err
	}
	c.chain.Store(chain)
	c.set(RelationConsenter, StatusActive)
	return nil
}

func (c *Channel) set(relation, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.relation, c.status = relation, status
	c.r.o.Metrics.report(c.name, relation, status)
}

// Info describes the channel.
func (c *Channel) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Info{Name: c.name, Relation: c.relation, Status: c.status, Height: c.ledger.Height()}
}

// Config is the configuration in force.
func (c *Channel) Config() *channel.Config { return c.config.Load() }

// Reader has the blocks.
func (c *Channel) Reader() blockledger.Reader { return c.ledger }

// Errored closes while there is no leader, or when the orderer has stopped
// taking part.
func (c *Channel) Errored() <-chan struct{} {
	if chain := c.chain.Load(); chain != nil {
		return chain.Errored()
	}
	closed := make(chan struct{})
	close(closed)
	return closed
}

// Submit admits a transaction and orders it. The error is for the client; see
// admission.Status, and ErrUnavailable.
func (c *Channel) Submit(ctx context.Context, header *cb.ChannelHeader, message *cb.Envelope) error {
	chain := c.chain.Load()
	if chain == nil {
		return ErrNotExist
	}
	config := c.config.Load()
	sequence := config.Sequence()
	if !channel.IsConfigUpdate(header) {
		if err := c.r.o.Gate.Normal(config, message); err != nil {
			return err
		}
		return unavailable(chain.Order(ctx, message, sequence))
	}
	transaction, err := c.r.o.Gate.Update(config, message, func(next *channel.Config) error {
		if err := admission.Supported(next); err != nil {
			return err
		}
		return chain.CheckNext(next)
	})
	if err != nil {
		return err
	}
	return unavailable(chain.Configure(ctx, transaction, sequence))
}

// UnavailableError says that a transaction is right but cannot be ordered now.
type UnavailableError struct{ error }

// Unwrap gives the cause.
func (e UnavailableError) Unwrap() error { return e.error }

func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return UnavailableError{err}
}

// run takes part or follows, as configurations say, until ctx ends.
func (c *Channel) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := c.stay(ctx); err != nil {
			c.r.o.Log.Errorf("Channel %s stopped: %s", c.name, err)
			c.chain.Store(nil)
			c.mu.Lock()
			relation := c.relation
			c.mu.Unlock()
			c.set(relation, StatusFailed)
			return
		}
	}
}

// stay is one spell as consenter or follower.
func (c *Channel) stay(ctx context.Context) error {
	if chain := c.chain.Load(); chain != nil {
		err := chain.Run(ctx)
		if !errors.Is(err, consensus.ErrEvicted) {
			return err
		}
		c.r.o.Log.Infof("Channel %s: evicted from the consenters, now following it", c.name)
		c.chain.Store(nil)
		c.set(RelationFollower, StatusActive)
		return raftlog.Remove(c.r.raftDirs(c.name))
	}
	if err := c.follow(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := c.enter(); err != nil {
		return err
	}
	c.r.changed()
	return nil
}

// follow fetches blocks until the orderer has become a consenter, or has all
// up to the block that it joined by.
func (c *Channel) follow(ctx context.Context) error {
	var last *cb.BlockHeader
	if c.ledger.Height() > 0 {
		block, err := c.ledger.Last()
		if err != nil {
			return err
		}
		last = block.GetHeader()
	}
	chain := pull.NewChain(c.config.Load(), last)
	for wait := followSoon; ; wait = min(wait*3/2, followLate) {
		before := c.ledger.Height()
		done, err := c.fetch(ctx, chain)
		if done || err != nil && isFatal(err) {
			return err
		}
		if c.ledger.Height() > before {
			wait = followSoon
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (c *Channel) fetch(ctx context.Context, chain *pull.Chain) (done bool, err error) {
	first, until, wait := c.ledger.Height(), uint64(math.MaxUint64), true
	source := c.config.Load()
	if c.join != nil {
		// The orderers that the join block names are the ones that are there
		// now.
		until, wait = c.join.GetHeader().GetNumber(), false
		if source, err = channel.FromBlock(c.join); err != nil {
			return false, fatal(err)
		}
	}
	err = c.r.puller().Range(ctx, source, first, until, wait, func(block *cb.Block) error {
		var err error
		done, err = c.takeIn(chain, block)
		if done && err == nil {
			return errDone
		}
		return err
	})
	if done && (err == nil || errors.Is(err, errDone)) {
		return true, nil
	}
	if err != nil && ctx.Err() == nil {
		c.r.o.Log.Debugf("Channel %s: fetching blocks: %s", c.name, err)
	}
	return false, err
}

var errDone = errors.New("there is nothing more to fetch")

// takeIn writes a block that was fetched and tells whether following ends
// with it.
func (c *Channel) takeIn(chain *pull.Chain, block *cb.Block) (done bool, err error) {
	if err := chain.Check(block); err != nil {
		return false, err
	}
	number := block.GetHeader().GetNumber()
	last := c.join != nil && number == c.join.GetHeader().GetNumber()
	if last && !bytes.Equal(blocks.HeaderHash(block.GetHeader()), blocks.HeaderHash(c.join.GetHeader())) {
		return false, fatal(fmt.Errorf("block %d of the other orderers is not the one that this orderer joined by", number))
	}
	if err := c.ledger.Append(block); err != nil {
		return false, fatal(err)
	}
	if !blocks.IsConfig(block) {
		return last, nil
	}
	c.config.Store(chain.Config)
	c.r.changed()
	if c.join != nil {
		return last, nil
	}
	member, err := consensus.IsMember(chain.Config, c.r.o.Certificate)
	return member, err
}

type fatalError struct{ error }

func fatal(err error) error { return fatalError{err} }

func isFatal(err error) bool {
	var f fatalError
	return errors.As(err, &f)
}
