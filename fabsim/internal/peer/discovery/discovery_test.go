package discovery

import (
	"context"
	"crypto/sha256"
	"maps"
	"slices"
	"testing"

	dpb "github.com/hyperledger/fabric-protos-go-apiv2/discovery"
	gpb "github.com/hyperledger/fabric-protos-go-apiv2/gossip"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/members"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// joined is a channel without contracts.
type joined struct{ config *channel.Config }

func (j joined) Config() *channel.Config { return j.config }
func (joined) Ledger() *ledger.Ledger    { return nil }

// world is a peer of banka on a channel with bankb.
type world struct {
	a, b *simtest.Org
	peer *node.Identity
	o    Options
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{a: simtest.NewOrg(t, "banka"), b: simtest.NewOrg(t, "bankb")}
	config, err := channel.FromBlock(simtest.Channel{
		ID: "trade", Orderers: simtest.NewOrg(t, "ord"), Members: []*simtest.Org{w.a, w.b}, Endpoints: []string{"orderer.example:7050"},
	}.Genesis(t))
	ok(t, err)
	w.peer = w.a.Signer(t, "peer", 0)
	w.o = Options{
		MSP: w.peer.MSP, Log: node.NewLogger("discovery"),
		Channel: func(id string) lifecycle.Channel {
			if id != "trade" {
				return nil
			}
			return joined{config}
		},
		Members: members.New(members.Options{
			Identity: w.peer, Endpoint: "peer.example:7051", Configs: func() []*channel.Config { return []*channel.Config{config} },
			Views: func(context.Context) map[string]members.View {
				return map[string]members.View{"trade": {Height: 5, Contracts: map[string]string{"cc": "1.0"}}}
			},
		}),
	}
	return w
}

func request(t *testing.T, by *node.Identity, queries ...*dpb.Query) *dpb.SignedRequest {
	t.Helper()
	payload, err := proto.Marshal(&dpb.Request{Authentication: &dpb.AuthInfo{ClientIdentity: by.Serialized}, Queries: queries})
	ok(t, err)
	signature, err := by.Sign(payload)
	ok(t, err)
	return &dpb.SignedRequest{Payload: payload, Signature: signature}
}

func ask(t *testing.T, o Options, by *node.Identity, query *dpb.Query) *dpb.QueryResult {
	t.Helper()
	out, err := New(o).Discover(t.Context(), request(t, by, query))
	ok(t, err)
	if len(out.GetResults()) != 1 {
		t.Fatalf("got %d results", len(out.GetResults()))
	}
	return out.GetResults()[0]
}

var (
	configQuery = &dpb.Query{Channel: "trade", Query: &dpb.Query_ConfigQuery{ConfigQuery: &dpb.ConfigQuery{}}}
	peersQuery  = &dpb.Query{Channel: "trade", Query: &dpb.Query_PeerQuery{PeerQuery: &dpb.PeerMembershipQuery{}}}
	localQuery  = &dpb.Query{Query: &dpb.Query_LocalPeers{LocalPeers: &dpb.LocalPeerQuery{}}}
)

func TestWhoMayAsk(t *testing.T) {
	w := newWorld(t)
	tampered := request(t, w.b.Signer(t, "client", 0), configQuery)
	tampered.Signature[len(tampered.Signature)-1] ^= 1
	out, err := New(w.o).Discover(t.Context(), tampered)
	ok(t, err)
	if got := out.GetResults()[0].GetError().GetContent(); got != "access denied" {
		t.Errorf("a wrong signature: %q", got)
	}
	for name, c := range map[string]struct {
		by      *node.Identity
		query   *dpb.Query
		members bool
		denied  bool
	}{
		"a member of the channel":             {w.b.Signer(t, "client", 0), configQuery, false, false},
		"a stranger":                          {simtest.NewOrg(t, "strange").Signer(t, "client", 0), configQuery, false, true},
		"one who says he is a member":         {simtest.NewOrg(t, "bankb").Signer(t, "client", 0), peersQuery, false, true},
		"own administrator, of peers":         {w.a.Signer(t, "admin", 0), localQuery, false, false},
		"own client, of peers":                {w.a.Signer(t, "client", 0), localQuery, false, true},
		"own client, of peers, if he may":     {w.a.Signer(t, "client", 0), localQuery, true, false},
		"another's administrator, of peers":   {w.b.Signer(t, "admin", 0), localQuery, true, true},
		"a channel that the peer is not on":   {w.a.Signer(t, "admin", 0), &dpb.Query{Channel: "side", Query: configQuery.GetQuery()}, false, true},
		"something that is not to be had":     {w.a.Signer(t, "admin", 0), &dpb.Query{Channel: "trade"}, false, true},
		"something, of peers, that is no ask": {w.a.Signer(t, "admin", 0), &dpb.Query{}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := w.o
			o.OrgMembers = c.members
			if got := ask(t, o, c.by, c.query).GetError(); (got != nil) != c.denied {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestRequestsWithoutAuthentication(t *testing.T) {
	w := newWorld(t)
	bound := w.o
	bound.MutualTLS = true
	empty, err := proto.Marshal(&dpb.Request{})
	ok(t, err)
	nobody, err := proto.Marshal(&dpb.Request{Authentication: &dpb.AuthInfo{}})
	ok(t, err)
	for name, c := range map[string]struct {
		o       Options
		request *dpb.SignedRequest
	}{
		"nothing":                {w.o, &dpb.SignedRequest{Payload: empty}},
		"no identity":            {w.o, &dpb.SignedRequest{Payload: nobody}},
		"noise":                  {w.o, &dpb.SignedRequest{Payload: []byte("noise")}},
		"no certificate for TLS": {bound, request(t, w.a.Signer(t, "admin", 0), localQuery)},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := New(c.o).Discover(t.Context(), c.request); err == nil {
				t.Errorf("got %v", out)
			}
		})
	}
}

func TestConfiguration(t *testing.T) {
	w := newWorld(t)
	got := ask(t, w.o, w.b.Signer(t, "client", 0), configQuery).GetConfigResult()
	if names := slices.Sorted(maps.Keys(got.GetMsps())); !slices.Equal(names, []string{"bankaMSP", "bankbMSP", "ordMSP"}) {
		t.Errorf("organisations %v", names)
	}
	endpoints := got.GetOrderers()["ordMSP"].GetEndpoint()
	if len(endpoints) != 1 || endpoints[0].GetHost() != "orderer.example" || endpoints[0].GetPort() != 7050 {
		t.Errorf("orderers %v", got.GetOrderers())
	}
}

// TestPeers: clients of the older kind read what gossip would have said.
func TestPeers(t *testing.T) {
	w := newWorld(t)
	got := ask(t, w.o, w.b.Signer(t, "client", 0), peersQuery).GetMembers().GetPeersByOrg()
	if len(got) != 1 || len(got["bankaMSP"].GetPeers()) != 1 {
		t.Fatalf("got %v", got)
	}
	peer := got["bankaMSP"].GetPeers()[0]
	alive, state := &gpb.GossipMessage{}, &gpb.GossipMessage{}
	ok(t, proto.Unmarshal(peer.GetMembershipInfo().GetPayload(), alive))
	ok(t, proto.Unmarshal(peer.GetStateInfo().GetPayload(), state))
	member, properties := alive.GetAliveMsg().GetMembership(), state.GetStateInfo().GetProperties()
	id := sha256.Sum256(w.peer.Serialized)
	if member.GetEndpoint() != "peer.example:7051" || !slices.Equal(member.GetPkiId(), id[:]) || !slices.Equal(peer.GetIdentity(), w.peer.Serialized) {
		t.Errorf("the peer is %v", member)
	}
	if properties.GetLedgerHeight() != 5 || len(properties.GetChaincodes()) != 1 || properties.GetChaincodes()[0].GetName() != "cc" || properties.GetChaincodes()[0].GetVersion() != "1.0" {
		t.Errorf("its state is %v", properties)
	}
}

// FuzzDiscover: whatever is sent, nobody who did not sign learns anything.
func FuzzDiscover(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Add([]byte("\n\x03\n\x01x\x12\x07\n\x05trade"), []byte("s"))
	s := New(Options{
		Channel: func(string) lifecycle.Channel { return nil }, MSP: simtest.NewOrg(f, "banka").Signer(f, "peer", 0).MSP, Log: node.NewLogger("discovery"),
	})
	f.Fuzz(func(t *testing.T, payload, signature []byte) {
		out, err := s.Discover(t.Context(), &dpb.SignedRequest{Payload: payload, Signature: signature})
		if err != nil {
			return
		}
		for _, result := range out.GetResults() {
			if result.GetError() == nil {
				t.Errorf("somebody was told %v", result)
			}
		}
	})
}
