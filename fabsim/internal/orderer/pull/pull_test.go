package pull_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-lib-go/common/metrics/disabled"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-x-common/common/ledger/blockledger"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/deliver"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/pull"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

const height = 4

// world is an orderer that serves a channel of some blocks. Of the channel's
// two addresses the first leads nowhere.
type world struct {
	address string
	config  *channel.Config
	list    []*cb.Block
	puller  *pull.Puller
}

type chain struct {
	ledger *blocks.Ledger
	config *channel.Config
}

func (c *chain) Config() *channel.Config    { return c.config }
func (c *chain) Reader() blockledger.Reader { return c.ledger }
func (*chain) Errored() <-chan struct{}     { return nil }

type service struct {
	ab.UnimplementedAtomicBroadcastServer

	deliver *deliver.Server
}

func (s *service) Deliver(stream ab.AtomicBroadcast_DeliverServer) error {
	return s.deliver.Handle(stream.Context(), stream, deliver.Blocks{Stream: stream}, func(*cb.Envelope, string) error { return nil })
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ord, banka := simtest.NewOrg(t, "ord"), simtest.NewOrg(t, "banka")
	leaf, dir := ord.TLS(t, "orderer"), t.TempDir()
	simtest.Write(t, dir, map[string][]byte{"crt": leaf.Cert, "key": leaf.Key})
	tls, err := node.LoadTLS(node.TLSFiles{Enabled: true, Certificate: dir + "/crt", Key: dir + "/key"})
	ok(t, err)
	server, err := node.NewServer(t.Context(), node.ServerOptions{Address: "127.0.0.1:0", TLS: tls})
	ok(t, err)
	w := &world{address: server.Addr()}
	genesis := simtest.Channel{ID: "trade", Orderers: ord, Members: []*simtest.Org{banka}, Endpoints: []string{"127.0.0.1:1", w.address}}.Genesis(t)
	w.config, err = channel.FromBlock(genesis)
	ok(t, err)
	store, err := blocks.Open(blocks.Options{Dir: t.TempDir()})
	ok(t, err)
	ledger, err := store.Ledger("trade")
	ok(t, err)
	signer := ord.Signer(t, "orderer", 0)
	for block := genesis; len(w.list) < height; block = blocks.Next(block.GetHeader(), [][]byte{[]byte("tx")}) {
		if len(w.list) > 0 {
			ok(t, blocks.Seal(block, signer, 0, nil))
		}
		ok(t, ledger.Append(block))
		w.list = append(w.list, block)
	}
	ab.RegisterAtomicBroadcastServer(server, &service{deliver: deliver.New(deliver.Options{
		Metrics: &disabled.Provider{}, Channel: func(string) deliver.Channel { return &chain{ledger, w.config} },
	})})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		ok(t, <-done)
		store.Close()
	})
	w.puller = &pull.Puller{Identity: signer, Certificate: ord.TLS(t, "other").TLS(t), Roots: [][]byte{ord.TLSRoot()}}
	return w
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRange(t *testing.T) {
	w := newWorld(t)
	refusal := errors.New("no room")
	for name, c := range map[string]struct {
		first, last uint64
		own         string
		refuse      uint64
		want        []uint64
		err         error
		fails       bool
	}{
		"all":                        {first: 0, last: height - 1, want: []uint64{0, 1, 2, 3}},
		"some":                       {first: 1, last: 2, want: []uint64{1, 2}},
		"more than there are":        {first: 2, last: 9, want: []uint64{2, 3}, fails: true},
		"nobody but itself":          {first: 0, last: 1, own: w.address, fails: true},
		"a block that is not wanted": {first: 0, last: 3, refuse: 2, want: []uint64{0, 1}, err: refusal, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			var got []uint64
			w.puller.Own = c.own
			err := w.puller.Range(t.Context(), w.config, c.first, c.last, false, func(block *cb.Block) error {
				if number := block.GetHeader().GetNumber(); c.refuse == 0 || number < c.refuse {
					got = append(got, number)
					return nil
				}
				return refusal
			})
			if !slices.Equal(got, c.want) || (err != nil) != c.fails || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("got blocks %v, %v; want %v, failing %t", got, err, c.want, c.fails)
			}
		})
	}
}

func TestRangeEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := w.puller.Range(ctx, w.config, 0, height, true, func(block *cb.Block) error {
		if block.GetHeader().GetNumber() == height-1 {
			cancel() // it waits for a block that never comes
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLast(t *testing.T) {
	w := newWorld(t)
	block, err := w.puller.Last(t.Context(), w.config)
	ok(t, err)
	if number := block.GetHeader().GetNumber(); number != height-1 {
		t.Errorf("got block %d", number)
	}
	w.puller.Own = w.address
	if _, err := w.puller.Last(t.Context(), w.config); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("the error does not name who was asked: %v", err)
	}
}

func TestChainChecks(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*cb.Block){
		"":                     nil,
		"another number":       func(b *cb.Block) { b.Header.Number++ },
		"another predecessor":  func(b *cb.Block) { b.Header.PreviousHash[0] ^= 1 },
		"another transaction":  func(b *cb.Block) { b.Data.Data[0] = []byte("other") },
		"no signature":         func(b *cb.Block) { b.Metadata.Metadata[cb.BlockMetadataIndex_SIGNATURES] = nil },
		"a configuration's tx": func(b *cb.Block) { b.Data = w.list[0].GetData() },
	} {
		t.Run(name, func(t *testing.T) {
			c := pull.NewChain(nil, nil)
			ok(t, c.Check(w.list[0]))
			ok(t, c.Check(w.list[1]))
			block := proto.CloneOf(w.list[2])
			if change != nil {
				change(block)
			}
			if err := c.Check(block); (err != nil) != (change != nil) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("from the middle", func(t *testing.T) {
		c := pull.NewChain(w.config, w.list[1].GetHeader())
		if c.Check(w.list[3]) == nil {
			t.Error("a block was left out")
		}
		ok(t, c.Check(w.list[2]))
		ok(t, c.Check(w.list[3]))
	})
}
