package differential

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"sync"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/test/bare"
)

// verdict is what a peer made of a transaction.
type verdict struct {
	block uint64
	code  pb.TxValidationCode
}

// ledger follows a peer's blocks and knows the verdict on every envelope.
type ledger struct {
	peer *bare.Peer

	mu       sync.Mutex
	verdicts map[[sha256.Size]byte]verdict
	height   uint64
	woken    chan struct{}
	failure  error
}

func newLedger(p *bare.Peer) *ledger {
	return &ledger{peer: p, verdicts: map[[sha256.Size]byte]verdict{}, woken: make(chan struct{})}
}

func (l *ledger) follow(ctx context.Context) error {
	conn, err := l.peer.Conn()
	if err != nil {
		return err
	}
	stream, err := pb.NewDeliverClient(conn).Deliver(ctx)
	if err != nil {
		return err
	}
	position := func(n uint64) *ab.SeekPosition {
		return &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: n}}}
	}
	envelope, err := l.peer.Org.Admin.Envelope(seekHeader(trade, time.Now()), &ab.SeekInfo{Start: position(0), Stop: position(math.MaxUint64)})
	if err != nil {
		return err
	}
	if err := stream.Send(envelope); err != nil {
		return err
	}
	go func() {
		for {
			answer, err := stream.Recv()
			if err == nil && answer.GetBlock() == nil {
				err = fmt.Errorf("blocks of %s end with %s", l.peer.Name, answer.GetStatus())
			}
			l.take(answer.GetBlock(), err)
			if err != nil {
				return
			}
		}
	}()
	return nil
}

func (l *ledger) take(block *cb.Block, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failure = err
	} else {
		codes := block.GetMetadata().GetMetadata()[cb.BlockMetadataIndex_TRANSACTIONS_FILTER]
		for i, raw := range block.GetData().GetData() {
			v := verdict{block: block.GetHeader().GetNumber(), code: pb.TxValidationCode_NOT_VALIDATED}
			if i < len(codes) {
				v.code = pb.TxValidationCode(codes[i])
			}
			l.verdicts[sha256.Sum256(raw)] = v
		}
		l.height = block.GetHeader().GetNumber() + 1
	}
	close(l.woken)
	l.woken = make(chan struct{})
}

// await is the verdict on an envelope, once there is one.
func (l *ledger) await(ctx context.Context, envelope *cb.Envelope) (verdict, error) {
	raw, err := proto.Marshal(envelope)
	if err != nil {
		return verdict{}, err
	}
	key := sha256.Sum256(raw)
	for {
		l.mu.Lock()
		v, there := l.verdicts[key]
		woken, failure := l.woken, l.failure
		l.mu.Unlock()
		if there || failure != nil {
			return v, failure
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return verdict{}, fmt.Errorf("wait for a transaction at %s: %w", l.peer.Name, ctx.Err())
		}
	}
}
