package channel_test

import (
	"strings"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"github.com/hyperledger/fabric-x-common/common/channelconfig"
	"github.com/hyperledger/fabric-x-common/common/policies"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// world is a channel with its organisations.
type world struct {
	ord, banka, bankb *simtest.Org
	spec              simtest.Channel
	genesis           *cb.Block
	config            *channel.Config
}

func newWorld(tb testing.TB, change func(*cb.ConfigGroup)) *world {
	tb.Helper()
	w := &world{ord: simtest.NewOrg(tb, "ord"), banka: simtest.NewOrg(tb, "banka"), bankb: simtest.NewOrg(tb, "bankb")}
	leaf := w.ord.TLS(tb, "o1")
	w.spec = simtest.Channel{
		ID: "trade", Orderers: w.ord, Members: []*simtest.Org{w.banka, w.bankb}, Endpoints: []string{"127.0.0.1:7050"}, Change: change,
		Consenters: []*etcdraft.Consenter{{Host: "127.0.0.1", Port: 7050, ClientTlsCert: leaf.Cert, ServerTlsCert: leaf.Cert}},
	}
	w.genesis = w.spec.Genesis(tb)
	config, err := channel.FromBlock(w.genesis)
	if err != nil {
		tb.Fatal(err)
	}
	w.config = config
	return w
}

func TestFromBlock(t *testing.T) {
	w := newWorld(t, nil)
	if w.config.ID() != "trade" || w.config.Sequence() != 0 || w.config.ConsensusType() != channel.Raft {
		t.Errorf("channel %s, configuration %d, consensus %s", w.config.ID(), w.config.Sequence(), w.config.ConsensusType())
	}
	metadata, err := w.config.RaftMetadata()
	if err != nil || len(metadata.GetConsenters()) != 1 {
		t.Errorf("consenters %v: %v", metadata, err)
	}
	endpoints := w.config.Endpoints()
	if len(endpoints) != 1 || endpoints[0].Address != "127.0.0.1:7050" || endpoints[0].MSPID != "ordMSP" || len(endpoints[0].Roots) != 1 {
		t.Errorf("endpoints %v", endpoints)
	}
	if roots := w.config.TLSRoots(); len(roots) != 3 {
		t.Errorf("%d TLS authorities", len(roots))
	}
}

// TestStrict has the rules of Fabric that the library below gave up.
func TestStrict(t *testing.T) {
	tests := map[string]func(*cb.ConfigGroup){
		"an ordering organisation without endpoints": func(g *cb.ConfigGroup) {
			delete(g.Groups["Orderer"].Groups["ord"].Values, channelconfig.EndpointsKey)
		},
		"endpoints before they are allowed": func(g *cb.ConfigGroup) {
			simtest.SetValue(t, g, channelconfig.CapabilitiesKey, channelconfig.CapabilitiesValue(map[string]bool{"V1_1": true}).Value())
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			spec := newWorld(t, nil).spec
			spec.Change = change
			if _, err := channel.FromBlock(spec.Genesis(t)); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestPolicies(t *testing.T) {
	w := newWorld(t, nil)
	stranger := simtest.NewOrg(t, "banka") // of the same name, but another authority
	for name, test := range map[string]struct {
		org    *simtest.Org
		role   string
		policy string
		want   bool
	}{
		"a member writes":              {w.banka, "client", policies.ChannelWriters, true},
		"a member reads":               {w.bankb, "peer", policies.ChannelReaders, true},
		"an orderer reads":             {w.ord, "orderer", policies.ChannelReaders, true},
		"a stranger writes":            {stranger, "client", policies.ChannelWriters, false},
		"a client administers":         {w.banka, "client", "/Channel/Application/banka/Admins", false},
		"an administrator administers": {w.banka, "admin", "/Channel/Application/banka/Admins", true},
		"another's administrator":      {w.bankb, "admin", "/Channel/Application/banka/Admins", false},
		"one administrator of three":   {w.banka, "admin", "/Channel/Admins", false},
		"a policy that is not there":   {w.banka, "admin", "/Channel/Nobody", false},
	} {
		t.Run(name, func(t *testing.T) {
			signer := test.org.Signer(t, test.role, 0)
			err := w.config.CheckEnvelope(test.policy, simtest.Transaction(t, signer, "trade", []byte("x")))
			if (err == nil) != test.want {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("a creator that cannot be read", func(t *testing.T) {
		envelope := simtest.Transaction(t, w.banka.Signer(t, "client", 0), "trade", []byte("x"))
		payload, err := protoutil.UnmarshalPayload(envelope.GetPayload())
		if err != nil {
			t.Fatal(err)
		}
		payload.Header.SignatureHeader = protoutil.MarshalOrPanic(&cb.SignatureHeader{Creator: []byte("garbage"), Nonce: []byte("n")})
		envelope.Payload = protoutil.MarshalOrPanic(payload)
		signed, err := channel.SignedBy(envelope)
		if err != nil {
			t.Fatalf("it is an error of form: %v", err)
		}
		if w.config.Check(policies.ChannelWriters, signed) == nil {
			t.Error("it was believed")
		}
	})
	t.Run("a changed message", func(t *testing.T) {
		envelope := simtest.Transaction(t, w.banka.Signer(t, "client", 0), "trade", []byte("x"))
		envelope.Signature[len(envelope.Signature)-1] ^= 1
		if w.config.CheckEnvelope(policies.ChannelWriters, envelope) == nil {
			t.Error("it was believed")
		}
	})
}

func batch(tb testing.TB, n uint32) func(*cb.ConfigGroup) {
	tb.Helper()
	return func(g *cb.ConfigGroup) {
		simtest.SetValue(tb, g.Groups["Orderer"], channelconfig.BatchSizeKey, channelconfig.BatchSizeValue(n, 1<<20, 1<<19).Value())
	}
}

func TestUpdates(t *testing.T) {
	w := newWorld(t, nil)
	admin := w.ord.Signer(t, "admin", 0)
	update := simtest.Update(t, "trade", w.config.Proto(), batch(t, 77), admin)
	proposed, err := w.config.Propose(update)
	if err != nil {
		t.Fatal(err)
	}
	next, err := w.config.Apply(proposed)
	if err != nil {
		t.Fatal(err)
	}
	orderers, _ := next.OrdererConfig()
	if next.Sequence() != 1 || orderers.BatchSize().GetMaxMessageCount() != 77 {
		t.Errorf("configuration %d with %d messages", next.Sequence(), orderers.BatchSize().GetMaxMessageCount())
	}
	if _, err := next.Propose(update); err == nil {
		t.Error("the same update was taken twice")
	}
	t.Run("a forged result", func(t *testing.T) {
		forged, _ := proto.Clone(proposed).(*cb.ConfigEnvelope)
		batch(t, 99)(forged.GetConfig().GetChannelGroup())
		if _, err := w.config.Apply(forged); err == nil {
			t.Error("it was taken")
		}
	})
	for name, bad := range map[string]*cb.Envelope{
		"signed by a client":         simtest.Update(t, "trade", w.config.Proto(), batch(t, 7), w.ord.Signer(t, "client", 0)),
		"signed by another's":        simtest.Update(t, "trade", w.config.Proto(), batch(t, 7), w.banka.Signer(t, "admin", 0)),
		"for another channel":        simtest.Update(t, "other", w.config.Proto(), batch(t, 7), admin),
		"without sense":              simtest.Update(t, "trade", w.config.Proto(), batch(t, 0), admin),
		"that is an endorsement":     simtest.Transaction(t, admin, "trade", []byte("x")),
		"of another kind altogether": {Payload: []byte("x")},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := w.config.Propose(bad); err == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestVerifyBlock(t *testing.T) {
	w := newWorld(t, nil)
	orderer := w.ord.Signer(t, "orderer", 0)
	block := func(change func(*cb.Block)) *cb.Block {
		b := blocks.Next(w.genesis.GetHeader(), [][]byte{[]byte("tx")})
		if err := blocks.Seal(b, orderer, 0, []byte("raft")); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(b)
		}
		return b
	}
	if err := w.config.VerifyBlock(block(nil)); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*cb.Block){
		"another transaction": func(b *cb.Block) { b.Data.Data[0] = []byte("another") },
		"another header":      func(b *cb.Block) { b.Header.Number = 9 },
		"no signature":        func(b *cb.Block) { b.Metadata.Metadata[cb.BlockMetadataIndex_SIGNATURES] = nil },
		"no metadata":         func(b *cb.Block) { b.Metadata = nil },
		"a peer's signature": func(b *cb.Block) {
			if err := blocks.Seal(b, w.banka.Signer(t, "peer", 0), 0, nil); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if w.config.VerifyBlock(block(change)) == nil {
				t.Error("it was believed")
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	org := simtest.NewOrg(t, "banka")
	ends := channel.Expiry(org.Signer(t, "client", time.Minute).Serialized)
	if left := time.Until(ends); left < 0 || left > time.Minute {
		t.Errorf("%s are left", left)
	}
	if !channel.Expiry([]byte("garbage")).IsZero() || !channel.CertificateExpiry([]byte("garbage")).IsZero() {
		t.Error("garbage has an end")
	}
}

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{"trade": true, "a.b-c1": true, "": false, "Trade": false, "1a": false, strings.Repeat("a", 250): false, "a/b": false} {
		if err := channel.ValidID(id); (err == nil) != want {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// FuzzUpdate gives whatever a client may send to the reader of updates and to
// a channel.
func FuzzUpdate(f *testing.F) {
	w := newWorld(f, nil)
	f.Add(simtest.Marshal(f, simtest.Update(f, "trade", w.config.Proto(), batch(f, 7), w.ord.Signer(f, "admin", 0))))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		envelope := &cb.Envelope{}
		if proto.Unmarshal(raw, envelope) != nil {
			return
		}
		_, _, _ = channel.ParseUpdate(envelope)
		proposed, err := w.config.Propose(envelope)
		if err == nil && proposed.GetConfig().GetSequence() != 1 {
			t.Errorf("configuration %d", proposed.GetConfig().GetSequence())
		}
	})
}
