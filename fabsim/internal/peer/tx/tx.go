// Package tx takes transactions apart: the layers of messages between a
// block's bytes and what a contract did. It judges nothing; that is for
// internal/peer/validate.
package tx

import (
	"errors"
	"fmt"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// Transaction is one that is opened as far as its headers.
type Transaction struct {
	Envelope *cb.Envelope
	Payload  *cb.Payload
	Channel  *cb.ChannelHeader
	Creator  *cb.SignatureHeader
	Type     cb.HeaderType
}

// Parse opens a transaction of a block.
func Parse(raw []byte) (*Transaction, error) {
	envelope := &cb.Envelope{}
	if err := proto.Unmarshal(raw, envelope); err != nil {
		return nil, fmt.Errorf("read envelope: %w", err)
	}
	return Open(envelope)
}

// Open is Parse for an envelope that is unwrapped already.
func Open(envelope *cb.Envelope) (*Transaction, error) {
	t := &Transaction{Envelope: envelope, Payload: &cb.Payload{}, Channel: &cb.ChannelHeader{}, Creator: &cb.SignatureHeader{}}
	if err := proto.Unmarshal(envelope.GetPayload(), t.Payload); err != nil {
		return nil, fmt.Errorf("read payload: %w", err)
	}
	if t.Payload.GetHeader() == nil {
		return nil, errors.New("read payload: it has no header")
	}
	if err := proto.Unmarshal(t.Payload.GetHeader().GetChannelHeader(), t.Channel); err != nil {
		return nil, fmt.Errorf("read channel header: %w", err)
	}
	if err := proto.Unmarshal(t.Payload.GetHeader().GetSignatureHeader(), t.Creator); err != nil {
		return nil, fmt.Errorf("read signature header: %w", err)
	}
	t.Type = cb.HeaderType(t.Channel.GetType())
	return t, nil
}

// ID is the ID of a transaction, or nothing if it cannot be read.
func ID(raw []byte) string {
	t, err := Parse(raw)
	if err != nil {
		return ""
	}
	return t.Channel.GetTxId()
}

// Action is what contracts did and who endorsed it.
type Action struct {
	*pb.ChaincodeAction

	// Header is the signature header of the proposal.
	Header []byte
	// Proposal is the payload of the proposal, without transient data.
	Proposal []byte
	// Response is what endorsers signed, ProposalHash the proposal's hash in it.
	Response, ProposalHash []byte
	Endorsements           []*pb.Endorsement
}

// Action opens the first action.
func (t *Transaction) Action() (*Action, error) {
	transaction := &pb.Transaction{}
	if err := proto.Unmarshal(t.Payload.GetData(), transaction); err != nil {
		return nil, fmt.Errorf("read transaction: %w", err)
	}
	if len(transaction.GetActions()) == 0 {
		return nil, errors.New("read transaction: it has no action")
	}
	first := transaction.GetActions()[0]
	payload := &pb.ChaincodeActionPayload{}
	if err := proto.Unmarshal(first.GetPayload(), payload); err != nil {
		return nil, fmt.Errorf("read action: %w", err)
	}
	if payload.GetAction() == nil {
		return nil, errors.New("read action: there is none")
	}
	response := &pb.ProposalResponsePayload{}
	if err := proto.Unmarshal(payload.GetAction().GetProposalResponsePayload(), response); err != nil {
		return nil, fmt.Errorf("read proposal response: %w", err)
	}
	action := &pb.ChaincodeAction{}
	if err := proto.Unmarshal(response.GetExtension(), action); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return &Action{
		ChaincodeAction: action, Header: first.GetHeader(), Proposal: payload.GetChaincodeProposalPayload(),
		Response: payload.GetAction().GetProposalResponsePayload(), ProposalHash: response.GetProposalHash(),
		Endorsements: payload.GetAction().GetEndorsements(),
	}, nil
}

// Event is the event that the action set; nil if there is none.
func (a *Action) Event() (*pb.ChaincodeEvent, error) {
	if len(a.GetEvents()) == 0 {
		return nil, nil //nolint:nilnil // most transactions have no event
	}
	event := &pb.ChaincodeEvent{}
	if err := proto.Unmarshal(a.GetEvents(), event); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	return event, nil
}

// Code is what became of a transaction of a block.
func Code(block *cb.Block, index int) pb.TxValidationCode {
	slots := block.GetMetadata().GetMetadata()
	if len(slots) <= int(cb.BlockMetadataIndex_TRANSACTIONS_FILTER) || len(slots[cb.BlockMetadataIndex_TRANSACTIONS_FILTER]) <= index {
		return pb.TxValidationCode_NOT_VALIDATED
	}
	return pb.TxValidationCode(slots[cb.BlockMetadataIndex_TRANSACTIONS_FILTER][index])
}
