package state

import (
	"context"
	"errors"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
)

// Value is what stands under a key.
type Value struct {
	Value, Metadata []byte
	Version         rwset.Version
}

// Row is a key and its value.
type Row struct {
	Key string
	Value
}

// DB is the state of one channel. One goroutine may apply while others read.
type DB interface {
	// Snapshot is a view that does not change until it is closed.
	Snapshot() Reader
	// Apply writes the updates of a block and its number, all or nothing.
	Apply(ctx context.Context, batch *Batch, block uint64) error
	// Height is the number of the block after the last that was applied.
	Height(ctx context.Context) (uint64, error)
	// Check tells whether a write can be stored.
	Check(key string, value []byte) error
	// Index makes the indexes that a contract brings for a namespace; each
	// file is a JSON document. A store without indexes ignores them.
	Index(ctx context.Context, ns string, files map[string][]byte) error
}

// Reader reads a snapshot.
type Reader interface {
	// Get is nil if there is no such key.
	Get(ctx context.Context, ns, key string) (*Value, error)
	// Range goes from a key to before another; an empty end is the end of the
	// namespace. No more than limit rows come, unless it is 0.
	Range(ctx context.Context, ns, start, end string, limit int) (Rows, error)
	// Query asks in the language of the store.
	Query(ctx context.Context, ns, query string) (Rows, error)
	// Page is Query for one page.
	Page(ctx context.Context, ns, query, bookmark string, size int) (Rows, error)
	Close()
}

// Rows are results.
type Rows interface {
	// Next is nil after the last.
	Next(ctx context.Context) (*Row, error)
	// Bookmark is where the next page begins; empty if there is none.
	Bookmark() string
	Close()
}

// Texts are Fabric's; contracts and their clients see them.
var (
	errQuery = errors.New("ExecuteQuery not supported for leveldb")
	errPage  = errors.New("ExecuteQueryWithMetadata not supported for leveldb")
)

// Hashed is the namespace of the hashes of a collection.
func Hashed(ns, coll string) string { return ns + "$$h" + coll }

// Private is the namespace of a collection's plain values.
func Private(ns, coll string) string { return ns + "$$p" + coll }

// Batch is the updates of a block.
type Batch struct{ Spaces map[string]map[string]*Value }

// NewBatch makes an empty one.
func NewBatch() *Batch { return &Batch{Spaces: map[string]map[string]*Value{}} }

// Put notes an update. A nil value takes the key away.
func (b *Batch) Put(ns, key string, value Value) {
	if b.Spaces[ns] == nil {
		b.Spaces[ns] = map[string]*Value{}
	}
	b.Spaces[ns][key] = &value
}

// Get is the update of a key, or nil.
func (b *Batch) Get(ns, key string) *Value { return b.Spaces[ns][key] }

// Deleted tells whether a value of a batch takes its key away.
func (v *Value) Deleted() bool { return v.Value == nil }
