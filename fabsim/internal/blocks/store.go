package blocks

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/hyperledger/fabric-lib-go/common/metrics"
	"github.com/hyperledger/fabric-lib-go/common/metrics/disabled"
	"github.com/hyperledger/fabric-x-common/common/ledger/blkstorage"
)

// Options of a store.
type Options struct {
	// Dir has the files.
	Dir string
	// Transactions makes blocks and transactions findable by transaction and
	// by hash, as peers need it; orderers ask by number only.
	Transactions bool
	// Metrics takes Fabric's metrics of the block store; optional.
	Metrics metrics.Provider
}

// Store has the chains of all channels of a node.
type Store struct {
	provider     *blkstorage.BlockStoreProvider
	transactions bool

	mu      sync.Mutex
	ledgers map[string]*Ledger
}

// Open opens a store, or makes an empty one.
func Open(o Options) (*Store, error) {
	index := []blkstorage.IndexableAttr{blkstorage.IndexableAttrBlockNum}
	if o.Transactions {
		index = append(index, blkstorage.IndexableAttrBlockHash, blkstorage.IndexableAttrTxID, blkstorage.IndexableAttrBlockNumTranNum)
	}
	if o.Metrics == nil {
		o.Metrics = &disabled.Provider{}
	}
	provider, err := blkstorage.NewProvider(blkstorage.NewConf(o.Dir, 0), &blkstorage.IndexConfig{AttrsToIndex: index}, o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("open block store %s: %w", o.Dir, err)
	}
	return &Store{provider: provider, transactions: o.Transactions, ledgers: map[string]*Ledger{}}, nil
}

// Channels are the channels that there is a chain of, even an empty one, in
// order.
func (s *Store) Channels() ([]string, error) {
	channels, err := s.provider.List()
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	slices.Sort(channels)
	return channels, nil
}

// Has tells whether there is a chain of a channel.
func (s *Store) Has(channel string) (bool, error) {
	has, err := s.provider.Exists(channel)
	if err != nil {
		return false, fmt.Errorf("look for chain of %s: %w", channel, err)
	}
	return has, nil
}

// Ledger is the chain of a channel; it is made if there is none.
func (s *Store) Ledger(channel string) (*Ledger, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ledger, ok := s.ledgers[channel]; ok {
		return ledger, nil
	}
	store, err := s.provider.Open(channel)
	if err != nil {
		return nil, fmt.Errorf("open chain of %s: %w", channel, err)
	}
	ledger, err := newLedger(channel, store, s.transactions)
	if err != nil {
		return nil, err
	}
	s.ledgers[channel] = ledger
	return ledger, nil
}

// Remove deletes the chain of a channel. Nobody may use its ledger any more.
func (s *Store) Remove(channel string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ledger, ok := s.ledgers[channel]; ok {
		ledger.store.Shutdown()
		delete(s.ledgers, channel)
	}
	if err := s.provider.Drop(channel); err != nil {
		return fmt.Errorf("remove chain of %s: %w", channel, err)
	}
	return nil
}

// Close closes all chains.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ledger := range s.ledgers {
		ledger.store.Shutdown()
	}
	s.provider.Close()
}

// IsNotFound tells whether an error says that there is no such block or
// transaction.
func IsNotFound(err error) bool { return errors.Is(err, blkstorage.ErrNotFound) }
