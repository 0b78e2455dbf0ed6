package validate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// TxID is the ID that a transaction of a creator with a nonce has to have.
func TxID(nonce, creator []byte) string {
	sum := sha256.Sum256(append(bytes.Clone(nonce), creator...))
	return hex.EncodeToString(sum[:])
}

// Form checks one transaction for itself: its layers, its creator's signature,
// its ID, and that the endorsed proposal is the one that was signed.
func Form(config *channel.Config, raw []byte) (*tx.Transaction, *tx.Action, pb.TxValidationCode) {
	envelope := &cb.Envelope{}
	if err := proto.Unmarshal(raw, envelope); err != nil {
		return nil, nil, pb.TxValidationCode_INVALID_OTHER_REASON
	}
	payload := &cb.Payload{}
	if err := proto.Unmarshal(envelope.GetPayload(), payload); err != nil {
		return nil, nil, pb.TxValidationCode_BAD_PAYLOAD
	}
	t, err := tx.Open(envelope)
	if err != nil || !soundHeader(t) {
		return nil, nil, pb.TxValidationCode_BAD_COMMON_HEADER
	}
	if !signedBy(config, t.Creator.GetCreator(), envelope.GetPayload(), envelope.GetSignature()) {
		return nil, nil, pb.TxValidationCode_BAD_CREATOR_SIGNATURE
	}
	switch t.Type {
	case cb.HeaderType_ENDORSER_TRANSACTION:
		action, code := endorserForm(t)
		return t, action, code
	case cb.HeaderType_CONFIG:
		if t.Payload.GetData() == nil {
			return t, nil, pb.TxValidationCode_INVALID_CONFIG_TRANSACTION
		}
		return t, nil, pb.TxValidationCode_VALID
	default:
		return nil, nil, pb.TxValidationCode_UNSUPPORTED_TX_PAYLOAD
	}
}

func soundHeader(t *tx.Transaction) bool {
	known := []cb.HeaderType{cb.HeaderType_ENDORSER_TRANSACTION, cb.HeaderType_CONFIG_UPDATE, cb.HeaderType_CONFIG}
	return slices.Contains(known, t.Type) && t.Channel.GetEpoch() == 0 && len(t.Creator.GetNonce()) > 0 && len(t.Creator.GetCreator()) > 0
}

func signedBy(config *channel.Config, creator, message, signature []byte) bool {
	id, err := protoutil.UnmarshalIdentity(creator)
	if err != nil {
		return false
	}
	identity, err := config.MSPManager().DeserializeIdentity(id)
	return err == nil && identity.Validate() == nil && identity.Verify(message, signature) == nil
}

func endorserForm(t *tx.Transaction) (*tx.Action, pb.TxValidationCode) {
	if t.Channel.GetTxId() != TxID(t.Creator.GetNonce(), t.Creator.GetCreator()) {
		return nil, pb.TxValidationCode_BAD_PROPOSAL_TXID
	}
	transaction := &pb.Transaction{}
	if t.Payload.GetData() == nil || proto.Unmarshal(t.Payload.GetData(), transaction) != nil || len(transaction.GetActions()) != 1 {
		return nil, pb.TxValidationCode_INVALID_ENDORSER_TRANSACTION
	}
	action, err := t.Action()
	if err != nil {
		return nil, laterFault(transaction)
	}
	header := &cb.SignatureHeader{}
	if proto.Unmarshal(action.Header, header) != nil || len(header.GetNonce()) == 0 || len(header.GetCreator()) == 0 {
		return nil, pb.TxValidationCode_INVALID_ENDORSER_TRANSACTION
	}
	text := slices.Concat(t.Payload.GetHeader().GetChannelHeader(), action.Header, action.Proposal)
	if sum := sha256.Sum256(text); action.Proposal == nil || !bytes.Equal(sum[:], action.ProposalHash) {
		return nil, pb.TxValidationCode_INVALID_ENDORSER_TRANSACTION
	}
	return action, pb.TxValidationCode_VALID
}

// laterFault tells apart a transaction that is malformed and one whose results
// alone cannot be read.
func laterFault(transaction *pb.Transaction) pb.TxValidationCode {
	payload, response := &pb.ChaincodeActionPayload{}, &pb.ProposalResponsePayload{}
	if proto.Unmarshal(transaction.GetActions()[0].GetPayload(), payload) != nil || payload.GetAction() == nil ||
		proto.Unmarshal(payload.GetAction().GetProposalResponsePayload(), response) != nil {
		return pb.TxValidationCode_INVALID_ENDORSER_TRANSACTION
	}
	return pb.TxValidationCode_BAD_RESPONSE_PAYLOAD
}
