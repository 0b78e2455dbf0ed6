package block_test

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/internal/fabric/block"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func raw(tb testing.TB, message proto.Message) []byte {
	tb.Helper()
	out, err := proto.Marshal(message)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func transaction(tb testing.TB, kind cb.HeaderType, id string) []byte {
	tb.Helper()
	return raw(tb, &cb.Envelope{Payload: raw(tb, &cb.Payload{Header: &cb.Header{
		ChannelHeader:   raw(tb, &cb.ChannelHeader{Type: int32(kind), ChannelId: "trade", TxId: id, Timestamp: timestamppb.New(noon)}),
		SignatureHeader: raw(tb, &cb.SignatureHeader{Creator: raw(tb, &mspproto.SerializedIdentity{Mspid: "BankaMSP"})}),
	}})})
}

func sample(tb testing.TB, transactions ...[]byte) *cb.Block {
	tb.Helper()
	data := &cb.BlockData{Data: transactions}
	return &cb.Block{
		Header: &cb.BlockHeader{Number: 7, PreviousHash: []byte("before"), DataHash: block.DataHash(data)},
		Data:   data,
		Metadata: &cb.BlockMetadata{Metadata: [][]byte{
			raw(tb, &cb.Metadata{Value: raw(tb, &cb.OrdererBlockMetadata{LastConfig: &cb.LastConfig{Index: 5}})}),
			{},
			{byte(pb.TxValidationCode_VALID), byte(pb.TxValidationCode_MVCC_READ_CONFLICT)},
		}},
	}
}

func TestParse(t *testing.T) {
	message := sample(t, transaction(t, cb.HeaderType_ENDORSER_TRANSACTION, "one"), transaction(t, cb.HeaderType_ENDORSER_TRANSACTION, "two"), transaction(t, cb.HeaderType_ENDORSER_TRANSACTION, "three"))
	got, err := block.Parse(raw(t, message))
	if err != nil {
		t.Fatal(err)
	}
	entry := func(id string, code pb.TxValidationCode) block.Transaction {
		return block.Transaction{ID: id, Type: cb.HeaderType_ENDORSER_TRANSACTION, Creator: "BankaMSP", Timestamp: noon, Code: code}
	}
	sum := sha256.Sum256(bytes.Join(message.GetData().GetData(), nil))
	want := &block.Block{
		Number: 7, PreviousHash: []byte("before"), ChannelID: "trade",
		// The hash is what Fabric's own code computes.
		Hash: protoutil.BlockHeaderHash(message.GetHeader()), DataHash: sum[:],
		Transactions: []block.Transaction{
			entry("one", pb.TxValidationCode_VALID), entry("two", pb.TxValidationCode_MVCC_READ_CONFLICT), entry("three", pb.TxValidationCode_NOT_VALIDATED),
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if last, err := block.LastConfig(message); err != nil || last != 5 {
		t.Errorf("last config %d, %v", last, err)
	}
	config, err := block.Read(sample(t, transaction(t, cb.HeaderType_CONFIG, "")))
	if err != nil || !config.Config {
		t.Errorf("a config block: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	tampered := sample(t, transaction(t, cb.HeaderType_CONFIG, "a"))
	tampered.Data.Data[0] = transaction(t, cb.HeaderType_CONFIG, "b")
	for name, message := range map[string]*cb.Block{
		"no header": {}, "tampered data": tampered, "garbage as transaction": sample(t, []byte{0xff}),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := block.Read(message); err == nil {
				t.Error("accepted")
			}
		})
	}
	if _, err := block.Parse([]byte{0xff}); err == nil {
		t.Error("garbage was accepted")
	}
	if _, err := block.LastConfig(&cb.Block{}); err == nil {
		t.Error("a block without metadata names a configuration")
	}
	if _, _, err := block.Envelope(sample(t), 0); err == nil {
		t.Error("an empty block has a transaction")
	}
}

// TestLastConfigOldPlace reads what some tools write into genesis blocks.
func TestLastConfigOldPlace(t *testing.T) {
	message := &cb.Block{Metadata: &cb.BlockMetadata{Metadata: [][]byte{
		{}, raw(t, &cb.Metadata{Value: raw(t, &cb.LastConfig{Index: 3})}),
	}}}
	if last, err := block.LastConfig(message); err != nil || last != 3 {
		t.Errorf("last config %d, %v", last, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(raw(f, sample(f, transaction(f, cb.HeaderType_CONFIG, "a"))))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := block.Parse(text)
		if err != nil {
			return
		}
		if len(got.Hash) != 32 || bytes.Equal(got.Hash, got.DataHash) {
			t.Errorf("hash %x", got.Hash)
		}
		var message cb.Block
		if proto.Unmarshal(text, &message) == nil {
			_, _ = block.LastConfig(&message)
		}
	})
}
