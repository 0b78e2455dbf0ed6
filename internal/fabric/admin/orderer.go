package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/internal/fabric/identity"
)

// StatusError is an orderer's refusal.
type StatusError struct {
	// Status is the kind, in HTTP's numbers.
	Status cb.Status
	// Info is what the orderer says about it.
	Info string
}

func (e *StatusError) Error() string {
	if e.Info == "" {
		return "the orderer answers " + e.Status.String()
	}
	return fmt.Sprintf("the orderer answers %s: %s", e.Status, e.Info)
}

// Retry tells whether the same call may succeed in a while: there is no leader
// yet, the orderer does not serve the channel yet, or a leader does not see
// enough other consenters to let one more change.
func (e *StatusError) Retry() bool {
	switch e.Status {
	case cb.Status_SERVICE_UNAVAILABLE, cb.Status_NOT_FOUND:
		return true
	case cb.Status_BAD_REQUEST:
		return strings.Contains(e.Info, "quorum loss")
	}
	return false
}

// Stale tells that a config update was computed against a configuration that
// is not the channel's newest any more: compute it again.
func (e *StatusError) Stale() bool {
	return strings.Contains(e.Info, "be at version") || strings.Contains(e.Info, "but key is at version")
}

// Unsigned tells that signatures of administrators are missing from a config
// update.
func (e *StatusError) Unsigned() bool {
	return strings.Contains(e.Info, "not satisfied")
}

// Orderer is an orderer as a client sees it.
type Orderer struct {
	client ab.AtomicBroadcastClient
	id     *identity.Identity
	now    Clock
}

// NewOrderer makes a client of an orderer that signs as id.
func NewOrderer(conn grpc.ClientConnInterface, id *identity.Identity, now Clock) *Orderer {
	return &Orderer{client: ab.NewAtomicBroadcastClient(conn), id: id, now: now}
}

// Broadcast hands a transaction to the orderer. A refusal is a *StatusError.
func (o *Orderer) Broadcast(ctx context.Context, envelope *cb.Envelope) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := o.client.Broadcast(ctx)
	if err != nil {
		return fmt.Errorf("broadcast: %w", err)
	}
	if err := stream.Send(envelope); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("broadcast: %w", err)
	}
	answer, err := stream.Recv()
	if err != nil {
		return fmt.Errorf("broadcast: %w", err)
	}
	if answer.GetStatus() != cb.Status_SUCCESS {
		return fmt.Errorf("broadcast: %w", &StatusError{Status: answer.GetStatus(), Info: answer.GetInfo()})
	}
	return nil
}

// Newest is the orderer's newest block of a channel.
func (o *Orderer) Newest(ctx context.Context, channelID string) (*cb.Block, error) {
	return o.seek(ctx, channelID, &ab.SeekPosition{Type: &ab.SeekPosition_Newest{Newest: &ab.SeekNewest{}}})
}

// Block is the orderer's block of that number. A number that is not there yet
// is a *StatusError NOT_FOUND.
func (o *Orderer) Block(ctx context.Context, channelID string, number uint64) (*cb.Block, error) {
	return o.seek(ctx, channelID, &ab.SeekPosition{Type: &ab.SeekPosition_Specified{Specified: &ab.SeekSpecified{Number: number}}})
}

// ConfigBlock is the newest config block of a channel.
func (o *Orderer) ConfigBlock(ctx context.Context, channelID string) (*cb.Block, error) {
	newest, err := o.Newest(ctx, channelID)
	if err != nil {
		return nil, err
	}
	number, err := block.LastConfig(newest)
	if err != nil {
		return nil, err
	}
	if number == newest.GetHeader().GetNumber() {
		return newest, nil
	}
	return o.Block(ctx, channelID, number)
}

func (o *Orderer) seek(ctx context.Context, channelID string, position *ab.SeekPosition) (*cb.Block, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_DELIVER_SEEK_INFO), ChannelId: channelID, Timestamp: timestamppb.New(o.now())}
	envelope, err := o.id.Envelope(header, &ab.SeekInfo{
		Start: position, Stop: position, Behavior: ab.SeekInfo_FAIL_IF_NOT_READY, ErrorResponse: ab.SeekInfo_BEST_EFFORT,
	})
	if err != nil {
		return nil, err
	}
	stream, err := o.client.Deliver(ctx)
	if err != nil {
		return nil, fmt.Errorf("read block of channel %q: %w", channelID, err)
	}
	if err := stream.Send(envelope); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read block of channel %q: %w", channelID, err)
	}
	answer, err := stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("read block of channel %q: %w", channelID, err)
	}
	if answer.GetBlock() == nil {
		return nil, fmt.Errorf("read block of channel %q: %w", channelID, &StatusError{Status: answer.GetStatus()})
	}
	return answer.GetBlock(), nil
}
