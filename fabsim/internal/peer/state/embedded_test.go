package state

import (
	"testing"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"
	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
)

func store(t *testing.T) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func fill(t *testing.T, db *Embedded, keys ...string) {
	t.Helper()
	batch := NewBatch()
	for _, key := range keys {
		batch.Put("cc", key, Value{Value: []byte("of " + key), Version: rwset.Version{Block: 1}})
	}
	if err := db.Apply(t.Context(), batch, 1); err != nil {
		t.Fatal(err)
	}
}

func TestEmbeddedGet(t *testing.T) {
	db := NewEmbedded(store(t), "trade")
	batch := NewBatch()
	batch.Put("cc", "k", Value{Value: []byte("v"), Metadata: []byte("m"), Version: rwset.Version{Block: 7, Tx: 3}})
	if err := db.Apply(t.Context(), batch, 7); err != nil {
		t.Fatal(err)
	}
	before := db.Snapshot()
	defer before.Close()
	gone := NewBatch()
	gone.Put("cc", "k", Value{Version: rwset.Version{Block: 8}})
	if err := db.Apply(t.Context(), gone, 8); err != nil {
		t.Fatal(err)
	}
	got, err := before.Get(t.Context(), "cc", "k")
	if err != nil {
		t.Fatal(err)
	}
	want := &Value{Value: []byte("v"), Metadata: []byte("m"), Version: rwset.Version{Block: 7, Tx: 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	after := db.Snapshot()
	defer after.Close()
	if got, err := after.Get(t.Context(), "cc", "k"); err != nil || got != nil {
		t.Errorf("got %v, %v of a deleted key", got, err)
	}
	if height, err := db.Height(t.Context()); err != nil || height != 9 {
		t.Errorf("got height %d, %v", height, err)
	}
}

func TestEmbeddedRange(t *testing.T) {
	shared := store(t)
	db, other := NewEmbedded(shared, "trade"), NewEmbedded(shared, "trade2")
	fill(t, db, "a", "b", "c", "d")
	fill(t, other, "bb")
	for name, c := range map[string]struct {
		start, end string
		limit      int
		want       []string
		bookmark   string
	}{
		"all":            {"", "", 0, []string{"a", "b", "c", "d"}, ""},
		"without end":    {"b", "d", 0, []string{"b", "c"}, ""},
		"page":           {"", "", 2, []string{"a", "b"}, "c"},
		"last page":      {"c", "", 2, []string{"c", "d"}, ""},
		"turned round":   {"d", "a", 0, nil, ""},
		"nothing there":  {"x", "z", 0, nil, ""},
		"page to an end": {"a", "c", 5, []string{"a", "b"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			reader := db.Snapshot()
			defer reader.Close()
			rows, err := reader.Range(t.Context(), "cc", c.start, c.end, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			defer rows.Close()
			var got []string
			for {
				row, err := rows.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if row == nil {
					break
				}
				got = append(got, row.Key)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if rows.Bookmark() != c.bookmark {
				t.Errorf("got bookmark %q, want %q", rows.Bookmark(), c.bookmark)
			}
		})
	}
}

func TestEmbeddedRefusesQueries(t *testing.T) {
	reader := NewEmbedded(store(t), "trade").Snapshot()
	defer reader.Close()
	_, err := reader.Query(t.Context(), "cc", `{"selector":{}}`)
	if err == nil || err.Error() != "ExecuteQuery not supported for leveldb" {
		t.Errorf("got %v", err)
	}
	_, err = reader.Page(t.Context(), "cc", `{"selector":{}}`, "", 1)
	if err == nil || err.Error() != "ExecuteQueryWithMetadata not supported for leveldb" {
		t.Errorf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(&Value{Value: []byte("v"), Metadata: []byte("m")}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := decode(raw)
		if err != nil {
			return
		}
		again, err := decode(encode(v))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
