package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// overSites is a network with orderers and a bank at site a, and a bank at site b.
type overSites struct{ a, b *linkedSite }

const (
	// tradeNetwork and bothBanks are the network of the tests over sites, and the policy that asks two of them.
	tradeNetwork  = "trade"
	bothBanks     = "AND('BankAMSP.peer', 'BankBMSP.peer')"
	privateOffers = tradeNetwork + "/" + demoChannel + "/private"
)

// TestNetworkOverSites: two sovereign sites that know nothing of each other become partners, share a network and a channel
// by commands, build and deploy a contract that both have to endorse, and submit from either side. One port is open between them.
func TestNetworkOverSites(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Minute, errors.New("the test's 20 minutes are over"))
	t.Cleanup(cancel)
	sites := openSites(ctx, t, "over", 2)
	o := &overSites{a: sites[0], b: sites[1]}
	for _, s := range o.sites() {
		if err := s.InstallBuilds(ctx); errors.Is(err, harness.ErrUnavailable) {
			t.Skipf("skipped, not passed: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	partners(ctx, t, o.a, o.b, "bank-a", "bank-b")
	shareTrade(ctx, t, o.a, o.b)
	o.fromSource(ctx, t)
	t.Run("transactions from either side", func(t *testing.T) { o.transactions(ctx, t) })
	t.Run("private data", func(t *testing.T) { o.privateData(ctx, t) })
	t.Run("each side discovers both", func(t *testing.T) { o.discovered(ctx, t) })
	t.Run("blocks from the other's orderers", func(t *testing.T) { o.delivered(ctx, t) })
	t.Run("nodes are unaware", func(t *testing.T) { o.unaware(ctx, t) })
	asked := uint64(0)
	t.Run("only the one port", func(t *testing.T) {
		o.asked(ctx, t, 0)
		o.b.reachesOnlyGateway(ctx, t, o.a, tradeNetwork, "peer0-banka")
		o.a.reachesOnlyGateway(ctx, t, o.b, tradeNetwork, "peer0-bankb")
		var err error
		if asked, err = o.a.Lab.Refused(ctx); err != nil || asked < 10 {
			t.Errorf("ten ways that are not open were tried, and %d packets were seen (%v)", asked, err)
		}
	})
	t.Run("keys stay at home", func(t *testing.T) { o.keysAtHome(ctx, t) })
	t.Run("imported Services are links", func(t *testing.T) { o.servicesAreLinks(ctx, t) })
	t.Run("without nginx nothing goes", func(t *testing.T) { o.withoutNginx(ctx, t) })
	o.asked(ctx, t, asked)
}

func (o *overSites) sites() []*linkedSite { return []*linkedSite{o.a, o.b} }

func sharedChannel() *v1alpha1.Channel {
	return &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: tradeNetwork, Name: demoChannel}}
}

// fromSource has each site build the same contract from its source and put it on the channel. Who is first waits for the other.
func (o *overSites) fromSource(ctx context.Context, t *testing.T) {
	t.Helper()
	for i, s := range o.sites() {
		source := s.Path("samples", "contracts", "private-go")
		deploy(ctx, t, s.Cluster, source, "--channel", demoChannel, "-n", tradeNetwork, "--name", "private", "--policy", bothBanks,
			"--collections", ownCollections(t, source, raft3(tradeNetwork)), fmt.Sprintf("--wait=%t", i > 0))
	}
	var ids []string
	for _, s := range o.sites() {
		cc := &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: tradeNetwork, Name: demoChannel + "-private"}}
		ready(ctx, t, s.Cluster, cc)
		if cc.Spec.Build == "" || len(cc.Status.Organizations) != 1 {
			t.Errorf("%s has build %q and approvals of %+v, want its own alone", s.id, cc.Spec.Build, cc.Status.Organizations)
		}
		ids = append(ids, cc.Status.PackageID)
	}
	progress("the packages built at the two sites are the same: %v", ids[0] == ids[1])
}

// transactions need a peer of each site, and go through either's gateway.
func (o *overSites) transactions(ctx context.Context, t *testing.T) {
	for _, s := range o.sites() {
		for n := range 3 {
			id := fmt.Sprintf("%s-%d", s.id, n)
			began := time.Now()
			transact(ctx, t, s.Cluster, privateOffers, o.offer(s, id))
			progress("%s: a transaction that both endorse took %.1f s", s.id, time.Since(began).Seconds())
		}
	}
	for _, s := range o.sites() {
		transact(ctx, t, s.Cluster, privateOffers, transaction{
			submit: true, flags: append(secret("1"), "--endorsers", o.mspID(s)), call: "Offer alone-" + s.id, refused: true, want: "ENDORSEMENT_POLICY_FAILURE",
		})
	}
}

// offer is a transaction of a site's bank that both banks have to endorse.
func (o *overSites) offer(s *linkedSite, id string) transaction {
	return transaction{submit: true, flags: secret("125"), call: "Offer " + id, want: fmt.Sprintf(`{"id":%q,"seller":%q}`, id, o.mspID(s))}
}

func (o *overSites) mspID(s *linkedSite) string {
	if s == o.a {
		return "BankAMSP"
	}
	return "BankBMSP"
}

func (o *overSites) other(s *linkedSite) *linkedSite {
	if s == o.a {
		return o.b
	}
	return o.a
}

// privateData: what one bank writes into the collection of both stands at the other's own peer; what it writes into its own
// collection does not, and only the hash is on the ledger.
func (o *overSites) privateData(ctx context.Context, t *testing.T) {
	const price = `{"amount":125,"salt":"` + testSalt + `"}`
	for _, s := range o.sites() {
		other, id := o.other(s), "private-"+s.id
		transact(ctx, t, s.Cluster, privateOffers, o.offer(s, id),
			transaction{submit: true, flags: append(secret("140"), "--endorsers", o.mspID(s)), call: "SetLimit " + id},
			transaction{call: "Limit " + id, want: `{"amount":140,"salt":"` + testSalt + `"}`},
		)
		transact(ctx, t, other.Cluster, privateOffers,
			transaction{call: "Price " + id, want: price},
			transaction{flags: secret("125"), call: "Verify " + id, want: `{"id":"` + id + `","matches":true}`},
			transaction{call: "Limit " + id, refused: true, want: "there is no limit for"},
		)
	}
}

// testSalt is a salt of the sample contract private.
const testSalt = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"

// secret is an amount in transient data.
func secret(amount string) []string {
	return []string{"--transient", "amount=" + amount, "--transient", "salt=" + testSalt}
}

// peers connects to the peers of all sites, as the administrator of each one's organization.
func (o *overSites) peers(ctx context.Context, t *testing.T) []*load.Client {
	t.Helper()
	return clientsOf(ctx, t, "private", o.sites()...)
}

func clientsOf(ctx context.Context, t *testing.T, contract string, sites ...*linkedSite) []*load.Client {
	t.Helper()
	var out []*load.Client
	for _, s := range sites {
		clients, done, err := s.Clients(ctx, tradeNetwork, demoChannel, contract)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(done)
		out = append(out, clients...)
	}
	if len(out) != len(sites) {
		t.Fatalf("%d peers at %d sites", len(out), len(sites))
	}
	return out
}

// discovered: the discovery service of each peer, which tells what gossip has alive, names the peers of all sites.
func (o *overSites) discovered(ctx context.Context, t *testing.T) {
	discovers(ctx, t, o.peers(ctx, t), "BankAMSP peer0-banka.trade:7051", "BankBMSP peer0-bankb.trade:7051")
}

func discovers(ctx context.Context, t *testing.T, peers []*load.Client, want ...string) {
	t.Helper()
	for _, p := range peers {
		within(ctx, t, time.Minute, p.Name()+" discovers the peers of all sites", func() error {
			have, err := p.Members(ctx)
			if err != nil {
				return err
			}
			if diff := cmp.Diff(want, have); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
	}
}

// delivered: while a's only peer is stopped, b's commits a transaction. There is no orderer at b and no other peer: the
// block came from a's orderers.
func (o *overSites) delivered(ctx context.Context, t *testing.T) {
	if have, err := o.b.Orderers(ctx, tradeNetwork); err != nil || len(have) != 0 {
		t.Fatalf("site b has orderers %q, %v", have, err)
	}
	transact(ctx, t, o.b.Cluster, privateOffers, o.offer(o.b, "delivered"))
	peers := o.peers(ctx, t)
	before := sameLedgers(ctx, t, peers)
	pod, err := o.a.PodOf(ctx, tradeNetwork, "peer0-banka")
	if err != nil {
		t.Fatal(err)
	}
	main := pod.Spec.Containers[0].Name
	if err := o.a.Signal(pod, main, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	transact(ctx, t, o.b.Cluster, privateOffers, transaction{submit: true, flags: append(secret("7"), "--endorsers", "BankBMSP"), call: "SetLimit delivered"})
	after, err := peers[1].Ledger(ctx)
	if err := errors.Join(err, o.a.Signal(pod, main, syscall.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	if after.Height <= before.Height {
		t.Errorf("%s is at height %d, was at %d", peers[1].Name(), after.Height, before.Height)
	}
	sameLedgers(ctx, t, peers)
}

// reachesOnlyGateway: nothing of another site answers this one but the gateway's port.
func (s *linkedSite) reachesOnlyGateway(ctx context.Context, t *testing.T, other *linkedSite, network, node string) {
	t.Helper()
	pod, err := other.PodOf(ctx, network, node)
	if err != nil {
		t.Fatal(err)
	}
	peer, api := other.clusterIP(ctx, t, network, node), other.clusterIP(ctx, t, "default", "kubernetes")
	host, _, _ := strings.Cut(other.endpoint(t), ":")
	for name, c := range map[string]struct {
		address string
		open    bool
	}{
		"gateway": {address: other.endpoint(t), open: true}, "API server": {address: host + ":6443"}, "API server's Service": {address: api + ":443"},
		"peer's pod": {address: pod.Status.PodIP + ":7051"}, "peer's Service": {address: peer + ":7051"}, "kubelet": {address: host + ":10250"},
	} {
		if !other.connects(ctx, c.address) {
			t.Errorf("%s (%s) does not answer its own site: the test would show nothing", name, c.address)
		}
		if s.connects(ctx, c.address) != c.open {
			t.Errorf("%s of %s (%s) answers %s: %v", name, other.id, c.address, s.id, !c.open)
		}
	}
}

// asked demands that so many packets and no more, the test's own, asked for a way between the sites that is not open: to
// an API server, a pod, a Service, or any other port.
func (o *overSites) asked(ctx context.Context, t *testing.T, want uint64) {
	t.Helper()
	if have, err := o.a.Lab.Refused(ctx); err != nil || have != want {
		t.Errorf("%d packets asked for a way that is not open, want %d (%v)", have, want, err)
	}
}

func (s *linkedSite) connects(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := s.Site.DialContext(ctx, "tcp", address)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

func (s *linkedSite) clusterIP(ctx context.Context, t *testing.T, namespace, name string) string {
	t.Helper()
	svc, err := s.Set.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return svc.Spec.ClusterIP
}
