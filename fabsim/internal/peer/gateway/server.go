package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	gp "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/endorser"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/members"
)

// Endorser simulates proposals.
type Endorser interface {
	ProcessProposal(ctx context.Context, signed *pb.SignedProposal) (*pb.ProposalResponse, error)
}

// Options of a gateway.
type Options struct {
	// Local is this peer's own endorser.
	Local Endorser
	// Members knows the other peers.
	Members *members.Registry
	// Channel finds a channel that the peer has joined, or nil.
	Channel func(id string) lifecycle.Channel
	Access  *endorser.Access
	// MSPID is the peer's organisation.
	MSPID string
	// EndorseTimeout bounds one endorsement, BroadcastTimeout one attempt to
	// hand a transaction to an orderer.
	EndorseTimeout, BroadcastTimeout time.Duration
	// TLS tells whether orderers speak TLS.
	TLS bool
	Log *node.Logger
}

// Server is the Gateway service.
type Server struct {
	gp.UnimplementedGatewayServer

	o        Options
	orderers *orderers
}

// New makes a gateway.
func New(o Options) *Server { return &Server{o: o, orderers: newOrderers(o.TLS)} }

// proposal is what a gateway has to know of one.
type proposal struct {
	signed            *pb.SignedProposal
	header            *cb.Header
	payload           *pb.ChaincodeProposalPayload
	channel, contract string
	transient         bool
}

func open(signed *pb.SignedProposal) (*proposal, error) {
	outer, header, channel := &pb.Proposal{}, &cb.Header{}, &cb.ChannelHeader{}
	payload, spec := &pb.ChaincodeProposalPayload{}, &pb.ChaincodeInvocationSpec{}
	for _, layer := range []struct {
		what string
		raw  func() []byte
		into proto.Message
	}{
		{"Proposal", signed.GetProposalBytes, outer},
		{"Header", outer.GetHeader, header},
		{"ChannelHeader", header.GetChannelHeader, channel},
		{"ChaincodeProposalPayload", outer.GetPayload, payload},
		{"ChaincodeInvocationSpec", payload.GetInput, spec},
	} {
		if err := proto.Unmarshal(layer.raw(), layer.into); err != nil {
			return nil, fmt.Errorf("error unmarshalling %s: %w", layer.what, err)
		}
	}
	return &proposal{
		signed: signed, header: header, payload: payload, channel: channel.GetChannelId(),
		contract: spec.GetChaincodeSpec().GetChaincodeId().GetName(), transient: len(payload.GetTransientMap()) > 0,
	}, nil
}

// complete checks what an evaluation needs.
func (p *proposal) complete() error {
	switch {
	case p.channel == "":
		return errors.New("no channel id provided")
	case p.contract == "":
		return fmt.Errorf("no chaincode name is provided, channel id [%s]", p.channel)
	}
	return nil
}

// answer is what a peer said to a proposal.
type answer struct {
	response *pb.ProposalResponse
	code     codes.Code
	message  string
	// retry tells whether another peer may do better.
	retry bool
}

// ask sends a proposal to a peer and judges its answer.
func (s *Server) ask(caller context.Context, m *members.Member, signed *pb.SignedProposal) *answer {
	ctx, cancel := context.WithTimeout(caller, s.o.EndorseTimeout)
	defer cancel()
	response, err := s.process(ctx, m, signed)
	switch {
	case err != nil && response == nil:
		// Only a peer that cannot be reached, or is silent, is gone: one that refuses a proposal is there for others.
		silent := status.Code(err) == codes.DeadlineExceeded && caller.Err() == nil
		if !m.Local && (silent || status.Code(err) == codes.Unavailable) {
			s.o.Members.Forget(m.Endpoint)
		}
		return &answer{code: codes.Unavailable, message: err.Error(), retry: true}
	case err != nil:
		return &answer{code: codes.FailedPrecondition, message: err.Error()}
	}
	got := response.GetResponse()
	if got.GetStatus() >= 200 && got.GetStatus() < 400 {
		return &answer{response: response, code: codes.OK}
	}
	if response.GetPayload() == nil && got.GetStatus() == 500 {
		return &answer{code: codes.Aborted, message: got.GetMessage(), retry: true}
	}
	return &answer{code: codes.Unknown, message: fmt.Sprintf("chaincode response %d, %s", got.GetStatus(), got.GetMessage())}
}

func (s *Server) process(ctx context.Context, m *members.Member, signed *pb.SignedProposal) (*pb.ProposalResponse, error) {
	if m.Local {
		return s.o.Local.ProcessProposal(ctx, signed)
	}
	conn, err := s.o.Members.Conn(m.Endpoint)
	if err != nil {
		return nil, err
	}
	response, err := pb.NewEndorserClient(conn).ProcessProposal(ctx, signed)
	if err != nil {
		return nil, err //nolint:wrapcheck // its text reaches clients as it is
	}
	return response, nil
}

func detail(m *members.Member, message string) *gp.ErrorDetail {
	return &gp.ErrorDetail{Address: m.Endpoint, MspId: m.MSPID, Message: message}
}

// fail makes an error with details.
func fail(code codes.Code, message string, details []*gp.ErrorDetail) error {
	out := status.New(code, message)
	var all []protoadapt.MessageV1
	for _, d := range details {
		all = append(all, protoadapt.MessageV1Of(d))
	}
	if with, err := out.WithDetails(all...); err == nil && len(all) > 0 {
		return with.Err()
	}
	return out.Err()
}

// able lists the peers of a channel that have a contract, of some
// organisations or of all; those of the own organisation come first.
func (s *Server) able(ctx context.Context, id, contract string, orgs []string) []*members.Member {
	var own, others []*members.Member
	for _, m := range s.o.Members.Of(ctx, id) {
		if !m.Has(id, contract) || len(orgs) > 0 && !slices.Contains(orgs, m.MSPID) {
			continue
		}
		if m.MSPID == s.o.MSPID {
			own = append(own, m)
		} else {
			others = append(others, m)
		}
	}
	return append(own, others...)
}

// noConfig is how Fabric says that the peer is not on a channel.
func noConfig(id string) string {
	return fmt.Sprintf("failed to get config for channel [%[1]s]: could not get last config for channel %[1]s", id)
}

// Evaluate asks one peer and gives its answer.
func (s *Server) Evaluate(ctx context.Context, in *gp.EvaluateRequest) (*gp.EvaluateResponse, error) {
	if len(in.GetProposedTransaction().GetProposalBytes()) == 0 {
		return nil, status.Error(codes.InvalidArgument, "failed to unpack transaction proposal: a signed proposal is required")
	}
	p, err := open(in.GetProposedTransaction())
	if err == nil {
		err = p.complete()
	}
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "failed to unpack transaction proposal: %s", err)
	}
	if s.o.Channel(p.channel) == nil {
		return nil, status.Error(codes.Unavailable, noConfig(p.channel))
	}
	orgs := in.GetTargetOrganizations()
	protected := p.transient && orgs == nil
	if protected {
		orgs = []string{s.o.MSPID}
	}
	peers := s.able(ctx, p.channel, p.contract, orgs)
	if len(peers) == 0 {
		err := fmt.Sprintf("no peers available to evaluate chaincode %s in channel %s", p.contract, p.channel)
		if protected {
			err = "no endorsers found in the gateway's organization; retry specifying target organization(s) to protect transient data: " + err
		}
		return nil, status.Error(codes.FailedPrecondition, err)
	}
	var details []*gp.ErrorDetail
	var last *answer
	for _, m := range peers {
		last = s.ask(ctx, m, p.signed)
		if last.code == codes.OK {
			return &gp.EvaluateResponse{Result: result(last.response)}, nil
		}
		if ctx.Err() != nil {
			return nil, fail(codes.DeadlineExceeded, "evaluate timeout expired", nil)
		}
		details = append(details, detail(m, last.message))
		if !last.retry {
			return nil, fail(last.code, "evaluate call to endorser returned error: "+last.message, details)
		}
	}
	return nil, fail(last.code, "failed to evaluate transaction, see attached details for more info", details)
}

// result is the response as it was signed, if it was.
func result(response *pb.ProposalResponse) *pb.Response {
	out := response.GetResponse()
	payload, action := &pb.ProposalResponsePayload{}, &pb.ChaincodeAction{}
	if proto.Unmarshal(response.GetPayload(), payload) == nil && proto.Unmarshal(payload.GetExtension(), action) == nil && action.GetResponse() != nil {
		out.Payload = action.GetResponse().GetPayload()
	}
	return out
}
