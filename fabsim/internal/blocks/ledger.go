package blocks

import (
	"context"
	"fmt"
	"sync/atomic"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/common/ledger"
	"github.com/hyperledger/fabric-x-common/common/ledger/blkstorage"
	"github.com/hyperledger/fabric-x-common/common/ledger/blockledger"
)

// Ledger is the chain of one channel. One goroutine may append while others
// read. It serves internal/deliver as it is.
//
// Blocks that it gives out are shared: nobody may change them.
type Ledger struct {
	channel      string
	store        *blkstorage.BlockStore
	transactions bool
	height       atomic.Uint64
}

func newLedger(channel string, store *blkstorage.BlockStore, transactions bool) (*Ledger, error) {
	l := &Ledger{channel: channel, store: store, transactions: transactions}
	info, err := l.Info()
	if err != nil {
		return nil, err
	}
	l.height.Store(info.GetHeight())
	return l, nil
}

// Channel is the name of the channel.
func (l *Ledger) Channel() string { return l.channel }

// Append writes the next block; it is safe on disk once Append returns. It
// refuses a block that does not follow the last one and, where transactions
// can be found, one that does not say of each whether it is valid.
func (l *Ledger) Append(block *cb.Block) error {
	InitMetadata(block)
	codes := block.GetMetadata().GetMetadata()[cb.BlockMetadataIndex_TRANSACTIONS_FILTER]
	if l.transactions && len(codes) != len(block.GetData().GetData()) {
		return fmt.Errorf("append block %d of %s: it has %d transactions and the validation of %d",
			block.GetHeader().GetNumber(), l.channel, len(block.GetData().GetData()), len(codes))
	}
	if err := l.store.AddBlock(block); err != nil {
		return fmt.Errorf("append block %d of %s: %w", block.GetHeader().GetNumber(), l.channel, err)
	}
	l.height.Store(block.GetHeader().GetNumber() + 1)
	return nil
}

// Height is the number of blocks.
func (l *Ledger) Height() uint64 { return l.height.Load() }

// Info is height, last hash and hash before it.
func (l *Ledger) Info() (*cb.BlockchainInfo, error) {
	info, err := l.store.GetBlockchainInfo()
	if err != nil {
		return nil, fmt.Errorf("describe chain of %s: %w", l.channel, err)
	}
	return info, nil
}

// Block finds a block by number.
func (l *Ledger) Block(number uint64) (*cb.Block, error) {
	block, err := l.store.RetrieveBlockByNumber(number)
	if err != nil {
		return nil, fmt.Errorf("read block %d of %s: %w", number, l.channel, err)
	}
	return block, nil
}

// RetrieveBlockByNumber is Block, as internal/deliver wants it.
func (l *Ledger) RetrieveBlockByNumber(number uint64) (*cb.Block, error) { return l.Block(number) }

// BlockByHash finds a block by the hash of its header.
func (l *Ledger) BlockByHash(hash []byte) (*cb.Block, error) {
	block, err := l.store.RetrieveBlockByHash(hash)
	if err != nil {
		return nil, fmt.Errorf("read block %x of %s: %w", hash, l.channel, err)
	}
	return block, nil
}

// BlockByTxID finds the block of a transaction.
func (l *Ledger) BlockByTxID(txID string) (*cb.Block, error) {
	block, err := l.store.RetrieveBlockByTxID(txID)
	if err != nil {
		return nil, fmt.Errorf("read block of transaction %s of %s: %w", txID, l.channel, err)
	}
	return block, nil
}

// Transaction finds a transaction.
func (l *Ledger) Transaction(txID string) (*cb.Envelope, error) {
	envelope, err := l.store.RetrieveTxByID(txID)
	if err != nil {
		return nil, fmt.Errorf("read transaction %s of %s: %w", txID, l.channel, err)
	}
	return envelope, nil
}

// HasTransaction tells whether the chain has a transaction of that ID, valid
// or not.
func (l *Ledger) HasTransaction(txID string) (bool, error) {
	has, err := l.store.TxIDExists(txID)
	if err != nil {
		return false, fmt.Errorf("look for transaction %s of %s: %w", txID, l.channel, err)
	}
	return has, nil
}

// Validation is what became of a transaction and the number of its block.
func (l *Ledger) Validation(txID string) (pb.TxValidationCode, uint64, error) {
	code, number, err := l.store.RetrieveTxValidationCodeByTxID(txID)
	if err != nil {
		return code, 0, fmt.Errorf("read validation of transaction %s of %s: %w", txID, l.channel, err)
	}
	return code, number, nil
}

// Last is the newest block. There has to be one.
func (l *Ledger) Last() (*cb.Block, error) { return l.Block(l.Height() - 1) }

// LastConfig is the block of the configuration that is in force. There has to
// be one.
func (l *Ledger) LastConfig() (*cb.Block, error) {
	last, err := l.Last()
	if err != nil {
		return nil, err
	}
	number, err := LastConfigIndex(last)
	if err != nil {
		return nil, fmt.Errorf("find configuration of %s: %w", l.channel, err)
	}
	return l.Block(number)
}

// Iterator goes through the blocks from a position on and waits for those to
// come; it tells the number of the first. A position beyond the next block is
// answered with NOT_FOUND.
func (l *Ledger) Iterator(from *ab.SeekPosition) (blockledger.Iterator, uint64) {
	height := l.Height()
	var first uint64
	switch from := from.GetType().(type) {
	case *ab.SeekPosition_Oldest:
	case *ab.SeekPosition_Newest:
		first = max(height, 1) - 1
	case *ab.SeekPosition_NextCommit:
		first = height
	case *ab.SeekPosition_Specified:
		if first = from.Specified.GetNumber(); first > height {
			return &blockledger.NotFoundErrorIterator{}, 0
		}
	default:
		return &blockledger.NotFoundErrorIterator{}, 0
	}
	blocks, err := l.Follow(first)
	if err != nil {
		return &blockledger.NotFoundErrorIterator{}, 0
	}
	return iterator{blocks}, first
}

// Follow goes through the blocks from a number on and waits for those to come.
func (l *Ledger) Follow(first uint64) (*Follower, error) {
	results, err := l.store.RetrieveBlocks(first)
	if err != nil {
		return nil, fmt.Errorf("read blocks of %s from %d: %w", l.channel, first, err)
	}
	return &Follower{results: results}, nil
}

// Follower gives one block after the other.
type Follower struct{ results ledger.ResultsIterator }

// Next waits for the next block. It is nil once the follower is closed.
func (f *Follower) Next(ctx context.Context) (*cb.Block, error) {
	result, err := f.results.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("read next block: %w", err)
	}
	block, _ := result.(*cb.Block)
	return block, nil
}

// Close ends the follower, also one that waits.
func (f *Follower) Close() { f.results.Close() }

type iterator struct{ *Follower }

func (i iterator) Next(ctx context.Context) (*cb.Block, cb.Status) {
	block, err := i.Follower.Next(ctx)
	if err != nil || block == nil {
		return nil, cb.Status_SERVICE_UNAVAILABLE
	}
	return block, cb.Status_SUCCESS
}
