package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/common/ledger/blockledger"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// Options of a ledger.
type Options struct {
	// Blocks is the chain, State the current values.
	Blocks *blocks.Ledger
	State  state.DB
	// Store keeps history and private data; channels share it.
	Store *pebble.DB
	// Collections finds the collections of a contract.
	Collections CollectionsFunc
}

// Ledger is the chain of one channel with what follows from it. One goroutine
// commits while others read and simulate.
type Ledger struct {
	blocks      *blocks.Ledger
	state       state.DB
	collections CollectionsFunc
	records     *records

	// mu keeps a block hidden until its state is there.
	mu         sync.RWMutex
	commitHash []byte

	waitMu  sync.Mutex
	waiters map[string][]chan Outcome
}

// Outcome is what became of a transaction.
type Outcome struct {
	Code  pb.TxValidationCode
	Block uint64
}

// Open opens a ledger and brings state and history up to its blocks.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	l := &Ledger{
		blocks: o.Blocks, state: o.State, collections: o.Collections,
		records: newRecords(o.Store, o.Blocks.Channel()), waiters: map[string][]chan Outcome{},
	}
	if l.Height() == 0 {
		return l, nil
	}
	last, err := o.Blocks.Last()
	if err != nil {
		return nil, err
	}
	if l.commitHash, err = commitHashOf(last); err != nil {
		return nil, err
	}
	return l, l.replay(ctx)
}

func commitHashOf(block *cb.Block) ([]byte, error) {
	slots := block.GetMetadata().GetMetadata()
	if len(slots) <= int(cb.BlockMetadataIndex_COMMIT_HASH) {
		return nil, nil
	}
	metadata := &cb.Metadata{}
	if err := proto.Unmarshal(slots[cb.BlockMetadataIndex_COMMIT_HASH], metadata); err != nil {
		return nil, fmt.Errorf("read last commit hash: %w", err)
	}
	return metadata.GetValue(), nil
}

// replay applies the blocks that state or history have not seen, with the
// validation codes that the blocks carry.
func (l *Ledger) replay(ctx context.Context) error {
	stateHeight, err := l.state.Height(ctx)
	if err != nil {
		return err
	}
	historyHeight, err := l.records.height()
	if err != nil {
		return err
	}
	for number := min(stateHeight, historyHeight); number < l.blocks.Height(); number++ {
		block, err := l.blocks.Block(number)
		if err != nil {
			return err
		}
		private, err := l.records.private(number)
		if err != nil {
			return err
		}
		commit := &commit{ledger: l, block: block, private: private, batch: state.NewBatch()}
		if err := commit.prepare(ctx, false); err != nil {
			return err
		}
		if number >= stateHeight {
			if err := commit.applyState(ctx); err != nil {
				return err
			}
		}
		if number >= historyHeight {
			if err := l.records.addHistory(number, commit.spaces); err != nil {
				return err
			}
		}
	}
	return nil
}

// Channel is the channel's name.
func (l *Ledger) Channel() string { return l.blocks.Channel() }

// Blocks is the bare chain.
func (l *Ledger) Blocks() *blocks.Ledger { return l.blocks }

// Height is the number of blocks whose state is there.
func (l *Ledger) Height() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.blocks.Height()
}

// Outcome is what became of a transaction; blocks.IsNotFound tells of an error
// whether it is unknown.
func (l *Ledger) Outcome(txID string) (Outcome, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	code, number, err := l.blocks.Validation(txID)
	return Outcome{Code: code, Block: number}, err
}

// Wait waits until a transaction is committed, or takes what is known.
func (l *Ledger) Wait(ctx context.Context, txID string) (Outcome, error) {
	done := make(chan Outcome, 1)
	l.waitMu.Lock()
	l.waiters[txID] = append(l.waiters[txID], done)
	l.waitMu.Unlock()
	defer l.forget(txID, done)
	if outcome, err := l.Outcome(txID); err == nil {
		return outcome, nil
	}
	select {
	case outcome := <-done:
		return outcome, nil
	case <-ctx.Done():
		return Outcome{}, ctx.Err()
	}
}

func (l *Ledger) forget(txID string, done chan Outcome) {
	l.waitMu.Lock()
	defer l.waitMu.Unlock()
	for i, other := range l.waiters[txID] {
		if other == done {
			l.waiters[txID] = append(l.waiters[txID][:i], l.waiters[txID][i+1:]...)
			break
		}
	}
	if len(l.waiters[txID]) == 0 {
		delete(l.waiters, txID)
	}
}

func (l *Ledger) tell(outcomes map[string]Outcome) {
	l.waitMu.Lock()
	defer l.waitMu.Unlock()
	for txID, outcome := range outcomes {
		for _, done := range l.waiters[txID] {
			select {
			case done <- outcome:
			default: // it was told already, of an earlier transaction with this ID
			}
		}
	}
}

// GetState reads the committed value of a key and notes nothing.
func (l *Ledger) GetState(ctx context.Context, ns, key string) ([]byte, error) {
	reader := l.state.Snapshot()
	defer reader.Close()
	value, err := reader.Get(ctx, ns, key)
	return plain(value), err
}

// GetHash reads the committed hash of a private value.
func (l *Ledger) GetHash(ctx context.Context, ns, coll string, keyHash []byte) ([]byte, error) {
	return l.GetState(ctx, state.Hashed(ns, coll), string(keyHash))
}

// GetMetadata reads the committed metadata of a key, of a collection by the
// key's hash.
func (l *Ledger) GetMetadata(ctx context.Context, ns, coll, key string) (map[string][]byte, error) {
	if coll != "" {
		ns = state.Hashed(ns, coll)
	}
	reader := l.state.Snapshot()
	defer reader.Close()
	value, err := reader.Get(ctx, ns, key)
	if err != nil || value == nil {
		return nil, err
	}
	return metadata(value.Metadata)
}

// Keys lists the committed keys of a namespace that begin so, with values.
func (l *Ledger) Keys(ctx context.Context, ns, prefix string) (map[string][]byte, error) {
	reader := l.state.Snapshot()
	defer reader.Close()
	rows, err := reader.Range(ctx, ns, prefix, prefix+string(rune(0x10FFFF)), 0)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string][]byte{}
	for {
		row, err := rows.Next(ctx)
		if err != nil || row == nil {
			return out, err
		}
		out[row.Key] = row.Value.Value
	}
}

// Index makes the indexes that a contract brings.
func (l *Ledger) Index(ctx context.Context, ns string, files map[string][]byte) error {
	return l.state.Index(ctx, ns, files)
}

// Private is the private data of a block that this peer has, by transaction.
func (l *Ledger) Private(block uint64) (map[uint64]*frwset.TxPvtReadWriteSet, error) {
	return l.records.private(block)
}

// RetrieveBlockByNumber serves internal/deliver.
func (l *Ledger) RetrieveBlockByNumber(number uint64) (*cb.Block, error) {
	return l.blocks.Block(number)
}

// Iterator serves internal/deliver; it gives a block once its state is there.
func (l *Ledger) Iterator(from *ab.SeekPosition) (blockledger.Iterator, uint64) {
	blocks, first := l.blocks.Iterator(from)
	return settled{Iterator: blocks, ledger: l}, first
}

type settled struct {
	blockledger.Iterator

	ledger *Ledger
}

func (s settled) Next(ctx context.Context) (*cb.Block, cb.Status) {
	block, status := s.Iterator.Next(ctx)
	_ = s.ledger.Height() // waits for a commit that is under way
	return block, status
}

// Follow waits for blocks from a number on and gives each to take.
func (l *Ledger) Follow(ctx context.Context, first uint64, take func(*cb.Block) error) error {
	follower, err := l.blocks.Follow(first)
	if err != nil {
		return err
	}
	defer follower.Close()
	for {
		block, err := follower.Next(ctx)
		if err != nil {
			return err
		}
		if block == nil {
			return errors.New("the chain is closed")
		}
		_ = l.Height() // waits for a commit that is under way
		if err := take(block); err != nil {
			return err
		}
	}
}

// CommitHash is the hash of the last commit.
func (l *Ledger) CommitHash() []byte {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return bytes.Clone(l.commitHash)
}
