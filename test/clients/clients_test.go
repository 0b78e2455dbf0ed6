package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/npm"
)

const (
	channel  = "trade"
	contract = "asset"
)

// TestReal runs the clients against real nodes.
func TestReal(t *testing.T) {
	check(t, bare.RequireReal(t))
}

// TestSimulated runs the clients against stand-in nodes.
func TestSimulated(t *testing.T) {
	check(t, bare.RequireSimulated(t))
}

func check(t *testing.T, programs bare.Programs) {
	t.Helper()
	ctx := t.Context()
	n, err := bare.Start(ctx, programs, bare.Options{
		Dir: t.TempDir(), Consensus: channelconfig.Raft, Orderers: 1, Orgs: []string{"banka", "bankb"}, Channel: channel,
		Batch: channelconfig.Batch{Timeout: 100 * time.Millisecond, MaxMessages: 50},
	})
	ok(t, err)
	t.Cleanup(n.Close)
	ok(t, n.CreateChannel(ctx))
	_, err = n.Deploy(ctx, contract, bare.BuildProgram(t, "samples/contracts/asset-go"), admin.Definition{})
	ok(t, err)
	for _, p := range n.Peers {
		ok(t, settle(ctx, n, p))
	}
	members := enrol(t, n)
	t.Run("node", func(t *testing.T) { node(ctx, t, members) })
	t.Run("caliper", func(t *testing.T) { caliper(ctx, t, members) })
}

// settle waits until gossip has told the peer who endorses.
func settle(ctx context.Context, n *bare.Network, p *bare.Peer) error {
	client, err := n.Client(p)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // nothing is under way
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return bare.Eventually(ctx, func() error {
		args := [][]byte{[]byte("settled-" + p.Name), []byte("nobody"), []byte("1")}
		_, err := client.Submit(ctx, gateway.Call{Channel: channel, Contract: contract, Function: "Create", Args: args})
		if err != nil && strings.Contains(err.Error(), "it exists already") {
			return nil
		}
		return err
	})
}

// member is a client of one peer, as the scripts read it.
type member struct {
	Address string `json:"address"`
	MSPID   string `json:"mspID"`
	Roots   string `json:"roots"`
	Cert    string `json:"cert"`
	Key     string `json:"key"`
}

func enrol(t *testing.T, n *bare.Network) []member {
	t.Helper()
	var out []member
	for _, p := range n.Peers {
		leaf, err := p.Org.Issue("client", pki.RoleClient)
		ok(t, err)
		key, err := pki.EncodeKey(leaf.Key)
		ok(t, err)
		out = append(out, member{p.Address, p.Org.MSPID, string(p.Org.TLSRoots()), string(leaf.Sign), string(key)})
	}
	return out
}

func run(ctx context.Context, dir, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = dir
	text, err := command.CombinedOutput()
	return string(text), err
}

func node(ctx context.Context, t *testing.T, members []member) {
	t.Helper()
	dir := npm.Prepare(t, "node")
	raw, err := json.Marshal(map[string]any{"channel": channel, "contract": contract, "peers": members})
	ok(t, err)
	write(t, filepath.Join(dir, "network.json"), string(raw))
	text, err := run(ctx, dir, "node", "check.js", "network.json")
	t.Log("\n" + text)
	ok(t, err)
}

// caliperNetwork is how Caliper's connector is told of a network.
const caliperNetwork = `name: heddle
version: "2.0.0"
caliper: {blockchain: fabric}
channels:
- channelName: %[1]s
  contracts: [{id: %[2]s}]
organizations:
- mspid: %[3]s
  identities:
    certificates:
    - name: client
      clientPrivateKey: {path: key.pem}
      clientSignedCert: {path: cert.pem}
  peers:
  - endpoint: %[4]s
    tlsCACerts: {path: roots.pem}
    grpcOptions: {ssl-target-name-override: localhost, grpc.ssl_target_name_override: localhost}
`

// rows of Caliper's report: name, succeeded, failed.
var rows = regexp.MustCompile(`\|\s*(create|read)\s*\|\s*(\d+)\s*\|\s*(\d+)\s*\|\s*[\d.]+\s*\|\s*[\d.]+\s*\|\s*[\d.]+\s*\|\s*[\d.]+\s*\|\s*([\d.]+)\s*\|`)

func caliper(ctx context.Context, t *testing.T, members []member) {
	t.Helper()
	dir := npm.Prepare(t, "caliper")
	first := members[0]
	for name, text := range map[string]string{
		"key.pem": first.Key, "cert.pem": first.Cert, "roots.pem": first.Roots,
		"network.yaml": fmt.Sprintf(caliperNetwork, channel, contract, first.MSPID, first.Address),
	} {
		write(t, filepath.Join(dir, name), text)
	}
	text, err := run(ctx, dir, "npx", "--no-install", "caliper", "launch", "manager", "--caliper-workspace", ".",
		"--caliper-networkconfig", "network.yaml", "--caliper-benchconfig", "bench.yaml", "--caliper-flow-only-test")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	seen := map[string]bool{}
	for _, row := range rows.FindAllStringSubmatch(text, -1) {
		good, _ := strconv.Atoi(row[2])
		if good == 0 || row[3] != "0" {
			t.Errorf("round %s: %s succeeded, %s failed", row[1], row[2], row[3])
		}
		if !seen[row[1]] {
			t.Logf("round %s: %s succeeded, %s failed, %s TPS", row[1], row[2], row[3], row[4])
		}
		seen[row[1]] = true
	}
	if len(seen) != 2 {
		t.Errorf("not both rounds are in the report:\n%s", text)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	ok(t, os.WriteFile(file, []byte(text), 0o600))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
