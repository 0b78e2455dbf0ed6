package rwset

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"
)

// Builder gathers the reads and writes of one simulation.
type Builder struct{ spaces map[string]*space }

type space struct {
	reads       map[string]*kvrwset.KVRead
	writes      map[string]*kvrwset.KVWrite
	metadata    map[string]*kvrwset.KVMetadataWrite
	ranges      []*kvrwset.RangeQueryInfo
	collections map[string]*collection
}

type collection struct {
	reads    map[string]*kvrwset.KVReadHash
	writes   map[string]*kvrwset.KVWriteHash
	metadata map[string]*kvrwset.KVMetadataWriteHash

	// The plain part; private tells whether there is one.
	private         bool
	privateWrites   map[string]*kvrwset.KVWrite
	privateMetadata map[string]*kvrwset.KVMetadataWrite
}

// NewBuilder makes an empty one.
func NewBuilder() *Builder { return &Builder{spaces: map[string]*space{}} }

func (b *Builder) space(ns string) *space {
	s, ok := b.spaces[ns]
	if !ok {
		s = &space{
			reads: map[string]*kvrwset.KVRead{}, writes: map[string]*kvrwset.KVWrite{},
			metadata: map[string]*kvrwset.KVMetadataWrite{}, collections: map[string]*collection{},
		}
		b.spaces[ns] = s
	}
	return s
}

func (b *Builder) collection(ns, name string) *collection {
	s := b.space(ns)
	c, ok := s.collections[name]
	if !ok {
		c = &collection{
			reads: map[string]*kvrwset.KVReadHash{}, writes: map[string]*kvrwset.KVWriteHash{},
			metadata:      map[string]*kvrwset.KVMetadataWriteHash{},
			privateWrites: map[string]*kvrwset.KVWrite{}, privateMetadata: map[string]*kvrwset.KVMetadataWrite{},
		}
		s.collections[name] = c
	}
	return c
}

// Read notes that a key was read.
func (b *Builder) Read(ns, key string, version *Version) {
	b.space(ns).reads[key] = &kvrwset.KVRead{Key: key, Version: version.Proto()}
}

// Write notes a new value; none deletes the key.
func (b *Builder) Write(ns, key string, value []byte) {
	b.space(ns).writes[key] = &kvrwset.KVWrite{Key: key, IsDelete: len(value) == 0, Value: value}
}

// WriteMetadata notes new metadata of a key; none deletes it.
func (b *Builder) WriteMetadata(ns, key string, metadata map[string][]byte) {
	b.space(ns).metadata[key] = &kvrwset.KVMetadataWrite{Key: key, Entries: entries(metadata)}
}

// Range notes a query over a range, the first time that its borders occur.
func (b *Builder) Range(ns string, info *kvrwset.RangeQueryInfo) {
	s := b.space(ns)
	for _, known := range s.ranges {
		if known.GetStartKey() == info.GetStartKey() && known.GetEndKey() == info.GetEndKey() && known.GetItrExhausted() == info.GetItrExhausted() {
			return
		}
	}
	s.ranges = append(s.ranges, info)
}

// ReadHash notes that a private key was read.
func (b *Builder) ReadHash(ns, coll, key string, version *Version) {
	b.collection(ns, coll).reads[key] = &kvrwset.KVReadHash{KeyHash: Hash([]byte(key)), Version: version.Proto()}
}

// WritePrivate notes a new private value; none deletes the key.
func (b *Builder) WritePrivate(ns, coll, key string, value []byte) {
	b.private(ns, coll, key, value, false)
}

// Purge notes that a private key goes, history and all.
func (b *Builder) Purge(ns, coll, key string) { b.private(ns, coll, key, nil, true) }

func (b *Builder) private(ns, coll, key string, value []byte, purge bool) {
	c := b.collection(ns, coll)
	plain := &kvrwset.KVWrite{Key: key, IsDelete: len(value) == 0, Value: value}
	hashed := &kvrwset.KVWriteHash{KeyHash: Hash([]byte(key)), IsDelete: plain.IsDelete, IsPurge: purge}
	if !plain.IsDelete {
		hashed.ValueHash = Hash(value)
	}
	c.private = true
	c.privateWrites[key], c.writes[key] = plain, hashed
}

// WritePrivateMetadata notes new metadata of a private key.
func (b *Builder) WritePrivateMetadata(ns, coll, key string, metadata map[string][]byte) {
	c := b.collection(ns, coll)
	c.private = true
	c.privateMetadata[key] = &kvrwset.KVMetadataWrite{Key: key}
	c.metadata[key] = &kvrwset.KVMetadataWriteHash{KeyHash: Hash([]byte(key)), Entries: entries(metadata)}
}

func entries(metadata map[string][]byte) []*kvrwset.KVMetadataEntry {
	var out []*kvrwset.KVMetadataEntry
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		out = append(out, &kvrwset.KVMetadataEntry{Name: name, Value: metadata[name]})
	}
	return out
}

// Build makes the public set and the private one, which is nil if nothing
// private was written.
func (b *Builder) Build() (*rwset.TxReadWriteSet, *rwset.TxPvtReadWriteSet, error) {
	public := &rwset.TxReadWriteSet{DataModel: rwset.TxReadWriteSet_KV}
	private := &rwset.TxPvtReadWriteSet{DataModel: rwset.TxReadWriteSet_KV}
	for _, ns := range slices.Sorted(maps.Keys(b.spaces)) {
		open, secret, err := b.spaces[ns].build(ns)
		if err != nil {
			return nil, nil, fmt.Errorf("build read-write set of %q: %w", ns, err)
		}
		public.NsRwset = append(public.NsRwset, open)
		if len(secret.GetCollectionPvtRwset()) > 0 {
			private.NsPvtRwset = append(private.NsPvtRwset, secret)
		}
	}
	if len(private.GetNsPvtRwset()) == 0 {
		return public, nil, nil
	}
	return public, private, nil
}

func (s *space) build(ns string) (*rwset.NsReadWriteSet, *rwset.NsPvtReadWriteSet, error) {
	raw, err := proto.Marshal(&kvrwset.KVRWSet{
		Reads: sorted(s.reads), Writes: sorted(s.writes), MetadataWrites: sorted(s.metadata), RangeQueriesInfo: s.ranges,
	})
	if err != nil {
		return nil, nil, err
	}
	open, secret := &rwset.NsReadWriteSet{Namespace: ns, Rwset: raw}, &rwset.NsPvtReadWriteSet{Namespace: ns}
	for _, name := range slices.Sorted(maps.Keys(s.collections)) {
		c := s.collections[name]
		hashed := &rwset.CollectionHashedReadWriteSet{CollectionName: name}
		if hashed.HashedRwset, err = proto.Marshal(&kvrwset.HashedRWSet{
			HashedReads: sorted(c.reads), HashedWrites: sorted(c.writes), MetadataWrites: sorted(c.metadata),
		}); err != nil {
			return nil, nil, err
		}
		if c.private {
			raw, err := proto.Marshal(&kvrwset.KVRWSet{Writes: sorted(c.privateWrites), MetadataWrites: sorted(c.privateMetadata)})
			if err != nil {
				return nil, nil, err
			}
			hashed.PvtRwsetHash = Hash(raw)
			secret.CollectionPvtRwset = append(secret.CollectionPvtRwset, &rwset.CollectionPvtReadWriteSet{CollectionName: name, Rwset: raw})
		}
		open.CollectionHashedRwset = append(open.CollectionHashedRwset, hashed)
	}
	return open, secret, nil
}

func sorted[T any](in map[string]T) []T {
	var out []T
	for _, key := range slices.Sorted(maps.Keys(in)) {
		out = append(out, in[key])
	}
	return out
}
