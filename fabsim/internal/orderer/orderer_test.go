package orderer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"github.com/hyperledger/fabric-x-common/common/channelconfig"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// payloads are what the transactions of blocks carry.
func payloads(t *testing.T, chain []*cb.Block) []string {
	t.Helper()
	var out []string
	for _, block := range chain {
		for _, raw := range block.GetData().GetData() {
			envelope, err := protoutil.UnmarshalEnvelope(raw)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := protoutil.UnmarshalPayload(envelope.GetPayload())
			if err != nil {
				t.Fatal(err)
			}
			content := &cb.Metadata{}
			if !blocks.IsConfig(block) && proto.Unmarshal(payload.GetData(), content) == nil {
				out = append(out, string(content.GetValue()))
			}
		}
	}
	return out
}

// same checks that orderers have the same chain, that it is sound, and gives
// it.
func (w *network) same(id string, members ...*member) []*cb.Block {
	w.t.Helper()
	var first []*cb.Block
	w.eventually("the same blocks on all orderers", func() error {
		for i, m := range members {
			chain, err := w.blocks(m, id, math.MaxUint64)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			if i == 0 {
				first = chain
				continue
			}
			if len(chain) != len(first) {
				return fmt.Errorf("%s has %d blocks, %s has %d", m.name, len(chain), members[0].name, len(first))
			}
			for n, block := range chain {
				if !proto.Equal(block.GetHeader(), first[n].GetHeader()) {
					w.t.Fatalf("%s has another block %d than %s", m.name, n, members[0].name)
				}
			}
		}
		return nil
	})
	config, err := channel.FromBlock(first[0])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, block := range first[1:] {
		if err := config.VerifyBlock(block); err != nil {
			w.t.Fatal(err)
		}
		if blocks.IsConfig(block) {
			if config, err = channel.FromBlock(block); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return first
}

// newest is the newest configuration block of a channel.
func newest(chain []*cb.Block) *cb.Block {
	for _, block := range slices.Backward(chain) {
		if blocks.IsConfig(block) {
			return block
		}
	}
	return nil
}

// update changes a channel and waits for the block.
func (w *network) update(m *member, id string, change func(*cb.ConfigGroup)) *cb.Block {
	w.t.Helper()
	chain, err := w.blocks(m, id, math.MaxUint64)
	if err != nil {
		w.t.Fatal(err)
	}
	before, err := channel.FromBlock(newest(chain))
	if err != nil {
		w.t.Fatal(err)
	}
	message := simtest.Update(w.t, id, before.Proto(), change, w.admin)
	w.eventually("an update of "+id, func() error { return w.send(m, message) })
	var block *cb.Block
	w.eventually("the block of an update of "+id, func() error {
		chain, err := w.blocks(m, id, math.MaxUint64)
		if err != nil {
			return err
		}
		if block = newest(chain); block.GetHeader().GetNumber() == numberOf(chain, before) {
			return errors.New("it is not there yet")
		}
		return nil
	})
	return block
}

// numberOf is the number of the block that has a configuration.
func numberOf(chain []*cb.Block, config *channel.Config) uint64 {
	for _, block := range chain {
		if !blocks.IsConfig(block) {
			continue
		}
		found, err := channel.FromBlock(block)
		if err == nil && found.Sequence() == config.Sequence() {
			return block.GetHeader().GetNumber()
		}
	}
	return math.MaxUint64
}

func (w *network) consenters(members ...*member) func(*cb.ConfigGroup) {
	return func(g *cb.ConfigGroup) {
		ordering := g.Groups["Orderer"]
		metadata := &etcdraft.ConfigMetadata{Options: &etcdraft.Options{
			TickInterval: "50ms", ElectionTick: 10, HeartbeatTick: 1, MaxInflightBlocks: 5, SnapshotIntervalSize: 16 << 20,
		}}
		var endpoints []string
		for _, m := range members {
			metadata.Consenters = append(metadata.Consenters, m.consenter())
		}
		for _, m := range w.members {
			endpoints = append(endpoints, m.address)
		}
		simtest.SetValue(w.t, ordering, channelconfig.ConsensusTypeKey,
			channelconfig.ConsensusTypeValue("etcdraft", simtest.Marshal(w.t, metadata)).Value())
		simtest.SetValue(w.t, ordering.Groups["ord"], channelconfig.EndpointsKey, channelconfig.EndpointsValue(endpoints).Value())
	}
}

// TestOrdering takes transactions over every orderer and cuts blocks by
// number and by time.
func TestOrdering(t *testing.T) {
	w := newNetwork(t, 3)
	spec := w.channel("trade", w.members...)
	spec.MaxMessages = 5
	genesis := spec.Genesis(t)
	for _, m := range w.members {
		if body := w.join(m, genesis); body["consensusRelation"] != "consenter" || body["status"] != "active" || body["height"] != 1.0 {
			t.Errorf("%s: %v", m.name, body)
		}
	}
	var want []string
	for i := range 21 {
		want = append(want, fmt.Sprint("tx", i))
		w.submit(w.members[i%3], "trade", want[i])
	}
	var chain []*cb.Block
	w.eventually("all transactions in blocks", func() error {
		chain = w.same("trade", w.members...)
		if got := len(payloads(t, chain)); got != len(want) {
			return fmt.Errorf("%d transactions", got)
		}
		return nil
	})
	got := payloads(t, chain)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for _, block := range chain[1:] {
		if n := len(block.GetData().GetData()); n > 5 {
			t.Errorf("block %d has %d transactions", block.GetHeader().GetNumber(), n)
		}
	}
	if code, body := w.ask(w.members[0], http.MethodPost, "", genesis); code != 405 {
		t.Errorf("join twice: %d %v", code, body)
	}
	if err := w.send(w.members[0], simtest.Transaction(t, w.client, "nowhere", nil)); err == nil || !strings.Contains(err.Error(), "BAD_REQUEST: channel does not exist") {
		t.Errorf("a channel that is not there: %v", err)
	}
	if _, err := w.blocks(w.members[0], "nowhere", 0); err == nil || !strings.Contains(err.Error(), "NOT_FOUND") {
		t.Errorf("blocks of a channel that is not there: %v", err)
	}
	stranger := simtest.NewOrg(t, "banka").Signer(t, "client", 0)
	if err := w.send(w.members[0], simtest.Transaction(t, stranger, "trade", nil)); err == nil || !strings.Contains(err.Error(), "FORBIDDEN") {
		t.Errorf("a stranger's transaction: %v", err)
	}
}

// TestKill kills orderers, the leader more often than not, while transactions
// come in, and loses nothing that was once in a block.
func TestKill(t *testing.T) {
	w := newNetwork(t, 3)
	spec := w.channel("trade", w.members...)
	spec.Snapshot = 20_000 // often: those that come back are behind the log
	genesis := spec.Genesis(t)
	for _, m := range w.members {
		w.join(m, genesis)
	}
	w.submit(w.leader("trade"), "trade", "first")
	seen := map[uint64][]byte{}
	sent := 0
	for round := range 6 {
		victim := w.leader("trade")
		if round%3 == 2 {
			victim = w.members[rand.N(3)]
		}
		var load sync.WaitGroup
		others := slices.DeleteFunc(slices.Clone(w.members), func(m *member) bool { return m == victim })
		for i := range 40 {
			sent++
			if i == 20 {
				load.Go(victim.kill)
			}
			_ = w.send(others[i%2], simtest.Transaction(t, w.client, "trade", fmt.Appendf(nil, "tx%d-%s", sent, strings.Repeat("x", 500)))) // some are refused
		}
		load.Wait()
		w.submit(others[0], "trade", fmt.Sprint("after round ", round))
		for _, block := range w.same("trade", others...) {
			number, hash := block.GetHeader().GetNumber(), blocks.HeaderHash(block.GetHeader())
			if before, ok := seen[number]; ok && string(before) != string(hash) {
				t.Fatalf("block %d is another than before round %d", number, round)
			}
			seen[number] = hash
		}
		w.start(victim)
		if chain := w.same("trade", w.members...); len(chain) < len(seen) {
			t.Fatalf("%d blocks after round %d, there were %d", len(chain), round, len(seen))
		}
	}
	if w.metric(w.leader("trade"), `consensus_etcdraft_snapshot_block_number{channel="trade"}`) == "" {
		t.Error("no snapshot was taken")
	}
	t.Logf("%d transactions sent, %d in %d blocks", sent, len(payloads(t, w.same("trade", w.members...))), len(seen))
}

// TestMembers adds an orderer, renews its certificate, and removes the leader.
func TestMembers(t *testing.T) {
	w := newNetwork(t, 3)
	genesis := w.channel("trade", w.members...).Genesis(t)
	for _, m := range w.members {
		w.join(m, genesis)
	}
	w.submit(w.members[0], "trade", "first")
	first := append([]*member{}, w.members...)
	fourth := w.add()
	// It follows the channel first, as one that is no consenter.
	chain := w.same("trade", first...)
	if body := w.join(fourth, newest(chain)); body["consensusRelation"] != "follower" || body["status"] != "onboarding" {
		t.Errorf("join: %v", body)
	}
	w.is(fourth, "trade", "follower", "active")
	w.update(first[0], "trade", w.consenters(w.members...))
	w.is(fourth, "trade", "consenter", "active")
	w.submit(fourth, "trade", "over the fourth")
	w.same("trade", w.members...)
	// Two at a time are refused.
	err := w.send(first[0], simtest.Update(t, "trade", mustConfig(t, newest(w.same("trade", w.members...))).Proto(), w.consenters(first[:2]...), w.admin))
	if err == nil || !strings.Contains(err.Error(), "more than one consenter") {
		t.Errorf("removing two: %v", err)
	}
	// Another certificate for the fourth; it comes back with it.
	fourth.tls = w.ord.TLS(t, "renewed")
	w.update(first[0], "trade", w.consenters(w.members...))
	fourth.kill()
	w.writeTLS(fourth)
	w.start(fourth)
	w.submit(fourth, "trade", "over the renewed fourth")
	w.same("trade", w.members...)
	// The leader goes; the others go on, and it follows.
	leader := w.leader("trade")
	rest := slices.DeleteFunc(slices.Clone(w.members), func(m *member) bool { return m == leader })
	w.update(rest[0], "trade", w.consenters(rest...))
	w.is(leader, "trade", "follower", "active")
	w.submit(rest[1], "trade", "without the old leader")
	w.same("trade", rest...)
	// One that is away while it is removed learns of it when it comes back.
	away := rest[2]
	away.kill()
	w.submit(rest[0], "trade", "while one is away")
	w.update(rest[0], "trade", w.consenters(rest[:2]...))
	w.start(away)
	w.is(away, "trade", "follower", "active")
	// And back again it comes, with another number.
	w.update(rest[0], "trade", w.consenters(rest...))
	w.is(away, "trade", "consenter", "active")
	w.submit(away, "trade", "back again")
	w.same("trade", rest...)
}

func mustConfig(t *testing.T, block *cb.Block) *channel.Config {
	t.Helper()
	config, err := channel.FromBlock(block)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestChannels has several channels on one orderer, removes one, and makes it
// anew under the same name.
func TestChannels(t *testing.T) {
	w := newNetwork(t, 1)
	m := w.members[0]
	for _, id := range []string{"one", "two"} {
		w.join(m, w.channel(id, m).Genesis(t))
		w.submit(m, id, "in "+id)
	}
	if code, body := w.ask(m, http.MethodDelete, "/one", nil); code != http.StatusNoContent {
		t.Fatalf("remove: %d %v", code, body)
	}
	w.eventually("the removal", func() error {
		if code, body := w.ask(m, http.MethodGet, "/one", nil); code != http.StatusNotFound {
			return fmt.Errorf("%d %v", code, body)
		}
		return nil
	})
	w.join(m, w.channel("one", m).Genesis(t))
	w.submit(m, "one", "anew")
	w.eventually("the new channel's block", func() error {
		if got := payloads(t, w.same("one", m)); !slices.Equal(got, []string{"anew"}) {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	m.kill()
	w.start(m)
	w.submit(m, "two", "after a restart")
	if code, body := w.ask(m, http.MethodGet, "", nil); code != 200 || len(body["channels"].([]any)) != 2 {
		t.Errorf("channels: %v", body)
	}
	bft := w.channel("bft", m)
	bft.Change = func(g *cb.ConfigGroup) {
		simtest.SetValue(t, g.Groups["Orderer"], channelconfig.ConsensusTypeKey, channelconfig.ConsensusTypeValue("BFT", nil).Value())
	}
	if code, body := w.ask(m, http.MethodPost, "", bft.Genesis(t)); code != 400 || !strings.Contains(fmt.Sprint(body["error"]), "BFT") {
		t.Errorf("BFT: %d %v", code, body)
	}
}

// TestSettings refuses what cannot work, and says which setting it is.
func TestSettings(t *testing.T) {
	org := simtest.NewOrg(t, "ord")
	dir, leaf := t.TempDir(), org.TLS(t, "o")
	org.WriteMSP(t, dir+"/msp", org.Identity(t, "o", "orderer", 0))
	simtest.Write(t, dir, map[string][]byte{"tls/crt": leaf.Cert, "tls/key": leaf.Key, "tls/ca": org.TLSRoot()})
	m := &member{dir: dir, address: "127.0.0.1:0", admin: "127.0.0.1:0", operates: "127.0.0.1:0"}
	for name, test := range map[string]struct{ env, says string }{
		"no TLS":              {"ORDERER_GENERAL_TLS_ENABLED=false", "ORDERER_GENERAL_TLS_ENABLED"},
		"a bootstrap file":    {"ORDERER_GENERAL_BOOTSTRAPMETHOD=file", "ORDERER_GENERAL_BOOTSTRAPMETHOD"},
		"no port":             {"ORDERER_GENERAL_LISTENPORT=many", "ORDERER_GENERAL_LISTENPORT"},
		"no MSP's name":       {"ORDERER_GENERAL_LOCALMSPID=", "ORDERER_GENERAL_LOCALMSPID"},
		"no MSP":              {"ORDERER_GENERAL_LOCALMSPDIR=" + t.TempDir(), "MSP"},
		"no certificate":      {"ORDERER_GENERAL_TLS_CERTIFICATE=/nowhere", "/nowhere"},
		"a hardware module":   {"ORDERER_GENERAL_BCCSP_DEFAULT=PKCS11", "ORDERER_GENERAL_BCCSP_DEFAULT"},
		"a cluster listener":  {"ORDERER_GENERAL_CLUSTER_LISTENPORT=7051", "ORDERER_GENERAL_CLUSTER_LISTENPORT"},
		"no level":            {"FABRIC_LOGGING_SPEC=loudly", "FABRIC_LOGGING_SPEC"},
		"too large a message": {"ORDERER_GENERAL_MAXRECVMSGSIZE=3 GB", "ORDERER_GENERAL_MAXRECVMSGSIZE"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			key, _, _ := strings.Cut(test.env, "=")
			environ := slices.DeleteFunc(m.environ(), func(e string) bool { return strings.HasPrefix(e, key+"=") })
			err := orderer.Run(ctx, append(environ, test.env), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want something about %s", err, test.says)
			}
		})
	}
}
