package endorser

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/msp"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/validate"
)

// Proposal is one that is opened.
type Proposal struct {
	Signed   *pb.SignedProposal
	Channel  *cb.ChannelHeader
	Creator  *cb.SignatureHeader
	Contract string
	Input    *pb.ChaincodeInput
	// Hash is what endorsements refer to the proposal by; it leaves transient
	// data out.
	Hash []byte
}

// Open opens a proposal.
func Open(signed *pb.SignedProposal) (*Proposal, error) {
	outer, header, extension := &pb.Proposal{}, &cb.Header{}, &pb.ChaincodeHeaderExtension{}
	payload, spec := &pb.ChaincodeProposalPayload{}, &pb.ChaincodeInvocationSpec{}
	p := &Proposal{Signed: signed, Channel: &cb.ChannelHeader{}, Creator: &cb.SignatureHeader{}}
	for _, layer := range []struct {
		what string
		raw  func() []byte
		into proto.Message
	}{
		{"Proposal", signed.GetProposalBytes, outer},
		{"Header", outer.GetHeader, header},
		{"ChannelHeader", header.GetChannelHeader, p.Channel},
		{"SignatureHeader", header.GetSignatureHeader, p.Creator},
		{"ChaincodeHeaderExtension", p.Channel.GetExtension, extension},
	} {
		if err := proto.Unmarshal(layer.raw(), layer.into); err != nil {
			return nil, fmt.Errorf("error unmarshalling %s: %w", layer.what, err)
		}
	}
	if extension.GetChaincodeId() == nil {
		return nil, errors.New("ChaincodeHeaderExtension.ChaincodeId is nil")
	}
	if p.Contract = extension.GetChaincodeId().GetName(); p.Contract == "" {
		return nil, errors.New("ChaincodeHeaderExtension.ChaincodeId.Name is empty")
	}
	if err := proto.Unmarshal(outer.GetPayload(), payload); err != nil {
		return nil, fmt.Errorf("error unmarshalling ChaincodeProposalPayload: %w", err)
	}
	if err := proto.Unmarshal(payload.GetInput(), spec); err != nil {
		return nil, fmt.Errorf("error unmarshalling ChaincodeInvocationSpec: %w", err)
	}
	if spec.GetChaincodeSpec() == nil {
		return nil, errors.New("chaincode invocation spec did not contain chaincode spec")
	}
	if p.Input = spec.GetChaincodeSpec().GetInput(); p.Input == nil {
		return nil, errors.New("chaincode input did not contain any input")
	}
	public, err := proto.Marshal(&pb.ChaincodeProposalPayload{Input: payload.GetInput()})
	if err != nil {
		return nil, fmt.Errorf("could not marshal non-transient portion of payload: %w", err)
	}
	sum := sha256.Sum256(slices.Concat(header.GetChannelHeader(), header.GetSignatureHeader(), public))
	p.Hash = sum[:]
	return p, nil
}

// check verifies headers and the creator's signature.
func (p *Proposal) check(known msp.IdentityDeserializer) error {
	switch kind := cb.HeaderType(p.Channel.GetType()); kind {
	case cb.HeaderType_ENDORSER_TRANSACTION, cb.HeaderType_CONFIG:
	default:
		return fmt.Errorf("invalid header type %s", kind)
	}
	if p.Channel.GetEpoch() != 0 {
		return errors.New("epoch is non-zero")
	}
	if len(p.Creator.GetNonce()) == 0 {
		return errors.New("nonce is empty")
	}
	if len(p.Creator.GetCreator()) == 0 {
		return errors.New("creator is empty")
	}
	if want := validate.TxID(p.Creator.GetNonce(), p.Creator.GetCreator()); p.Channel.GetTxId() != want {
		return fmt.Errorf("incorrectly computed txid '%s' -- expected '%s'", p.Channel.GetTxId(), want)
	}
	if p.Signed.GetProposalBytes() == nil {
		return errors.New("empty proposal bytes")
	}
	if p.Signed.GetSignature() == nil {
		return errors.New("empty signature bytes")
	}
	identity, err := deserialize(known, p.Creator.GetCreator())
	if err != nil {
		return fmt.Errorf("access denied: channel [%s] creator org unknown, creator is malformed", p.Channel.GetChannelId())
	}
	if identity.Validate() != nil || identity.Verify(p.Signed.GetProposalBytes(), p.Signed.GetSignature()) != nil {
		return fmt.Errorf("access denied: channel [%s] creator org [%s]", p.Channel.GetChannelId(), identity.GetMSPIdentifier())
	}
	return nil
}

func deserialize(known msp.IdentityDeserializer, raw []byte) (msp.Identity, error) {
	id, err := protoutil.UnmarshalIdentity(raw)
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	identity, err := known.DeserializeIdentity(id)
	if err != nil {
		return nil, fmt.Errorf("find identity: %w", err)
	}
	return identity, nil
}

// SignedData is what policies judge a proposal by.
func (p *Proposal) SignedData() ([]*protoutil.SignedData, error) {
	id, err := protoutil.UnmarshalIdentity(p.Creator.GetCreator())
	if err != nil {
		return nil, fmt.Errorf("read identity: %w", err)
	}
	return []*protoutil.SignedData{{Data: p.Signed.GetProposalBytes(), Identity: id, Signature: p.Signed.GetSignature()}}, nil
}
