package deliver_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-lib-go/common/metrics/disabled"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-x-common/common/ledger/blockledger"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/deliver"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// chain is a channel with some blocks.
type chain struct {
	ledger  *blocks.Ledger
	holder  channel.Holder
	errored chan struct{}
}

func (c *chain) Config() *channel.Config    { return c.holder.Load() }
func (c *chain) Reader() blockledger.Reader { return c.ledger }
func (c *chain) Errored() <-chan struct{}   { return c.errored }

// stream is a client that asks once, and what it got.
type stream struct {
	requests []*cb.Envelope
	numbers  []uint64
	data     int
	statuses []cb.Status
	got      func(number uint64)
}

func (s *stream) Recv() (*cb.Envelope, error) {
	if len(s.requests) == 0 {
		return nil, io.EOF
	}
	next := s.requests[0]
	s.requests = s.requests[1:]
	return next, nil
}

func (s *stream) Send(response *ab.DeliverResponse) error {
	if block := response.GetBlock(); block != nil {
		s.numbers = append(s.numbers, block.GetHeader().GetNumber())
		s.data += len(block.GetData().GetData())
		if s.got != nil {
			s.got(block.GetHeader().GetNumber())
		}
		return nil
	}
	s.statuses = append(s.statuses, response.GetStatus())
	return nil
}

type world struct {
	chain  *chain
	client *node.Identity
	server *deliver.Server
	deny   error
}

func newWorld(t *testing.T, o deliver.Options) *world {
	t.Helper()
	org, banka := simtest.NewOrg(t, "ord"), simtest.NewOrg(t, "banka")
	signer := org.Signer(t, "orderer", 0)
	genesis := simtest.Channel{ID: "trade", Orderers: org, Members: []*simtest.Org{banka}, Endpoints: []string{"127.0.0.1:1"}}.Genesis(t)
	store, err := blocks.Open(blocks.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	w := &world{chain: &chain{errored: make(chan struct{})}, client: banka.Signer(t, "client", 0)}
	if w.chain.ledger, err = store.Ledger("trade"); err != nil {
		t.Fatal(err)
	}
	config, err := channel.FromBlock(genesis)
	if err != nil {
		t.Fatal(err)
	}
	w.chain.holder.Store(config)
	for block := genesis; w.chain.ledger.Height() < 4; block = w.next(t, signer) {
		if err := w.chain.ledger.Append(block); err != nil {
			t.Fatal(err)
		}
	}
	o.Metrics = &disabled.Provider{}
	o.Channel = func(id string) deliver.Channel {
		if id != "trade" {
			return nil
		}
		return w.chain
	}
	w.server = deliver.New(o)
	return w
}

func (w *world) next(t *testing.T, signer *node.Identity) *cb.Block {
	t.Helper()
	last, err := w.chain.ledger.Last()
	if err != nil {
		t.Fatal(err)
	}
	block := blocks.Next(last.GetHeader(), [][]byte{[]byte("tx")})
	if err := blocks.Seal(block, signer, 0, nil); err != nil {
		t.Fatal(err)
	}
	return block
}

func (w *world) handle(ctx context.Context, s *stream) error {
	return w.server.Handle(ctx, s, deliver.Blocks{Stream: s}, func(*cb.Envelope, string) error { return w.deny })
}

func at(number uint64) *ab.SeekPosition {
	return &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: number}}}
}

func header(id string, when time.Time) *cb.ChannelHeader {
	return &cb.ChannelHeader{Type: int32(cb.HeaderType_DELIVER_SEEK_INFO), ChannelId: id, Timestamp: timestamppb.New(when)}
}

func TestDeliver(t *testing.T) {
	oldest := &ab.SeekPosition{Type: &ab.SeekPosition_Oldest{Oldest: &ab.SeekOldest{}}}
	newest := &ab.SeekPosition{Type: &ab.SeekPosition_Newest{Newest: &ab.SeekNewest{}}}
	fail := ab.SeekInfo_FAIL_IF_NOT_READY
	for name, test := range map[string]struct {
		id     string
		info   *ab.SeekInfo
		deny   error
		broken bool
		late   time.Duration
		want   cb.Status
		blocks []uint64
	}{
		"all":                   {info: &ab.SeekInfo{Start: oldest, Stop: newest}, want: cb.Status_SUCCESS, blocks: []uint64{0, 1, 2, 3}},
		"the newest":            {info: &ab.SeekInfo{Start: newest, Stop: newest}, want: cb.Status_SUCCESS, blocks: []uint64{3}},
		"the oldest":            {info: &ab.SeekInfo{Start: oldest, Stop: oldest}, want: cb.Status_SUCCESS, blocks: []uint64{0}},
		"some":                  {info: &ab.SeekInfo{Start: at(1), Stop: at(2)}, want: cb.Status_SUCCESS, blocks: []uint64{1, 2}},
		"what is not there yet": {info: &ab.SeekInfo{Start: at(3), Stop: at(9), Behavior: fail}, want: cb.Status_NOT_FOUND, blocks: []uint64{3}},
		"far beyond":            {info: &ab.SeekInfo{Start: at(9), Stop: at(9)}, want: cb.Status_NOT_FOUND},
		"backwards":             {info: &ab.SeekInfo{Start: at(2), Stop: at(1)}, want: cb.Status_BAD_REQUEST},
		"without an end":        {info: &ab.SeekInfo{Start: oldest}, want: cb.Status_BAD_REQUEST},
		"another channel":       {id: "other", info: &ab.SeekInfo{Start: oldest, Stop: newest}, want: cb.Status_NOT_FOUND},
		"what one may not read": {info: &ab.SeekInfo{Start: oldest, Stop: newest}, deny: errors.New("no"), want: cb.Status_FORBIDDEN},
		"without a leader":      {info: &ab.SeekInfo{Start: oldest, Stop: newest}, broken: true, want: cb.Status_SERVICE_UNAVAILABLE},
		"without a leader, as it is": {
			info: &ab.SeekInfo{Start: oldest, Stop: oldest, ErrorResponse: ab.SeekInfo_BEST_EFFORT}, broken: true, want: cb.Status_SUCCESS, blocks: []uint64{0},
		},
		"at another time": {info: &ab.SeekInfo{Start: oldest, Stop: newest}, late: time.Hour, want: cb.Status_BAD_REQUEST},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, deliver.Options{})
			if w.deny = test.deny; test.broken {
				close(w.chain.errored)
			}
			if test.id == "" {
				test.id = "trade"
			}
			s := &stream{requests: []*cb.Envelope{simtest.Envelope(t, w.client, header(test.id, time.Now().Add(-test.late)), test.info)}}
			if err := w.handle(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]cb.Status{test.want}, s.statuses); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.blocks, s.numbers); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("garbage", func(t *testing.T) {
		w := newWorld(t, deliver.Options{})
		s := &stream{requests: []*cb.Envelope{{Payload: []byte("garbage")}}}
		if err := w.handle(t.Context(), s); err != nil || len(s.statuses) != 1 || s.statuses[0] != cb.Status_BAD_REQUEST {
			t.Errorf("statuses %v: %v", s.statuses, err)
		}
	})
	t.Run("headers only", func(t *testing.T) {
		w := newWorld(t, deliver.Options{})
		info := &ab.SeekInfo{Start: at(1), Stop: at(2), ContentType: ab.SeekInfo_HEADER_WITH_SIG}
		s := &stream{requests: []*cb.Envelope{simtest.Envelope(t, w.client, header("trade", time.Now()), info)}}
		if err := w.handle(t.Context(), s); err != nil || len(s.numbers) != 2 || s.data != 0 {
			t.Errorf("blocks %v with %d transactions: %v", s.numbers, s.data, err)
		}
	})
	t.Run("no TLS certificate where it is bound to one", func(t *testing.T) {
		w := newWorld(t, deliver.Options{MutualTLS: true})
		s := &stream{requests: []*cb.Envelope{simtest.Envelope(t, w.client, header("trade", time.Now()), &ab.SeekInfo{Start: oldest, Stop: newest})}}
		if err := w.handle(t.Context(), s); err != nil || s.statuses[0] != cb.Status_BAD_REQUEST {
			t.Errorf("statuses %v: %v", s.statuses, err)
		}
	})
}

// TestRevoked ends a delivery when a new configuration takes the right away.
func TestRevoked(t *testing.T) {
	w := newWorld(t, deliver.Options{})
	s := &stream{requests: []*cb.Envelope{simtest.Envelope(t, w.client, header("trade", time.Now()), &ab.SeekInfo{Start: at(0), Stop: at(3)})}}
	s.got = func(number uint64) {
		if number != 1 {
			return
		}
		raw := w.chain.Config().Proto()
		next, err := channel.New("trade", &cb.Config{Sequence: raw.GetSequence() + 1, ChannelGroup: raw.GetChannelGroup()})
		if err != nil {
			t.Error(err)
			return
		}
		w.deny = errors.New("no more")
		w.chain.holder.Store(next)
	}
	if err := w.handle(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if len(s.numbers) != 2 || len(s.statuses) != 1 || s.statuses[0] != cb.Status_FORBIDDEN {
		t.Errorf("blocks %v, then %v", s.numbers, s.statuses)
	}
}
