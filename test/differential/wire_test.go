package differential

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/internal/fabric/identity"
)

// draft is a proposal that a case may bend before it is sealed.
type draft struct {
	by        *identity.Identity
	header    *cb.ChannelHeader
	creator   *cb.SignatureHeader
	extension *pb.ChaincodeHeaderExtension
	spec      *pb.ChaincodeInvocationSpec
	transient map[string][]byte
	// The raw ones replace what is made of the fields above.
	rawChannel, rawCreator, rawHeader, rawPayload, rawProposal []byte
	signature                                                  []byte
	// keepTxID leaves the transaction id as it is.
	keepTxID bool
}

func newDraft(t *testing.T, by *identity.Identity, channel, contract string, args ...string) *draft {
	t.Helper()
	creator, err := by.SignatureHeader()
	ok(t, err)
	id := &pb.ChaincodeID{Name: contract}
	input := &pb.ChaincodeInput{}
	for _, arg := range args {
		input.Args = append(input.Args, []byte(arg))
	}
	return &draft{
		by: by, creator: creator, extension: &pb.ChaincodeHeaderExtension{ChaincodeId: id},
		header: &cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: channel, Timestamp: timestamppb.Now()},
		spec:   &pb.ChaincodeInvocationSpec{ChaincodeSpec: &pb.ChaincodeSpec{Type: pb.ChaincodeSpec_GOLANG, ChaincodeId: id, Input: input}},
	}
}

// sealed is a signed proposal with its parts.
type sealed struct {
	by     *identity.Identity
	txID   string
	header *cb.Header
	// payload without transient data.
	payload  []byte
	proposal []byte
	signed   *pb.SignedProposal
}

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	ok(t, err)
	return raw
}

func decode(t *testing.T, raw []byte, m proto.Message) {
	t.Helper()
	ok(t, proto.Unmarshal(raw, m))
}

func txIDOf(creator *cb.SignatureHeader) string {
	sum := sha256.Sum256(append(append([]byte{}, creator.GetNonce()...), creator.GetCreator()...))
	return hex.EncodeToString(sum[:])
}

func (d *draft) seal(t *testing.T) *sealed {
	t.Helper()
	if !d.keepTxID {
		d.header.TxId = txIDOf(d.creator)
	}
	if d.extension != nil && d.header.Extension == nil {
		d.header.Extension = encode(t, d.extension)
	}
	s := &sealed{by: d.by, txID: d.header.GetTxId(), header: &cb.Header{ChannelHeader: d.rawChannel, SignatureHeader: d.rawCreator}}
	if d.rawChannel == nil {
		s.header.ChannelHeader = encode(t, d.header)
	}
	if d.rawCreator == nil {
		s.header.SignatureHeader = encode(t, d.creator)
	}
	header, full := d.rawHeader, d.rawPayload
	if header == nil {
		header = encode(t, s.header)
	}
	if full == nil {
		input := encode(t, d.spec)
		s.payload = encode(t, &pb.ChaincodeProposalPayload{Input: input})
		full = encode(t, &pb.ChaincodeProposalPayload{Input: input, TransientMap: d.transient})
	}
	s.proposal = d.rawProposal
	if s.proposal == nil {
		s.proposal = encode(t, &pb.Proposal{Header: header, Payload: full})
	}
	s.signed = &pb.SignedProposal{ProposalBytes: s.proposal, Signature: d.signature}
	if d.signature == nil {
		var err error
		s.signed.Signature, err = d.by.Sign(s.proposal)
		ok(t, err)
	}
	return s
}

// hash that endorsers put into their answer.
func (s *sealed) hash() []byte {
	sum := sha256.New()
	sum.Write(s.header.GetChannelHeader())
	sum.Write(s.header.GetSignatureHeader())
	sum.Write(s.payload)
	return sum.Sum(nil)
}

// transaction is what a case may bend between endorsement and signature.
type transaction struct {
	by     *identity.Identity
	header *cb.Header
	// payload of the proposal, result of the endorsers.
	payload, result []byte
	endorsements    []*pb.Endorsement
	// copies of the action.
	copies int
	// data and rawPayload replace what is made of the fields above.
	data, rawPayload []byte
	signature        []byte
}

func (s *sealed) transaction(answers ...*pb.ProposalResponse) *transaction {
	tx := &transaction{by: s.by, header: proto.CloneOf(s.header), payload: s.payload, copies: 1}
	for _, a := range answers {
		tx.result = a.GetPayload()
		if a.GetEndorsement() != nil {
			tx.endorsements = append(tx.endorsements, a.GetEndorsement())
		}
	}
	return tx
}

func (x *transaction) envelope(t *testing.T) *cb.Envelope {
	t.Helper()
	data := x.data
	if data == nil {
		action := &pb.TransactionAction{Header: x.header.GetSignatureHeader(), Payload: encode(t, &pb.ChaincodeActionPayload{
			ChaincodeProposalPayload: x.payload,
			Action:                   &pb.ChaincodeEndorsedAction{ProposalResponsePayload: x.result, Endorsements: x.endorsements},
		})}
		whole := &pb.Transaction{}
		for range x.copies {
			whole.Actions = append(whole.Actions, action)
		}
		data = encode(t, whole)
	}
	raw := x.rawPayload
	if raw == nil {
		raw = encode(t, &cb.Payload{Header: x.header, Data: data})
	}
	envelope := &cb.Envelope{Payload: raw, Signature: x.signature}
	if x.signature == nil {
		var err error
		envelope.Signature, err = x.by.Sign(raw)
		ok(t, err)
	}
	return envelope
}

// endorse signs a result as an endorser does.
func endorse(t *testing.T, by *identity.Identity, result []byte) *pb.Endorsement {
	t.Helper()
	endorser, err := by.Serialized()
	ok(t, err)
	signature, err := by.Sign(append(append([]byte{}, result...), endorser...))
	ok(t, err)
	return &pb.Endorsement{Endorser: endorser, Signature: signature}
}

// seekHeader is the channel header of a seek envelope.
func seekHeader(channel string, now time.Time) *cb.ChannelHeader {
	return &cb.ChannelHeader{Type: int32(cb.HeaderType_DELIVER_SEEK_INFO), ChannelId: channel, Timestamp: timestamppb.New(now)}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
