package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
)

// followAll takes blocks for every channel until ctx ends.
func (p *Peer) followAll(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	for _, j := range p.channels.all() {
		group.Go(func() { p.followOne(ctx, j) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case j := <-p.follow:
			group.Go(func() { p.followOne(ctx, j) })
		}
	}
}

const (
	firstBackoff = 100 * time.Millisecond
	backoffGrows = 1.2
)

// followOne takes blocks from one orderer after the other.
func (p *Peer) followOne(ctx context.Context, j *joined) {
	failures := 0
	for ctx.Err() == nil {
		endpoints := j.Config().Endpoints()
		rand.Shuffle(len(endpoints), func(a, b int) { endpoints[a], endpoints[b] = endpoints[b], endpoints[a] }) //nolint:gosec // any order will do
		for _, endpoint := range endpoints {
			got, err := p.pull(ctx, j, endpoint)
			if got {
				failures = 0
			}
			var broken *brokenError
			if errors.As(err, &broken) {
				p.log.Errorf("Channel %s stands still, for a block cannot be committed: %s", j.Config().ID(), err)
				return
			}
			if ctx.Err() != nil {
				return
			}
			p.log.Warnf("Channel %s: orderer %s: %s", j.Config().ID(), endpoint.Address, err)
			wait(ctx, min(time.Duration(float64(firstBackoff)*math.Pow(backoffGrows, float64(failures))), p.settings.reconnectMax))
			failures++
		}
		if len(endpoints) == 0 {
			wait(ctx, time.Second)
		}
	}
}

func wait(ctx context.Context, long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// brokenError says that a block could not be taken in though it is genuine.
type brokenError struct{ err error }

func (b *brokenError) Error() string { return b.err.Error() }

// pull takes blocks from an orderer until something fails. It tells whether
// any came.
func (p *Peer) pull(ctx context.Context, j *joined, endpoint channel.Endpoint) (bool, error) {
	options := node.DialOptions{Roots: endpoint.Roots}
	if !p.settings.tls.Enabled {
		options.Roots = nil
	}
	var hash []byte
	if p.tls != nil && p.settings.tls.RequireClientCert {
		options.Certificate = &p.tls.Certificate
		hash = certificateHash(p.tls.Certificate)
	}
	conn, err := node.Dial(endpoint.Address, options)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.seek(ctx, conn, j, hash)
	if err != nil {
		return false, err
	}
	got := false
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, errors.New("the orderer ended the stream")
		}
		if err != nil {
			return got, fmt.Errorf("receive block: %w", err)
		}
		block := response.GetBlock()
		if block == nil {
			return got, fmt.Errorf("the orderer answered %s", response.GetStatus())
		}
		if err := j.verify(block); err != nil {
			return got, err
		}
		if err := j.take(ctx, block); err != nil {
			if ctx.Err() != nil {
				return got, ctx.Err()
			}
			return got, &brokenError{err}
		}
		got = true
	}
}

func (p *Peer) seek(ctx context.Context, conn *grpc.ClientConn, j *joined, hash []byte) (ab.AtomicBroadcast_DeliverClient, error) {
	seek := &ab.SeekInfo{
		Start: &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: j.ledger.Blocks().Height()}}},
		Stop:  &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: math.MaxUint64}}},
	}
	request, err := p.identity.Envelope(&cb.ChannelHeader{
		Type: int32(cb.HeaderType_DELIVER_SEEK_INFO), ChannelId: j.Config().ID(), Timestamp: timestamppb.Now(), TlsCertHash: hash,
	}, seek)
	if err != nil {
		return nil, err
	}
	stream, err := ab.NewAtomicBroadcastClient(conn).Deliver(ctx)
	if err != nil {
		return nil, fmt.Errorf("open stream of blocks: %w", err)
	}
	if err := stream.Send(request); err != nil {
		return nil, fmt.Errorf("ask for blocks: %w", err)
	}
	return stream, nil
}
