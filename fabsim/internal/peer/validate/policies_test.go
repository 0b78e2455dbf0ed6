package validate

import (
	"context"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mb "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	lb "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"github.com/hyperledger/fabric-x-common/common/policydsl"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/state"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// network is a channel of two organisations with one contract that both have to
// endorse.
type network struct {
	config  *channel.Config
	ledger  *ledger.Ledger
	genesis *cb.Block
	client  *node.Identity
	peers   map[string]*node.Identity
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	a, b := simtest.NewOrg(t, "banka"), simtest.NewOrg(t, "bankb")
	genesis := simtest.Channel{ID: "trade", Orderers: simtest.NewOrg(t, "ord"), Members: []*simtest.Org{a, b}, Endpoints: []string{"orderer:7050"}}.Genesis(t)
	config, err := channel.FromBlock(genesis)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{config: config, genesis: genesis, client: a.Signer(t, "client", 0), peers: map[string]*node.Identity{
		"a": a.Signer(t, "peer", 0), "b": b.Signer(t, "peer", 0), "client of a": a.Signer(t, "client", 0),
	}}
	store, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	chains, err := blocks.Open(blocks.Options{Dir: t.TempDir(), Transactions: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		chains.Close()
		store.Close()
	})
	chain, err := chains.Ledger("trade")
	if err != nil {
		t.Fatal(err)
	}
	n.ledger, err = ledger.Open(t.Context(), ledger.Options{
		Blocks: chain, State: state.NewEmbedded(store, "trade"), Store: store,
		Collections: func(ctx context.Context, get ledger.Getter, name string) (*pb.CollectionConfigPackage, error) {
			return lifecycle.Collections(ctx, config, name, lifecycle.Public(get))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	genesis.Metadata.Metadata[cb.BlockMetadataIndex_TRANSACTIONS_FILTER] = []byte{0}
	if _, err := n.ledger.Commit(t.Context(), genesis, nil, nil); err != nil {
		t.Fatal(err)
	}
	n.define(t)
	return n
}

func peersOf(orgs ...string) *cb.SignaturePolicyEnvelope {
	return policydsl.SignedByNOutOfGivenRole(int32(len(orgs)), mb.MSPRole_PEER, orgs)
}

// define writes the contract's definition, and a key with a policy of its own.
func (n *network) define(t *testing.T) {
	t.Helper()
	policy, err := ofSignature(peersOf("bankaMSP", "bankbMSP"))
	if err != nil {
		t.Fatal(err)
	}
	s := n.ledger.NewSimulator("define")
	defer s.Close()
	put := func(key string, message proto.Message) {
		t.Helper()
		if err := s.SetState(t.Context(), lifecycle.Namespace, "namespaces/"+key, marshal(t, message)); err != nil {
			t.Fatal(err)
		}
	}
	put("metadata/cc", &lb.StateMetadata{Datatype: "ChaincodeDefinition", Fields: []string{"Sequence", "EndorsementInfo", "ValidationInfo", "Collections"}})
	put("fields/cc/Sequence", &lb.StateData{Type: &lb.StateData_Int64{Int64: 1}})
	put("fields/cc/ValidationInfo", &lb.StateData{Type: &lb.StateData_Bytes{Bytes: marshal(t, &lb.ChaincodeValidationInfo{ValidationParameter: policy})}})
	own := map[string][]byte{ledger.ValidationParameter: marshal(t, peersOf("bankaMSP"))}
	if err := s.SetState(t.Context(), "cc", "of a", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := s.SetMetadata(t.Context(), "cc", "of a", own); err != nil {
		t.Fatal(err)
	}
	block := n.block(t, n.transaction(t, s, nil))
	block.Metadata.Metadata[cb.BlockMetadataIndex_TRANSACTIONS_FILTER] = []byte{0}
	if _, err := n.ledger.Commit(t.Context(), block, nil, nil); err != nil {
		t.Fatal(err)
	}
}

func (n *network) block(t *testing.T, transactions ...[]byte) *cb.Block {
	t.Helper()
	last, err := n.ledger.Blocks().Last()
	if err != nil {
		t.Fatal(err)
	}
	return blocks.Next(last.GetHeader(), transactions)
}

// transaction makes one that is endorsed by some.
func (n *network) transaction(t *testing.T, s *ledger.Simulator, by []string) []byte {
	t.Helper()
	results, err := s.Results()
	if err != nil {
		t.Fatal(err)
	}
	header, err := n.client.SignatureHeader()
	if err != nil {
		t.Fatal(err)
	}
	creator := marshal(t, header)
	on := marshal(t, &cb.ChannelHeader{
		Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: "trade", TxId: TxID(header.GetNonce(), header.GetCreator()),
		Extension: marshal(t, &pb.ChaincodeHeaderExtension{ChaincodeId: &pb.ChaincodeID{Name: "cc"}}),
	})
	proposal := marshal(t, &pb.ChaincodeProposalPayload{Input: []byte("input")})
	action := &pb.ChaincodeAction{Results: marshal(t, results.Public), ChaincodeId: &pb.ChaincodeID{Name: "cc", Version: "1"}}
	response := marshal(t, &pb.ProposalResponsePayload{ProposalHash: hashOf(on, creator, proposal), Extension: marshal(t, action)})
	endorsed := &pb.ChaincodeEndorsedAction{ProposalResponsePayload: response}
	for _, name := range by {
		signature, err := n.peers[name].Sign(slices.Concat(response, n.peers[name].Serialized))
		if err != nil {
			t.Fatal(err)
		}
		endorsed.Endorsements = append(endorsed.Endorsements, &pb.Endorsement{Endorser: n.peers[name].Serialized, Signature: signature})
	}
	payload := marshal(t, &cb.Payload{
		Header: &cb.Header{ChannelHeader: on, SignatureHeader: creator},
		Data: marshal(t, &pb.Transaction{Actions: []*pb.TransactionAction{{
			Header: creator, Payload: marshal(t, &pb.ChaincodeActionPayload{ChaincodeProposalPayload: proposal, Action: endorsed}),
		}}}),
	})
	signature, err := n.client.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	return marshal(t, &cb.Envelope{Payload: payload, Signature: signature})
}

type write struct {
	ns, key string
	by      []string
	policy  []string
}

func (n *network) write(t *testing.T, w write) []byte {
	t.Helper()
	s := n.ledger.NewSimulator("tx")
	defer s.Close()
	if err := s.SetState(t.Context(), w.ns, w.key, []byte("v")); err != nil {
		t.Fatal(err)
	}
	if w.policy != nil {
		own := map[string][]byte{ledger.ValidationParameter: marshal(t, peersOf(w.policy...))}
		if err := s.SetMetadata(t.Context(), w.ns, w.key, own); err != nil {
			t.Fatal(err)
		}
	}
	return n.transaction(t, s, w.by)
}

// TestEndorsements judges blocks of transactions; the last one's code counts.
func TestEndorsements(t *testing.T) {
	n := newNetwork(t)
	both := []string{"a", "b"}
	for name, c := range map[string]struct {
		writes []write
		want   pb.TxValidationCode
	}{
		"both":                       {[]write{{ns: "cc", key: "k", by: both}}, pb.TxValidationCode_VALID},
		"one":                        {[]write{{ns: "cc", key: "k", by: []string{"a"}}}, pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE},
		"one twice":                  {[]write{{ns: "cc", key: "k", by: []string{"a", "a"}}}, pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE},
		"nobody":                     {[]write{{ns: "cc", key: "k"}}, pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE},
		"a client":                   {[]write{{ns: "cc", key: "k", by: []string{"client of a", "b"}}}, pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE},
		"key of one, by it":          {[]write{{ns: "cc", key: "of a", by: []string{"a"}}}, pb.TxValidationCode_VALID},
		"key of one, by the other":   {[]write{{ns: "cc", key: "of a", by: []string{"b"}}}, pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE},
		"contract that there is not": {[]write{{ns: "ghost", key: "k", by: both}}, pb.TxValidationCode_INVALID_CHAINCODE},
		"key whose policy changes": {[]write{
			{ns: "cc", key: "of a", by: []string{"a"}, policy: []string{"bankbMSP"}}, {ns: "cc", key: "of a", by: both},
		}, pb.TxValidationCode_ENDORSEMENT_POLICY_FAILURE},
		"other key than the one whose policy changes": {[]write{
			{ns: "cc", key: "of a", by: []string{"a"}, policy: []string{"bankbMSP"}}, {ns: "cc", key: "k", by: both},
		}, pb.TxValidationCode_VALID},
	} {
		t.Run(name, func(t *testing.T) {
			var transactions [][]byte
			for _, w := range c.writes {
				transactions = append(transactions, n.write(t, w))
			}
			block := n.block(t, transactions...)
			if _, err := Block(t.Context(), n.config, n.ledger, block); err != nil {
				t.Fatal(err)
			}
			if got := tx.Code(block, len(transactions)-1); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestCreators judges who sent a transaction, and that it comes once.
func TestCreators(t *testing.T) {
	n := newNetwork(t)
	good := n.write(t, write{ns: "cc", key: "k", by: []string{"a", "b"}})
	forged := &cb.Envelope{}
	if err := proto.Unmarshal(good, forged); err != nil {
		t.Fatal(err)
	}
	forged.Signature = append([]byte{}, forged.GetSignature()...)
	forged.Signature[len(forged.GetSignature())-1]++
	for name, c := range map[string]struct {
		transactions [][]byte
		want         pb.TxValidationCode
	}{
		"good":   {[][]byte{good}, pb.TxValidationCode_VALID},
		"forged": {[][]byte{marshal(t, forged)}, pb.TxValidationCode_BAD_CREATOR_SIGNATURE},
		"twice":  {[][]byte{good, good}, pb.TxValidationCode_DUPLICATE_TXID},
		"noise":  {[][]byte{{0xff}}, pb.TxValidationCode_INVALID_OTHER_REASON},
		"empty":  {[][]byte{marshal(t, &cb.Envelope{Payload: []byte{0xff}})}, pb.TxValidationCode_BAD_PAYLOAD},
	} {
		t.Run(name, func(t *testing.T) {
			block := n.block(t, c.transactions...)
			if _, err := Block(t.Context(), n.config, n.ledger, block); err != nil {
				t.Fatal(err)
			}
			if got := tx.Code(block, len(c.transactions)-1); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
