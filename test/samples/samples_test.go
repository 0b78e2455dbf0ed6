package samples

import (
	"context"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/couch"
	"heddle.dev/heddle/test/npm"
)

const (
	channel = "trade"
	folder  = "../../samples"
)

// TestReal runs the samples on real nodes.
func TestReal(t *testing.T) {
	check(t, bare.RequireReal(t))
}

// TestSimulated runs the samples on stand-in nodes.
func TestSimulated(t *testing.T) {
	check(t, bare.RequireSimulated(t))
}

func check(t *testing.T, programs bare.Programs) {
	server := couch.Prepare(t, filepath.Join("..", ".."))
	clients := buildClients(t)
	ctx := t.Context()
	// The organizations of the samples' collections.json.
	n, err := bare.Start(ctx, programs, bare.Options{
		Dir: t.TempDir(), Consensus: channelconfig.Raft, Orderers: 1, Orgs: []string{"Org1", "Org2"}, Channel: channel,
		Batch: channelconfig.Batch{Timeout: 50 * time.Millisecond, MaxMessages: 20},
		PeerEnv: func(string) []nodeenv.Var {
			// A limit endorsed by the wrong organization is on no peer that is to keep it: do not look for it for a minute.
			return append(server.Start(t), nodeenv.Var{Name: "CORE_PEER_GOSSIP_PVTDATA_SKIPPULLINGINVALIDTRANSACTIONSDURINGCOMMIT", Value: "true"})
		},
	})
	ok(t, err)
	t.Cleanup(n.Close)
	ok(t, n.CreateChannel(ctx))
	users := enrol(t, n)
	for sample, steps := range tables() {
		said := map[string]string{}
		for _, language := range []string{"go", "js", "ts"} {
			contract := sample + "-" + language
			t.Run(contract, func(t *testing.T) {
				deploy(ctx, t, n, contract)
				run(ctx, t, contract, users, steps)
				said[language] = clients.run(ctx, t, language, sample, users)
			})
		}
		for language, text := range said {
			if diff := cmp.Diff(strings.Split(said["go"], "\n"), strings.Split(text, "\n")); diff != "" {
				t.Errorf("the client of %s in %s does not say what that in Go does: %s", sample, language, diff)
			}
		}
	}
}

// deploy takes a sample through the life cycle, as the platform does: a program in Go is launched by the peers; the
// package's own starter serves one in Node.
func deploy(ctx context.Context, t *testing.T, n *bare.Network, contract string) {
	t.Helper()
	source := filepath.Join(folder, "contracts", contract)
	meta := metaFiles(t, source)
	var id string
	var err error
	if strings.HasSuffix(contract, "-go") {
		id, err = n.Launch(ctx, contract, bare.BuildProgram(t, "samples/contracts/"+contract), meta...)
	} else {
		dir := npm.Build(t, source)
		id, err = n.ServeWith(ctx, contract, bare.Service{
			Program: filepath.Join(dir, "node_modules", ".bin", "fabric-chaincode-node"),
			Args: func(address, id string) []string {
				return []string{"server", "--chaincode-address", address, "--chaincode-id", id, "--module-path", dir}
			},
			Meta: meta,
		})
	}
	ok(t, err)
	ok(t, n.Define(ctx, admin.Definition{Name: contract, PackageID: id, Collections: collections(t, source)}))
}

func metaFiles(t *testing.T, source string) []ccpackage.File {
	t.Helper()
	const indexes = "META-INF/statedb/couchdb/indexes"
	files, err := filepath.Glob(filepath.Join(source, indexes, "*.json"))
	ok(t, err)
	var out []ccpackage.File
	for _, f := range files {
		text, err := os.ReadFile(f)
		ok(t, err)
		out = append(out, ccpackage.File{Path: path.Join(indexes, filepath.Base(f)), Data: text})
	}
	return out
}

// collections reads the file that Fabric's own tools take.
func collections(t *testing.T, source string) []admin.Collection {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(source, "collections.json"))
	if os.IsNotExist(err) {
		return nil
	}
	ok(t, err)
	var entries []struct {
		Name              string `json:"name"`
		Policy            string `json:"policy"`
		RequiredPeerCount int32  `json:"requiredPeerCount"`
		MaxPeerCount      int32  `json:"maxPeerCount"`
		BlockToLive       uint64 `json:"blockToLive"`
		MemberOnlyRead    bool   `json:"memberOnlyRead"`
		MemberOnlyWrite   bool   `json:"memberOnlyWrite"`
	}
	ok(t, json.Unmarshal(text, &entries))
	var out []admin.Collection
	for _, e := range entries {
		out = append(out, admin.Collection{
			Name: e.Name, Policy: e.Policy, RequiredPeers: e.RequiredPeerCount, MaxPeers: e.MaxPeerCount,
			BlockToLive: e.BlockToLive, MemberOnlyRead: e.MemberOnlyRead, MemberOnlyWrite: e.MemberOnlyWrite,
		})
	}
	return out
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
