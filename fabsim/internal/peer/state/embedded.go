package state

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble"
)

// Embedded is the state of one channel in the peer's own store.
type Embedded struct {
	store  *pebble.DB
	prefix []byte
}

const (
	keySaved = 'm'
	keyState = 's'
)

// NewEmbedded is the state of a channel in a store that it shares with other
// channels and other kinds of data.
func NewEmbedded(store *pebble.DB, channel string) *Embedded {
	return &Embedded{store: store, prefix: append([]byte(channel), 0)}
}

func (e *Embedded) key(kind byte, parts ...string) []byte {
	out := append(bytes.Clone(e.prefix), kind)
	for i, part := range parts {
		if i > 0 {
			out = append(out, 0)
		}
		out = append(out, part...)
	}
	return out
}

// Check accepts everything.
func (*Embedded) Check(string, []byte) error { return nil }

// Index does nothing: there are no rich queries.
func (*Embedded) Index(context.Context, string, map[string][]byte) error { return nil }

// Height reads the savepoint.
func (e *Embedded) Height(context.Context) (uint64, error) {
	raw, closer, err := e.store.Get(e.key(keySaved))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read state's savepoint: %w", err)
	}
	defer closer.Close()
	if len(raw) != 8 {
		return 0, errors.New("read state's savepoint: it is damaged")
	}
	return binary.BigEndian.Uint64(raw) + 1, nil
}

// Apply does not wait for the disk: what a crash takes is replayed.
func (e *Embedded) Apply(_ context.Context, batch *Batch, block uint64) error {
	write := e.store.NewBatch()
	for ns, keys := range batch.Spaces {
		for key, value := range keys {
			var err error
			if value.Deleted() {
				err = write.Delete(e.key(keyState, ns, key), nil)
			} else {
				err = write.Set(e.key(keyState, ns, key), encode(value), nil)
			}
			if err != nil {
				return fmt.Errorf("apply block %d to state: %w", block, err)
			}
		}
	}
	if err := write.Set(e.key(keySaved), binary.BigEndian.AppendUint64(nil, block), nil); err != nil {
		return fmt.Errorf("apply block %d to state: %w", block, err)
	}
	if err := write.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("apply block %d to state: %w", block, err)
	}
	return nil
}

func encode(v *Value) []byte {
	out := binary.BigEndian.AppendUint64(nil, v.Version.Block)
	out = binary.BigEndian.AppendUint64(out, v.Version.Tx)
	out = binary.AppendUvarint(out, uint64(len(v.Metadata)))
	return append(append(out, v.Metadata...), v.Value...)
}

func decode(raw []byte) (*Value, error) {
	if len(raw) < 17 {
		return nil, errors.New("a value of the state is damaged")
	}
	v := &Value{}
	v.Version.Block, v.Version.Tx = binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
	size, n := binary.Uvarint(raw[16:])
	rest := raw[16+max(n, 0):]
	if n <= 0 || size > uint64(len(rest)) {
		return nil, errors.New("a value of the state is damaged")
	}
	if size > 0 {
		v.Metadata = bytes.Clone(rest[:size])
	}
	v.Value = append([]byte{}, rest[size:]...)
	return v, nil
}

// Snapshot opens a view.
func (e *Embedded) Snapshot() Reader {
	return &embeddedReader{db: e, snapshot: e.store.NewSnapshot()}
}

type embeddedReader struct {
	db       *Embedded
	snapshot *pebble.Snapshot
}

func (r *embeddedReader) Close() { _ = r.snapshot.Close() } // it fails only when closed twice

func (r *embeddedReader) Get(_ context.Context, ns, key string) (*Value, error) {
	raw, closer, err := r.snapshot.Get(r.db.key(keyState, ns, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil //nolint:nilnil // a key that there is not is nothing wrong
	}
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	defer closer.Close()
	return decode(raw)
}

func (r *embeddedReader) Range(_ context.Context, ns, start, end string, limit int) (Rows, error) {
	base := r.db.key(keyState, ns, "")
	upper := r.db.key(keyState, ns, end)
	if end == "" {
		upper[len(upper)-1] = 1
	}
	lower := r.db.key(keyState, ns, start)
	if bytes.Compare(lower, upper) > 0 {
		upper = lower
	}
	rows, err := r.snapshot.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("read range of state: %w", err)
	}
	rows.First()
	return &embeddedRows{rows: rows, strip: len(base), left: limit, limited: limit > 0}, nil
}

func (*embeddedReader) Query(context.Context, string, string) (Rows, error) { return nil, errQuery }

func (*embeddedReader) Page(context.Context, string, string, string, int) (Rows, error) {
	return nil, errPage
}

type embeddedRows struct {
	rows    *pebble.Iterator
	strip   int
	left    int
	limited bool
	closed  bool
}

func (r *embeddedRows) Next(context.Context) (*Row, error) {
	if r.closed || !r.rows.Valid() || r.limited && r.left == 0 {
		return nil, r.err()
	}
	value, err := decode(r.rows.Value())
	if err != nil {
		return nil, err
	}
	row := &Row{Key: string(r.rows.Key()[r.strip:]), Value: *value}
	r.left--
	r.rows.Next()
	return row, nil
}

func (r *embeddedRows) err() error {
	if r.closed {
		return nil
	}
	if err := r.rows.Error(); err != nil {
		return fmt.Errorf("read range of state: %w", err)
	}
	return nil
}

// Bookmark is the key after the last row.
func (r *embeddedRows) Bookmark() string {
	if r.closed || !r.rows.Valid() {
		return ""
	}
	return string(r.rows.Key()[r.strip:])
}

func (r *embeddedRows) Close() {
	if !r.closed {
		r.closed = true
		_ = r.rows.Close() // its errors were told by Next
	}
}
