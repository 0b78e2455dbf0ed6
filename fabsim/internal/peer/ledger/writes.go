package ledger

import (
	"bytes"
	"context"
	"fmt"

	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// change is what a transaction does to one key.
type change struct {
	value, deleted bool
	data           []byte
	metadata       bool
	meta           []byte
}

type place struct{ ns, key string }

// changes are what a transaction does.
type changes map[place]*change

func (all changes) at(ns, key string) *change {
	if all[place{ns, key}] == nil {
		all[place{ns, key}] = &change{}
	}
	return all[place{ns, key}]
}

func (all changes) public(space *rwset.Space) error {
	for _, write := range space.KV.GetWrites() {
		one := all.at(space.Name, write.GetKey())
		one.value, one.deleted, one.data = true, rwset.IsDelete(write), write.GetValue()
	}
	for _, write := range space.KV.GetMetadataWrites() {
		if err := all.at(space.Name, write.GetKey()).setMetadata(write.GetEntries()); err != nil {
			return err
		}
	}
	return nil
}

func (all changes) hashed(ns string, writes *kvrwset.HashedRWSet) error {
	for _, write := range writes.GetHashedWrites() {
		one := all.at(ns, string(write.GetKeyHash()))
		one.value, one.deleted, one.data = true, rwset.IsHashDelete(write), write.GetValueHash()
	}
	for _, write := range writes.GetMetadataWrites() {
		if err := all.at(ns, string(write.GetKeyHash())).setMetadata(write.GetEntries()); err != nil {
			return err
		}
	}
	return nil
}

// write adds the writes of a valid transaction to the batch.
func (c *commit) write(ctx context.Context, spaces []*rwset.Space, version rwset.Version) error {
	all := changes{}
	for _, space := range spaces {
		if err := all.public(space); err != nil {
			return err
		}
		for _, coll := range space.Collections {
			if err := all.hashed(state.Hashed(space.Name, coll.Name), coll.Hashed); err != nil {
				return err
			}
			for _, write := range coll.Hashed.GetHashedWrites() {
				if write.GetIsPurge() {
					c.purged = append(c.purged, purge{ns: space.Name, coll: coll.Name, keyHash: write.GetKeyHash(), before: version})
				}
			}
		}
	}
	for where, one := range all {
		if err := c.merge(ctx, where, one, version); err != nil {
			return err
		}
	}
	return nil
}

func (one *change) setMetadata(entries []*kvrwset.KVMetadataEntry) error {
	one.metadata, one.meta = true, nil
	if entries == nil {
		return nil
	}
	raw, err := proto.Marshal(&kvrwset.KVMetadataWrite{Entries: entries})
	if err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	one.meta = raw
	return nil
}

// merge completes a change with what stays as it was. Metadata of a key that
// there is not come to nothing.
func (c *commit) merge(ctx context.Context, where place, one *change, version rwset.Version) error {
	if one.value && one.deleted {
		c.batch.Put(where.ns, where.key, state.Value{Version: version})
		return nil
	}
	next := state.Value{Value: one.data, Metadata: one.meta, Version: version}
	if !one.value || !one.metadata {
		before, err := c.latest(ctx, where.ns, where.key)
		if err != nil {
			return err
		}
		if !one.value {
			if before == nil {
				return nil
			}
			// A key that was deleted in this very block stays so, under the new version.
			next.Value = before.Value
		} else if before != nil {
			next.Metadata = before.Metadata
		}
	}
	c.batch.Put(where.ns, where.key, next)
	return nil
}

// latest is a value as the batch or else the state has it.
func (c *commit) latest(ctx context.Context, ns, key string) (*state.Value, error) {
	if value := c.batch.Get(ns, key); value != nil {
		return value, nil
	}
	return c.reader.Get(ctx, ns, key)
}

// privateUpdates adds the plain values of collections to the batch; private
// data that does not fit its hash is dropped.
func (c *commit) privateUpdates(ctx context.Context) error {
	fitting := map[uint64]*frwset.TxPvtReadWriteSet{}
	number := c.block.GetHeader().GetNumber()
	for index := range uint64(len(c.block.GetData().GetData())) {
		set, spaces := c.private[index], c.spaces[index]
		if set == nil || spaces == nil {
			continue
		}
		kept := fit(set, spaces)
		if len(kept.GetNsPvtRwset()) == 0 {
			continue
		}
		fitting[index] = kept
		if err := c.privateWrites(ctx, kept, rwset.Version{Block: number, Tx: index}); err != nil {
			return err
		}
	}
	c.private = fitting
	return nil
}

// fit keeps the collections of a private set whose hash is the public one.
func fit(set *frwset.TxPvtReadWriteSet, spaces []*rwset.Space) *frwset.TxPvtReadWriteSet {
	hashes := map[place][]byte{}
	for _, space := range spaces {
		for _, coll := range space.Collections {
			hashes[place{space.Name, coll.Name}] = coll.PrivateHash
		}
	}
	out := &frwset.TxPvtReadWriteSet{DataModel: set.GetDataModel()}
	for _, ns := range set.GetNsPvtRwset() {
		kept := &frwset.NsPvtReadWriteSet{Namespace: ns.GetNamespace()}
		for _, coll := range ns.GetCollectionPvtRwset() {
			hash := hashes[place{ns.GetNamespace(), coll.GetCollectionName()}]
			if hash != nil && bytes.Equal(hash, rwset.Hash(coll.GetRwset())) {
				kept.CollectionPvtRwset = append(kept.CollectionPvtRwset, coll)
			}
		}
		if len(kept.GetCollectionPvtRwset()) > 0 {
			out.NsPvtRwset = append(out.NsPvtRwset, kept)
		}
	}
	return out
}

func (c *commit) privateWrites(ctx context.Context, set *frwset.TxPvtReadWriteSet, version rwset.Version) error {
	for _, ns := range set.GetNsPvtRwset() {
		for _, coll := range ns.GetCollectionPvtRwset() {
			writes := &kvrwset.KVRWSet{}
			if err := proto.Unmarshal(coll.GetRwset(), writes); err != nil {
				return fmt.Errorf("read private data of %s: %w", ns.GetNamespace(), err)
			}
			physical := state.Private(ns.GetNamespace(), coll.GetCollectionName())
			for _, write := range writes.GetWrites() {
				next := state.Value{Version: version}
				if !rwset.IsDelete(write) {
					next.Value = write.GetValue()
				}
				c.batch.Put(physical, write.GetKey(), next)
			}
			for _, write := range writes.GetMetadataWrites() {
				if err := c.renew(ctx, ns.GetNamespace(), coll.GetCollectionName(), write.GetKey()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// renew gives a private value the version of its hash, which a change of its
// metadata alone has moved.
func (c *commit) renew(ctx context.Context, ns, coll, key string) error {
	hashed := c.batch.Get(state.Hashed(ns, coll), string(rwset.Hash([]byte(key))))
	if hashed == nil {
		return nil
	}
	value, err := c.latest(ctx, state.Private(ns, coll), key)
	if err != nil || value == nil || value.Deleted() {
		return err
	}
	if bytes.Equal(rwset.Hash(value.Value), hashed.Value) {
		c.batch.Put(state.Private(ns, coll), key, state.Value{Value: value.Value, Version: hashed.Version})
	}
	return nil
}
