package tx

import (
	"testing"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

func marshal(tb testing.TB, message proto.Message) []byte {
	tb.Helper()
	raw, err := proto.Marshal(message)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// example is a transaction with an event.
func example(tb testing.TB) []byte {
	tb.Helper()
	event := marshal(tb, &pb.ChaincodeEvent{ChaincodeId: "cc", EventName: "made"})
	action := marshal(tb, &pb.ChaincodeAction{Events: event, ChaincodeId: &pb.ChaincodeID{Name: "cc"}})
	endorsed := &pb.ChaincodeEndorsedAction{ProposalResponsePayload: marshal(tb, &pb.ProposalResponsePayload{Extension: action})}
	transaction := &pb.Transaction{Actions: []*pb.TransactionAction{{Payload: marshal(tb, &pb.ChaincodeActionPayload{Action: endorsed})}}}
	header := &cb.Header{ChannelHeader: marshal(tb, &cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), TxId: "t1"})}
	return marshal(tb, &cb.Envelope{Payload: marshal(tb, &cb.Payload{Header: header, Data: marshal(tb, transaction)})})
}

func TestParse(t *testing.T) {
	parsed, err := Parse(example(t))
	if err != nil {
		t.Fatal(err)
	}
	action, err := parsed.Action()
	if err != nil {
		t.Fatal(err)
	}
	event, err := action.Event()
	if err != nil || event.GetEventName() != "made" || ID(example(t)) != "t1" {
		t.Errorf("got %v, %v", event, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, raw := range map[string][]byte{
		"no envelope": {0xff},
		"no payload":  marshal(t, &cb.Envelope{Payload: []byte{0xff}}),
		"no header":   marshal(t, &cb.Envelope{}),
	} {
		if _, err := Parse(raw); err == nil || ID(raw) != "" {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestCode(t *testing.T) {
	block := &cb.Block{Metadata: &cb.BlockMetadata{Metadata: [][]byte{{}, {}, {0, 11}}}}
	for index, want := range map[int]pb.TxValidationCode{
		0: pb.TxValidationCode_VALID, 1: pb.TxValidationCode_MVCC_READ_CONFLICT, 2: pb.TxValidationCode_NOT_VALIDATED,
	} {
		if got := Code(block, index); got != want {
			t.Errorf("transaction %d: got %s, want %s", index, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example(f))
	f.Fuzz(func(t *testing.T, raw []byte) {
		parsed, err := Parse(raw)
		if err != nil {
			return
		}
		action, err := parsed.Action()
		if err != nil {
			return
		}
		if action.ChaincodeAction == nil {
			t.Fatal("an action without results")
		}
		_, _ = action.Event()
	})
}
