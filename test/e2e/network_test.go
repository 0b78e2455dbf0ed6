package e2e

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"text/template"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// assetImage is the sample contract; "make images" makes it.
const assetImage = "heddle.dev/asset-go:dev"

// org is an organization with peers.
type org struct {
	Name, MSP string
	Peers     int
	// CA is the mode of its CA: Managed or, unless given, None.
	CA string
	// Template is the content of the peers' template.
	Template string
}

// shape says what a test's network looks like.
type shape struct {
	Name      string
	ID        string
	Consensus string
	Orderers  int
	Orgs      []org
	// Channels by name; ones with settings have them after the name, such as "demo, organizations: [banka]".
	Channels []string
	Clients  []string
	Retain   bool
	// Fabric is the content of spec.fabric, such as `version: "3.1.4"`.
	Fabric string
	// Orderer is the content of the orderers' template.
	Orderer string
	// Partners are the SiteLinks of the network's other sites; what they propose is signed.
	Partners []string
}

var networkTemplate = template.Must(template.New("network").Parse(`
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: {{.Name}}}
spec:
  {{- with .ID}}
  networkID: {{.}}
  {{- end}}
  deletionPolicy: {{if .Retain}}Retain{{else}}Delete{{end}}
  {{- with .Fabric}}
  fabric: { {{.}} }
  {{- end}}
  ordering: {consensus: {{.Consensus}}}
  organizations:
  - {name: ord, mspID: OrdMSP, ca: {mode: None}, orderers: {count: {{.Orderers}}{{with .Orderer}}, template: { {{.}} }{{end}}}}
  {{- range .Orgs}}
  - {name: {{.Name}}, mspID: {{.MSP}}, ca: {mode: {{or .CA "None"}}}, peers: {count: {{.Peers}}{{with .Template}}, template: { {{.}} }{{end}}}}
  {{- end}}
  channels:
  {{- range .Channels}}
  - {name: {{.}} }
  {{- end}}
  {{- with .Partners}}
  partners:
  {{- range .}}
  - {link: {{.}}, proposals: Sign}
  {{- end}}
  {{- end}}
  {{- with .Clients}}
  clientNamespaces:
  {{- range .}}
  - {{.}}
  {{- end}}
  {{- end}}
`))

// raft3 is the usual network: three Raft orderers, two organizations with a peer each, one channel.
func raft3(name string) shape {
	return shape{
		Name: name, Consensus: "Raft", Orderers: 3, Channels: []string{"demo"},
		Orgs: []org{{Name: "banka", MSP: "BankAMSP", Peers: 1}, {Name: "bankb", MSP: "BankBMSP", Peers: 1}},
	}
}

func (s shape) yaml(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := networkTemplate.Execute(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// contract is the sample contract on a channel.
func contract(network, channel string) string {
	return fmt.Sprintf(`
apiVersion: heddle.dev/v1alpha1
kind: Chaincode
metadata: {name: %[2]s-asset, namespace: %[1]s}
spec: {channel: %[2]s, chaincodeName: asset, image: %[3]s}
`, network, channel, assetImage)
}

// object is what identifies an object; T is its type.
func network(name string) *v1alpha1.Network {
	return &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func chaincode(network, channel string) *v1alpha1.Chaincode {
	return &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: channel + "-asset"}}
}

// up applies a network with the sample contract on each of its channels, waits until all is Ready, and removes it after
// the test.
func up(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	t.Helper()
	removeAfter(t, c, s.Name)
	apply(ctx, t, c, s.yaml(t))
	for _, ch := range channelNames(s) {
		apply(ctx, t, c, contract(s.Name, ch))
	}
	ready(ctx, t, c, network(s.Name))
	for _, ch := range channelNames(s) {
		ready(ctx, t, c, chaincode(s.Name, ch))
	}
}

func channelNames(s shape) []string {
	var out []string
	for _, ch := range s.Channels {
		name, _, _ := strings.Cut(ch, ",")
		out = append(out, strings.TrimSpace(name))
	}
	return out
}

func apply(ctx context.Context, t *testing.T, c *harness.Cluster, manifests string) {
	t.Helper()
	if err := c.Apply(ctx, manifests); err != nil {
		t.Fatal(err)
	}
}

func ready(ctx context.Context, t *testing.T, c *harness.Cluster, obj harness.Object) {
	t.Helper()
	if err := c.WaitReady(ctx, obj); err != nil {
		t.Fatal(err)
	}
}

// removeAfter deletes a network and all that is in its namespace when the test ends; of a failed test it first tells
// the state.
func removeAfter(t *testing.T, c *harness.Cluster, name string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			t.Log(c.Report(ctx, name))
		}
		if err := c.RemoveNetwork(ctx, name); err != nil {
			t.Errorf("remove network: %v", err)
		}
	})
}

// clients connects to every peer of a channel's contract.
func clients(ctx context.Context, t *testing.T, c *harness.Cluster, network, channel string) []*load.Client {
	t.Helper()
	all, closeAll, err := c.Clients(ctx, network, channel, "asset")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeAll)
	return all
}

// submit creates an asset through each of the clients, which shows that each peer's gateway finds endorsers and orderers.
func submit(ctx context.Context, t *testing.T, peers []*load.Client, prefix string) []string {
	t.Helper()
	keys := make([]string, 0, len(peers))
	for i, p := range peers {
		var key string
		var receipt load.Receipt
		tries := 0
		err := harness.Poll(ctx, func(ctx context.Context) error {
			// What was not acknowledged may be on the ledger all the same, so each try has a key of its own.
			key = fmt.Sprintf("%s-%d-%d", prefix, i, tries)
			tries++
			var err error
			receipt, err = p.Submit(ctx, "Create", key, "e2e", "7")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		progress("transaction %.16s… in block %d, by %s", receipt.TxID, receipt.Block, p.Name())
		if _, err := p.Read(ctx, "Read", key); err != nil {
			t.Errorf("read what was just committed: %v", err)
		}
		keys = append(keys, key)
	}
	return keys
}

// sameLedgers demands the same height and hash of every peer.
func sameLedgers(ctx context.Context, t *testing.T, peers []*load.Client) load.Ledger {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	l, err := load.CheckLedgers(ctx, peers)
	if err != nil {
		t.Fatal(err)
	}
	progress("%d peers are at height %d, hash %.12s…", len(peers), l.Height, l.Hash)
	return l
}

// The load while things are broken: offered transactions a second, and how many of them must flow at each fault.
const (
	offeredRate = 15
	flowingRate = 10
	// manyInFlight is more than an outage piles up, so that the load never waits for it.
	manyInFlight = 512
)

// under runs body while transactions flow and demands afterwards that they were offered at flowingRate or more all the
// time, that nothing acknowledged is lost, and that all ledgers are the same. Body calls flowing before each fault.
func under(ctx context.Context, t *testing.T, peers []*load.Client, body func(run *load.Run)) load.Result {
	t.Helper()
	run, err := load.Start(ctx, peers, load.Options{InFlight: manyInFlight, Rate: offeredRate})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			run.Stop()
		}
	}()
	flowing(ctx, t, run)
	body(run)
	flowing(ctx, t, run)
	stopped = true
	result := run.Stop()
	progress("load: %s", result)
	if result.Offered() < flowingRate {
		t.Errorf("offered %.1f transactions a second, want at least %d", result.Offered(), flowingRate)
	}
	check, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	sameLedgers(check, t, peers)
	if err := load.CheckKept(check, peers, result.Acks); err != nil {
		t.Errorf("acknowledged transactions were lost: %v", err)
	}
	return result
}

// flowing waits until transactions are committed at flowingRate: the next fault is to hit a network under full load.
func flowing(ctx context.Context, t *testing.T, run *load.Run) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := run.Flowing(ctx, flowingRate); err != nil {
		t.Fatal(err)
	}
}
