package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
)

// Kinds of keys beside those of internal/peer/state.
const (
	keyHistory      = 'h'
	keyHistorySaved = 'H'
	keyPrivate      = 'p'
	keyMissing      = 'x'
	keyExpiry       = 'e'
)

// records are history and private data of a channel.
type records struct {
	store  *pebble.DB
	prefix []byte
}

func newRecords(store *pebble.DB, channel string) *records {
	return &records{store: store, prefix: append([]byte(channel), 0)}
}

func (r *records) key(kind byte, parts ...[]byte) []byte {
	out := append(bytes.Clone(r.prefix), kind)
	for _, part := range parts {
		out = append(out, part...)
	}
	return out
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func text(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

// height is the block after the last whose history is there.
func (r *records) height() (uint64, error) {
	raw, closer, err := r.store.Get(r.key(keyHistorySaved))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read history's savepoint: %w", err)
	}
	defer closer.Close()
	if len(raw) != 8 {
		return 0, errors.New("read history's savepoint: it is damaged")
	}
	return binary.BigEndian.Uint64(raw) + 1, nil
}

// addHistory notes which transactions of a block wrote which public keys.
func (r *records) addHistory(block uint64, spaces map[uint64][]*rwset.Space) error {
	batch := r.store.NewBatch()
	for index, all := range spaces {
		for _, space := range all {
			for _, write := range space.KV.GetWrites() {
				key := r.key(keyHistory, text(space.Name), text(write.GetKey()), number(block), number(index))
				if err := batch.Set(key, nil, nil); err != nil {
					return fmt.Errorf("write history: %w", err)
				}
			}
		}
	}
	if err := batch.Set(r.key(keyHistorySaved), number(block), nil); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// Missing is private data of a transaction that a peer should have.
type Missing struct {
	Block, Tx             uint64
	Namespace, Collection string
}

type expiry struct {
	at uint64
	Missing
}

func (m Missing) key() []byte {
	return bytes.Join([][]byte{number(m.Block), number(m.Tx), text(m.Namespace), text(m.Collection)}, nil)
}

// addPrivate keeps private data of a block, before the block itself: it is in
// no block, so it has to be on disk first.
func (r *records) addPrivate(block uint64, sets map[uint64]*frwset.TxPvtReadWriteSet, missing []Missing, expiries []expiry) error {
	if len(sets) == 0 && len(missing) == 0 && len(expiries) == 0 {
		return nil
	}
	batch := r.store.NewBatch()
	for index, set := range sets {
		if err := r.setPrivate(batch, block, index, set); err != nil {
			return err
		}
	}
	for _, m := range missing {
		if err := batch.Set(r.key(keyMissing, m.key()), nil, nil); err != nil {
			return fmt.Errorf("note missing private data: %w", err)
		}
	}
	for _, e := range expiries {
		if err := batch.Set(r.key(keyExpiry, number(e.at), e.key()), nil, nil); err != nil {
			return fmt.Errorf("note expiry of private data: %w", err)
		}
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("keep private data: %w", err)
	}
	return nil
}

func (r *records) setPrivate(batch *pebble.Batch, block, index uint64, set *frwset.TxPvtReadWriteSet) error {
	raw, err := proto.Marshal(set)
	if err != nil {
		return fmt.Errorf("keep private data: %w", err)
	}
	if err := batch.Set(r.key(keyPrivate, number(block), number(index)), raw, nil); err != nil {
		return fmt.Errorf("keep private data: %w", err)
	}
	return nil
}

// scan goes over all keys that begin so; the rest of each key is given.
func (r *records) scan(prefix []byte, take func(rest, value []byte) error) error {
	upper := bytes.Clone(prefix)
	for i := len(upper) - 1; i >= 0; i-- {
		if upper[i]++; upper[i] != 0 {
			break
		}
	}
	rows, err := r.store.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	defer func() { _ = rows.Close() }() // what was wrong, rows.Error tells
	for rows.First(); rows.Valid(); rows.Next() {
		if err := take(bytes.Clone(rows.Key()[len(prefix):]), bytes.Clone(rows.Value())); err != nil {
			return err
		}
	}
	if err := rows.Error(); err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	return nil
}

// private is the private data of a block.
func (r *records) private(block uint64) (map[uint64]*frwset.TxPvtReadWriteSet, error) {
	out := map[uint64]*frwset.TxPvtReadWriteSet{}
	return out, r.scan(r.key(keyPrivate, number(block)), func(rest, value []byte) error {
		set := &frwset.TxPvtReadWriteSet{}
		if err := proto.Unmarshal(value, set); err != nil || len(rest) != 8 {
			return fmt.Errorf("read private data of block %d: it is damaged", block)
		}
		out[binary.BigEndian.Uint64(rest)] = set
		return nil
	})
}

// missing lists up to some of the private data that is missing.
func (r *records) missing(limit int) ([]Missing, error) {
	var out []Missing
	return out, r.scan(r.key(keyMissing), func(rest, _ []byte) error {
		if m, ok := parseMissing(rest); ok && len(out) < limit {
			out = append(out, m)
		}
		return nil
	})
}

func parseMissing(raw []byte) (Missing, bool) {
	if len(raw) < 16 {
		return Missing{}, false
	}
	m := Missing{Block: binary.BigEndian.Uint64(raw), Tx: binary.BigEndian.Uint64(raw[8:])}
	rest := raw[16:]
	for _, into := range []*string{&m.Namespace, &m.Collection} {
		size, n := binary.Uvarint(rest)
		if n <= 0 {
			return Missing{}, false
		}
		if rest = rest[n:]; size > uint64(len(rest)) {
			return Missing{}, false
		}
		*into, rest = string(rest[:size]), rest[size:]
	}
	return m, true
}

// purge is a private key that goes with all that was kept of it.
type purge struct {
	ns, coll string
	keyHash  []byte
	before   rwset.Version
}

// purge takes keys out of the private data that is kept.
func (r *records) purge(purged []purge) error {
	for _, one := range purged {
		err := r.scan(r.key(keyPrivate), func(rest, value []byte) error {
			if len(rest) != 16 {
				return nil
			}
			at := rwset.Version{Block: binary.BigEndian.Uint64(rest), Tx: binary.BigEndian.Uint64(rest[8:])}
			if at.Block > one.before.Block || at.Block == one.before.Block && at.Tx >= one.before.Tx {
				return nil
			}
			return r.purgeOne(at, value, one)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *records) purgeOne(at rwset.Version, raw []byte, one purge) error {
	set := &frwset.TxPvtReadWriteSet{}
	if err := proto.Unmarshal(raw, set); err != nil {
		return fmt.Errorf("purge private data: %w", err)
	}
	changed := false
	for _, ns := range set.GetNsPvtRwset() {
		for _, coll := range ns.GetCollectionPvtRwset() {
			if ns.GetNamespace() != one.ns || coll.GetCollectionName() != one.coll {
				continue
			}
			less, err := without(coll, one.keyHash)
			if err != nil {
				return err
			}
			changed = changed || less
		}
	}
	if !changed {
		return nil
	}
	batch := r.store.NewBatch()
	if err := r.setPrivate(batch, at.Block, at.Tx, set); err != nil {
		return err
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("purge private data: %w", err)
	}
	return nil
}

// without takes the writes to a key out of a collection's; it tells whether
// there were any.
func without(coll *frwset.CollectionPvtReadWriteSet, keyHash []byte) (bool, error) {
	writes := &kvrwset.KVRWSet{}
	if err := proto.Unmarshal(coll.GetRwset(), writes); err != nil {
		return false, fmt.Errorf("purge private data: %w", err)
	}
	kept := slices.DeleteFunc(slices.Clone(writes.GetWrites()), func(write *kvrwset.KVWrite) bool {
		return bytes.Equal(rwset.Hash([]byte(write.GetKey())), keyHash)
	})
	if len(kept) == len(writes.GetWrites()) {
		return false, nil
	}
	writes.Writes = kept
	next, err := proto.Marshal(writes)
	if err != nil {
		return false, fmt.Errorf("purge private data: %w", err)
	}
	coll.Rwset = next
	return true, nil
}
