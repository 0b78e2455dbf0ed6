package blocks_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

func open(t *testing.T, dir string) *blocks.Store {
	t.Helper()
	store, err := blocks.Open(blocks.Options{Dir: dir, Transactions: true})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func ledger(t *testing.T, store *blocks.Store) *blocks.Ledger {
	t.Helper()
	l, err := store.Ledger("trade")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// grow makes a chain of n blocks.
func grow(t *testing.T, n int) (*node.Identity, []*cb.Block) {
	t.Helper()
	org := simtest.NewOrg(t, "ord")
	signer := org.Signer(t, "orderer", 0)
	out := []*cb.Block{simtest.Channel{ID: "trade", Orderers: org, Endpoints: []string{"127.0.0.1:1"}}.Genesis(t)}
	for len(out) < n {
		transaction := simtest.Transaction(t, signer, "trade", []byte{byte(len(out))})
		block := blocks.Next(out[len(out)-1].GetHeader(), [][]byte{simtest.Marshal(t, transaction)})
		if err := blocks.Seal(block, signer, 0, []byte("raft")); err != nil {
			t.Fatal(err)
		}
		out = append(out, block)
	}
	for _, block := range out {
		block.Metadata.Metadata[cb.BlockMetadataIndex_TRANSACTIONS_FILTER] = []byte{0}
	}
	return signer, out
}

func TestLedger(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	l := ledger(t, store)
	_, chain := grow(t, 4)
	for _, block := range chain {
		if err := l.Append(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Append(chain[3]); err == nil {
		t.Error("the same block was taken twice")
	}
	unjudged := blocks.Next(chain[3].GetHeader(), [][]byte{{1}})
	if err := l.Append(unjudged); err == nil {
		t.Error("a block was taken that does not say what is valid")
	}
	store.Close()

	store = open(t, dir)
	defer store.Close()
	l = ledger(t, store)
	if l.Height() != 4 {
		t.Fatalf("height %d after opening again", l.Height())
	}
	last, err := l.Last()
	if err != nil || !proto.Equal(last, chain[3]) {
		t.Errorf("last block: %v", err)
	}
	byHash, err := l.BlockByHash(blocks.HeaderHash(chain[2].GetHeader()))
	if err != nil || byHash.GetHeader().GetNumber() != 2 {
		t.Errorf("block by hash: %v", err)
	}
	config, err := l.LastConfig()
	if err != nil || config.GetHeader().GetNumber() != 0 {
		t.Errorf("configuration's block: %v", err)
	}
	if _, err := l.Block(9); !blocks.IsNotFound(err) {
		t.Errorf("a block that is not there: %v", err)
	}
	if _, err := l.Transaction("nobody"); !blocks.IsNotFound(err) {
		t.Errorf("a transaction that is not there: %v", err)
	}
}

// TestTornEnd opens a store whose last write was cut short, as by a crash.
func TestTornEnd(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	l := ledger(t, store)
	_, chain := grow(t, 3)
	for _, block := range chain[:2] {
		if err := l.Append(block); err != nil {
			t.Fatal(err)
		}
	}
	store.Close()
	path := filepath.Join(dir, "chains", "trade", "blockfile_000000")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw := simtest.Marshal(t, chain[2])
	if _, err := file.Write(append([]byte{byte(len(raw)&0x7f | 0x80), byte(len(raw) >> 7)}, raw[:len(raw)/2]...)); err != nil {
		t.Fatal(err)
	}
	_ = file.Close()

	store = open(t, dir)
	defer store.Close()
	l = ledger(t, store)
	if l.Height() != 2 {
		t.Fatalf("height %d, want 2", l.Height())
	}
	if err := l.Append(chain[2]); err != nil {
		t.Error(err)
	}
}

func TestIterator(t *testing.T) {
	store := open(t, t.TempDir())
	defer store.Close()
	l := ledger(t, store)
	_, chain := grow(t, 4)
	for _, block := range chain[:3] {
		if err := l.Append(block); err != nil {
			t.Fatal(err)
		}
	}
	specified := func(n uint64) *ab.SeekPosition {
		return &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: n}}}
	}
	for name, test := range map[string]struct {
		from   *ab.SeekPosition
		first  uint64
		status cb.Status
	}{
		"oldest":     {&ab.SeekPosition{Type: &ab.SeekPosition_Oldest{}}, 0, cb.Status_SUCCESS},
		"newest":     {&ab.SeekPosition{Type: &ab.SeekPosition_Newest{}}, 2, cb.Status_SUCCESS},
		"one":        {specified(1), 1, cb.Status_SUCCESS},
		"beyond":     {specified(4), 0, cb.Status_NOT_FOUND},
		"no kind":    {&ab.SeekPosition{}, 0, cb.Status_NOT_FOUND},
		"no seeking": {nil, 0, cb.Status_NOT_FOUND},
	} {
		t.Run(name, func(t *testing.T) {
			iterator, first := l.Iterator(test.from)
			defer iterator.Close()
			if first != test.first {
				t.Errorf("begins at %d, want %d", first, test.first)
			}
			block, status := iterator.Next(t.Context())
			if status != test.status {
				t.Fatalf("status %s, want %s", status, test.status)
			}
			if status == cb.Status_SUCCESS && block.GetHeader().GetNumber() != first {
				t.Errorf("got block %d", block.GetHeader().GetNumber())
			}
		})
	}
	t.Run("waits for the next", func(t *testing.T) {
		iterator, first := l.Iterator(&ab.SeekPosition{Type: &ab.SeekPosition_NextCommit{}})
		defer iterator.Close()
		if first != 3 {
			t.Errorf("begins at %d", first)
		}
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, status := iterator.Next(short); status != cb.Status_SERVICE_UNAVAILABLE {
			t.Errorf("status %s before there is a block", status)
		}
		got := make(chan *cb.Block, 1)
		go func() {
			block, _ := iterator.Next(t.Context())
			got <- block
		}()
		if err := l.Append(chain[3]); err != nil {
			t.Fatal(err)
		}
		if block := <-got; block.GetHeader().GetNumber() != 3 {
			t.Errorf("got block %d", block.GetHeader().GetNumber())
		}
	})
}

func TestRemove(t *testing.T) {
	store := open(t, t.TempDir())
	defer store.Close()
	_, chain := grow(t, 1)
	if err := ledger(t, store).Append(chain[0]); err != nil {
		t.Fatal(err)
	}
	if err := store.Remove("trade"); err != nil {
		t.Fatal(err)
	}
	if has, err := store.Has("trade"); has || err != nil {
		t.Errorf("it is still there: %v", err)
	}
	if err := ledger(t, store).Append(chain[0]); err != nil {
		t.Errorf("begin anew: %v", err)
	}
	if names, err := store.Channels(); err != nil || len(names) != 1 {
		t.Errorf("channels %v: %v", names, err)
	}
}

func TestMetadata(t *testing.T) {
	_, chain := grow(t, 2)
	if index, err := blocks.LastConfigIndex(chain[1]); index != 0 || err != nil {
		t.Errorf("configuration's block %d: %v", index, err)
	}
	if meta, err := blocks.ConsenterMetadata(chain[1]); !bytes.Equal(meta, []byte("raft")) || err != nil {
		t.Errorf("consenters' metadata %q: %v", meta, err)
	}
	if !blocks.IsConfig(chain[0]) || blocks.IsConfig(chain[1]) {
		t.Error("only the genesis is a configuration")
	}
	if err := errors.Join(blocks.CheckData(chain[0]), blocks.CheckData(chain[1])); err != nil {
		t.Error(err)
	}
	if _, err := blocks.LastConfigIndex(&cb.Block{Header: &cb.BlockHeader{Number: 1}}); err == nil {
		t.Error("a block without metadata was read")
	}
}

// TestHashes holds the hashes to what Fabric computes: the digest of the plain
// concatenation, and that of a header in ASN.1.
func TestHashes(t *testing.T) {
	// sha256("abc")
	want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	if got := hex.EncodeToString(blocks.DataHash(&cb.BlockData{Data: [][]byte{[]byte("a"), []byte("bc")}})); got != want {
		t.Errorf("data: got %s", got)
	}
	// sha256(30 0b 02 01 07 04 01 01 04 03 'abc')
	want = "bb863e4dfc0b7976170ca809accdb4b7959fb902a616cf227735d6e5d9fb5d4e"
	header := blocks.HeaderHash(&cb.BlockHeader{Number: 7, PreviousHash: []byte{1}, DataHash: []byte("abc")})
	if got := hex.EncodeToString(header); got != want {
		t.Errorf("header: got %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	raw, err := proto.Marshal(&cb.Block{Header: &cb.BlockHeader{Number: 1}, Data: &cb.BlockData{Data: [][]byte{{1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		block, err := blocks.Parse(raw)
		if err != nil {
			return
		}
		_ = blocks.CheckData(block)
		_ = blocks.IsConfig(block)
		_, _ = blocks.LastConfigIndex(block)
		_, _ = blocks.ConsenterMetadata(block)
		if block.GetHeader() == nil || len(block.GetData().GetData()) == 0 {
			t.Error("a block without header or data was taken")
		}
	})
}
