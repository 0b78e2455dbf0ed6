package orderer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"github.com/prometheus/client_golang/prometheus"

	"heddle.dev/heddle/fabsim/internal/deliver"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/admission"
	"heddle.dev/heddle/fabsim/internal/orderer/registry"
)

// service is AtomicBroadcast.
type service struct {
	ab.UnimplementedAtomicBroadcastServer

	channels  *registry.Registry
	deliver   *deliver.Server
	processed *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	log       *node.Logger
}

func newService(channels *registry.Registry, server *deliver.Server, ops *node.Operations, log *node.Logger) *service {
	labels := []string{"channel", "type", "status"}
	s := &service{
		channels: channels, deliver: server, log: log,
		processed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "broadcast", Name: "processed_count", Help: "Transactions that were processed.",
		}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "broadcast", Name: "enqueue_duration", Help: "Seconds until a transaction was admitted and with the leader.",
		}, labels),
	}
	ops.Registry.MustRegister(s.processed, s.duration)
	return s
}

// Broadcast takes transactions, one after the other, until one is refused.
func (s *service) Broadcast(stream ab.AtomicBroadcast_BroadcastServer) error {
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		response := s.process(stream.Context(), message)
		if err := stream.Send(response); err != nil || response.GetStatus() != cb.Status_SUCCESS {
			return err
		}
	}
}

func (s *service) process(ctx context.Context, message *cb.Envelope) *ab.BroadcastResponse {
	begun := time.Now()
	header, err := protoutil.ChannelHeader(message)
	if err != nil {
		err = fmt.Errorf("could not determine channel ID: %w", err)
	} else {
		err = s.order(ctx, header, message)
	}
	response := &ab.BroadcastResponse{Status: admission.Status(err)}
	var unavailable registry.UnavailableError
	if errors.As(err, &unavailable) {
		response.Status = cb.Status_SERVICE_UNAVAILABLE
	}
	id, kind := "unknown", "unknown"
	if header != nil {
		id, kind = header.GetChannelId(), cb.HeaderType(header.GetType()).String()
	}
	if err != nil {
		response.Info = err.Error()
		s.log.Warnf("[channel: %s] Rejecting broadcast from %s with %s: %s", id, node.RemoteAddress(ctx), response.GetStatus(), err)
	}
	if s.channels.Channel(id) == nil {
		id = "unknown" // names that clients make up would fill the metrics
	}
	s.processed.WithLabelValues(id, kind, response.GetStatus().String()).Inc()
	s.duration.WithLabelValues(id, kind, response.GetStatus().String()).Observe(time.Since(begun).Seconds())
	return response
}

func (s *service) order(ctx context.Context, header *cb.ChannelHeader, message *cb.Envelope) error {
	c := s.channels.Channel(header.GetChannelId())
	if c == nil {
		return admission.ErrNoChannel
	}
	switch cb.HeaderType(header.GetType()) {
	case cb.HeaderType_CONFIG:
		return errors.New("message is of type that cannot be processed directly")
	case cb.HeaderType_ORDERER_TRANSACTION: //nolint:staticcheck // old clients send it
		return errors.New("message is of type that is no longer supported")
	default:
		return c.Submit(ctx, header, message)
	}
}

// Deliver sends blocks to those who may read the channel.
func (s *service) Deliver(stream ab.AtomicBroadcast_DeliverServer) error {
	return s.deliver.Handle(stream.Context(), stream, deliver.Blocks{Stream: stream}, func(request *cb.Envelope, id string) error {
		c := s.channels.Channel(id)
		if c == nil {
			return fmt.Errorf("channel %s not found", id)
		}
		return admission.Readers(c.Config(), request)
	})
}
