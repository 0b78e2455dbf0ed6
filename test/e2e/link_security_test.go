package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// TestLinkSecurity: what strangers, a partner that means harm, and one that is revoked can do to a site and to the other
// partners, on real nodes behind real gateways. TestLinkDataPath has those who come with the wrong certificates.
func TestLinkSecurity(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 25*time.Minute, errors.New("the test's 25 minutes are over"))
	t.Cleanup(cancel)
	p := openSecured(ctx, t)
	p.submit(ctx, t, "before")
	expires := p.invite(ctx, t, p.b, "late", time.Minute)
	t.Run("TLS 1.2", func(t *testing.T) { p.oldTLS(ctx, t) })
	t.Run("documents", func(t *testing.T) { p.documents(ctx, t) })
	t.Run("metrics", func(t *testing.T) { p.count(ctx, t) })
	t.Run("taken back", func(t *testing.T) { p.takenBack(ctx, t) })
	t.Run("handshakes", func(t *testing.T) { p.handshakes(ctx, t) })
	t.Run("half-open connections", func(t *testing.T) { p.halfOpen(ctx, t) })
	t.Run("flood", func(t *testing.T) { p.flood(ctx, t) })
	t.Run("tokens", func(t *testing.T) { p.tokens(ctx, t, expires) })
	t.Run("ten thousand guesses", func(t *testing.T) { p.guesses(ctx, t) })
	p.submit(ctx, t, "after")
	t.Run("revoked", func(t *testing.T) { p.revoked(ctx, t) })
}

// secured is a network whose banks stand at sites a and b. Partner c has nothing but its gateway, and may reach bank A's
// peer.
type secured struct {
	a, b, c *linkedSite
	// rootsA and rootsB verify the banks' nodes.
	rootsA, rootsB []byte
	// clientA and clientB are at the banks' own peers.
	clientA, clientB *load.Client
	// intoA and intoB are the ways of b's link into a and of a's into b, with the test in their place, and cIntoA that of c.
	intoA, intoB, cIntoA way
	// atA and atB are the ways of callers at the one site to the peer of the other, by its local Service.
	atA, atB way
}

const (
	peerA = "peer0-banka.trade"
	peerB = "peer0-bankb.trade"
)

func openSecured(ctx context.Context, t *testing.T) *secured {
	t.Helper()
	sites := openSites(ctx, t, "secure", 3)
	p := &secured{a: sites[0], b: sites[1], c: sites[2]}
	partners(ctx, t, p.a, p.b, "bank-a", "bank-b")
	partners(ctx, t, p.a, p.c, "bank-a", "bank-c")
	p.build(ctx, t)
	link := func(from, to *linkedSite) way {
		return way{
			from: from.Cluster, to: to.endpoint(t), outer: "trade." + from.id + "." + to.id, verifies: to.ca,
			shows: leaf(t, from.ca, "trade."+to.id+"."+from.id),
		}
	}
	p.intoA, p.intoB, p.cIntoA = link(p.b, p.a), link(p.a, p.b), link(p.c, p.a)
	p.atA, p.atB = way{from: p.a.Cluster, to: peerB + ":7051"}, way{from: p.b.Cluster, to: peerA + ":7051"}
	// a's gateway reloads at most every ten seconds. A NodeImport waits for that, and c has none.
	if err := harness.Poll(ctx, func(ctx context.Context) error { return p.cIntoA.once(ctx, t, peerA, p.rootsA) }); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *secured) build(ctx context.Context, t *testing.T) {
	t.Helper()
	apply(ctx, t, p.a.Cluster, shape{
		Name: "trade", Consensus: "Raft", Orderers: 1, Channels: []string{"demo"}, Orgs: []org{{Name: "banka", MSP: "BankAMSP", Peers: 1}},
	}.yaml(t))
	ready(ctx, t, p.a.Cluster, network("trade"))
	heddle(ctx, t, p.a.Cluster, "network", "invite", "trade", "bank-b")
	heddle(ctx, t, p.b.Cluster, "network", "join", "trade", "--from", "bank-a", "--org", "bankb:BankBMSP:peers=1")
	ready(ctx, t, p.b.Cluster, network("trade"))
	heddle(ctx, t, p.a.Cluster, "channel", "invite", "trade/demo", "bankb")
	err := harness.Poll(ctx, func(ctx context.Context) error { // the invitation comes over the link
		out, err := p.b.Heddle(ctx, "channel", "accept", "trade/demo", "--from", "bank-a", "-q")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*linkedSite{p.a, p.b} {
		ready(ctx, t, s.Cluster, &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: "trade", Name: "demo"}})
		apply(ctx, t, s.Cluster, contract("trade", "demo"))
	}
	p.export(ctx, t, "peer0-banka", "orderer0-ord")
	for _, s := range []*linkedSite{p.a, p.b} {
		ready(ctx, t, s.Cluster, chaincode("trade", "demo"))
	}
	p.clientA, p.clientB = p.ownPeer(ctx, t, p.a), p.ownPeer(ctx, t, p.b)
	if p.rootsA, err = p.a.TLSRoots(ctx, "trade", "banka"); err != nil {
		t.Fatal(err)
	}
	if p.rootsB, err = p.b.TLSRoots(ctx, "trade", "bankb"); err != nil {
		t.Fatal(err)
	}
}

// export lets partner c reach nodes of site a, and no others.
func (p *secured) export(ctx context.Context, t *testing.T, nodes ...string) {
	t.Helper()
	e := &v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Name: "to-c", Namespace: "trade"}}
	err := harness.Poll(ctx, func(ctx context.Context) error {
		err := p.a.Get(ctx, client.ObjectKeyFromObject(e), e)
		e.Spec.Links, e.Spec.Nodes = []string{"bank-c"}, nodes
		if client.IgnoreNotFound(err) == nil && err != nil {
			return p.a.Create(ctx, e)
		}
		if err != nil {
			return err
		}
		return p.a.Update(ctx, e)
	})
	if err != nil {
		t.Fatal(err)
	}
	ready(ctx, t, p.a.Cluster, e)
}

func (p *secured) ownPeer(ctx context.Context, t *testing.T, s *linkedSite) *load.Client {
	t.Helper()
	clients, done, err := s.Clients(ctx, "trade", "demo", "asset")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	if len(clients) != 1 {
		t.Fatalf("site %s has %d peers", s.id, len(clients))
	}
	return clients[0]
}

// submit makes a transaction at each of the banks, which both endorse.
func (p *secured) submit(ctx context.Context, t *testing.T, key string) {
	t.Helper()
	for name, c := range map[string]*load.Client{"a": p.clientA, "b": p.clientB} {
		submit(ctx, t, []*load.Client{c}, key+"-"+name)
	}
}

// invite has a site make an invitation, and returns its token.
func (p *secured) invite(ctx context.Context, t *testing.T, s *linkedSite, name string, expires time.Duration) string {
	t.Helper()
	var invite struct {
		Token string `json:"token"`
	}
	out := heddle(ctx, t, s.Cluster, "site", "invite", name, "--expires", expires.String(), "-o", "json")
	if err := json.Unmarshal([]byte(out), &invite); err != nil {
		t.Fatal(err)
	}
	return invite.Token
}

// oldTLS: nothing behind the public port speaks TLS 1.2, whatever name is asked for, while TLS 1.3 goes through.
func (p *secured) oldTLS(ctx context.Context, t *testing.T) {
	api := way{from: p.b.Cluster, to: p.a.endpoint(t), outer: "api.siteb.sitea", verifies: p.a.ca, shows: leaf(t, p.b.ca, "api.sitea.siteb")}
	join := way{from: p.b.Cluster, to: p.a.endpoint(t), outer: "join.sitea", verifies: p.a.ca}
	for name, w := range map[string]way{"join": join, "api": api, "network": p.intoA} {
		for version, good := range map[uint16]bool{tls.VersionTLS12: false, tls.VersionTLS13: true} {
			w.version = version
			conn, err := w.dial(ctx)
			if err == nil {
				conn.Close()
			}
			if good != (err == nil) {
				t.Errorf("%s, %s: %v", name, tls.VersionName(version), err)
			}
		}
	}
}

// revoked: tunnels of both directions at both sites end within seconds, nobody endorses for the other any more, no
// transaction of the two commits, and the other partner notices nothing.
func (p *secured) revoked(ctx context.Context, t *testing.T) {
	live := map[string]*liveTunnel{
		"b's link into a": p.intoA.open(t, peerA, p.rootsA), "a's link into b": p.intoB.open(t, peerB, p.rootsB),
		"a caller at a": p.atA.open(t, peerB, p.rootsB), "a caller at b": p.atB.open(t, peerA, p.rootsA),
	}
	other := p.cIntoA.open(t, peerA, p.rootsA)
	for _, l := range live {
		if err := harness.Poll(ctx, l.ping); err != nil {
			t.Fatal(err)
		}
	}
	other.lives(ctx, t, "c")
	said := time.Now()
	heddle(ctx, t, p.a.Cluster, "site", "revoke", "bank-b")
	for who, l := range live {
		if err := l.dies(ctx, 5*time.Second); err != nil {
			t.Errorf("the tunnel of %s: %v", who, err)
		}
		progress("the tunnel of %s has ended after %.1f s", who, time.Since(said).Seconds())
	}
	for who, w := range map[string]struct {
		way
		node  string
		roots []byte
	}{"b's link into a": {p.intoA, peerA, p.rootsA}, "a's link into b": {p.intoB, peerB, p.rootsB}} {
		if err := w.reach(ctx, t, w.node, w.roots); err == nil {
			t.Errorf("%s still gets through", who)
		}
	}
	// The contract's policy wants both banks: neither gets the other's endorsement, which its peer would give on the
	// state that it had when the link ended.
	for who, c := range map[string]*load.Client{"a": p.clientA, "b": p.clientB} {
		began := time.Now()
		if receipt, err := c.Submit(ctx, "Create", "revoked-"+who, "e2e", "7"); err == nil {
			t.Errorf("site %s still commits with the other's endorsement, in block %d", who, receipt.Block)
		}
		progress("a transaction at %s fails after %.1f s", who, time.Since(began).Seconds())
	}
	p.b.await(ctx, t, "bank-a", v1alpha1.LinkRevoked)
	for from, node := range map[*linkedSite]string{p.a: peerB, p.b: peerA} {
		if conn, err := from.Dial(ctx, node+":7051"); err == nil {
			conn.Close()
			t.Errorf("at site %s %s still takes calls", from.id, node)
		}
	}
	other.lives(ctx, t, "c")
	p.a.await(ctx, t, "bank-c", v1alpha1.LinkUp)
}
