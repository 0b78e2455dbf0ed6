package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	gp "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/members"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	ok(t, err)
	return raw
}

// sameAnswer endorses always alike.
type sameAnswer struct {
	pb.UnimplementedEndorserServer

	response *pb.ProposalResponse
	err      error
}

func (e *sameAnswer) ProcessProposal(context.Context, *pb.SignedProposal) (*pb.ProposalResponse, error) {
	return e.response, e.err
}

func newServer(local Endorser, registry *members.Registry) *Server {
	return New(Options{
		Local: local, Members: registry, Channel: func(string) lifecycle.Channel { return nil }, MSPID: "bankaMSP",
		EndorseTimeout: 10 * time.Second, Log: node.NewLogger("gateway"),
	})
}

// TestAnswersAreJudged: clients act on the status that comes of it.
func TestAnswersAreJudged(t *testing.T) {
	said := func(code int32, payload string) *pb.ProposalResponse {
		out := &pb.ProposalResponse{Response: &pb.Response{Status: code, Message: "said so"}}
		if payload != "" {
			out.Payload = []byte(payload)
		}
		return out
	}
	for name, c := range map[string]struct {
		local sameAnswer
		code  codes.Code
		retry bool
		text  string
	}{
		"endorsed":                  {sameAnswer{response: said(200, "p")}, codes.OK, false, ""},
		"a status below 400":        {sameAnswer{response: said(399, "p")}, codes.OK, false, ""},
		"refused by the contract":   {sameAnswer{response: said(500, "p")}, codes.Unknown, false, "chaincode response 500, said so"},
		"a status of the contract":  {sameAnswer{response: said(404, "")}, codes.Unknown, false, "chaincode response 404, said so"},
		"failed in the peer":        {sameAnswer{response: said(500, "")}, codes.Aborted, true, "said so"},
		"refused before simulation": {sameAnswer{response: said(500, ""), err: errors.New("denied")}, codes.FailedPrecondition, false, "denied"},
		"no answer":                 {sameAnswer{err: errors.New("gone")}, codes.Unavailable, true, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			got := newServer(&c.local, nil).ask(t.Context(), &members.Member{Local: true}, &pb.SignedProposal{})
			if got.code != c.code || got.retry != c.retry || got.message != c.text {
				t.Errorf("got %s, %q, again at another %t", got.code, got.message, got.retry)
			}
		})
	}
}

// TestRefusingIsNotGone: a peer that refused one client's proposal is there for
// the others; one that cannot be reached is not.
func TestRefusingIsNotGone(t *testing.T) {
	own, endpoint, end := besides(t, &sameAnswer{err: errors.New("proposal client identity expired")})
	s := newServer(&sameAnswer{}, own)
	other := own.Of(t.Context(), "trade")[1]
	if got := s.ask(t.Context(), other, &pb.SignedProposal{}); got.code != codes.Unavailable {
		t.Errorf("got %s", got.code)
	}
	if got := own.Of(t.Context(), "trade"); len(got) != 2 {
		t.Errorf("after a refusal of %s %d peers are known", endpoint, len(got))
	}
	end()
	s.ask(t.Context(), other, &pb.SignedProposal{})
	if got := own.Of(t.Context(), "trade"); len(got) != 1 {
		t.Errorf("after the other's end %d peers are known", len(got))
	}
}

// silence answers no proposal.
type silence struct {
	pb.UnimplementedEndorserServer
}

func (silence) ProcessProposal(ctx context.Context, _ *pb.SignedProposal) (*pb.ProposalResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestSilentIsGone: the way to a peer that does not answer in time may lead nowhere by now, so it is made anew. A caller
// that gives up says nothing of the peer.
func TestSilentIsGone(t *testing.T) {
	own, endpoint, _ := besides(t, silence{})
	s := newServer(&sameAnswer{}, own)
	other := own.Of(t.Context(), "trade")[1]
	before, err := own.Conn(endpoint)
	ok(t, err)
	hasty, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	s.ask(hasty, other, &pb.SignedProposal{})
	if after, err := own.Conn(endpoint); err != nil || after != before || len(own.Of(t.Context(), "trade")) != 2 {
		t.Errorf("a caller gave up, and the peer is gone (%v)", err)
	}
	s.o.EndorseTimeout = 10 * time.Millisecond
	if got := s.ask(t.Context(), other, &pb.SignedProposal{}); got.code != codes.Unavailable || !got.retry {
		t.Errorf("got %s, again: %t", got.code, got.retry)
	}
	if got := own.Of(t.Context(), "trade"); len(got) != 1 {
		t.Errorf("after its silence %d peers are known", len(got))
	}
	if after, err := own.Conn(endpoint); err != nil || after == before {
		t.Errorf("the connection is still the one from before (%v)", err)
	}
}

// besides is a registry that knows one other peer, at the endpoint, which ends when the test does or is told to.
func besides(t *testing.T, other pb.EndorserServer) (own *members.Registry, endpoint string, end func()) {
	t.Helper()
	a, b := simtest.NewOrg(t, "banka"), simtest.NewOrg(t, "bankb")
	config, err := channel.FromBlock(simtest.Channel{
		ID: "trade", Orderers: simtest.NewOrg(t, "ord"), Members: []*simtest.Org{a, b}, Endpoints: []string{"127.0.0.1:1"},
	}.Genesis(t))
	ok(t, err)
	registry := func(org *simtest.Org, endpoint string, bootstrap ...string) *members.Registry {
		return members.New(members.Options{
			Identity: org.Signer(t, "peer", 0), Endpoint: endpoint, Bootstrap: bootstrap,
			Views:   func(context.Context) map[string]members.View { return map[string]members.View{"trade": {Height: 1}} },
			Configs: func() []*channel.Config { return []*channel.Config{config} }, Log: node.NewLogger("members"),
		})
	}
	server, err := node.NewServer(t.Context(), node.ServerOptions{Address: "127.0.0.1:0"})
	ok(t, err)
	registry(b, server.Addr()).Register(server)
	pb.RegisterEndorserServer(server, other)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	own = registry(a, "127.0.0.1:2", server.Addr())
	own.Hurry(t.Context())
	end = sync.OnceFunc(func() {
		cancel()
		ok(t, <-done)
	})
	t.Cleanup(end)
	return own, server.Addr(), end
}

func proposed(t *testing.T, id, contract string, transient map[string][]byte) *pb.SignedProposal {
	t.Helper()
	spec := &pb.ChaincodeInvocationSpec{ChaincodeSpec: &pb.ChaincodeSpec{ChaincodeId: &pb.ChaincodeID{Name: contract}}}
	payload := &pb.ChaincodeProposalPayload{Input: marshal(t, spec), TransientMap: transient}
	header := marshal(t, &cb.Header{ChannelHeader: marshal(t, &cb.ChannelHeader{ChannelId: id})})
	return &pb.SignedProposal{ProposalBytes: marshal(t, &pb.Proposal{Header: header, Payload: marshal(t, payload)})}
}

func TestRequestsAreCheckedFirst(t *testing.T) {
	s := newServer(&sameAnswer{}, members.New(members.Options{
		Identity: simtest.NewOrg(t, "banka").Signer(t, "peer", 0), Views: func(context.Context) map[string]members.View { return nil },
		Configs: func() []*channel.Config { return nil },
	}))
	for name, c := range map[string]struct {
		proposal *pb.SignedProposal
		code     codes.Code
		says     string
	}{
		"nothing":              {nil, codes.InvalidArgument, "a signed proposal is required"},
		"noise":                {&pb.SignedProposal{ProposalBytes: []byte("noise")}, codes.InvalidArgument, "error unmarshalling Proposal"},
		"no channel":           {proposed(t, "", "cc", nil), codes.InvalidArgument, "no channel id provided"},
		"no contract":          {proposed(t, "trade", "", nil), codes.InvalidArgument, "no chaincode name is provided, channel id [trade]"},
		"a channel of others'": {proposed(t, "trade", "cc", nil), codes.Unavailable, "could not get last config for channel trade"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Evaluate(t.Context(), &gp.EvaluateRequest{ProposedTransaction: c.proposal})
			if status.Code(err) != c.code || !strings.Contains(status.Convert(err).Message(), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
	_, err := s.Endorse(t.Context(), &gp.EndorseRequest{ProposedTransaction: proposed(t, "trade", "cc", nil)})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "No metadata was found for chaincode cc in channel trade") {
		t.Errorf("endorsement on a channel of others': %v", err)
	}
	_, err = s.Endorse(t.Context(), &gp.EndorseRequest{ProposedTransaction: proposed(t, "trade", "cc", map[string][]byte{"k": nil})})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "to protect transient data") {
		t.Errorf("transient data without a peer of one's own: %v", err)
	}
}

func TestTransientDataIsProtected(t *testing.T) {
	interest := func() *pb.ChaincodeInterest {
		return &pb.ChaincodeInterest{Chaincodes: []*pb.ChaincodeCall{{Name: "cc", CollectionNames: []string{"ours"}, NoPrivateReads: true}, {Name: "cc"}}}
	}
	for name, transient := range map[string]bool{"with": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			in := interest()
			original, protected := protect(in, transient)
			if !proto.Equal(original, interest()) {
				t.Errorf("the original is %v", original)
			}
			if in.GetChaincodes()[0].GetNoPrivateReads() == transient || (len(protected) == 1 && protected[0] == "ours") != transient {
				t.Errorf("asked for %v, protected %v", in, protected)
			}
		})
	}
}

// TestAPeerCountsInEachGroup: it stands for all that it is.
func TestAPeerCountsInEachGroup(t *testing.T) {
	one, two := &members.Member{Endpoint: "1"}, &members.Member{Endpoint: "2"}
	groups := map[string][]*members.Member{"G0": {one}, "G1": {one, two}}
	for name, c := range map[string]struct {
		layout  map[string]int
		by      []string
		lacking int
		want    int
	}{
		"one for both groups": {map[string]int{"G0": 1, "G1": 1}, []string{"1"}, 0, 1},
		"two of a group":      {map[string]int{"G1": 2}, []string{"1"}, 1, 0},
		"both of a group":     {map[string]int{"G1": 2}, []string{"1", "2"}, 0, 2},
		"of the other group":  {map[string]int{"G0": 1}, []string{"2"}, 1, 0},
		"more than is needed": {map[string]int{"G1": 1}, []string{"1", "2"}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			x := &collection{plan: &members.Plan{Groups: groups}, byPeer: map[string]*pb.Endorsement{}}
			for _, endpoint := range c.by {
				x.byPeer[endpoint] = &pb.Endorsement{Endorser: []byte(endpoint)}
			}
			if got := x.lacking(c.layout); got != c.lacking {
				t.Errorf("it lacks %d", got)
			}
			if got := x.chosen(c.layout); len(got) != c.want {
				t.Errorf("chosen are %v", got)
			}
		})
	}
}

func TestDifference(t *testing.T) {
	payload := func(hash, key, value string, status int32) []byte {
		writes := marshal(t, &kvrwset.KVRWSet{Writes: []*kvrwset.KVWrite{{Key: key, Value: []byte(value)}}})
		results := marshal(t, &rwset.TxReadWriteSet{NsRwset: []*rwset.NsReadWriteSet{{Namespace: "cc", Rwset: writes}}})
		action := marshal(t, &pb.ChaincodeAction{Results: results, Response: &pb.Response{Status: status}})
		return marshal(t, &pb.ProposalResponsePayload{ProposalHash: []byte(hash), Extension: action})
	}
	same := payload("h", "k", "v", 200)
	for name, c := range map[string]struct {
		other []byte
		want  []string
	}{
		"nothing":  {same, nil},
		"a key":    {payload("h", "l", "v", 200), []string{`only the first: cc: write "k"`, `only the second: cc: write "l"`}},
		"a value":  {payload("h", "k", "secret", 200), []string{"only the first", "only the second"}},
		"proposal": {payload("i", "k", "v", 200), []string{"proposal hash"}},
		"status":   {payload("h", "k", "v", 201), []string{"response"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := difference(same, c.other)
			if c.want == nil && got != "" || strings.Contains(got, "secret") {
				t.Errorf("got %q", got)
			}
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("got %q, which lacks %q", got, want)
				}
			}
		})
	}
}
