package members

import (
	"context"
	"errors"
	"slices"
	"testing"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mb "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	lb "github.com/hyperledger/fabric-protos-go-apiv2/peer/lifecycle"
	"github.com/hyperledger/fabric-x-common/common/policydsl"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// world is a channel of two organisations.
type world struct {
	a, b   *simtest.Org
	config *channel.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{a: simtest.NewOrg(t, "banka"), b: simtest.NewOrg(t, "bankb")}
	config, err := channel.FromBlock(simtest.Channel{
		ID: "trade", Orderers: simtest.NewOrg(t, "ord"), Members: []*simtest.Org{w.a, w.b}, Endpoints: []string{"127.0.0.1:1"},
	}.Genesis(t))
	ok(t, err)
	w.config = config
	return w
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// peer is one that serves, knows some others, and can run some contracts.
func (w *world) peer(t *testing.T, org *simtest.Org, bootstrap []string, contracts ...string) *Registry {
	t.Helper()
	server, err := node.NewServer(t.Context(), node.ServerOptions{Address: "127.0.0.1:0"})
	ok(t, err)
	view := View{Height: 7, Contracts: map[string]string{}}
	for _, name := range contracts {
		view.Contracts[name] = "1"
	}
	r := New(Options{
		Identity: org.Signer(t, "peer", 0), Endpoint: server.Addr(), Bootstrap: bootstrap,
		Views:   func(context.Context) map[string]View { return map[string]View{"trade": view} },
		Configs: func() []*channel.Config { return []*channel.Config{w.config} },
		Store: func(_ context.Context, p *Private) error {
			if string(p.Set) != "set" {
				return errors.New("that is not it")
			}
			return nil
		},
		Fetch: func(_ context.Context, wanted *Wanted, _ string) (*Private, error) {
			if wanted.TxID != "tx" {
				return nil, errors.New("it is not here")
			}
			return &Private{Channel: wanted.Channel, TxID: wanted.TxID, Set: []byte("set")}, nil
		},
		Log: node.NewLogger("members"),
	})
	r.Register(server)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()
	t.Cleanup(func() {
		r.close()
		cancel()
		ok(t, <-done)
	})
	return r
}

func endpoints(list []*Member) []string {
	var out []string
	for _, m := range list {
		out = append(out, m.Endpoint)
	}
	return out
}

func TestPeersLearnOfEachOther(t *testing.T) {
	w := newWorld(t)
	first := w.peer(t, w.a, nil, "cc")
	second := w.peer(t, w.b, []string{first.o.Endpoint})
	third := w.peer(t, w.b, []string{first.o.Endpoint})
	second.Hurry(t.Context())
	third.Hurry(t.Context())
	third.Hurry(t.Context()) // now it has heard of the second
	for name, c := range map[string]struct {
		asked *Registry
		of    string
		want  []string
	}{
		"who was told":       {first, "trade", []string{first.o.Endpoint, second.o.Endpoint, third.o.Endpoint}},
		"who told":           {second, "trade", []string{second.o.Endpoint, first.o.Endpoint, third.o.Endpoint}},
		"by way of another":  {third, "trade", []string{third.o.Endpoint, first.o.Endpoint, second.o.Endpoint}},
		"of another channel": {first, "side", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := endpoints(c.asked.Of(t.Context(), c.of))
			if len(got) > 0 && got[0] != c.asked.o.Endpoint {
				t.Errorf("the first is not the peer itself: %v", got)
			}
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	seen := first.known[second.o.Endpoint]
	if seen.MSPID != w.b.MSPID || seen.Channels["trade"].Height != 7 || seen.Has("trade", "cc") || !seen.Has("trade", "qscc") {
		t.Errorf("the first knows the second as %+v", seen)
	}
	first.Forget(second.o.Endpoint)
	if got := endpoints(first.Of(t.Context(), "trade")); slices.Contains(got, second.o.Endpoint) {
		t.Errorf("a peer that was forgotten is there: %v", got)
	}
}

func TestStrangersAreNotHeard(t *testing.T) {
	w := newWorld(t)
	first := w.peer(t, w.a, nil)
	for name, org := range map[string]*simtest.Org{"of no organisation": simtest.NewOrg(t, "strange"), "of another authority": simtest.NewOrg(t, "bankb")} {
		t.Run(name, func(t *testing.T) {
			stranger := w.peer(t, org, []string{first.o.Endpoint})
			if _, err := stranger.call(t.Context(), first.o.Endpoint, "Tell", stranger.statement(t.Context()), &statement{}); status.Code(err) != codes.PermissionDenied {
				t.Errorf("got %v", err)
			}
			if len(first.known) > 0 {
				t.Errorf("it is known: %v", first.known)
			}
		})
	}
	t.Run("a changed message", func(t *testing.T) {
		second := w.peer(t, w.b, nil)
		sealed, err := second.seal(second.statement(t.Context()))
		ok(t, err)
		sealed.Payload = append(sealed.Payload, 0x12, 0x00)
		if _, _, err := first.open(sealed); err == nil {
			t.Error("it was believed")
		}
	})
}

func TestPrivateDataTravels(t *testing.T) {
	w := newWorld(t)
	first, second := w.peer(t, w.a, nil), w.peer(t, w.b, nil)
	to := &Member{Endpoint: second.o.Endpoint}
	ok(t, first.Push(t.Context(), to, &Private{Channel: "trade", TxID: "tx", Set: []byte("set")}))
	if err := first.Push(t.Context(), to, &Private{Set: []byte("other")}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("what cannot be kept: got %v", err)
	}
	got, err := first.Pull(t.Context(), to, &Wanted{Channel: "trade", TxID: "tx"})
	ok(t, err)
	if string(got.Set) != "set" || got.Channel != "trade" {
		t.Errorf("got %+v", got)
	}
	if _, err := first.Pull(t.Context(), to, &Wanted{TxID: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("what is not there: got %v", err)
	}
}

// definitions are records of _lifecycle.
type definitions map[string][]byte

func (d definitions) Get(_ context.Context, key string) ([]byte, error) { return d[key], nil }

func (d definitions) add(t *testing.T, name string, policy *cb.SignaturePolicyEnvelope) {
	t.Helper()
	marshal := func(m proto.Message) []byte {
		raw, err := proto.Marshal(m)
		ok(t, err)
		return raw
	}
	own := marshal(&pb.ApplicationPolicy{Type: &pb.ApplicationPolicy_SignaturePolicy{SignaturePolicy: policy}})
	value := marshal(&lb.ChaincodeValidationInfo{ValidationParameter: own})
	d["namespaces/metadata/"+name] = marshal(&lb.StateMetadata{Datatype: "ChaincodeDefinition", Fields: []string{"Sequence", "EndorsementInfo", "ValidationInfo", "Collections"}})
	d["namespaces/fields/"+name+"/Sequence"] = marshal(&lb.StateData{Type: &lb.StateData_Int64{Int64: 1}})
	d["namespaces/fields/"+name+"/ValidationInfo"] = marshal(&lb.StateData{Type: &lb.StateData_Bytes{Bytes: value}})
}

func TestPlanFor(t *testing.T) {
	w := newWorld(t)
	first := w.peer(t, w.a, nil, "both", "either", "strange", "half")
	second := w.peer(t, w.b, []string{first.o.Endpoint}, "both", "either", "strange")
	second.Hurry(t.Context())
	of := func(n int32, orgs ...string) *cb.SignaturePolicyEnvelope {
		return policydsl.SignedByNOutOfGivenRole(n, mb.MSPRole_PEER, orgs)
	}
	defined := definitions{}
	defined.add(t, "both", of(2, w.a.MSPID, w.b.MSPID))
	defined.add(t, "either", of(1, w.a.MSPID, w.b.MSPID))
	defined.add(t, "strange", of(2, w.a.MSPID, "strangeMSP"))
	defined.add(t, "half", of(2, w.a.MSPID, w.b.MSPID))
	for name, c := range map[string]struct {
		contracts       []string
		layouts, groups int
		err             string
	}{
		"both have to":                 {[]string{"both"}, 1, 2, ""},
		"one is enough":                {[]string{"either"}, 2, 2, ""},
		"two contracts":                {[]string{"either", "both"}, 1, 2, ""},
		"an organisation that is not":  {[]string{"strange"}, 0, 0, errNoCombination.Error()},
		"one peer lacks the contract":  {[]string{"half"}, 0, 0, errNotInstalled.Error()},
		"a contract that there is not": {[]string{"none"}, 0, 0, "No metadata was found for chaincode none in channel trade"},
	} {
		t.Run(name, func(t *testing.T) {
			interest := &pb.ChaincodeInterest{}
			for _, contract := range c.contracts {
				interest.Chaincodes = append(interest.Chaincodes, &pb.ChaincodeCall{Name: contract})
			}
			plan, err := first.PlanFor(t.Context(), w.config, defined, interest)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("got %v, want %s", err, c.err)
				}
				return
			}
			ok(t, err)
			if len(plan.Layouts) != c.layouts || len(plan.Groups) != c.groups {
				t.Errorf("got layouts %v of groups %v", plan.Layouts, plan.Groups)
			}
			for _, group := range plan.Groups {
				if len(group) != 1 {
					t.Errorf("a group has the peers %v", endpoints(group))
				}
			}
		})
	}
}

// FuzzOpen: nothing is believed that nobody signed.
func FuzzOpen(f *testing.F) {
	r := New(Options{Identity: simtest.NewOrg(f, "banka").Signer(f, "peer", 0), Configs: func() []*channel.Config { return nil }})
	sealed, err := r.seal(statement{Endpoint: "peer:7051"})
	if err != nil {
		f.Fatal(err)
	}
	raw, err := proto.Marshal(sealed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := &cb.Envelope{}
		if proto.Unmarshal(raw, in) != nil {
			return
		}
		if creator, _, err := r.open(in); err == nil && (string(in.GetPayload()) != string(sealed.GetPayload()) || creator == "") {
			t.Errorf("%q was believed", in.GetPayload())
		}
	})
}
