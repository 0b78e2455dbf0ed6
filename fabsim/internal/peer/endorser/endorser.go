package endorser

import (
	"context"
	"fmt"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/runtime"
)

// Options of an endorser.
type Options struct {
	// Identity signs endorsements.
	Identity *node.Identity
	// Access decides who may do what.
	Access *Access
	// Channel finds a channel that the peer has joined, or nil; Channels are
	// the names of all.
	Channel  func(id string) lifecycle.Channel
	Channels func() []string
	// Join joins the peer to the channel of a block. It may tell that the peer
	// is in it already.
	Join func(ctx context.Context, block *cb.Block) error
	// Lifecycle is the system contract of that name.
	Lifecycle *lifecycle.Contract
	// Distribute brings private data to peers that shall have it before the
	// endorsement is given.
	Distribute func(ctx context.Context, channel, txID string, private *frwset.TxPvtReadWriteSet) error
	// TimeWindow is how far a proposal's time may be off.
	TimeWindow time.Duration
	Log        *node.Logger
}

// Endorser serves proposals.
type Endorser struct {
	pb.UnimplementedEndorserServer

	o       Options
	runtime *runtime.Runtime
}

// New makes an endorser; it needs a runtime before it serves.
func New(o Options) *Endorser { return &Endorser{o: o} }

// Use gives the endorser the runtime whose host it is.
func (e *Endorser) Use(r *runtime.Runtime) { e.runtime = r }

// execution is one proposal on its way.
type execution struct {
	channel, txID string
	proposal      *Proposal
	simulator     *ledger.Simulator
}

// ProcessProposal simulates a proposal and signs the result. What is wrong with
// the proposal itself is an error; what goes wrong in simulation is told in
// the response.
func (e *Endorser) ProcessProposal(ctx context.Context, signed *pb.SignedProposal) (*pb.ProposalResponse, error) {
	if err := admissible(signed, e.o.TimeWindow); err != nil {
		return nil, err
	}
	p, err := Open(signed)
	if err != nil {
		return failed(err), err
	}
	if err := unsupported(p); err != nil {
		return nil, err
	}
	id := p.Channel.GetChannelId()
	var ch lifecycle.Channel
	if id == "" {
		err = p.check(e.o.Access.MSP)
	} else {
		if ch = e.o.Channel(id); ch == nil {
			return failed(fmt.Errorf("channel '%s' not found", id)), nil
		}
		err = p.check(ch.Config().MSPManager())
	}
	if err != nil {
		err = fmt.Errorf("error validating proposal: %w", err)
	} else if ch != nil {
		err = e.admit(p, ch)
	}
	if err != nil {
		e.o.Log.Warnf("Refused a proposal on channel %q: %s", id, err)
		return failed(err), err
	}
	out, err := e.endorse(ctx, p, ch)
	if err != nil {
		e.o.Log.Warnf("Proposal for %s on channel %q failed: %s", p.Contract, id, err)
		return failed(err), nil
	}
	return out, nil
}

func failed(err error) *pb.ProposalResponse {
	return &pb.ProposalResponse{Response: &pb.Response{Status: 500, Message: err.Error()}}
}

// unsupported names what a simulated peer does not do.
func unsupported(p *Proposal) error {
	name := ""
	if args := p.Input.GetArgs(); len(args) > 0 {
		name = string(args[0])
	}
	if p.Contract == "cscc" && (name == "JoinChainBySnapshot" || name == "JoinBySnapshotStatus") {
		return status.Errorf(codes.Unimplemented, "%s/%s is not supported by a simulated peer", p.Contract, name)
	}
	return nil
}

// admit checks what only a channel can tell.
func (e *Endorser) admit(p *Proposal, ch lifecycle.Channel) error {
	known, err := ch.Ledger().Blocks().HasTransaction(p.Channel.GetTxId())
	if err != nil {
		return err
	}
	if known {
		return fmt.Errorf("duplicate transaction found [%s]. Creator [%x]", p.Channel.GetTxId(), p.Creator.GetCreator())
	}
	if ledger.IsSystem(p.Contract) {
		return nil
	}
	by, err := p.SignedData()
	if err != nil {
		return err
	}
	return e.o.Access.Check(Propose, p.Channel.GetChannelId(), by)
}

func (e *Endorser) endorse(ctx context.Context, p *Proposal, ch lifecycle.Channel) (*pb.ProposalResponse, error) {
	x := &execution{channel: p.Channel.GetChannelId(), txID: p.Channel.GetTxId(), proposal: p}
	if ch != nil && p.Contract != "qscc" && p.Contract != "cscc" {
		x.simulator = ch.Ledger().NewSimulator(x.txID)
		defer x.simulator.Close()
	}
	info, err := e.find(ctx, x, p.Contract)
	if err != nil {
		return nil, fmt.Errorf("make sure the chaincode %s has been successfully defined on channel %s and try again: %w", p.Contract, x.channel, err)
	}
	response, event, err := e.execute(ctx, x, p.Contract, p.Input)
	if err != nil {
		return nil, fmt.Errorf("error in simulation: %w", err)
	}
	results, err := e.results(ctx, x, response)
	if err != nil {
		return nil, fmt.Errorf("error in simulation: %w", err)
	}
	return e.sign(x, info, response, event, results)
}

// results ends the simulation and gives private data away.
func (e *Endorser) results(ctx context.Context, x *execution, response *pb.Response) (*ledger.Results, error) {
	if x.simulator == nil {
		return &ledger.Results{}, nil
	}
	results, err := x.simulator.Results()
	x.simulator.Close()
	if err != nil {
		return nil, err
	}
	if results.Private != nil && response.GetStatus() < errorThreshold {
		if err := e.o.Distribute(ctx, x.channel, x.txID, results.Private); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// Status codes of contracts: from the first on there is no endorsement.
const (
	errorThreshold = 400
	errorStatus    = 500
)

func (e *Endorser) sign(x *execution, info *contractInfo, response *pb.Response, event *pb.ChaincodeEvent, results *ledger.Results) (*pb.ProposalResponse, error) {
	payload, err := responsePayload(x, info, response, event, results)
	if err != nil {
		return nil, fmt.Errorf("failed to create the proposal response: %w", err)
	}
	switch {
	case response.GetStatus() >= errorStatus:
		return &pb.ProposalResponse{Response: response, Payload: payload, Interest: results.Interest}, nil
	case x.channel == "" || response.GetStatus() >= errorThreshold:
		return &pb.ProposalResponse{Response: response}, nil
	}
	signature, err := e.o.Identity.Sign(append(append([]byte{}, payload...), e.o.Identity.Serialized...))
	if err != nil {
		return nil, fmt.Errorf("endorsing with plugin failed: %w", err)
	}
	return &pb.ProposalResponse{
		Version: 1, Payload: payload, Response: response, Interest: results.Interest,
		Endorsement: &pb.Endorsement{Signature: signature, Endorser: e.o.Identity.Serialized},
	}, nil
}

func responsePayload(x *execution, info *contractInfo, response *pb.Response, event *pb.ChaincodeEvent, results *ledger.Results) ([]byte, error) {
	action := &pb.ChaincodeAction{Response: response, ChaincodeId: &pb.ChaincodeID{Name: x.proposal.Contract, Version: info.version}}
	var err error
	if event != nil {
		if action.Events, err = proto.Marshal(event); err != nil {
			return nil, fmt.Errorf("failed to marshal chaincode event: %w", err)
		}
	}
	if results.Public != nil {
		if action.Results, err = proto.Marshal(results.Public); err != nil {
			return nil, err
		}
	}
	extension, err := proto.Marshal(action)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&pb.ProposalResponsePayload{Extension: extension, ProposalHash: x.proposal.Hash})
}
