package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// TestLinkDataPath: a real peer of one site is reached from another by its name as a local Service, in its own TLS, through
// one public port, and by nobody else. The nodes that a partner offers are told by hand: no network stands in two sites here.
func TestLinkDataPath(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Minute, errors.New("the test's 20 minutes are over"))
	t.Cleanup(cancel)
	p := openDataPath(ctx, t)
	p.transactions(ctx, t, 3)
	t.Run("refusals", func(t *testing.T) { p.refusals(ctx, t) })
	t.Run("only the one port", func(t *testing.T) { p.onlyPort(ctx, t) })
	t.Run("check", func(t *testing.T) { p.check(ctx, t) })
	t.Run("reload cuts nothing", func(t *testing.T) { p.reload(ctx, t) })
	t.Run("pods killed", func(t *testing.T) { p.killed(ctx, t) })
	t.Run("down", func(t *testing.T) { p.down(ctx, t) })
	t.Run("revoked", func(t *testing.T) { p.revoked(ctx, t) })
}

// dataPath is a network at site a, whose peer partner b imports. Partner c has nothing but its gateway.
type dataPath struct {
	a, b, c *linkedSite
	network string
	roots   []byte
	// peer is a's, reached from b by its local Service.
	peer *load.Client
	// fromB and fromC are how the partners' links come to a's, and local how callers at b do.
	fromB, fromC, local way
}

const linkedNetworkID = "id-of-linked-network"

func openDataPath(ctx context.Context, t *testing.T) *dataPath {
	t.Helper()
	sites := openSites(ctx, t, "links", 3)
	p := &dataPath{
		a: sites[0], b: sites[1], c: sites[2], network: "trade",
	}
	partners(ctx, t, p.a, p.b, "bank-a", "bank-b")
	partners(ctx, t, p.a, p.c, "bank-a", "bank-c")
	p.build(ctx, t)
	return p
}

func (p *dataPath) build(ctx context.Context, t *testing.T) {
	t.Helper()
	apply(ctx, t, p.a.Cluster, shape{
		Name: p.network, ID: linkedNetworkID, Consensus: "Raft", Orderers: 1, Channels: []string{"demo"}, Orgs: []org{{Name: "banka", MSP: "BankAMSP", Peers: 1}},
	}.yaml(t))
	apply(ctx, t, p.a.Cluster, contract(p.network, "demo"))
	export := &v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Name: "peers", Namespace: p.network}}
	export.Spec.Links, export.Spec.Nodes = []string{"bank-b", "bank-c"}, []string{"peer0-banka"}
	ready(ctx, t, p.a.Cluster, network(p.network))
	create(ctx, t, p.a.Cluster, export)
	ready(ctx, t, p.a.Cluster, chaincode(p.network, "demo"))
	ready(ctx, t, p.a.Cluster, export)

	var err error
	if p.roots, err = p.a.TLSRoots(ctx, p.network, "banka"); err != nil {
		t.Fatal(err)
	}
	p.b.namespace(ctx, t, p.network, linkedNetworkID)
	p.b.offered(ctx, t, "bank-a", v1alpha1.OfferedNode{
		Network: p.network, Name: "peer0-banka", Port: v1alpha1.PortPeer, NetworkID: linkedNetworkID, MSPID: "BankAMSP",
	})
	node := &v1alpha1.NodeImport{ObjectMeta: metav1.ObjectMeta{Name: "peer0-banka", Namespace: p.network}}
	node.Spec.Link, node.Spec.Port, node.Spec.MSPID, node.Spec.TLSRoots = "bank-a", v1alpha1.PortPeer, "BankAMSP", string(p.roots)
	create(ctx, t, p.b.Cluster, node)
	ready(ctx, t, p.b.Cluster, node)
	user, err := p.a.Admin(ctx, p.network, "banka")
	if err != nil {
		t.Fatal(err)
	}
	p.peer, err = load.Connect(load.Target{
		Name: "peer0-banka", Address: "peer0-banka." + p.network + ":7051", ServerName: "peer0-banka." + p.network,
		Roots: p.roots, Dial: p.b.Dial, Channel: "demo", Chaincode: "asset",
	}, user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.peer.Close() })
	p.fromB, p.fromC = p.wayOf(t, p.b), p.wayOf(t, p.c)
	p.local = way{from: p.b.Cluster, to: p.host() + ":7051"}
}

// wayOf is the way of a partner's link to site a.
func (p *dataPath) wayOf(t *testing.T, s *linkedSite) way {
	t.Helper()
	return way{
		from: s.Cluster, to: p.a.endpoint(t), outer: p.network + "." + s.id + ".sitea", verifies: p.a.ca,
		shows: leaf(t, s.ca, p.network+".sitea."+s.id),
	}
}

func (p *dataPath) host() string { return "peer0-banka." + p.network }

// transactions are made from site b at a's peer.
func (p *dataPath) transactions(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for range n {
		submit(ctx, t, []*load.Client{p.peer}, fmt.Sprintf("linked-%d", time.Now().UnixNano()))
	}
}

// refusals: each with one thing wrong; the first has nothing wrong, or the others would show nothing.
func (p *dataPath) refusals(ctx context.Context, t *testing.T) {
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := pki.NewRoot(pki.IssuerRequest{CommonName: p.b.ca.Cert.Subject.CommonName, Key: key, Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	change := func(w way, f func(*way)) way {
		f(&w)
		return w
	}
	for name, c := range map[string]struct {
		way  way
		node string
		good bool
	}{
		"as agreed":                   {way: p.fromB, node: "peer0-banka", good: true},
		"another partner, as agreed":  {way: p.fromC, node: "peer0-banka", good: true},
		"a node that is not exported": {way: p.fromB, node: "orderer0-ord"},
		"the other partner's link":    {way: change(p.fromB, func(w *way) { w.shows = p.fromC.shows }), node: "peer0-banka"},
		"the link of the other":       {way: change(p.fromC, func(w *way) { w.shows = p.fromB.shows }), node: "peer0-banka"},
		"a CA that nobody knows":      {way: change(p.fromB, func(w *way) { w.shows = leaf(t, stranger, p.network+".sitea.siteb") }), node: "peer0-banka"},
		"no certificate":              {way: change(p.fromB, func(w *way) { w.shows = nil }), node: "peer0-banka"},
		"TLS 1.2":                     {way: change(p.fromB, func(w *way) { w.version = tls.VersionTLS12 }), node: "peer0-banka"},
		"another network":             {way: change(p.fromB, func(w *way) { w.outer = "other.siteb.sitea" }), node: "peer0-banka"},
		"a name of nobody":            {way: change(p.fromB, func(w *way) { w.outer = "example.org" }), node: "peer0-banka"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.way.reach(ctx, t, c.node+"."+p.network, p.roots)
			if c.good != (err == nil) {
				t.Errorf("reached: %v, want %v (%v)", err == nil, c.good, err)
			}
		})
	}
}

// onlyPort: nothing of site a answers site b but the gateway's port.
func (p *dataPath) onlyPort(ctx context.Context, t *testing.T) {
	p.b.reachesOnlyGateway(ctx, t, p.a, p.network, "peer0-banka")
	var imported corev1.Service
	if err := p.b.Get(ctx, client.ObjectKey{Namespace: p.network, Name: "peer0-banka"}, &imported); err != nil {
		t.Fatal(err)
	}
	if imported.Spec.Selector[v1alpha1.LabelComponent] != v1alpha1.ComponentLink || imported.Spec.Type != corev1.ServiceTypeClusterIP {
		t.Errorf("the imported Service is %+v", imported.Spec)
	}
}

// reload: another node is exported, and taken back, under transactions; no stream from before is cut.
func (p *dataPath) reload(ctx context.Context, t *testing.T) {
	b, c := p.fromB.open(t, p.host(), p.roots), p.fromC.open(t, p.host(), p.roots)
	b.lives(ctx, t, "b")
	c.lives(ctx, t, "c")
	ordererRoots, err := p.a.TLSRoots(ctx, p.network, "ord")
	if err != nil {
		t.Fatal(err)
	}
	for round, nodes := range [][]string{{"peer0-banka", "orderer0-ord"}, {"peer0-banka"}} {
		changed := time.Now()
		p.export(ctx, t, nodes...)
		want := len(nodes) == 2
		tries := 0
		err := harness.Poll(ctx, func(ctx context.Context) error {
			if tries++; tries%5 == 0 {
				if _, err := p.peer.Submit(ctx, "Create", fmt.Sprintf("reload-%d-%d", round, tries), "e2e", "7"); err != nil {
					t.Errorf("a transaction during the reload failed: %v", err)
				}
			}
			err := p.fromB.reach(ctx, t, "orderer0-ord."+p.network, ordererRoots)
			if (err == nil) != want {
				return fmt.Errorf("the orderer answers: %t, want %t (%w)", err == nil, want, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		progress("%d exports are in force after %.1f s", len(nodes), time.Since(changed).Seconds())
	}
	b.lives(ctx, t, "b")
	c.lives(ctx, t, "c")
}

// export says which nodes partners may reach.
func (p *dataPath) export(ctx context.Context, t *testing.T, nodes ...string) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var e v1alpha1.NodeExport
		if err := p.a.Get(ctx, client.ObjectKey{Namespace: p.network, Name: "peers"}, &e); err != nil {
			return err
		}
		e.Spec.Nodes = nodes
		return p.a.Update(ctx, &e)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// check: the command finds nothing wrong with the way from b to a, and the other commands show it.
func (p *dataPath) check(ctx context.Context, t *testing.T) {
	out, err := p.b.Heddle(ctx, "link", "check", "bank-a")
	progress("heddle link check bank-a\n%s", out)
	if err != nil || strings.Contains(out, "✗") || !strings.Contains(out, "Fabric handshake") {
		t.Errorf("the check says %v", err)
	}
	for _, c := range []struct {
		site *linkedSite
		args []string
		want string
	}{
		{p.b, []string{"link", "graph"}, "<- peer0-banka:7051"},
		{p.a, []string{"link", "graph"}, "-> peer0-banka:7051"},
		{p.b, []string{"node", "list"}, "imported"},
		{p.a, []string{"node", "list", "-o", "json"}, `"exported"`},
	} {
		if out := heddle(ctx, t, c.site.Cluster, c.args...); !strings.Contains(out, c.want) {
			t.Errorf("heddle %s does not say %q:\n%s", c.args, c.want, out)
		}
	}
}

// killed: each pod on the way is killed; another takes its place and the next transaction goes through.
func (p *dataPath) killed(ctx context.Context, t *testing.T) {
	gateway := client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentGateway}
	for name, c := range map[string]struct {
		site  *linkedSite
		where client.InNamespace
		which client.MatchingLabels
	}{
		"b's link":    {p.b, client.InNamespace(p.network), client.MatchingLabels{v1alpha1.LabelLink: "bank-a"}},
		"a's link":    {p.a, client.InNamespace(p.network), client.MatchingLabels{v1alpha1.LabelLink: "bank-b"}},
		"a's gateway": {p.a, harness.SystemNamespace, gateway},
	} {
		var pods corev1.PodList
		if err := c.site.List(ctx, &pods, c.where, c.which); err != nil || len(pods.Items) == 0 {
			t.Fatalf("%s has %d pods, %v", name, len(pods.Items), err)
		}
		for i := range pods.Items {
			if err := c.site.Delete(ctx, &pods.Items[i], client.GracePeriodSeconds(0)); err != nil {
				t.Fatal(err)
			}
		}
		killed := time.Now()
		p.transactions(ctx, t, 1)
		progress("without %s the next transaction took %.1f s", name, time.Since(killed).Seconds())
	}
	p.a.await(ctx, t, "bank-b", v1alpha1.LinkUp)
	p.b.await(ctx, t, "bank-a", v1alpha1.LinkUp)
}

// down: while the sites are cut off from each other, tunnels are cut on both sides, and callers are refused at once and not
// left waiting.
func (p *dataPath) down(ctx context.Context, t *testing.T) {
	local, c := p.local.open(t, p.host(), p.roots), p.fromC.open(t, p.host(), p.roots)
	local.lives(ctx, t, "a caller at b")
	c.lives(ctx, t, "c")
	if err := p.a.Lab.Cut(ctx, "site1", "site2"); err != nil {
		t.Fatal(err)
	}
	cut := time.Now()
	if err := local.dies(ctx, 30*time.Second); err != nil {
		t.Errorf("the tunnel to a partner that is away: %v", err)
	}
	progress("the tunnel ends %.1f s after the cut", time.Since(cut).Seconds())
	p.a.await(ctx, t, "bank-b", v1alpha1.LinkDown)
	p.b.await(ctx, t, "bank-a", v1alpha1.LinkDown)
	err := harness.Poll(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		conn, err := p.b.Dial(ctx, p.host()+":7051")
		if err == nil {
			conn.Close()
			return errors.New("the imported Service still takes calls")
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("callers are not refused: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if out, err := p.b.Heddle(ctx, "link", "check", "bank-a"); err == nil || !strings.Contains(out, "TCP") || !strings.Contains(out, "firewall") {
		t.Errorf("of a partner that is away the check says %v:\n%s", err, out)
	}
	c.lives(ctx, t, "c")
	if err := p.a.Lab.Heal(ctx); err != nil {
		t.Fatal(err)
	}
	healed := time.Now()
	p.transactions(ctx, t, 1)
	progress("a transaction goes through %.1f s after the cut is healed", time.Since(healed).Seconds())
}

// revoked: both directions end within seconds, and the other partner notices nothing.
func (p *dataPath) revoked(ctx context.Context, t *testing.T) {
	b, c, local := p.fromB.open(t, p.host(), p.roots), p.fromC.open(t, p.host(), p.roots), p.local.open(t, p.host(), p.roots)
	for _, live := range []*liveTunnel{b, c, local} {
		if err := harness.Poll(ctx, live.ping); err != nil {
			t.Fatal(err)
		}
	}
	said := time.Now()
	heddle(ctx, t, p.a.Cluster, "site", "revoke", "bank-b")
	for who, live := range map[string]*liveTunnel{"a revoked partner": b, "a caller at the revoked partner": local} {
		if err := live.dies(ctx, 5*time.Second); err != nil {
			t.Errorf("the tunnel of %s: %v", who, err)
		}
		progress("the tunnel of %s has ended after %.1f s", who, time.Since(said).Seconds())
	}
	if err := p.fromB.reach(ctx, t, p.host(), p.roots); err == nil {
		t.Error("a revoked partner still comes in")
	}
	p.b.await(ctx, t, "bank-a", v1alpha1.LinkRevoked)
	if err := p.b.WaitGone(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: p.network, Name: "peer0-banka"}}); err != nil {
		t.Error(err)
	}
	for site, name := range map[*linkedSite]string{p.a: "bank-b", p.b: "bank-a"} {
		err := harness.Poll(ctx, func(ctx context.Context) error {
			var pods corev1.PodList
			if err := site.List(ctx, &pods, client.InNamespace(p.network), client.MatchingLabels{v1alpha1.LabelLink: name}); err != nil || len(pods.Items) > 0 {
				return fmt.Errorf("%s has %d pods of the revoked link (%w)", site.id, len(pods.Items), err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	c.lives(ctx, t, "c")
}
