package validate

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

func marshal(tb testing.TB, message proto.Message) []byte {
	tb.Helper()
	raw, err := proto.Marshal(message)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// draft is a transaction that tests change before it is put together.
type draft struct {
	header    *cb.ChannelHeader
	extension *pb.ChaincodeHeaderExtension
	action    *pb.ChaincodeAction
	event     *pb.ChaincodeEvent
	spaces    []string
	actions   int
	// results, if set, stand in the place of the action.
	results []byte
	hash    bool
}

func soundDraft() *draft {
	return &draft{
		header:    &cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), TxId: TxID([]byte("n"), []byte("c"))},
		extension: &pb.ChaincodeHeaderExtension{ChaincodeId: &pb.ChaincodeID{Name: "cc"}},
		action:    &pb.ChaincodeAction{ChaincodeId: &pb.ChaincodeID{Name: "cc", Version: "1"}},
		spaces:    []string{"cc"}, actions: 1, hash: true,
	}
}

func (d *draft) build(t *testing.T) *tx.Transaction {
	t.Helper()
	if d.extension != nil {
		d.header.Extension = marshal(t, d.extension)
	}
	creator := marshal(t, &cb.SignatureHeader{Nonce: []byte("n"), Creator: []byte("c")})
	header := &cb.Header{ChannelHeader: marshal(t, d.header), SignatureHeader: creator}
	set := &frwset.TxReadWriteSet{}
	for _, name := range d.spaces {
		set.NsRwset = append(set.NsRwset, &frwset.NsReadWriteSet{Namespace: name})
	}
	d.action.Results = marshal(t, set)
	if d.event != nil {
		d.action.Events = marshal(t, d.event)
	}
	extension := marshal(t, d.action)
	if d.results != nil {
		extension = d.results
	}
	proposal := marshal(t, &pb.ChaincodeProposalPayload{Input: []byte("input")})
	hash := sha256.Sum256(slices.Concat(header.GetChannelHeader(), creator, proposal))
	if !d.hash {
		hash[0]++
	}
	payload := marshal(t, &pb.ChaincodeActionPayload{ChaincodeProposalPayload: proposal, Action: &pb.ChaincodeEndorsedAction{
		ProposalResponsePayload: marshal(t, &pb.ProposalResponsePayload{ProposalHash: hash[:], Extension: extension}),
	}})
	transaction := &pb.Transaction{}
	for range d.actions {
		transaction.Actions = append(transaction.Actions, &pb.TransactionAction{Header: creator, Payload: payload})
	}
	envelope := &cb.Envelope{Payload: marshal(t, &cb.Payload{Header: header, Data: marshal(t, transaction)})}
	out, err := tx.Open(envelope)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEndorserForm checks what needs no configuration; who signed is checked
// with real nodes.
func TestEndorserForm(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*draft)
		want   pb.TxValidationCode
	}{
		"sound":             {func(*draft) {}, pb.TxValidationCode_VALID},
		"another's ID":      {func(d *draft) { d.header.TxId = "x" }, pb.TxValidationCode_BAD_PROPOSAL_TXID},
		"no action":         {func(d *draft) { d.actions = 0 }, pb.TxValidationCode_INVALID_ENDORSER_TRANSACTION},
		"two actions":       {func(d *draft) { d.actions = 2 }, pb.TxValidationCode_INVALID_ENDORSER_TRANSACTION},
		"another proposal":  {func(d *draft) { d.hash = false }, pb.TxValidationCode_INVALID_ENDORSER_TRANSACTION},
		"results are noise": {func(d *draft) { d.results = []byte{0xff} }, pb.TxValidationCode_BAD_RESPONSE_PAYLOAD},
	} {
		t.Run(name, func(t *testing.T) {
			d := soundDraft()
			c.change(d)
			if _, got := endorserForm(d.build(t)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestWritten(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*draft)
		want   pb.TxValidationCode
	}{
		"sound":              {func(*draft) {}, pb.TxValidationCode_VALID},
		"its event":          {func(d *draft) { d.event = &pb.ChaincodeEvent{ChaincodeId: "cc"} }, pb.TxValidationCode_VALID},
		"another's event":    {func(d *draft) { d.event = &pb.ChaincodeEvent{ChaincodeId: "x"} }, pb.TxValidationCode_INVALID_OTHER_REASON},
		"another contract":   {func(d *draft) { d.action.ChaincodeId.Name = "x" }, pb.TxValidationCode_INVALID_CHAINCODE},
		"no version":         {func(d *draft) { d.action.ChaincodeId.Version = "" }, pb.TxValidationCode_INVALID_CHAINCODE},
		"contract unsaid":    {func(d *draft) { d.action.ChaincodeId = nil }, pb.TxValidationCode_INVALID_OTHER_REASON},
		"namespace twice":    {func(d *draft) { d.spaces = []string{"cc", "cc"} }, pb.TxValidationCode_ILLEGAL_WRITESET},
		"noise as extension": {func(d *draft) { d.extension, d.header.Extension = nil, []byte{0xff} }, pb.TxValidationCode_BAD_HEADER_EXTENSION},
	} {
		t.Run(name, func(t *testing.T) {
			d := soundDraft()
			c.change(d)
			transaction := d.build(t)
			action, err := transaction.Action()
			if err != nil {
				t.Fatal(err)
			}
			_, _, got := written(transaction, action)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func hashOf(parts ...[]byte) []byte {
	sum := sha256.Sum256(slices.Concat(parts...))
	return sum[:]
}
