package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// linkManifest is the part of the network that stands at site A: all of it but bank B, unless that is added.
const linkManifest = `
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: %[1]s}
spec:
  deletionPolicy: Delete
  organizations:
  - {name: ord, mspID: ordMSP, orderers: {count: %[2]d}}
  - {name: banka, mspID: bankaMSP, peers: {count: 1}}
%[3]s
  channels:
  - name: demo
    batch: {timeoutMilliseconds: 100, maxMessageCount: 100}
`

const (
	besideBankA = "  - {name: bankb, mspID: bankbMSP, peers: {count: 1}}"
	partnerA    = "bank-a"
	partnerB    = "bank-b"
)

// links measures the same load on two networks in turn: of one bank B stands at site A, beside all the rest, of the other
// at site B, behind the link. Both stand all the time, and the one that is not measured has nothing to do.
func links(ctx context.Context, b *bench) error {
	if len(b.Others) != 1 {
		return fmt.Errorf("measure a link: two sites are wanted, and there are %d", len(b.Others)+1)
	}
	siteA, siteB := b.Cluster, b.Others[0]
	if err := b.Lab.Firewall(ctx, harness.GatewayPort); err != nil {
		return err
	}
	for id, site := range map[string]*harness.Cluster{"sitea": siteA, "siteb": siteB} {
		if err := site.InitSite(ctx, id); err != nil {
			return err
		}
	}
	if err := harness.JoinSites(ctx, siteA, siteB, partnerA, partnerB); err != nil {
		return err
	}
	progress("the sites are partners")
	direct := &banks{name: "direct", siteA: siteA, siteB: siteA}
	linked := &banks{name: "linked", siteA: siteA, siteB: siteB}
	for _, n := range []*banks{direct, linked} {
		defer n.close()
		if err := n.up(ctx); err != nil {
			return fmt.Errorf("bring up network %q: %w", n.name, err)
		}
		progress("network %q is there", n.name)
	}
	return b.measureLink(ctx, direct, linked)
}

// measureLink has the two change places in each round, since what comes first meets a machine that has rested.
func (b *bench) measureLink(ctx context.Context, direct, linked *banks) error {
	m := newLinkSeries()
	var err error
	for _, s := range m.all() {
		if s.settings, err = linked.settings(ctx); err != nil {
			return err
		}
		if s.baselineSettings, err = direct.settings(ctx); err != nil {
			return err
		}
	}
	for i := range b.rounds {
		order := []*banks{direct, linked}
		if i%2 == 1 {
			order = []*banks{linked, direct}
		}
		for _, n := range order {
			f, err := b.figures(ctx, n)
			if err != nil {
				return fmt.Errorf("measure network %q: %w", n.name, err)
			}
			progress("round %d, %s: %s", i+1, n.name, f)
			m.add(f, n == direct)
		}
	}
	for _, s := range m.all() {
		if err := b.book.write(*s); err != nil {
			return err
		}
	}
	return nil
}

// linkSeries are the metrics of the bench.
type linkSeries struct {
	tps, p50, connect, blocks, rpc, tx series
}

func newLinkSeries() *linkSeries {
	return &linkSeries{
		tps: series{metric: "tps", unit: "1/s"}, p50: series{metric: "p50_ms", unit: "ms"}, connect: series{metric: "connect_ms", unit: "ms"},
		blocks: series{metric: "block_mib_s", unit: "MiB/s"}, rpc: series{metric: "nginx_us_per_rpc", unit: "us"}, tx: series{metric: "nginx_us_per_tx", unit: "us"},
	}
}

func (m *linkSeries) all() []*series {
	return []*series{&m.tps, &m.p50, &m.connect, &m.blocks, &m.rpc, &m.tx}
}

// add keeps a round. No nginx is on the way that the baseline goes.
func (m *linkSeries) add(f linkFigures, baseline bool) {
	for s, v := range map[*series]float64{&m.tps: f.tps, &m.p50: f.p50, &m.connect: f.connect, &m.blocks: f.blocks} {
		if baseline {
			s.baseline = append(s.baseline, v)
			continue
		}
		s.values = append(s.values, v)
	}
	if !baseline {
		m.rpc.values, m.tx.values = append(m.rpc.values, f.nginxRPC), append(m.tx.values, f.nginxTx)
	}
}

// banks is a network of two banks, whose site A has the ordering service too.
type banks struct {
	name         string
	siteA, siteB *harness.Cluster
	clients      []*load.Client
	done         []func()
	// blocks are the numbers of the first and the last of the large blocks.
	blocks [2]uint64
}

func (n *banks) close() {
	for _, done := range n.done {
		done()
	}
}

// sites are the clusters that the network stands in.
func (n *banks) sites() []*harness.Cluster {
	if n.siteA == n.siteB {
		return []*harness.Cluster{n.siteA}
	}
	return []*harness.Cluster{n.siteA, n.siteB}
}

// up returns when the first transaction is committed that both banks endorsed, and the large blocks are there.
func (n *banks) up(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	bankB := besideBankA
	if n.siteA != n.siteB {
		bankB = ""
	}
	if err := n.siteA.Apply(ctx, fmt.Sprintf(linkManifest, n.name, orderers, bankB)); err != nil {
		return err
	}
	if err := n.siteA.WaitReady(ctx, &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: n.name}}); err != nil {
		return err
	}
	if n.siteA != n.siteB {
		if err := n.share(ctx); err != nil {
			return err
		}
	}
	for _, site := range n.sites() {
		if err := site.Apply(ctx, fmt.Sprintf(contractManifest, n.name)); err != nil {
			return err
		}
	}
	for _, site := range n.sites() {
		cc := &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: contractName}}
		if err := site.WaitReady(ctx, cc); err != nil {
			return err
		}
		clients, done, err := site.Clients(ctx, n.name, channelName, contractName)
		if err != nil {
			return err
		}
		n.clients, n.done = append(n.clients, clients...), append(n.done, done)
	}
	for _, c := range n.clients {
		if err := firstTx(ctx, c); err != nil {
			return err
		}
	}
	return n.writeBlocks(ctx)
}

// share has site B join network and channel, as two organizations do it.
func (n *banks) share(ctx context.Context) error {
	for _, c := range []struct {
		site *harness.Cluster
		args []string
	}{
		{n.siteA, []string{"network", "invite", n.name, partnerB}},
		{n.siteB, []string{"network", "join", n.name, "--from", partnerA, "--org", "bankb:bankbMSP:peers=1"}},
	} {
		if out, err := c.site.Heddle(ctx, append(c.args, "-q")...); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
	}
	if err := n.siteB.WaitReady(ctx, &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: n.name}}); err != nil {
		return err
	}
	if out, err := n.siteA.Heddle(ctx, "channel", "invite", n.name+"/"+channelName, "bankb", "-q"); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	// The invitation comes over the link, some moments after it was made.
	err := harness.Poll(ctx, func(ctx context.Context) error {
		out, err := n.siteB.Heddle(ctx, "channel", "accept", n.name+"/"+channelName, "--from", partnerA, "-q")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, site := range n.sites() {
		if err := site.WaitReady(ctx, &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: channelName}}); err != nil {
			return err
		}
	}
	return nil
}

// settings are the fingerprint of what nodes and channel run with, over all sites.
func (n *banks) settings(ctx context.Context) (string, error) {
	var env [][]nodeenv.Var
	for _, site := range n.sites() {
		var list appsv1.DeploymentList
		if err := site.List(ctx, &list, client.InNamespace(n.name)); err != nil {
			return "", err
		}
		env = append(env, environments(list.Items)...)
	}
	config, err := n.clients[0].Config(ctx)
	if err != nil {
		return "", err
	}
	c, err := channelconfig.Read(config)
	if err != nil {
		return "", err
	}
	return fingerprint(env, c.Channel)
}
