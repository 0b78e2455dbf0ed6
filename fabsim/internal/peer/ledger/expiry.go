package ledger

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// missing is what is wanted of the valid transactions and is not there.
func (c *commit) missing(wanted []Missing) []Missing {
	var out []Missing
	for _, m := range wanted {
		if c.spaces[m.Tx] != nil && !has(c.private[m.Tx], m.Namespace, m.Collection) {
			out = append(out, m)
		}
	}
	return out
}

func has(set *frwset.TxPvtReadWriteSet, ns, coll string) bool {
	for _, one := range set.GetNsPvtRwset() {
		for _, other := range one.GetCollectionPvtRwset() {
			if one.GetNamespace() == ns && other.GetCollectionName() == coll {
				return true
			}
		}
	}
	return false
}

// expiries are the collections that the block writes to and that do not keep
// data for ever.
func (c *commit) expiries(ctx context.Context) ([]expiry, error) {
	var out []expiry
	block := c.block.GetHeader().GetNumber()
	for index, spaces := range c.spaces {
		for _, space := range spaces {
			if len(space.Collections) == 0 || IsSystem(space.Name) {
				continue
			}
			config, err := c.ledger.collections(ctx, c.ledger, space.Name)
			if err != nil {
				return nil, err
			}
			for _, coll := range space.Collections {
				if live := blockToLive(config, coll.Name); live > 0 && len(coll.Hashed.GetHashedWrites()) > 0 {
					out = append(out, expiry{at: block + live + 1, Missing: Missing{Block: block, Tx: index, Namespace: space.Name, Collection: coll.Name}})
				}
			}
		}
	}
	return out, nil
}

func blockToLive(config *pb.CollectionConfigPackage, name string) uint64 {
	for _, one := range config.GetConfig() {
		if static := one.GetStaticCollectionConfig(); static.GetName() == name {
			return static.GetBlockToLive()
		}
	}
	return 0
}

// expire adds to the batch the end of private keys whose time is over with
// this block, unless they were written again, and forgets what was kept.
func (c *commit) expire(ctx context.Context) error {
	r, at := c.ledger.records, c.block.GetHeader().GetNumber()
	var due []Missing
	err := r.scan(r.key(keyExpiry, number(at)), func(rest, _ []byte) error {
		if m, ok := parseMissing(rest); ok {
			due = append(due, m)
		}
		return nil
	})
	if err != nil || len(due) == 0 {
		return err
	}
	reader := c.ledger.state.Snapshot()
	defer reader.Close()
	for _, m := range due {
		if err := c.expireOne(ctx, reader, m); err != nil {
			return err
		}
	}
	return nil
}

func (c *commit) expireOne(ctx context.Context, reader state.Reader, m Missing) error {
	block, err := c.ledger.blocks.Block(m.Block)
	if err != nil {
		return err
	}
	spaces, err := spacesOf(block.GetData().GetData()[m.Tx])
	if err != nil {
		return err
	}
	written := rwset.Version{Block: m.Block, Tx: m.Tx}
	gone := map[string]bool{}
	ns := state.Hashed(m.Namespace, m.Collection)
	for _, write := range hashedWrites(spaces, m.Namespace, m.Collection) {
		key := string(write.GetKeyHash())
		now, err := reader.Get(ctx, ns, key)
		if err != nil {
			return err
		}
		if now != nil && now.Version == written && c.batch.Get(ns, key) == nil {
			c.batch.Put(ns, key, state.Value{Version: rwset.Version{Block: c.block.GetHeader().GetNumber()}})
			gone[key] = true
		}
	}
	return c.forget(m, gone)
}

func hashedWrites(spaces []*rwset.Space, ns, name string) []*kvrwset.KVWriteHash {
	var out []*kvrwset.KVWriteHash
	for _, space := range spaces {
		for _, coll := range space.Collections {
			if space.Name == ns && coll.Name == name {
				out = append(out, coll.Hashed.GetHashedWrites()...)
			}
		}
	}
	return out
}

func spacesOf(raw []byte) ([]*rwset.Space, error) {
	parsed, err := tx.Parse(raw)
	if err != nil {
		return nil, err
	}
	action, err := parsed.Action()
	if err != nil {
		return nil, err
	}
	return rwset.Parse(action.GetResults())
}

// forget deletes plain values of a collection that a transaction wrote, and
// the record of it.
func (c *commit) forget(m Missing, gone map[string]bool) error {
	r := c.ledger.records
	sets, err := r.private(m.Block)
	if err != nil {
		return err
	}
	set := sets[m.Tx]
	batch := r.store.NewBatch()
	for _, ns := range set.GetNsPvtRwset() {
		kept := ns.GetCollectionPvtRwset()[:0]
		for _, coll := range ns.GetCollectionPvtRwset() {
			if ns.GetNamespace() != m.Namespace || coll.GetCollectionName() != m.Collection {
				kept = append(kept, coll)
				continue
			}
			for _, write := range plainWrites(coll.GetRwset()) {
				if gone[string(rwset.Hash([]byte(write.GetKey())))] {
					c.batch.Put(state.Private(m.Namespace, m.Collection), write.GetKey(), state.Value{})
				}
			}
		}
		ns.CollectionPvtRwset = kept
	}
	if set != nil {
		if err := r.setPrivate(batch, m.Block, m.Tx, set); err != nil {
			return err
		}
	}
	if err := batch.Delete(r.key(keyMissing, m.key()), nil); err != nil {
		return fmt.Errorf("let private data expire: %w", err)
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("let private data expire: %w", err)
	}
	return nil
}
