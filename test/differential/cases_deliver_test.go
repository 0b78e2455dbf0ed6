package differential

import (
	"context"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"math"
	"math/big"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/test/bare"
)

// The streams of blocks.
const (
	peerBlocks    = "blocks of a peer"
	peerFiltered  = "filtered blocks of a peer"
	peerPrivate   = "blocks of a peer with private data"
	ordererBlocks = "blocks of an orderer"
)

var errNotYet = errors.New("not yet")

func eventually(ctx context.Context, try func() error) error { return bare.Eventually(ctx, try) }

func specified(n uint64) *ab.SeekPosition {
	return &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: n}}}
}

func seekOne(n uint64) *ab.SeekInfo {
	return &ab.SeekInfo{Start: specified(n), Stop: specified(n), Behavior: ab.SeekInfo_FAIL_IF_NOT_READY}
}

// frame is one message of any of the streams.
type frame struct {
	status   *cb.Status
	block    *cb.Block
	filtered *pb.FilteredBlock
}

func ofPeer(answer *pb.DeliverResponse) frame {
	switch kind := answer.GetType().(type) {
	case *pb.DeliverResponse_Status:
		return frame{status: &kind.Status}
	case *pb.DeliverResponse_FilteredBlock:
		return frame{filtered: kind.FilteredBlock}
	case *pb.DeliverResponse_BlockAndPrivateData:
		return frame{block: kind.BlockAndPrivateData.GetBlock()}
	}
	return frame{block: answer.GetBlock()}
}

func ofOrderer(answer *ab.DeliverResponse) frame {
	if kind, is := answer.GetType().(*ab.DeliverResponse_Status); is {
		return frame{status: &kind.Status}
	}
	return frame{block: answer.GetBlock()}
}

// open starts one of the streams.
func (r *recorder) open(which string) (send func(*cb.Envelope) error, receive func() (frame, error)) {
	r.Helper()
	if which == ordererBlocks {
		stream, err := ab.NewAtomicBroadcastClient(r.ordererConn()).Deliver(r.ctx())
		ok(r.T, err)
		return stream.Send, func() (frame, error) {
			answer, err := stream.Recv()
			return ofOrderer(answer), err
		}
	}
	client := pb.NewDeliverClient(r.conn(r.peerA))
	start := client.Deliver
	switch which {
	case peerFiltered:
		start = client.DeliverFiltered
	case peerPrivate:
		start = client.DeliverWithPrivateData
	}
	stream, err := start(r.ctx())
	ok(r.T, err)
	return stream.Send, func() (frame, error) {
		answer, err := stream.Recv()
		return ofPeer(answer), err
	}
}

// deliver asks for blocks and notes their numbers and how the stream ended.
func (r *recorder) deliver(do, which string, by *identity.Identity, header *cb.ChannelHeader, seek *ab.SeekInfo) []frame {
	r.Helper()
	envelope, err := by.Envelope(header, seek)
	ok(r.T, err)
	return r.deliverEnvelope(do, which, envelope)
}

func (r *recorder) deliverEnvelope(do, which string, envelope *cb.Envelope) []frame {
	r.Helper()
	send, receive := r.open(which)
	ok(r.T, send(envelope))
	note := r.note(step{Do: do + ": " + which})
	var frames []frame
	var numbers []uint64
	for {
		f, err := receive()
		if err != nil || f.status != nil {
			note.failed(err)
			if f.status != nil {
				note.Answer = f.status.String()
			}
			break
		}
		frames = append(frames, f)
		number := f.filtered.GetNumber()
		if f.block != nil {
			number = f.block.GetHeader().GetNumber()
		}
		numbers = append(numbers, number)
	}
	if numbers != nil {
		note.fact("blocks", numbers)
	}
	return frames
}

// deliveries are seeks of every kind.
func deliveries() []scenario {
	oldest := &ab.SeekPosition{Type: &ab.SeekPosition_Oldest{Oldest: &ab.SeekOldest{}}}
	newest := &ab.SeekPosition{Type: &ab.SeekPosition_Newest{Newest: &ab.SeekNewest{}}}
	both := func(name string, header func() *cb.ChannelHeader, seek *ab.SeekInfo) scenario {
		return scenario{name: name, run: func(r *recorder) {
			for _, which := range []string{peerBlocks, ordererBlocks} {
				r.deliver("seek", which, r.adminA, header(), seek)
			}
		}}
	}
	now := func() *cb.ChannelHeader { return seekHeader(trade, time.Now()) }
	at := func(offset time.Duration) func() *cb.ChannelHeader {
		return func() *cb.ChannelHeader { return seekHeader(trade, time.Now().Add(offset)) }
	}
	fail := ab.SeekInfo_FAIL_IF_NOT_READY
	return []scenario{
		both("seek-oldest", now, &ab.SeekInfo{Start: oldest, Stop: oldest}),
		both("seek-range", now, &ab.SeekInfo{Start: specified(1), Stop: specified(3)}),
		both("seek-beyond-the-end", now, &ab.SeekInfo{Start: specified(1 << 40), Stop: specified(math.MaxUint64), Behavior: fail}),
		both("seek-backwards", now, &ab.SeekInfo{Start: specified(3), Stop: specified(1)}),
		both("seek-nothing", now, &ab.SeekInfo{}),
		both("seek-without-stop", now, &ab.SeekInfo{Start: oldest}),
		both("seek-of-unknown-channel", func() *cb.ChannelHeader { return seekHeader("nowhere", time.Now()) }, seekOne(0)),
		both("seek-of-no-channel", func() *cb.ChannelHeader { return seekHeader("", time.Now()) }, seekOne(0)),
		both("seek-of-the-past", at(-time.Hour), seekOne(0)),
		both("seek-of-the-future", at(time.Hour), seekOne(0)),
		both("seek-without-time", func() *cb.ChannelHeader { return &cb.ChannelHeader{ChannelId: trade} }, seekOne(0)),
		{name: "seek-newest", run: func(r *recorder) {
			for _, which := range []string{peerBlocks, ordererBlocks} {
				frames := r.deliver("seek", which, r.adminA, now(), &ab.SeekInfo{Start: newest, Stop: newest})
				r.steps[len(r.steps)-1].fact("blocks", len(frames))
			}
		}},
		{name: "seek-next", run: seekNext},
		{name: "seek-headers-only", run: func(r *recorder) {
			frames := r.deliver("seek", ordererBlocks, r.adminA, now(), &ab.SeekInfo{
				Start: specified(1), Stop: specified(1), ContentType: ab.SeekInfo_HEADER_WITH_SIG,
			})
			for _, f := range frames {
				r.note(step{Do: "look at the block"}).fact("has data", f.block.GetData() != nil).fact("metadata", len(f.block.GetMetadata().GetMetadata()))
			}
		}},
		{name: "seek-garbage", run: func(r *recorder) {
			for _, which := range []string{peerBlocks, peerFiltered, ordererBlocks} {
				r.deliverEnvelope("nothing", which, &cb.Envelope{})
				r.deliverEnvelope("garbage", which, &cb.Envelope{Payload: []byte("garbage")})
				r.deliverEnvelope("no header", which, &cb.Envelope{Payload: encode(r.T, &cb.Payload{})})
				header := &cb.Header{ChannelHeader: encode(r.T, now()), SignatureHeader: []byte("garbage")}
				r.deliverEnvelope("garbage as creator", which, &cb.Envelope{Payload: encode(r.T, &cb.Payload{Header: header}), Signature: []byte("x")})
				envelope, err := r.adminA.Envelope(now(), &cb.Envelope{Payload: []byte("no seek info")})
				ok(r.T, err)
				r.deliverEnvelope("garbage as seek info", which, envelope)
			}
		}},
		{name: "seek-with-wrong-signature", run: func(r *recorder) {
			for _, which := range []string{peerBlocks, ordererBlocks} {
				envelope, err := r.adminA.Envelope(now(), seekOne(0))
				ok(r.T, err)
				envelope.Signature = nil
				r.deliverEnvelope("no signature", which, envelope)
			}
		}},
		{name: "filtered-blocks", run: filteredBlocks},
		{name: "chain-of-blocks", run: chainOfBlocks},
		{name: "stamp-without-binding", run: func(r *recorder) {
			// Without mutual TLS nothing is bound to the client's certificate.
			header := seekHeader(trade, time.Now())
			header.TlsCertHash = []byte("whatever")
			r.deliver("seek", peerBlocks, r.adminA, header, seekOne(0))
		}},
	}
}

// seekNext waits for the block after the newest.
func seekNext(r *recorder) {
	next := &ab.SeekPosition{Type: &ab.SeekPosition_NextCommit{NextCommit: &ab.SeekNextCommit{}}}
	envelope, err := r.adminA.Envelope(seekHeader(trade, time.Now()), &ab.SeekInfo{Start: next, Stop: specified(math.MaxUint64)})
	ok(r.T, err)
	made, answers := r.endorsed("put", r.key("a"), "1")
	tx := made.transaction(answers...).envelope(r.T)
	send, receive := r.open(peerBlocks)
	ok(r.T, send(envelope))
	before := r.ledgers[0].heightNow()
	go func() {
		// Whether it comes a second time does not matter, only that there are blocks.
		stream, err := ab.NewAtomicBroadcastClient(r.ordererConn()).Broadcast(r.Context())
		if err != nil {
			return
		}
		for range 20 {
			_ = stream.Send(tx)
			select {
			case <-r.Context().Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	f, err := receive()
	ok(r.T, err)
	r.note(step{Do: "receive"}).fact("is newer than what was there", f.block.GetHeader().GetNumber() >= before)
}

// filteredBlocks looks at what a filtered block tells of a valid transaction
// with an event and of an invalid one.
func filteredBlocks(r *recorder) {
	s, answers := r.endorsed("event", "Made", "secret", r.key("a"))
	valid := s.transaction(answers...).envelope(r.T)
	invalid := s.transaction(answers[0]).envelope(r.T)
	for _, envelope := range []*cb.Envelope{valid, invalid} {
		r.commit(envelope)
		v, err := r.ledgers[0].await(r.ctx(), envelope)
		ok(r.T, err)
		var frames []frame
		r.quietly(func() {
			frames = r.deliver("seek", peerFiltered, r.clientA, seekHeader(trade, time.Now()), seekOne(v.block))
		})
		for _, f := range frames {
			for _, tx := range f.filtered.GetFilteredTransactions() {
				if tx.GetTxid() == s.txID {
					r.note(step{Do: "look at the transaction in channel " + f.filtered.GetChannelId()}).fact("transaction", message(tx))
				}
			}
		}
	}
}

// chainOfBlocks checks that blocks are chained, hashed and marked as Fabric's
// are, and that peer and orderer hold the same ones.
func chainOfBlocks(r *recorder) {
	seek := &ab.SeekInfo{Start: specified(0), Stop: specified(4)}
	var ofPeers, ofOrderers []frame
	r.quietly(func() {
		ofPeers = r.deliver("seek", peerBlocks, r.adminA, seekHeader(trade, time.Now()), seek)
		ofOrderers = r.deliver("seek", ordererBlocks, r.adminA, seekHeader(trade, time.Now()), seek)
	})
	var previous []byte
	for i, f := range ofPeers {
		var data []byte
		for _, tx := range f.block.GetData().GetData() {
			data = append(data, tx...)
		}
		digest := sha256.Sum256(data)
		note := r.note(step{Do: "look at block " + big.NewInt(int64(i)).String()})
		note.fact("data hash is right", hex.EncodeToString(digest[:]) == hex.EncodeToString(f.block.GetHeader().GetDataHash()))
		note.fact("previous hash is right", hex.EncodeToString(previous) == hex.EncodeToString(f.block.GetHeader().GetPreviousHash()))
		note.fact("same as the orderer's", i < len(ofOrderers) && proto.Equal(f.block.GetHeader(), ofOrderers[i].block.GetHeader()) &&
			proto.Equal(f.block.GetData(), ofOrderers[i].block.GetData()))
		var sizes []bool
		for _, m := range f.block.GetMetadata().GetMetadata() {
			sizes = append(sizes, len(m) > 0)
		}
		note.fact("metadata there", sizes)
		previous = r.headerHash(f.block.GetHeader())
	}
}

func (r *recorder) headerHash(h *cb.BlockHeader) []byte {
	raw, err := asn1.Marshal(struct {
		Number         *big.Int
		Previous, Data []byte
	}{new(big.Int).SetUint64(h.GetNumber()), h.GetPreviousHash(), h.GetDataHash()})
	ok(r.T, err)
	digest := sha256.Sum256(raw)
	return digest[:]
}

func (l *ledger) heightNow() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.height
}
