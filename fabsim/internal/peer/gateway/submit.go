package gateway

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	gp "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
)

// orderers keeps connections to orderers.
type orderers struct {
	tls bool

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

func newOrderers(tls bool) *orderers {
	return &orderers{tls: tls, conns: map[string]*grpc.ClientConn{}}
}

func (o *orderers) conn(endpoint channel.Endpoint) (*grpc.ClientConn, error) {
	key := endpoint.Address + "\x00" + string(bytes.Join(endpoint.Roots, []byte{0}))
	o.mu.Lock()
	defer o.mu.Unlock()
	if conn := o.conns[key]; conn != nil {
		return conn, nil
	}
	options := node.DialOptions{}
	if o.tls {
		options.Roots = endpoint.Roots
	}
	conn, err := node.Dial(endpoint.Address, options)
	if err != nil {
		return nil, err
	}
	o.conns[key] = conn
	return conn, nil
}

// Submit hands a signed transaction to the channel's orderers.
func (s *Server) Submit(ctx context.Context, in *gp.SubmitRequest) (*gp.SubmitResponse, error) {
	transaction := in.GetPreparedTransaction()
	if transaction == nil {
		return nil, status.Error(codes.InvalidArgument, "a prepared transaction is required")
	}
	if len(transaction.GetSignature()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "prepared transaction must be signed")
	}
	ch := s.o.Channel(in.GetChannelId())
	if ch == nil {
		return nil, status.Error(codes.FailedPrecondition, noConfig(in.GetChannelId()))
	}
	endpoints := ch.Config().Endpoints()
	if len(endpoints) == 0 {
		return nil, status.Error(codes.Unavailable, "no orderer nodes available")
	}
	if ch.Config().ConsensusType() == channel.BFT {
		return s.submitToAll(ctx, endpoints, transaction)
	}
	return s.submitToOne(ctx, endpoints, transaction)
}

func ordererDetail(endpoint channel.Endpoint, message string) *gp.ErrorDetail {
	return &gp.ErrorDetail{Address: endpoint.Address, MspId: endpoint.MSPID, Message: message}
}

func refusal(response *ab.BroadcastResponse) string {
	return fmt.Sprintf("received unsuccessful response from orderer: status=%s, info=%s", response.GetStatus(), response.GetInfo())
}

// submitToOne tries orderers until one takes the transaction.
func (s *Server) submitToOne(ctx context.Context, endpoints []channel.Endpoint, transaction *cb.Envelope) (*gp.SubmitResponse, error) {
	var details []*gp.ErrorDetail
	for _, i := range rand.Perm(len(endpoints)) { //nolint:gosec // any order will do
		response, err := s.broadcast(ctx, endpoints[i], transaction)
		if ctx.Err() != nil {
			return nil, fail(codes.DeadlineExceeded, "submit timeout expired while broadcasting to ordering service", nil)
		}
		if err != nil {
			details = append(details, ordererDetail(endpoints[i], err.Error()))
			continue
		}
		code := response.GetStatus()
		if code == cb.Status_SUCCESS {
			return &gp.SubmitResponse{}, nil
		}
		if code >= 400 && code < 500 {
			return nil, fail(codes.Aborted, refusal(response), nil)
		}
		s.o.Log.Warnf("Orderer %s: %s", endpoints[i].Address, refusal(response))
	}
	return nil, fail(codes.Unavailable, "no orderers could successfully process transaction", details)
}

// submitToAll hands the transaction to all, for any of them may be at fault,
// and is content with a quorum.
func (s *Server) submitToAll(ctx context.Context, endpoints []channel.Endpoint, transaction *cb.Envelope) (*gp.SubmitResponse, error) {
	results := make(chan *gp.ErrorDetail, len(endpoints))
	for _, endpoint := range endpoints {
		go func() {
			response, err := s.broadcast(context.WithoutCancel(ctx), endpoint, transaction)
			switch {
			case err != nil:
				results <- ordererDetail(endpoint, err.Error())
			case response.GetStatus() == cb.Status_SUCCESS,
				response.GetStatus() == cb.Status_SERVICE_UNAVAILABLE && response.GetInfo() == "failed to submit request: request already exists":
				results <- nil
			default:
				results <- ordererDetail(endpoint, refusal(response))
			}
		}()
	}
	faulty := (len(endpoints) - 1) / 3
	quorum := (len(endpoints) + faulty + 2) / 2
	taken := 0
	var details []*gp.ErrorDetail
	for range endpoints {
		select {
		case d := <-results:
			if d != nil {
				details = append(details, d)
			} else if taken++; taken >= quorum {
				return &gp.SubmitResponse{}, nil
			}
		case <-ctx.Done():
			return nil, fail(codes.DeadlineExceeded, "submit timeout expired while broadcasting to ordering service", nil)
		}
	}
	return nil, fail(codes.Unavailable, "insufficient number of orderers could successfully process transaction to satisfy quorum requirement", details)
}

func (s *Server) broadcast(ctx context.Context, endpoint channel.Endpoint, transaction *cb.Envelope) (*ab.BroadcastResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.BroadcastTimeout)
	defer cancel()
	conn, err := s.orderers.conn(endpoint)
	if err != nil {
		return nil, err
	}
	stream, err := ab.NewAtomicBroadcastClient(conn).Broadcast(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // its text reaches clients as it is
	}
	if err := stream.Send(transaction); err != nil {
		return nil, err //nolint:wrapcheck // its text reaches clients as it is
	}
	response, err := stream.Recv()
	if err != nil {
		return nil, err //nolint:wrapcheck // its text reaches clients as it is
	}
	_ = stream.CloseSend() // the answer is there
	return response, nil
}
