package deliver

import (
	"context"
	"time"

	"github.com/hyperledger/fabric-lib-go/common/metrics"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	library "github.com/hyperledger/fabric-x-common/common/deliver"
	"github.com/hyperledger/fabric-x-common/common/ledger/blockledger"
	"github.com/hyperledger/fabric-x-common/common/policies"
	"github.com/hyperledger/fabric-x-common/protoutil"

	"heddle.dev/heddle/fabsim/internal/channel"
)

// Channel is what is delivered from.
type Channel interface {
	// Config is the configuration in force.
	Config() *channel.Config
	// Reader has the blocks; a *blocks.Ledger will do.
	Reader() blockledger.Reader
	// Errored closes when the channel cannot say for the time being what comes
	// next, as an orderer without a leader; clients that did not ask for best
	// effort are then sent away with SERVICE_UNAVAILABLE. Nil means never.
	Errored() <-chan struct{}
}

// Options of a server.
type Options struct {
	// Channel finds a channel; nil means there is none of that name, which is
	// answered with NOT_FOUND.
	Channel func(id string) Channel
	// TimeWindow is how far a request's time may be off; zero means 15 min.
	TimeWindow time.Duration
	// MutualTLS binds requests to the TLS certificate that the client showed.
	MutualTLS bool
	// SkipExpiry does not end deliveries when the client's certificate ends.
	SkipExpiry bool
	// Metrics takes Fabric's metrics of Deliver.
	Metrics metrics.Provider
}

// Server delivers.
type Server struct{ handler *library.Handler }

const defaultWindow = 15 * time.Minute

// New makes a server.
func New(o Options) *Server {
	if o.TimeWindow == 0 {
		o.TimeWindow = defaultWindow
	}
	handler := library.NewHandler(manager(o.Channel), o.TimeWindow, o.MutualTLS, library.NewMetrics(o.Metrics), o.SkipExpiry)
	return &Server{handler: handler}
}

// Sender sends what is delivered, and at the end the status.
type Sender = library.ResponseSender

// Receiver receives requests.
type Receiver = library.Receiver

// Handle serves one stream until it ends: each request is answered with blocks
// and, at the end or when something is wrong, a status. Access is checked by
// check, first and again after each change of the configuration.
func (s *Server) Handle(ctx context.Context, from Receiver, to Sender, check func(envelope *cb.Envelope, channel string) error) error {
	return s.handler.Handle(ctx, &library.Server{ //nolint:wrapcheck // gRPC's status stays as it is
		Receiver: from, ResponseSender: to, PolicyChecker: library.PolicyCheckerFunc(check),
	})
}

type manager func(id string) Channel

func (m manager) GetChain(id string) library.Chain {
	if c := m(id); c != nil {
		return chain{c}
	}
	return nil
}

type chain struct{ Channel }

func (c chain) Sequence() uint64                { return c.Config().Sequence() }
func (c chain) PolicyManager() policies.Manager { return c.Config().PolicyManager() }

// Unwrap gives a sender, which is called with the library's view of a channel,
// the Channel itself.
func Unwrap(c library.Chain) Channel {
	if c, ok := c.(chain); ok {
		return c.Channel
	}
	return nil
}

// Chain is how senders are given a channel; see Unwrap.
type Chain = library.Chain

// SignedData is how senders are given the request.
type SignedData = protoutil.SignedData

// Blocks sends whole blocks, as orderers do.
type Blocks struct {
	Stream interface {
		Send(response *ab.DeliverResponse) error
	}
}

// SendStatusResponse ends a delivery.
func (b Blocks) SendStatusResponse(status cb.Status) error {
	return b.Stream.Send(&ab.DeliverResponse{Type: &ab.DeliverResponse_Status{Status: status}})
}

// SendBlockResponse sends a block.
func (b Blocks) SendBlockResponse(block *cb.Block, _ string, _ Chain, _ *SignedData) error {
	return b.Stream.Send(&ab.DeliverResponse{Type: &ab.DeliverResponse_Block{Block: block}})
}

// DataType names what is sent in metrics.
func (Blocks) DataType() string { return "block" }
