package endorser

import (
	"bytes"
	"strings"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// parts of a proposal; nil leaves one out.
type parts struct {
	extension *pb.ChaincodeHeaderExtension
	spec      *pb.ChaincodeInvocationSpec
	transient map[string][]byte
}

func sound() parts {
	return parts{
		extension: &pb.ChaincodeHeaderExtension{ChaincodeId: &pb.ChaincodeID{Name: "cc"}},
		spec:      &pb.ChaincodeInvocationSpec{ChaincodeSpec: &pb.ChaincodeSpec{Input: &pb.ChaincodeInput{Args: [][]byte{[]byte("f")}}}},
	}
}

func marshal(tb testing.TB, message proto.Message) []byte {
	tb.Helper()
	raw, err := proto.Marshal(message)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func (p parts) proposal(tb testing.TB) *pb.SignedProposal {
	tb.Helper()
	header := &cb.Header{
		ChannelHeader: marshal(tb, &cb.ChannelHeader{
			Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: "trade", Extension: marshal(tb, p.extension),
		}),
		SignatureHeader: marshal(tb, &cb.SignatureHeader{Nonce: []byte("n"), Creator: []byte("c")}),
	}
	payload := &pb.ChaincodeProposalPayload{Input: marshal(tb, p.spec), TransientMap: p.transient}
	return &pb.SignedProposal{ProposalBytes: marshal(tb, &pb.Proposal{Header: marshal(tb, header), Payload: marshal(tb, payload)})}
}

func TestOpen(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*parts)
		want   string
	}{
		"sound":           {func(*parts) {}, ""},
		"no contract":     {func(p *parts) { p.extension.ChaincodeId = nil }, "ChaincodeHeaderExtension.ChaincodeId is nil"},
		"contract unsaid": {func(p *parts) { p.extension.ChaincodeId.Name = "" }, "ChaincodeHeaderExtension.ChaincodeId.Name is empty"},
		"no spec":         {func(p *parts) { p.spec.ChaincodeSpec = nil }, "chaincode invocation spec did not contain chaincode spec"},
		"no input":        {func(p *parts) { p.spec.ChaincodeSpec.Input = nil }, "chaincode input did not contain any input"},
	} {
		t.Run(name, func(t *testing.T) {
			p := sound()
			c.change(&p)
			got, err := Open(p.proposal(t))
			if c.want == "" {
				if err != nil || got.Contract != "cc" {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestHashLeavesTransientDataOut: what endorsers sign must not tell it.
func TestHashLeavesTransientDataOut(t *testing.T) {
	open, secret := sound(), sound()
	secret.transient = map[string][]byte{"key": []byte("secret")}
	a, err := Open(open.proposal(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(secret.proposal(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Hash, b.Hash) {
		t.Error("the hash depends on transient data")
	}
}

func TestCheckBeforeSignatures(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Proposal)
		want   string
	}{
		"type":    {func(p *Proposal) { p.Channel.Type = int32(cb.HeaderType_MESSAGE) }, "invalid header type MESSAGE"},
		"epoch":   {func(p *Proposal) { p.Channel.Epoch = 1 }, "epoch is non-zero"},
		"nonce":   {func(p *Proposal) { p.Creator.Nonce = nil }, "nonce is empty"},
		"creator": {func(p *Proposal) { p.Creator.Creator = nil }, "creator is empty"},
		"tx ID":   {func(p *Proposal) { p.Channel.TxId = "x" }, "incorrectly computed txid 'x' -- expected '"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Open(sound().proposal(t))
			if err != nil {
				t.Fatal(err)
			}
			c.change(p)
			if err := p.check(nil); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestUnsupportedIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		contract, function string
		refused            bool
	}{
		"snapshot": {"cscc", "JoinChainBySnapshot", true}, "its state": {"cscc", "JoinBySnapshotStatus", true},
		"join": {"cscc", "JoinChain", false}, "contract": {"cc", "JoinChainBySnapshot", false},
	} {
		p := &Proposal{Contract: c.contract, Input: &pb.ChaincodeInput{Args: [][]byte{[]byte(c.function)}}}
		err := unsupported(p)
		if c.refused != (err != nil) || c.refused && !strings.Contains(err.Error(), c.contract+"/"+c.function) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sound().proposal(f).GetProposalBytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := Open(&pb.SignedProposal{ProposalBytes: raw})
		if err != nil {
			return
		}
		if p.Contract == "" || p.Input == nil || len(p.Hash) == 0 {
			t.Fatal("an opened proposal lacks a part")
		}
		_ = p.check(nilKnown{})
	})
}

func TestAdmissible(t *testing.T) {
	made := func(at time.Time) *pb.SignedProposal {
		header := &cb.Header{ChannelHeader: marshal(t, &cb.ChannelHeader{Timestamp: timestamppb.New(at)})}
		return &pb.SignedProposal{ProposalBytes: marshal(t, &pb.Proposal{Header: marshal(t, header)})}
	}
	for name, c := range map[string]struct {
		proposal *pb.SignedProposal
		want     string
	}{
		"now":       {made(time.Now()), ""},
		"long ago":  {made(time.Now().Add(-time.Hour)), "request unauthorized due to incorrect timestamp"},
		"far ahead": {made(time.Now().Add(time.Hour)), "request unauthorized due to incorrect timestamp"},
		"nothing":   {&pb.SignedProposal{}, "request unauthorized due to incorrect timestamp"},
		"noise":     {&pb.SignedProposal{ProposalBytes: []byte{0xff}}, "failed parsing proposal"},
	} {
		t.Run(name, func(t *testing.T) {
			err := admissible(c.proposal, 15*time.Minute)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
