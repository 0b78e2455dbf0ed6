package rwset

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func TestVersionBytes(t *testing.T) {
	for name, c := range map[string]struct {
		version Version
		want    []byte
	}{
		"zeros have no bytes":    {Version{}, []byte{0, 0}},
		"one byte each":          {Version{Block: 5, Tx: 1}, []byte{1, 5, 1, 1}},
		"leading zeros are gone": {Version{Block: 0x0102, Tx: 0}, []byte{2, 1, 2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.version.Bytes()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSame(t *testing.T) {
	one, other := &Version{1, 2}, &Version{1, 3}
	for name, c := range map[string]struct {
		a, b *Version
		want bool
	}{
		"both absent": {nil, nil, true}, "one absent": {one, nil, false}, "equal": {one, &Version{1, 2}, true}, "different": {one, other, false},
	} {
		if got := Same(c.a, c.b); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestBuilderOrdersEverything(t *testing.T) {
	build := func(keys []string) []byte {
		b := NewBuilder()
		for _, key := range keys {
			b.Read("b", key, &Version{1, 0})
			b.Write("a", key, []byte("v"))
			b.WritePrivate("a", "coll", key, []byte(key))
		}
		b.WriteMetadata("a", "k1", map[string][]byte{"z": {1}, "y": {2}})
		public, _, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := proto.Marshal(public)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	if diff := cmp.Diff(build([]string{"k1", "k2", "k3"}), build([]string{"k3", "k1", "k2"})); diff != "" {
		t.Error(diff)
	}
}

func TestBuilderHidesPrivateData(t *testing.T) {
	b := NewBuilder()
	b.WritePrivate("cc", "secret", "key", []byte("value"))
	b.Purge("cc", "secret", "old")
	public, private, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	spaces, err := FromSet(public)
	if err != nil {
		t.Fatal(err)
	}
	if len(spaces) != 1 || len(spaces[0].Collections) != 1 {
		t.Fatalf("got %d namespaces", len(spaces))
	}
	c := spaces[0].Collections[0]
	want := map[string]*kvrwset.KVWriteHash{
		string(Hash([]byte("key"))): {KeyHash: Hash([]byte("key")), ValueHash: Hash([]byte("value"))},
		string(Hash([]byte("old"))): {KeyHash: Hash([]byte("old")), IsDelete: true, IsPurge: true},
	}
	for _, write := range c.Hashed.GetHashedWrites() {
		if diff := cmp.Diff(want[string(write.GetKeyHash())], write, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	if diff := cmp.Diff(c.PrivateHash, Hash(private.GetNsPvtRwset()[0].GetCollectionPvtRwset()[0].GetRwset())); diff != "" {
		t.Errorf("the private part does not fit its hash: %s", diff)
	}
	if !spaces[0].Writes() {
		t.Error("a write to a collection is no write")
	}
}

func TestRangeIsNotedOnce(t *testing.T) {
	b := NewBuilder()
	for range 2 {
		b.Range("cc", &kvrwset.RangeQueryInfo{StartKey: "a", EndKey: "b", ItrExhausted: true})
	}
	b.Range("cc", &kvrwset.RangeQueryInfo{StartKey: "a", EndKey: "b"})
	public, _, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	spaces, err := FromSet(public)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(spaces[0].KV.GetRangeQueriesInfo()); got != 2 {
		t.Errorf("got %d range queries, want 2", got)
	}
}

// TestResults checks the shape of the tree at its edges.
func TestResults(t *testing.T) {
	for name, c := range map[string]struct {
		rows, degree, raw int
		level, hashes     int
	}{
		"none":              {0, 2, 0, 0, 0},
		"as many as fit":    {2, 2, 2, 0, 0},
		"one more":          {3, 2, 0, 1, 1},
		"an unfinished one": {4, 2, 0, 1, 2},
		"two levels":        {9, 2, 0, 2, 1},
		"a lone last one":   {10, 2, 0, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewResults(c.degree)
			for i := range c.rows {
				if err := r.Add(strconv.Itoa(i), &Version{1, uint64(i)}); err != nil {
					t.Fatal(err)
				}
			}
			raw, summary, err := r.Done()
			if err != nil {
				t.Fatal(err)
			}
			got := []int{len(raw), int(summary.GetMaxLevel()), len(summary.GetMaxLevelHashes())}
			if diff := cmp.Diff([]int{c.raw, c.level, c.hashes}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	b := NewBuilder()
	b.Read("cc", "k", nil)
	b.WritePrivate("cc", "c", "k", []byte("v"))
	public, _, err := b.Build()
	if err != nil {
		f.Fatal(err)
	}
	raw, err := proto.Marshal(public)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		spaces, err := Parse(raw)
		if err != nil {
			return
		}
		for _, space := range spaces {
			if space.KV == nil {
				t.Fatal("a namespace without a set")
			}
			space.Writes()
		}
	})
}
