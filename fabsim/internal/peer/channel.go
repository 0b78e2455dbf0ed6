package peer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/common/ledger/blockledger"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/deliver"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
	"heddle.dev/heddle/fabsim/internal/peer/validate"
)

// joined is a channel that the peer is in.
type joined struct {
	peer   *Peer
	config channel.Holder
	ledger *ledger.Ledger
}

// Config is the configuration in force.
func (j *joined) Config() *channel.Config { return j.config.Load() }

// Ledger is the channel's ledger.
func (j *joined) Ledger() *ledger.Ledger { return j.ledger }

// Reader serves internal/deliver.
func (j *joined) Reader() blockledger.Reader { return j.ledger }

// Errored is never: a peer's chain just stands still.
func (*joined) Errored() <-chan struct{} { return nil }

var (
	_ deliver.Channel   = (*joined)(nil)
	_ lifecycle.Channel = (*joined)(nil)
)

// channels are those that the peer is in.
type channels struct {
	mu   sync.RWMutex
	byID map[string]*joined
	// joining keeps two calls from making the same channel.
	joining sync.Mutex
}

func (c *channels) get(id string) *joined {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byID[id]
}

func (c *channels) all() []*joined {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []*joined
	for _, id := range slices.Sorted(maps.Keys(c.byID)) {
		out = append(out, c.byID[id])
	}
	return out
}

func (c *channels) configs() []*channel.Config {
	var out []*channel.Config
	for _, j := range c.all() {
		out = append(out, j.Config())
	}
	return out
}

// openAll opens the channels that the peer was in before.
func (p *Peer) openAll(ctx context.Context) error {
	ids, err := p.blocks.Channels()
	if err != nil {
		return err
	}
	for _, id := range ids {
		chain, err := p.blocks.Ledger(id)
		if err != nil {
			return err
		}
		if chain.Height() == 0 {
			continue // it was killed while it joined; it can join again
		}
		block, err := chain.LastConfig()
		if err != nil {
			return err
		}
		config, err := channel.FromBlock(block)
		if err != nil {
			return err
		}
		j, err := p.open(ctx, chain, config)
		if err != nil {
			return err
		}
		p.add(j)
	}
	return nil
}

func (p *Peer) open(ctx context.Context, chain *blocks.Ledger, config *channel.Config) (*joined, error) {
	j := &joined{peer: p}
	j.config.Store(config)
	db, err := p.stateOf(ctx, chain.Channel())
	if err != nil {
		return nil, err
	}
	j.ledger, err = ledger.Open(ctx, ledger.Options{
		Blocks: chain, State: db, Store: p.store,
		Collections: func(ctx context.Context, get ledger.Getter, contract string) (*pb.CollectionConfigPackage, error) {
			return lifecycle.Collections(ctx, j.Config(), contract, lifecycle.Public(get))
		},
	})
	return j, err
}

func (p *Peer) stateOf(ctx context.Context, id string) (state.DB, error) {
	if p.couch == nil {
		return state.NewEmbedded(p.store, id), nil
	}
	return p.couch.Channel(ctx, id)
}

func (p *Peer) add(j *joined) {
	p.channels.mu.Lock()
	p.channels.byID[j.Config().ID()] = j
	p.channels.mu.Unlock()
	p.rootsChanged()
}

// rootsChanged lets clients of the channels' organisations in.
func (p *Peer) rootsChanged() {
	if p.tls == nil {
		return
	}
	var roots [][]byte
	for _, config := range p.channels.configs() {
		roots = append(roots, config.TLSRoots()...)
	}
	p.tls.AddClientRoots(roots)
}

// join joins the peer to the channel of a genesis block.
func (p *Peer) join(ctx context.Context, block *cb.Block) error {
	p.channels.joining.Lock()
	defer p.channels.joining.Unlock()
	config, err := channel.FromBlock(block)
	if err != nil {
		return err
	}
	id := config.ID()
	if err := channel.ValidID(id); err != nil {
		return err
	}
	if p.channels.get(id) != nil {
		return fmt.Errorf("cannot create ledger from genesis block: ledger [%s] already exists with state [ACTIVE]", id)
	}
	if block.GetHeader().GetNumber() != 0 {
		return fmt.Errorf("cannot create ledger from genesis block: expected block number 0, got %d", block.GetHeader().GetNumber())
	}
	chain, err := p.blocks.Ledger(id)
	if err != nil {
		return err
	}
	j, err := p.open(ctx, chain, config)
	if err != nil {
		return err
	}
	blocks.InitMetadata(block)
	block.Metadata.Metadata[cb.BlockMetadataIndex_TRANSACTIONS_FILTER] = []byte{byte(pb.TxValidationCode_VALID)}
	if _, err := j.ledger.Commit(ctx, block, nil, nil); err != nil {
		return err
	}
	p.add(j)
	p.log.Infof("Joined channel %s", id)
	select {
	case p.follow <- j:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// take validates and commits the next block of the channel.
func (j *joined) take(ctx context.Context, block *cb.Block) error {
	config := j.Config()
	judged, err := validate.Block(ctx, config, j.ledger, block)
	if err != nil {
		return err
	}
	private, wanted, err := j.gather(ctx, block, judged.Spaces)
	if err != nil {
		return err
	}
	if changesContracts(judged.Spaces) {
		defer j.peer.lifecycle.Changing()()
	}
	result, err := j.ledger.Commit(ctx, block, private, wanted)
	if err != nil {
		return err
	}
	if judged.Config != nil {
		j.config.Store(judged.Config)
		j.peer.rootsChanged()
	}
	j.peer.metrics.committed(config.ID(), block)
	if err := j.afterCommit(ctx, result); err != nil {
		return err
	}
	return nil
}

// changesContracts tells whether a block writes records of the life cycle. Every call of a contract reads some.
func changesContracts(spaces map[uint64][]*rwset.Space) bool {
	for _, of := range spaces {
		for _, space := range of {
			writes := len(space.KV.GetWrites()) > 0 || slices.ContainsFunc(space.Collections, func(c *rwset.Collection) bool {
				return len(c.Hashed.GetHashedWrites()) > 0
			})
			if space.Name == lifecycle.Namespace && writes {
				return true
			}
		}
	}
	return false
}

// afterCommit makes the indexes of contracts that were defined, and lets go of
// private data that was kept for the block.
func (j *joined) afterCommit(ctx context.Context, result *ledger.Result) error {
	changed := map[string]bool{}
	var ids []string
	for index, spaces := range result.Spaces {
		ids = append(ids, tx.ID(result.Block.GetData().GetData()[index]))
		for _, space := range spaces {
			if space.Name != lifecycle.Namespace {
				continue
			}
			for _, write := range space.KV.GetWrites() {
				if name, ok := strings.CutPrefix(write.GetKey(), "namespaces/fields/"); ok {
					name, _, _ = strings.Cut(name, "/")
					changed[name] = true
				}
			}
		}
	}
	for name := range changed {
		if err := j.index(ctx, name); err != nil {
			return err
		}
	}
	if len(changed) > 0 {
		j.peer.hurry()
	}
	return j.peer.transient.done(j.Config().ID(), ids, result.Block.GetHeader().GetNumber())
}

// index makes the indexes of a contract whose package is installed.
func (j *joined) index(ctx context.Context, name string) error {
	local, err := j.peer.lifecycle.Local(ctx, j.ledger, name)
	if err != nil || local == nil || local.PackageID == "" {
		return err
	}
	found, err := j.peer.runtime.Indexes(ctx, local.PackageID)
	if err != nil {
		return err
	}
	for collection, files := range found {
		ns := name
		if collection != "" {
			ns = state.Private(name, collection)
		}
		if err := j.ledger.Index(ctx, ns, files); err != nil {
			return err
		}
	}
	return nil
}

// verify checks a block that an orderer sent.
func (j *joined) verify(block *cb.Block) error {
	if want := j.ledger.Blocks().Height(); block.GetHeader().GetNumber() != want {
		return fmt.Errorf("the orderer sent block %d, not %d", block.GetHeader().GetNumber(), want)
	}
	return j.Config().VerifyBlock(block)
}
