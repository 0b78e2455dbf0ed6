package channelconfig_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-lib-go/bccsp"
	"github.com/hyperledger/fabric-lib-go/bccsp/sw"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	realconfig "github.com/hyperledger/fabric-x-common/common/channelconfig"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a set of organisations that channels are made of.
type world struct {
	ord, a, b *bare.Org
	leaves    []bare.Leaf
}

func newWorld(tb testing.TB, orderers int) world {
	tb.Helper()
	w := world{}
	for _, o := range []struct {
		name string
		into **bare.Org
	}{{"ord", &w.ord}, {"banka", &w.a}, {"bankb", &w.b}} {
		org, err := bare.NewOrg(o.name)
		if err != nil {
			tb.Fatal(err)
		}
		*o.into = org
	}
	for range orderers {
		leaf, err := w.ord.Issue("orderer", pki.RoleOrderer)
		if err != nil {
			tb.Fatal(err)
		}
		w.leaves = append(w.leaves, leaf)
	}
	return w
}

func (w world) consenter(i int) channelconfig.Consenter {
	leaf := w.leaves[i]
	return channelconfig.Consenter{
		Host: "orderer" + string(rune('0'+i)) + "-ord.trade", Port: 7050, MSPID: w.ord.MSPID,
		Identity: leaf.Sign, ClientTLS: leaf.TLS, ServerTLS: leaf.TLS,
	}
}

func (w world) channel(kind channelconfig.Consensus, orderers int) channelconfig.Channel {
	ordering := w.ord.Organization()
	ordering.Endpoints = []string{"orderer0-ord.trade:7050", "orderer1-ord.trade:7050"}
	a, b := w.a.Organization(), w.b.Organization()
	a.Anchors = []channelconfig.Address{{Host: "peer0-banka.trade", Port: 7051}}
	b.Anchors = []channelconfig.Address{{Host: "peer0-bankb.trade", Port: 7051}, {Host: "peer1-bankb.trade", Port: 7051}}
	c := channelconfig.Channel{
		ID: "trade", Consensus: kind,
		OrdererOrgs: []channelconfig.Organization{ordering}, ApplicationOrgs: []channelconfig.Organization{a, b},
		ACLs:     map[string]string{"qscc/GetChainInfo": "/Channel/Application/Writers"},
		Policies: channelconfig.Policies{Application: map[string]channelconfig.Policy{"Endorsement": {Type: channelconfig.Signature, Rule: "AND('bankaMSP.peer','bankbMSP.peer')"}}},
	}
	for i := range orderers {
		c.Consenters = append(c.Consenters, w.consenter(i))
	}
	return c.WithDefaults(channelconfig.LAN)
}

// bundle has Fabric's own code judge a config.
func bundle(tb testing.TB, config *cb.Config) *realconfig.Bundle {
	tb.Helper()
	var provider bccsp.BCCSP
	provider, err := sw.NewDefaultSecurityLevelWithKeystore(sw.NewDummyKeyStore())
	if err != nil {
		tb.Fatal(err)
	}
	b, err := realconfig.NewBundle("trade", config, provider)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func genesis(tb testing.TB, c channelconfig.Channel) (*cb.Block, *channelconfig.Config) {
	tb.Helper()
	b, err := channelconfig.Genesis(c, noon)
	if err != nil {
		tb.Fatal(err)
	}
	config, err := channelconfig.Read(b)
	if err != nil {
		tb.Fatal(err)
	}
	return b, config
}

var kinds = map[string]struct {
	kind     channelconfig.Consensus
	orderers int
}{"raft": {channelconfig.Raft, 3}, "bft": {channelconfig.BFT, 4}}

func TestGenesis(t *testing.T) {
	for name, test := range kinds {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, test.orderers)
			wish := w.channel(test.kind, test.orderers)
			first, config := genesis(t, wish)
			second, _ := genesis(t, wish)
			if !proto.Equal(first, second) || !bytes.Equal(block.Hash(first.GetHeader()), block.Hash(second.GetHeader())) {
				t.Error("the second block differs")
			}
			later, err := channelconfig.Genesis(wish, noon.Add(time.Second))
			if err != nil || bytes.Equal(block.Hash(first.GetHeader()), block.Hash(later.GetHeader())) {
				t.Errorf("the time does not count: %v", err)
			}
			if diff := channelconfig.Diff(wish, config.Channel); len(diff) > 0 {
				t.Error(diff)
			}
			judge := bundle(t, config.Raw)
			application, ok := judge.ApplicationConfig()
			if !ok {
				t.Fatal("there is no application part")
			}
			got := map[string]int{}
			for _, org := range application.Organizations() {
				got[org.MSPID()] = len(org.AnchorPeers())
			}
			if diff := cmp.Diff(map[string]int{"bankaMSP": 1, "bankbMSP": 2}, got); diff != "" {
				t.Errorf("anchors: %s", diff)
			}
			orderer, ok := judge.OrdererConfig()
			if !ok {
				t.Fatal("there is no orderer part")
			}
			if orderer.BatchTimeout() != 200*time.Millisecond {
				t.Errorf("batch time-out %s", orderer.BatchTimeout())
			}
			if got := len(orderer.Consenters()); test.kind == channelconfig.BFT && got != 4 {
				t.Errorf("%d consenters", got)
			}
			if _, ok := config.Raw.GetChannelGroup().GetValues()["OrdererAddresses"]; ok {
				t.Error("there are global orderer addresses")
			}
		})
	}
}

func TestUpdates(t *testing.T) {
	type channel = channelconfig.Channel
	for kindName, kind := range kinds {
		w := newWorld(t, kind.orderers+1)
		_, config := genesis(t, w.channel(kind.kind, kind.orderers))
		third, err := bare.NewOrg("bankc")
		if err != nil {
			t.Fatal(err)
		}
		renewed := w.consenter(1)
		leaf, err := w.ord.Reissue("orderer", pki.RoleOrderer, w.leaves[1].Key)
		if err != nil {
			t.Fatal(err)
		}
		renewed.ServerTLS, renewed.ClientTLS = leaf.TLS, leaf.TLS
		for name, test := range map[string]struct {
			change func(channel) (channel, error)
			want   []string
		}{
			"batch": {
				func(c channel) (channel, error) { c.Batch.Timeout = time.Second; return c, nil },
				[]string{"Change the batch time-out from 200ms to 1s"},
			},
			"policy": {func(c channel) (channel, error) {
				c = c.Clone()
				c.Policies.Application["Endorsement"] = channelconfig.Policy{Type: channelconfig.ImplicitMeta, Rule: "any Endorsement"}
				return c, nil
			}, []string{"Change the policy Endorsement of the application from AND('bankaMSP.peer', 'bankbMSP.peer') to ANY Endorsement"}},
			"acl removed": {
				func(c channel) (channel, error) { c.ACLs = nil; return c, nil },
				[]string{"Remove the access rule of qscc/GetChainInfo, which is /Channel/Application/Writers"},
			},
			"capability": {
				func(c channel) (channel, error) { c.Capabilities.Application = "V2_0"; return c, nil },
				[]string{"Change the application capability from V2_5 to V2_0"},
			},
			"new organisation": {
				func(c channel) (channel, error) { return c.AddApplicationOrg(third.Organization()) },
				[]string{"Add the organisation bankcMSP"},
			},
			"organisation gone": {
				func(c channel) (channel, error) { return c.RemoveApplicationOrg("bankbMSP") },
				[]string{"Remove the organisation bankbMSP"},
			},
			"orderer organisation": {func(c channel) (channel, error) {
				org := third.Organization()
				org.Endpoints = []string{"orderer0-bankc.trade:7050"}
				return c.AddOrdererOrg(org)
			}, []string{"Add the orderer organisation bankcMSP"}},
			"anchors": {func(c channel) (channel, error) {
				return c.SetAnchors("bankbMSP", []channelconfig.Address{{Host: "peer1-bankb.trade", Port: 7051}})
			}, []string{"Change the anchor peers of the organisation bankbMSP from peer0-bankb.trade:7051, peer1-bankb.trade:7051 to peer1-bankb.trade:7051"}},
			"endpoints": {
				func(c channel) (channel, error) { return c.SetEndpoints("ordMSP", []string{"orderer0-ord.trade:7050"}) },
				[]string{"Change the orderer addresses of the orderer organisation ordMSP from orderer0-ord.trade:7050, orderer1-ord.trade:7050 to orderer0-ord.trade:7050"},
			},
			"add consenter": {
				func(c channel) (channel, error) { return c.AddConsenter(w.consenter(kind.orderers)) },
				[]string{"Add the consenter " + w.consenter(kind.orderers).Address().String()},
			},
			"renew consenter": {
				func(c channel) (channel, error) { return c.ReplaceConsenter(renewed) },
				[]string{"Replace the TLS certificate of the consenter orderer1-ord.trade:7050"},
			},
			"revocation": {func(c channel) (channel, error) {
				c = c.Clone()
				crl, err := w.a.App.CRL(nil, 1, noon, noon.Add(time.Hour))
				c.ApplicationOrgs[0].MSP.CRLs = [][]byte{crl}
				return c, err
			}, []string{"Replace the revocation lists of the organisation bankaMSP"}},
		} {
			t.Run(kindName+"/"+name, func(t *testing.T) {
				wish, err := test.change(config.Channel)
				if err != nil {
					t.Fatal(err)
				}
				update, err := config.Update(wish)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, c := range update.Changes {
					got = append(got, c.Text)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
				next := propose(t, config, update, w.ord.Admin, w.a.Admin, w.b.Admin)
				if diff := channelconfig.Diff(wish, next.Channel); len(diff) > 0 {
					t.Errorf("after the update: %v", diff)
				}
				if next.Sequence != config.Sequence+1 {
					t.Errorf("sequence %d", next.Sequence)
				}
				wantApplied(t, config, update.Raw, next, test.want)
				if _, err := next.Update(wish); !errors.Is(err, channelconfig.ErrNoChange) {
					t.Errorf("the same wish again: %v", err)
				}
			})
		}
	}
}

// propose has Fabric's own code apply a signed update, as an orderer would.
func propose(t *testing.T, config *channelconfig.Config, update *channelconfig.Update, signers ...*identity.Identity) *channelconfig.Config {
	t.Helper()
	next, err := tryPropose(t, config, update, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func tryPropose(t *testing.T, config *channelconfig.Config, update *channelconfig.Update, signers ...*identity.Identity) (*channelconfig.Config, error) {
	t.Helper()
	for range 2 { // the second signature replaces the first
		for _, signer := range signers {
			if err := update.Sign(signer); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(update.Signatures) != len(signers) {
		t.Fatalf("%d signatures of %d signers", len(update.Signatures), len(signers))
	}
	envelope, err := update.Envelope(signers[0], noon)
	if err != nil {
		t.Fatal(err)
	}
	result, err := bundle(t, config.Raw).ConfigtxValidator().ProposeConfigUpdate(envelope)
	if err != nil {
		return nil, err
	}
	bundle(t, result.GetConfig())
	return channelconfig.FromRaw("trade", result.GetConfig())
}

// TestSignaturesCount shows that the judge above judges.
func TestSignaturesCount(t *testing.T) {
	w := newWorld(t, 3)
	_, config := genesis(t, w.channel(channelconfig.Raft, 3))
	wish := config.Channel.Clone()
	wish.Batch.MaxMessages = 7
	update, err := config.Update(wish)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryPropose(t, config, update, w.a.Admin); err == nil {
		t.Error("a bank's administrator changed the ordering service")
	}
	update.Raw = append([]byte{}, update.Raw...)
	update.Signatures = nil
	if _, err := tryPropose(t, config, update, w.ord.Admin); err != nil {
		t.Error(err)
	}
}

// TestForeignParts keeps what the typed value does not know.
func TestForeignParts(t *testing.T) {
	w := newWorld(t, 3)
	_, config := genesis(t, w.channel(channelconfig.Raft, 3))
	config.Raw.ChannelGroup.Values["Consortium"] = &cb.ConfigValue{ModPolicy: "Admins", Value: []byte("x"), Version: 3}
	config.Raw.ChannelGroup.Groups["Orderer"].Values["BatchSize"].ModPolicy = "/Channel/Orderer/Writers"
	again, err := channelconfig.FromRaw("trade", config.Raw)
	if err != nil {
		t.Fatal(err)
	}
	wish := again.Channel.Clone()
	wish.Batch.MaxMessages = 7
	update, err := again.Update(wish)
	if err != nil {
		t.Fatal(err)
	}
	var message cb.ConfigUpdate
	if err := proto.Unmarshal(update.Raw, &message); err != nil {
		t.Fatal(err)
	}
	if len(message.GetWriteSet().GetValues()) > 0 {
		t.Error("the update touches the channel's own values")
	}
	if got := message.GetWriteSet().GetGroups()["Orderer"].GetValues()["BatchSize"].GetModPolicy(); got != "/Channel/Orderer/Writers" {
		t.Errorf("modification policy %q", got)
	}
}

// TestMissing compares our judgement of who has to sign with Fabric's own.
func TestMissing(t *testing.T) {
	type channel = channelconfig.Channel
	w := newWorld(t, 4)
	third, err := bare.NewOrg("bankc")
	if err != nil {
		t.Fatal(err)
	}
	start := w.channel(channelconfig.Raft, 3)
	start.ApplicationOrgs[1].Policies["Admins"] = channelconfig.Policy{Type: channelconfig.Signature, Rule: "AND('bankbMSP.admin', 'bankaMSP.admin')"}
	_, config := genesis(t, start)
	all := map[string]*identity.Identity{"ordMSP": w.ord.Admin, "bankaMSP": w.a.Admin, "bankbMSP": w.b.Admin}
	for name, test := range map[string]struct {
		change func(channel) (channel, error)
		alone  []string // the policies that each organisation alone misses
	}{
		"ordering":       {func(c channel) (channel, error) { c.Batch.MaxMessages = 7; return c, nil }, []string{"/Channel/Orderer/Admins"}},
		"the channel":    {func(c channel) (channel, error) { c.Capabilities.Channel = "V3_0"; return c, nil }, []string{"/Channel/Admins"}},
		"a member more":  {func(c channel) (channel, error) { return c.AddApplicationOrg(third.Organization()) }, []string{"/Channel/Application/Admins"}},
		"own anchors":    {func(c channel) (channel, error) { return c.SetAnchors("bankaMSP", nil) }, []string{"/Channel/Application/bankaMSP/Admins"}},
		"anchors of two": {func(c channel) (channel, error) { return c.SetAnchors("bankbMSP", nil) }, []string{"/Channel/Application/bankbMSP/Admins"}},
		"both parts": {func(c channel) (channel, error) {
			c.Batch.MaxMessages = 7
			return c.SetAnchors("bankaMSP", nil)
		}, []string{"/Channel/Application/bankaMSP/Admins", "/Channel/Orderer/Admins"}},
	} {
		t.Run(name, func(t *testing.T) {
			wish, err := test.change(config.Channel.Clone())
			if err != nil {
				t.Fatal(err)
			}
			update, err := config.Update(wish)
			if err != nil {
				t.Fatal(err)
			}
			names := []string{"ordMSP", "bankaMSP", "bankbMSP"}
			for subset := 1; subset < 8; subset++ {
				var mspIDs []string
				var signers []*identity.Identity
				for i, id := range names {
					if subset&(1<<i) != 0 {
						mspIDs, signers = append(mspIDs, id), append(signers, all[id])
					}
				}
				missing, err := config.Missing(update, mspIDs)
				if err != nil {
					t.Fatal(err)
				}
				update.Signatures = nil
				_, refused := tryPropose(t, config, update, signers...)
				if (refused == nil) != (len(missing) == 0) {
					t.Errorf("%v: we miss %v, Fabric says %v", mspIDs, missing, refused)
				}
			}
			missing, err := config.Missing(update, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.alone, missing); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStepConsenters(t *testing.T) {
	w := newWorld(t, 6)
	for name, test := range map[string]struct {
		kind      channelconfig.Consensus
		from, to  []int
		wantSteps []string
	}{
		"grow":    {channelconfig.Raft, []int{0, 1, 2}, []int{0, 1, 2, 3, 4}, []string{"Add the consenter orderer3-ord.trade:7050", "Add the consenter orderer4-ord.trade:7050"}},
		"shrink":  {channelconfig.Raft, []int{0, 1, 2, 3, 4}, []int{1, 2, 4}, []string{"Remove the consenter orderer0-ord.trade:7050", "Remove the consenter orderer3-ord.trade:7050"}},
		"replace": {channelconfig.BFT, []int{0, 1, 2, 3}, []int{1, 2, 3, 4}, []string{"Add the consenter orderer4-ord.trade:7050", "Remove the consenter orderer0-ord.trade:7050"}},
		"nothing": {channelconfig.BFT, []int{0, 1, 2, 3}, []int{3, 2, 1, 0}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.channel(test.kind, 0)
			var wish []channelconfig.Consenter
			for _, i := range test.from {
				var err error
				if c, err = c.AddConsenter(w.consenter(i)); err != nil {
					t.Fatal(err)
				}
			}
			for _, i := range test.to {
				wish = append(wish, w.consenter(i))
			}
			var steps []string
			for {
				next, step, err := c.StepConsenters(wish)
				if err != nil {
					t.Fatal(err)
				}
				if step == "" {
					break
				}
				if diff := channelconfig.Diff(c, next); len(diff) != 1 {
					t.Errorf("step %q changes %v", step, diff)
				}
				steps, c = append(steps, step), next
			}
			if diff := cmp.Diff(test.wantSteps, steps); diff != "" {
				t.Error(diff)
			}
			ids := map[uint32]bool{}
			for _, consenter := range c.Consenters {
				if test.kind == channelconfig.BFT && (consenter.ID == 0 || ids[consenter.ID]) {
					t.Errorf("number %d", consenter.ID)
				}
				ids[consenter.ID] = true
			}
		})
	}
}

func TestProblems(t *testing.T) {
	type channel = channelconfig.Channel
	w := newWorld(t, 5)
	for name, test := range map[string]struct {
		kind     channelconfig.Consensus
		orderers int
		change   func(*channel)
		field    string
		advice   bool
	}{
		"a good one":         {channelconfig.Raft, 3, func(*channel) {}, "", false},
		"a good BFT":         {channelconfig.BFT, 4, func(*channel) {}, "", false},
		"even Raft":          {channelconfig.Raft, 4, func(*channel) {}, "consenters", true},
		"BFT of 3":           {channelconfig.BFT, 3, func(*channel) {}, "consenters", false},
		"BFT of 5":           {channelconfig.BFT, 5, func(*channel) {}, "consenters", true},
		"Raft of none":       {channelconfig.Raft, 0, func(*channel) {}, "consenters", false},
		"no consensus":       {channelconfig.Raft, 3, func(c *channel) { c.Consensus = "solo" }, "consensus", false},
		"old capability":     {channelconfig.BFT, 4, func(c *channel) { c.Capabilities.Channel = "V2_0" }, "capabilities.channel", false},
		"upper-case id":      {channelconfig.Raft, 3, func(c *channel) { c.ID = "Trade" }, "channelID", false},
		"no id":              {channelconfig.Raft, 3, func(c *channel) { c.ID = "" }, "channelID", false},
		"id too long":        {channelconfig.Raft, 3, func(c *channel) { c.ID = strings.Repeat("a", 250) }, "channelID", false},
		"negative time-out":  {channelconfig.Raft, 3, func(c *channel) { c.Batch.Timeout = -1 }, "batch.timeout", false},
		"no messages":        {channelconfig.Raft, 3, func(c *channel) { c.Batch.MaxMessages = 0 }, "batch.maxMessages", false},
		"sizes swapped":      {channelconfig.Raft, 3, func(c *channel) { c.Batch.PreferredMaxBytes = c.Batch.AbsoluteMaxBytes + 1 }, "batch.preferredMaxBytes", false},
		"huge blocks":        {channelconfig.Raft, 3, func(c *channel) { c.Batch.AbsoluteMaxBytes = 100 << 20 }, "batch.absoluteMaxBytes", false},
		"election too soon":  {channelconfig.Raft, 3, func(c *channel) { c.RaftOptions.ElectionTick = 1 }, "raft.electionTick", false},
		"view change":        {channelconfig.BFT, 4, func(c *channel) { c.BFTOptions.ViewChangeResendInterval = time.Hour }, "bft.viewChangeResendInterval", false},
		"MSP id twice":       {channelconfig.Raft, 3, func(c *channel) { c.ApplicationOrgs[1].MSPID = c.ApplicationOrgs[0].MSPID }, "applicationOrganisations[bankbMSP]", false},
		"no orderer address": {channelconfig.Raft, 3, func(c *channel) { c.OrdererOrgs[0].Endpoints = nil }, "ordererOrganisations[ordMSP].endpoints", false},
		"a bad address":      {channelconfig.Raft, 3, func(c *channel) { c.OrdererOrgs[0].Endpoints = []string{"orderer"} }, "ordererOrganisations[ordMSP].endpoints", false},
		"a bad anchor":       {channelconfig.Raft, 3, func(c *channel) { c.ApplicationOrgs[0].Anchors[0].Port = 0 }, "applicationOrganisations[bankaMSP].anchors", false},
		"no root":            {channelconfig.Raft, 3, func(c *channel) { c.ApplicationOrgs[0].MSP.CACerts = nil }, "applicationOrganisations[bankaMSP]", false},
		"nobody":             {channelconfig.Raft, 3, func(c *channel) { c.ApplicationOrgs = nil }, "applicationOrganisations", true},
		"a bad policy": {channelconfig.Raft, 3, func(c *channel) {
			c.Policies.Channel["Admins"] = channelconfig.Policy{Type: "Signature", Rule: "XOR()"}
		}, "policies.channel.Admins", false},
		"no policy":         {channelconfig.Raft, 3, func(c *channel) { delete(c.Policies.Application, "Endorsement") }, "policies.application", false},
		"an empty rule":     {channelconfig.Raft, 3, func(c *channel) { c.ACLs["x"] = "" }, "acls", false},
		"consenter twice":   {channelconfig.Raft, 3, func(c *channel) { c.Consenters[1].Host = c.Consenters[0].Host }, "consenters[1]", false},
		"certificate twice": {channelconfig.Raft, 3, func(c *channel) { c.Consenters[1].ServerTLS = c.Consenters[0].ServerTLS }, "consenters[1]", false},
		"no certificate":    {channelconfig.Raft, 3, func(c *channel) { c.Consenters[1].ClientTLS = nil }, "consenters[1].clientTLS", false},
		"a foreign orderer": {channelconfig.BFT, 4, func(c *channel) { c.Consenters[1].MSPID = "bankaMSP" }, "consenters[1].mspID", false},
		"number twice":      {channelconfig.BFT, 4, func(c *channel) { c.Consenters[1].ID = 1 }, "consenters[1].id", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.channel(test.kind, test.orderers)
			test.change(&c)
			problems := c.Problems()
			if test.field == "" {
				if len(problems) > 0 {
					t.Errorf("got %v", problems)
				}
				return
			}
			if len(problems) != 1 || problems[0].Field != test.field || problems[0].Advice != test.advice {
				t.Errorf("got %v, want one of %s", problems, test.field)
			}
			if err := c.Validate(); (err == nil) != test.advice {
				t.Errorf("Validate: %v", err)
			}
		})
	}
}

func TestQuorum(t *testing.T) {
	for n, want := range map[int][2]int{1: {1, 1}, 3: {2, 2}, 4: {3, 3}, 5: {3, 4}, 7: {4, 5}, 10: {6, 7}} {
		if got := [2]int{channelconfig.Raft.Quorum(n), channelconfig.BFT.Quorum(n)}; got != want {
			t.Errorf("quorum of %d: %v, want %v", n, got, want)
		}
	}
	for n, want := range map[int][2]int{0: {0, 0}, 1: {0, 0}, 3: {1, 0}, 4: {1, 1}, 7: {3, 2}} {
		if got := [2]int{channelconfig.Raft.Tolerates(n), channelconfig.BFT.Tolerates(n)}; got != want {
			t.Errorf("%d tolerate %v, want %v", n, got, want)
		}
	}
}

func TestCaughtUp(t *testing.T) {
	for height, want := range map[uint64][2]bool{7: {false, false}, 8: {false, true}, 9: {true, true}, 10: {true, true}} {
		if got := [2]bool{channelconfig.Raft.CaughtUp(height, 9), channelconfig.BFT.CaughtUp(height, 9)}; got != want {
			t.Errorf("height %d of 9: %v, want %v", height, got, want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for name, b := range map[string]*cb.Block{
		"nothing": {}, "no envelope": {Data: &cb.BlockData{Data: [][]byte{{}}}},
		"garbage": {Data: &cb.BlockData{Data: [][]byte{{0xff}}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := channelconfig.Read(b); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	w := newWorld(f, 4)
	b, _ := genesis(f, w.channel(channelconfig.BFT, 4))
	f.Add(b.GetData().GetData()[0])
	f.Fuzz(func(t *testing.T, raw []byte) {
		config, err := channelconfig.Read(&cb.Block{Data: &cb.BlockData{Data: [][]byte{raw}}})
		if err != nil {
			return
		}
		_ = config.Channel.Problems()
		if diff := channelconfig.Diff(config.Channel, config.Channel); len(diff) > 0 {
			t.Errorf("a channel differs from itself: %v", diff)
		}
	})
}
