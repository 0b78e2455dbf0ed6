package gateway

import (
	"context"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	gwproto "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/identity"
)

// Gateway sends transactions through one peer.
type Gateway struct {
	client *client.Gateway
}

// Call is a transaction to make.
type Call struct {
	// Channel and Contract that it is for.
	Channel, Contract string
	// Function of the contract and its arguments.
	Function string
	Args     [][]byte
	// Transient data is seen by the contract and not written to the ledger.
	Transient map[string][]byte
	// Endorsers limits who is asked, by MSP id; empty leaves it to discovery.
	Endorsers []string
	// Init marks the transaction that initialises a contract whose definition asks for one.
	Init bool
}

// Result of a transaction that was committed.
type Result struct {
	// TxID of the transaction.
	TxID string
	// Block that it is in.
	Block uint64
	// Code is VALID unless the error says otherwise.
	Code pb.TxValidationCode
	// Payload is what the contract returned.
	Payload []byte
}

// Event is a contract's event.
type Event struct {
	Block          uint64
	TxID           string
	Contract, Name string
	Payload        []byte
}

// New makes a gateway over a connection, which stays the caller's to close.
// How long a call may take is the context's affair.
func New(conn grpc.ClientConnInterface, id *identity.Identity) (*Gateway, error) {
	gw, err := client.Connect(id, client.WithClientConnection(conn), client.WithHash(hash.SHA256), client.WithSign(id.SignDigest))
	if err != nil {
		return nil, fmt.Errorf("open gateway: %w", err)
	}
	return &Gateway{client: gw}, nil
}

// Close ends event streams.
func (g *Gateway) Close() error { return g.client.Close() }

// Evaluate asks a contract without writing to the ledger. Failures are *Error.
func (g *Gateway) Evaluate(ctx context.Context, call Call) ([]byte, error) {
	payload, err := g.contract(call).EvaluateWithContext(ctx, call.Function, call.options()...)
	return payload, explain(StageEvaluate, err)
}

// Submit has a transaction endorsed, ordered and committed. Failures are
// *Error; when the peers judged the transaction invalid, the result tells the
// block all the same.
func (g *Gateway) Submit(ctx context.Context, call Call) (Result, error) {
	proposal, err := g.proposal(call)
	if err != nil {
		return Result{}, err
	}
	transaction, err := proposal.EndorseWithContext(ctx)
	if err != nil {
		return Result{}, explain(StageEndorse, err)
	}
	commit, err := transaction.SubmitWithContext(ctx)
	if err != nil {
		return Result{}, explain(StageSubmit, err)
	}
	result := Result{TxID: commit.TransactionID(), Payload: transaction.Result()}
	state, err := commit.StatusWithContext(ctx)
	if err != nil {
		return result, explain(StageStatus, err)
	}
	result.Block, result.Code = state.BlockNumber, state.Code
	if !state.Successful {
		return result, &Error{
			Stage: StageCommit, TxID: result.TxID, Validation: state.Code,
			Message: fmt.Sprintf("the peers judged it %s", state.Code), cause: errInvalid,
		}
	}
	return result, nil
}

// proposal makes what peers are asked to endorse.
func (g *Gateway) proposal(call Call) (*client.Proposal, error) {
	proposal, err := g.contract(call).NewProposal(call.Function, call.options()...)
	if err == nil && call.Init {
		proposal, err = g.initialising(proposal)
	}
	if err != nil {
		return nil, fmt.Errorf("make proposal: %w", err)
	}
	return proposal, nil
}

// initialising sets is_init, which the gateway client has no option for, in a proposal that is not signed yet.
func (g *Gateway) initialising(proposal *client.Proposal) (*client.Proposal, error) {
	raw, err := proposal.Bytes()
	if err != nil {
		return nil, err
	}
	proposed, inner, payload, input := &gwproto.ProposedTransaction{}, &pb.Proposal{}, &pb.ChaincodeProposalPayload{}, &pb.ChaincodeInvocationSpec{}
	if err := proto.Unmarshal(raw, proposed); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(proposed.GetProposal().GetProposalBytes(), inner); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(inner.GetPayload(), payload); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(payload.GetInput(), input); err != nil {
		return nil, err
	}
	input.ChaincodeSpec.Input.IsInit = true
	if payload.Input, err = proto.Marshal(input); err != nil {
		return nil, err
	}
	if inner.Payload, err = proto.Marshal(payload); err != nil {
		return nil, err
	}
	if proposed.Proposal.ProposalBytes, err = proto.Marshal(inner); err != nil {
		return nil, err
	}
	if raw, err = proto.Marshal(proposed); err != nil {
		return nil, err
	}
	return g.client.NewProposal(raw)
}

var errInvalid = errors.New("the transaction was judged invalid")

// Events follows a contract's events from a block on; zero means from now on.
// The channel closes when the context ends or the peer goes away.
func (g *Gateway) Events(ctx context.Context, channelID, contract string, from uint64) (<-chan Event, error) {
	network := g.client.GetNetwork(channelID)
	var stream <-chan *client.ChaincodeEvent
	var err error
	if from > 0 {
		stream, err = network.ChaincodeEvents(ctx, contract, client.WithStartBlock(from))
	} else {
		stream, err = network.ChaincodeEvents(ctx, contract)
	}
	if err != nil {
		return nil, fmt.Errorf("follow events of contract %q on channel %q: %w", contract, channelID, err)
	}
	out := make(chan Event)
	go func() {
		defer close(out)
		for e := range stream {
			event := Event{Block: e.BlockNumber, TxID: e.TransactionID, Contract: e.ChaincodeName, Name: e.EventName, Payload: e.Payload}
			select {
			case out <- event:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

func (g *Gateway) contract(call Call) *client.Contract {
	return g.client.GetNetwork(call.Channel).GetContract(call.Contract)
}

func (c Call) options() []client.ProposalOption {
	options := []client.ProposalOption{client.WithBytesArguments(c.Args...)}
	if len(c.Transient) > 0 {
		options = append(options, client.WithTransient(c.Transient))
	}
	if len(c.Endorsers) > 0 {
		options = append(options, client.WithEndorsingOrganizations(c.Endorsers...))
	}
	return options
}
