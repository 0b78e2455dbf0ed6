package gateway

import (
	"context"
	"errors"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	gp "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/endorser"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// allowed checks who signed a request.
func (s *Server) allowed(resource, id string, identity, request, signature []byte) error {
	who, err := protoutil.UnmarshalIdentity(identity)
	if err == nil {
		err = s.o.Access.Check(resource, id, []*protoutil.SignedData{{Data: request, Identity: who, Signature: signature}})
	}
	if err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return nil
}

// CommitStatus waits until a transaction is committed and tells what became of
// it.
func (s *Server) CommitStatus(ctx context.Context, in *gp.SignedCommitStatusRequest) (*gp.CommitStatusResponse, error) {
	if len(in.GetRequest()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "a commit status request is required")
	}
	request := &gp.CommitStatusRequest{}
	if err := proto.Unmarshal(in.GetRequest(), request); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "invalid status request: %v", err)
	}
	switch {
	case request.GetIdentity() == nil:
		return nil, status.Error(codes.InvalidArgument, "no identity provided")
	case request.GetChannelId() == "":
		return nil, status.Error(codes.InvalidArgument, "no channel ID provided")
	case request.GetTransactionId() == "":
		return nil, status.Error(codes.InvalidArgument, "transaction ID should not be empty")
	}
	if err := s.allowed(endorser.CommitStatus, request.GetChannelId(), request.GetIdentity(), in.GetRequest(), in.GetSignature()); err != nil {
		return nil, err
	}
	ch := s.o.Channel(request.GetChannelId())
	if ch == nil {
		return nil, status.Errorf(codes.Aborted, "channel does not exist: %s", request.GetChannelId())
	}
	outcome, err := ch.Ledger().Wait(ctx, request.GetTransactionId())
	if err != nil {
		if errors.Is(err, ctx.Err()) && ctx.Err() != nil {
			return nil, status.FromContextError(err).Err()
		}
		return nil, status.Error(codes.Aborted, err.Error())
	}
	return &gp.CommitStatusResponse{Result: outcome.Code, BlockNumber: outcome.Block}, nil
}

// ChaincodeEvents gives the events of a contract's valid transactions, block by
// block.
func (s *Server) ChaincodeEvents(in *gp.SignedChaincodeEventsRequest, stream gp.Gateway_ChaincodeEventsServer) error {
	if len(in.GetRequest()) == 0 {
		return status.Error(codes.InvalidArgument, "a chaincode events request is required")
	}
	request := &gp.ChaincodeEventsRequest{}
	if err := proto.Unmarshal(in.GetRequest(), request); err != nil {
		return status.Errorf(codes.InvalidArgument, "invalid chaincode events request: %v", err)
	}
	if err := s.allowed(endorser.ChaincodeEvents, request.GetChannelId(), request.GetIdentity(), in.GetRequest(), in.GetSignature()); err != nil {
		return err
	}
	ch := s.o.Channel(request.GetChannelId())
	if ch == nil {
		return status.Errorf(codes.NotFound, "channel does not exist: %s", request.GetChannelId())
	}
	first, err := firstBlock(ch.Ledger(), request)
	if err != nil {
		return err
	}
	after := request.GetAfterTransactionId()
	passed := after == ""
	err = ch.Ledger().Follow(stream.Context(), first, func(block *cb.Block) error {
		response := &gp.ChaincodeEventsResponse{BlockNumber: block.GetHeader().GetNumber()}
		for _, event := range eventsOf(block) {
			if !passed {
				passed = event.GetTxId() == after
				continue
			}
			if event.GetChaincodeId() == request.GetChaincodeId() {
				response.Events = append(response.Events, event)
			}
		}
		if len(response.GetEvents()) == 0 {
			return nil
		}
		return stream.Send(response)
	})
	if stream.Context().Err() != nil {
		return status.FromContextError(stream.Context().Err()).Err()
	}
	return status.Error(codes.Aborted, err.Error())
}

func eventsOf(block *cb.Block) []*pb.ChaincodeEvent {
	var out []*pb.ChaincodeEvent
	for i, raw := range block.GetData().GetData() {
		if tx.Code(block, i) != pb.TxValidationCode_VALID {
			continue
		}
		t, err := tx.Parse(raw)
		if err != nil || t.Type != cb.HeaderType_ENDORSER_TRANSACTION {
			continue
		}
		action, err := t.Action()
		if err != nil {
			continue
		}
		if event, err := action.Event(); err == nil && event != nil {
			out = append(out, event)
		}
	}
	return out
}

func firstBlock(on *ledger.Ledger, request *gp.ChaincodeEventsRequest) (uint64, error) {
	if after := request.GetAfterTransactionId(); after != "" {
		if block, err := on.Blocks().BlockByTxID(after); err == nil {
			return block.GetHeader().GetNumber(), nil
		}
	}
	switch seek := request.GetStartPosition().GetType().(type) {
	case nil, *ab.SeekPosition_NextCommit:
		return on.Height(), nil
	case *ab.SeekPosition_Specified:
		return seek.Specified.GetNumber(), nil
	default:
		return 0, status.Errorf(codes.InvalidArgument, "invalid start position type: %T", seek)
	}
}
