package ledger

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"
	"github.com/google/go-cmp/cmp"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// chain is a ledger with what it stands on, to be opened again.
type chain struct {
	*Ledger

	dir    string
	store  *pebble.DB
	blocks *blocks.Store
	serial int
}

func newChain(t *testing.T) *chain {
	t.Helper()
	store, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	c := &chain{dir: t.TempDir(), store: store}
	c.open(t)
	t.Cleanup(func() {
		c.blocks.Close()
		store.Close()
	})
	c.commit(t)
	return c
}

func (c *chain) open(t *testing.T) {
	t.Helper()
	var err error
	if c.blocks, err = blocks.Open(blocks.Options{Dir: c.dir, Transactions: true}); err != nil {
		t.Fatal(err)
	}
	bare, err := c.blocks.Ledger("trade")
	if err != nil {
		t.Fatal(err)
	}
	c.Ledger, err = Open(t.Context(), Options{
		Blocks: bare, State: state.NewEmbedded(c.store, "trade"), Store: c.store, Collections: collections,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// collections has one collection that lives for two blocks and one for ever.
func collections(context.Context, Getter, string) (*pb.CollectionConfigPackage, error) {
	out := &pb.CollectionConfigPackage{}
	for name, live := range map[string]uint64{"short": 2, "long": 0} {
		out.Config = append(out.Config, &pb.CollectionConfig{Payload: &pb.CollectionConfig_StaticCollectionConfig{
			StaticCollectionConfig: &pb.StaticCollectionConfig{Name: name, BlockToLive: live},
		}})
	}
	return out, nil
}

// simulate runs a transaction on the state as it is.
func (c *chain) simulate(t *testing.T, run func(s *Simulator) error) *Results {
	t.Helper()
	s := c.NewSimulator("tx")
	defer s.Close()
	if err := run(s); err != nil {
		t.Fatal(err)
	}
	results, err := s.Results()
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// commit makes a block of transactions and gives their codes.
func (c *chain) commit(t *testing.T, transactions ...*Results) []pb.TxValidationCode {
	t.Helper()
	var data [][]byte
	private := map[uint64]*frwset.TxPvtReadWriteSet{}
	for i, results := range transactions {
		c.serial++
		data = append(data, envelope(t, results, string(rune('a'+c.serial))))
		if results.Private != nil {
			private[uint64(i)] = results.Private
		}
	}
	if len(data) == 0 {
		data = [][]byte{envelope(t, &Results{Public: &frwset.TxReadWriteSet{}}, "genesis")}
	}
	block := &cb.Block{Header: &cb.BlockHeader{DataHash: blocks.DataHash(&cb.BlockData{Data: data})}, Data: &cb.BlockData{Data: data}}
	if c.Blocks().Height() > 0 {
		last, err := c.Blocks().Last()
		if err != nil {
			t.Fatal(err)
		}
		block = blocks.Next(last.GetHeader(), data)
	}
	blocks.InitMetadata(block)
	flags := make([]byte, len(data))
	block.Metadata.Metadata[cb.BlockMetadataIndex_TRANSACTIONS_FILTER] = flags
	if _, err := c.Commit(t.Context(), block, private, nil); err != nil {
		t.Fatal(err)
	}
	var out []pb.TxValidationCode
	for _, flag := range flags {
		out = append(out, pb.TxValidationCode(flag))
	}
	return out
}

func marshal(t *testing.T, message proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func envelope(t *testing.T, results *Results, txID string) []byte {
	t.Helper()
	action := marshal(t, &pb.ChaincodeAction{Results: marshal(t, results.Public), ChaincodeId: &pb.ChaincodeID{Name: "cc"}})
	endorsed := &pb.ChaincodeEndorsedAction{ProposalResponsePayload: marshal(t, &pb.ProposalResponsePayload{Extension: action})}
	transaction := &pb.Transaction{Actions: []*pb.TransactionAction{{Payload: marshal(t, &pb.ChaincodeActionPayload{Action: endorsed})}}}
	header := &cb.Header{
		ChannelHeader:   marshal(t, &cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), TxId: txID, ChannelId: "trade"}),
		SignatureHeader: marshal(t, &cb.SignatureHeader{Nonce: []byte(txID)}),
	}
	return marshal(t, &cb.Envelope{Payload: marshal(t, &cb.Payload{Header: header, Data: marshal(t, transaction)})})
}

func put(ctx context.Context, keys ...string) func(*Simulator) error {
	return func(s *Simulator) error {
		for _, key := range keys {
			if err := s.SetState(ctx, "cc", key, []byte("value of "+key)); err != nil {
				return err
			}
		}
		return nil
	}
}

func readRange(ctx context.Context, s *Simulator, start, end string, limit int) error {
	rows, err := s.Range(ctx, "cc", start, end, 0, false)
	if err != nil {
		return err
	}
	for range limit {
		if row, err := rows.Next(ctx); err != nil || row == nil {
			return err
		}
	}
	return nil
}

func TestVersions(t *testing.T) {
	ctx := t.Context()
	read := func(s *Simulator) error {
		_, err := s.GetState(ctx, "cc", "b")
		return err
	}
	scan := func(limit int) func(*Simulator) error {
		return func(s *Simulator) error { return readRange(ctx, s, "a", "d", limit) }
	}
	remove := func(s *Simulator) error { return s.SetState(ctx, "cc", "b", nil) }
	for name, c := range map[string]struct {
		run, between func(*Simulator) error
		want         pb.TxValidationCode
	}{
		"read, nothing changed":           {read, put(ctx, "z"), pb.TxValidationCode_VALID},
		"read, changed":                   {read, put(ctx, "b"), pb.TxValidationCode_MVCC_READ_CONFLICT},
		"read, deleted":                   {read, remove, pb.TxValidationCode_MVCC_READ_CONFLICT},
		"range, nothing changed":          {scan(9), put(ctx, "z"), pb.TxValidationCode_VALID},
		"range, one changed":              {scan(9), put(ctx, "b"), pb.TxValidationCode_PHANTOM_READ_CONFLICT},
		"range, one more":                 {scan(9), put(ctx, "bb"), pb.TxValidationCode_PHANTOM_READ_CONFLICT},
		"range, one less":                 {scan(9), remove, pb.TxValidationCode_PHANTOM_READ_CONFLICT},
		"range, change at its end":        {scan(9), put(ctx, "d"), pb.TxValidationCode_VALID},
		"range left early, change after":  {scan(1), put(ctx, "b"), pb.TxValidationCode_VALID},
		"range left early, change before": {scan(2), put(ctx, "a"), pb.TxValidationCode_PHANTOM_READ_CONFLICT},
		"range left early, change at it":  {scan(2), put(ctx, "b"), pb.TxValidationCode_PHANTOM_READ_CONFLICT},
	} {
		for where, together := range map[string]bool{"in an earlier block": false, "in the same block": true} {
			t.Run(name+" "+where, func(t *testing.T) {
				l := newChain(t)
				l.commit(t, l.simulate(t, put(ctx, "a", "b", "c")))
				results := l.simulate(t, c.run)
				between := l.simulate(t, c.between)
				var got pb.TxValidationCode
				if together {
					got = l.commit(t, between, results)[1]
				} else {
					l.commit(t, between)
					got = l.commit(t, results)[0]
				}
				if got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			})
		}
	}
}

// TestLongRange checks results that are condensed to hashes.
func TestLongRange(t *testing.T) {
	ctx := t.Context()
	var keys []string
	for i := range 120 {
		keys = append(keys, string([]rune{'a', rune('A' + i/10), rune('0' + i%10)}))
	}
	for name, c := range map[string]struct {
		between []string
		want    pb.TxValidationCode
	}{
		"unchanged": {[]string{"z"}, pb.TxValidationCode_VALID},
		"changed":   {keys[77:78], pb.TxValidationCode_PHANTOM_READ_CONFLICT},
	} {
		t.Run(name, func(t *testing.T) {
			l := newChain(t)
			l.commit(t, l.simulate(t, put(ctx, keys...)))
			results := l.simulate(t, func(s *Simulator) error { return readRange(ctx, s, "a", "b", 200) })
			l.commit(t, l.simulate(t, put(ctx, c.between...)))
			if got := l.commit(t, results)[0]; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestReplay loses the state and finds it again in the blocks.
func TestReplay(t *testing.T) {
	ctx := t.Context()
	l := newChain(t)
	l.commit(t, l.simulate(t, put(ctx, "a")))
	l.commit(t, l.simulate(t, func(s *Simulator) error { return s.SetPrivate(ctx, "cc", "long", "p", []byte("secret")) }))
	l.commit(t, l.simulate(t, func(s *Simulator) error { return s.SetState(ctx, "cc", "a", nil) }), l.simulate(t, put(ctx, "b")))
	hash := l.CommitHash()
	lose := func(kind byte) {
		t.Helper()
		prefix := append([]byte("trade"), 0, kind)
		if err := l.store.DeleteRange(prefix, append([]byte("trade"), 0, kind+1), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []byte{'s', 'm', 'h', 'H'} {
		lose(kind)
	}
	l.blocks.Close()
	l.open(t)
	if diff := cmp.Diff(hash, l.CommitHash()); diff != "" {
		t.Errorf("the commit hash differs: %s", diff)
	}
	for key, want := range map[string]string{"a": "", "b": "value of b"} {
		got, err := l.GetState(ctx, "cc", key)
		if err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", key, got, err, want)
		}
	}
	l.simulate(t, func(s *Simulator) error {
		got, err := s.GetPrivate(ctx, "cc", "long", "p")
		if string(got) != "secret" {
			t.Errorf("the private value is %q", got)
		}
		return err
	})
	if got := history(t, l, "a"); !cmp.Equal(got, []string{"", "value of a"}) {
		t.Errorf("got history %q", got)
	}
}

func history(t *testing.T, l *chain, key string) []string {
	t.Helper()
	rows, err := l.History("cc", key)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for {
		row, err := rows.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		change, ok := row.(*queryresult.KeyModification)
		if !ok {
			return out
		}
		if change.GetIsDelete() != (len(change.GetValue()) == 0) {
			t.Errorf("a deletion with a value: %v", change)
		}
		out = append(out, string(change.GetValue()))
	}
}

func TestPrivateDataEnds(t *testing.T) {
	ctx := t.Context()
	write := func(coll string) func(*Simulator) error {
		return func(s *Simulator) error { return s.SetPrivate(ctx, "cc", coll, "k", []byte("v")) }
	}
	for name, c := range map[string]struct {
		coll  string
		after func(t *testing.T, l *chain)
		want  string
	}{
		"stays":           {"long", func(t *testing.T, l *chain) { next(t, l, 5) }, "v"},
		"within its time": {"short", func(t *testing.T, l *chain) { next(t, l, 2) }, "v"},
		"after its time":  {"short", func(t *testing.T, l *chain) { next(t, l, 3) }, ""},
		"written again": {"short", func(t *testing.T, l *chain) {
			next(t, l, 1)
			l.commit(t, l.simulate(t, write("short")))
			next(t, l, 2)
		}, "v"},
		"purged": {"long", func(t *testing.T, l *chain) {
			l.commit(t, l.simulate(t, func(s *Simulator) error { return s.Purge(ctx, "cc", "long", "k") }))
			for _, set := range allPrivate(t, l) {
				for _, write := range plainWrites(set.GetRwset()) {
					if len(write.GetValue()) > 0 {
						t.Error("a purged value is still kept")
					}
				}
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newChain(t)
			l.commit(t, l.simulate(t, write(c.coll)))
			c.after(t, l)
			l.simulate(t, func(s *Simulator) error {
				got, err := s.GetPrivate(ctx, "cc", c.coll, "k")
				if string(got) != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
				return err
			})
		})
	}
}

func next(t *testing.T, l *chain, blocks int) {
	t.Helper()
	for range blocks {
		l.commit(t, l.simulate(t, put(t.Context(), "other")))
	}
}

func allPrivate(t *testing.T, l *chain) []*frwset.CollectionPvtReadWriteSet {
	t.Helper()
	var out []*frwset.CollectionPvtReadWriteSet
	for number := range l.Height() {
		sets, err := l.Private(number)
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range sets {
			for _, ns := range set.GetNsPvtRwset() {
				out = append(out, ns.GetCollectionPvtRwset()...)
			}
		}
	}
	return out
}

// TestReconcile brings private data late.
func TestReconcile(t *testing.T) {
	ctx := t.Context()
	l := newChain(t)
	results := l.simulate(t, func(s *Simulator) error { return s.SetPrivate(ctx, "cc", "long", "k", []byte("v")) })
	coll := results.Private.GetNsPvtRwset()[0].GetCollectionPvtRwset()[0]
	results.Private = nil
	l.commit(t, results)
	s := l.NewSimulator("tx")
	defer s.Close()
	if _, err := s.GetPrivate(ctx, "cc", "long", "k"); err == nil {
		t.Fatal("private data that is missing can be read")
	}
	m := Missing{Block: l.Height() - 1, Namespace: "cc", Collection: "long"}
	if ok, err := l.Reconcile(ctx, m, &frwset.CollectionPvtReadWriteSet{CollectionName: "long", Rwset: []byte("wrong")}); ok || err != nil {
		t.Errorf("took wrong data: %t, %v", ok, err)
	}
	if ok, err := l.Reconcile(ctx, m, coll); !ok || err != nil {
		t.Fatalf("refused right data: %v", err)
	}
	l.simulate(t, func(s *Simulator) error {
		got, err := s.GetPrivate(ctx, "cc", "long", "k")
		if string(got) != "v" {
			t.Errorf("got %q", got)
		}
		return err
	})
}

func TestWritesAndPagesDoNotMix(t *testing.T) {
	ctx := t.Context()
	l := newChain(t)
	s := l.NewSimulator("tx")
	defer s.Close()
	if err := s.SetState(ctx, "cc", "a", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Range(ctx, "cc", "", "", 1, true); err == nil {
		t.Error("a transaction that writes may read pages")
	}
	other := l.NewSimulator("tx")
	defer other.Close()
	if _, err := other.Range(ctx, "cc", "", "", 1, true); err != nil {
		t.Fatal(err)
	}
	if err := other.SetState(ctx, "cc", "a", []byte("v")); err == nil {
		t.Error("a transaction that reads pages may write")
	}
}

func TestWait(t *testing.T) {
	ctx := t.Context()
	l := newChain(t)
	told := make(chan Outcome, 1)
	go func() {
		outcome, err := l.Wait(ctx, string(rune('a'+1)))
		if err == nil {
			told <- outcome
		}
		close(told)
	}()
	l.commit(t, l.simulate(t, put(ctx, "a")))
	want := Outcome{Code: pb.TxValidationCode_VALID, Block: 1}
	if diff := cmp.Diff(want, <-told); diff != "" {
		t.Error(diff)
	}
}
