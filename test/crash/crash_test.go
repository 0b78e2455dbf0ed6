package crash

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/load"
)

var (
	kills    = flag.Int("kills", number("CRASH_KILLS", 6), "nodes to kill, one after the other (CRASH_KILLS)")
	seed     = flag.Uint64("seed", uint64(number("CRASH_SEED", 0)), "seed of what is killed and when; 0 draws one (CRASH_SEED)")
	orderers = flag.Int("orderers", 3, "orderers")
	peers    = flag.Int("peers", 1, "peers of each of the two organisations")
	rate     = flag.Float64("rate", 20, "transactions a second")
	gap      = flag.Duration("gap", 2*time.Second, "longest time between a start and the next kill")
	down     = flag.Duration("down", time.Second, "longest time that a node stays down")
	recovery = flag.Duration("recovery", 2*time.Minute, "longest time that the network may take to be well again afterwards")
)

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

const (
	channel  = "trade"
	contract = "asset"
)

// TestReal kills real nodes.
func TestReal(t *testing.T) {
	crash(t, bare.RequireReal(t))
}

// TestSimulated kills stand-in nodes.
func TestSimulated(t *testing.T) {
	crash(t, bare.RequireSimulated(t))
}

func crash(t *testing.T, programs bare.Programs) {
	t.Helper()
	program := bare.BuildProgram(t, "samples/contracts/asset-go")
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d: repeat with -seed %d -kills %d", *seed, *seed, *kills)
	random := rand.New(rand.NewPCG(*seed, *seed))
	ctx := t.Context()
	n, err := bare.Start(ctx, programs, bare.Options{
		Dir: t.TempDir(), Consensus: channelconfig.Raft, Orderers: *orderers, Orgs: []string{"banka", "bankb"}, PeersPerOrg: *peers, Channel: channel,
		Batch: channelconfig.Batch{Timeout: 100 * time.Millisecond, MaxMessages: 50},
	})
	ok(t, err)
	t.Cleanup(n.Close)
	ok(t, n.CreateChannel(ctx))
	_, err = n.Deploy(ctx, contract, program, admin.Definition{})
	ok(t, err)
	clients := connect(t, n)
	ok(t, committed(ctx, clients))

	run, err := load.Start(ctx, clients, load.Options{InFlight: 32, Rate: *rate})
	ok(t, err)
	began := time.Now()
	counts := killAndStart(t, n, random)
	run.Stop()
	result := run.Wait()
	t.Logf("%d kills in %.0f s %v; %s", *kills, time.Since(began).Seconds(), counts, result)
	if len(result.Acks) == 0 {
		t.Fatal("no transaction was acknowledged: this proves nothing")
	}

	// Nothing but waiting from here on.
	ctx, cancel := context.WithTimeout(ctx, *recovery)
	defer cancel()
	revive(t, n)
	began = time.Now()
	ok(t, n.Healthy(ctx))
	ok(t, committed(ctx, clients))
	end, err := load.CheckLedgers(ctx, clients)
	ok(t, err)
	t.Logf("well again after %.1f s: all peers at height %d, hash %.16s", time.Since(began).Seconds(), end.Height, end.Hash)
	ok(t, load.CheckKept(ctx, clients, result.Acks))
	sameState(ctx, t, clients, end)
	t.Logf("%d acknowledged transactions, none lost", len(result.Acks))
}

// connect makes a client of every peer.
func connect(t *testing.T, n *bare.Network) []*load.Client {
	t.Helper()
	var out []*load.Client
	for _, p := range n.Peers {
		leaf, err := p.Org.Issue("client", pki.RoleClient)
		ok(t, err)
		key, err := pki.EncodeKey(leaf.Key)
		ok(t, err)
		c, err := load.Connect(load.Target{
			Name: p.Name, Address: p.Address, ServerName: "localhost", Roots: p.Org.TLSRoots(), Channel: channel, Chaincode: contract,
		}, load.User{MSPID: p.Org.MSPID, Cert: leaf.Sign, Key: key})
		ok(t, err)
		t.Cleanup(func() { _ = c.Close() })
		out = append(out, c)
	}
	return out
}

// committed waits until every peer's gateway has taken a transaction to its end.
func committed(ctx context.Context, clients []*load.Client) error {
	for _, c := range clients {
		err := bare.Eventually(ctx, func() error {
			_, err := c.Submit(ctx, "Create", fmt.Sprintf("probe-%s-%d", c.Name(), time.Now().UnixNano()), "crash", "1")
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// nodes are all nodes, orderers first.
func nodes(n *bare.Network) []*bare.Node {
	var out []*bare.Node
	for _, o := range n.Orderers {
		out = append(out, &o.Node)
	}
	for _, p := range n.Peers {
		out = append(out, &p.Node)
	}
	return out
}

// killAndStart kills one node after the other and starts it again. It waits for
// nobody's health: the next one may go down while the last one comes up.
func killAndStart(t *testing.T, n *bare.Network, random *rand.Rand) map[string]int {
	t.Helper()
	all := nodes(n)
	counts := map[string]int{}
	for range *kills {
		pause(t, random, *gap)
		revive(t, n)
		node := all[random.IntN(len(all))]
		node.Kill()
		counts[node.Name]++
		pause(t, random, *down)
		ok(t, node.Start())
	}
	return counts
}

// revive starts nodes that ended by themselves, as Kubernetes would.
func revive(t *testing.T, n *bare.Network) {
	t.Helper()
	for _, node := range nodes(n) {
		if !node.Running() {
			t.Logf("%s had ended by itself; its log:\n%s", node.Name, node.Log())
			ok(t, node.Start())
		}
	}
}

func pause(t *testing.T, random *rand.Rand, longest time.Duration) {
	t.Helper()
	timer := time.NewTimer(time.Duration(random.Int64N(int64(longest))))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// sameState compares what all peers hold: every asset, and the hash over all
// changes of state that peers keep with their newest block.
func sameState(ctx context.Context, t *testing.T, clients []*load.Client, end load.Ledger) {
	t.Helper()
	var firstState, firstHash string
	for i, c := range clients {
		state, count, err := stateOf(ctx, c)
		ok(t, err)
		block, err := c.Block(ctx, end.Height-1)
		ok(t, err)
		hash := ""
		if m := block.GetMetadata().GetMetadata(); len(m) > int(cb.BlockMetadataIndex_COMMIT_HASH) {
			hash = hex.EncodeToString(m[cb.BlockMetadataIndex_COMMIT_HASH])
		}
		if i == 0 {
			firstState, firstHash = state, hash
			t.Logf("%d assets; commit hash %.16s", count, hash)
		}
		if state != firstState {
			t.Errorf("%s holds another state than %s", c.Name(), clients[0].Name())
		}
		if hash == "" || hash != firstHash {
			t.Errorf("%s has commit hash %q, %s has %q", c.Name(), hash, clients[0].Name(), firstHash)
		}
	}
}

// stateOf is a hash over all assets of one peer.
func stateOf(ctx context.Context, c *load.Client) (hash string, count int, err error) {
	sum := sha256.New()
	bookmark := ""
	for {
		raw, err := c.Read(ctx, "List", "500", bookmark)
		if err != nil {
			return "", 0, err
		}
		var page struct {
			Assets   []json.RawMessage `json:"assets"`
			Bookmark string            `json:"bookmark"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return "", 0, err
		}
		for _, asset := range page.Assets {
			sum.Write(asset)
			count++
		}
		if page.Bookmark == "" || len(page.Assets) == 0 {
			break
		}
		bookmark = page.Bookmark
	}
	if count == 0 {
		return "", 0, errors.New("read state of " + c.Name() + ": it is empty")
	}
	return hex.EncodeToString(sum.Sum(nil)), count, nil
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
