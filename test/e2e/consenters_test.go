package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

const (
	// catchUp is how long an orderer that was restarted may take to find what it missed, on a channel where nothing happens.
	// 10 s are the aim; the machine is a busy one.
	catchUp = 20 * time.Second
	// answerTime is how long a caller may wait for an error while nothing can be ordered.
	answerTime = 12 * time.Second
	// commitAgain bounds how long an ordering service takes to order again after a fault, however busy the machine is.
	commitAgain = 90 * time.Second
	// silence is how long sites are cut from one another.
	silence = 30 * time.Second
)

// ordering is an ordering service whose consenters stand at two sites, with a peer of a member at each.
type ordering struct {
	a, b    *linkedSite
	members []consenter
	// callers are clients at the peers of a and b.
	callers []*load.Client
	serial  int
}

// consenter is an orderer at its site.
type consenter struct {
	at   *linkedSite
	name string
}

// orderedBy makes a network of two sites that are partners: site a has its orderers and bank A, site b orderers and bank B.
func orderedBy(ctx context.Context, t *testing.T, lab, consensus string, channels ...string) *ordering {
	t.Helper()
	sites := openSites(ctx, t, lab, 2)
	if consensus == "BFT" {
		realNodes(t, sites[0].Cluster, "BFT channels")
	}
	o := &ordering{a: sites[0], b: sites[1]}
	partners(ctx, t, o.a, o.b, "bank-a", "bank-b")
	own := 2
	if consensus == "BFT" {
		own = 3
	}
	apply(ctx, t, o.a.Cluster, shape{
		Name: "trade", Consensus: consensus, Orderers: own, Channels: channels, Orgs: []org{{Name: "banka", MSP: "BankAMSP", Peers: 1}},
		Partners: []string{"bank-b"},
	}.yaml(t))
	untilDone(ctx, t, o.a, "network", "invite", "trade", "bank-b", "--proposals", "Sign")
	untilDone(ctx, t, o.b, "network", "join", "trade", "--from", "bank-a", "--org", "bankb:BankBMSP:peers=1:orderers=1", "--proposals", "Sign")
	progress("both sites have the network")
	return o
}

// untilDone runs a command until it succeeds: what it needs may be on its way.
func untilDone(ctx context.Context, t *testing.T, s *linkedSite, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		out, err := s.Heddle(ctx, append(args, "-q")...)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var contractOfEither = template.Must(template.New("contract").Parse(`
apiVersion: heddle.dev/v1alpha1
kind: Chaincode
metadata: {name: demo-asset, namespace: trade}
spec: {channel: demo, chaincodeName: asset, image: {{.}}, endorsementPolicy: "OR('BankAMSP.peer', 'BankBMSP.peer')"}
`))

// serve waits for the channel at both sites, and deploys a contract there that one of them alone can endorse: so that it
// is the ordering alone that a cut between the sites hits.
func (o *ordering) serve(ctx context.Context, t *testing.T) {
	t.Helper()
	o.channelReady(ctx, t)
	progress("both sites have the channel, ordered by %s", strings.Join(o.names(), ", "))
	var manifest strings.Builder
	if err := contractOfEither.Execute(&manifest, assetImage); err != nil {
		t.Fatal(err)
	}
	for _, s := range o.sites() {
		apply(ctx, t, s.Cluster, manifest.String())
	}
	for _, s := range o.sites() {
		ready(ctx, t, s.Cluster, chaincode("trade", "demo"))
		clients, done, err := s.Clients(ctx, "trade", "demo", "asset")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(done)
		o.callers = append(o.callers, clients...)
	}
	if len(o.callers) != 2 {
		t.Fatalf("%d peers at 2 sites", len(o.callers))
	}
}

func (o *ordering) sites() []*linkedSite { return []*linkedSite{o.a, o.b} }

func (o *ordering) names() []string {
	var out []string
	for _, m := range o.members {
		out = append(out, m.at.id+"/"+m.name)
	}
	return out
}

// channelReady waits until both sites find the channel Ready with exactly the consenters that it is to have.
func (o *ordering) channelReady(ctx context.Context, t *testing.T) {
	t.Helper()
	var want []string
	for _, m := range o.members {
		want = append(want, fmt.Sprintf("%s.trade:%d", m.name, v1alpha1.PortOrderer))
	}
	slices.Sort(want)
	for _, s := range o.sites() {
		ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: "trade", Name: "demo"}}
		if err := s.Until(ctx, ch, func() bool { return harness.IsReady(ch) && slices.Equal(ch.Status.Consenters, want) }); err != nil {
			t.Fatalf("%s: %v; consenters %q, want %q", s.id, err, ch.Status.Consenters, want)
		}
	}
}

// commits demands that transactions from either side are committed, and at both sides.
func (o *ordering) commits(ctx context.Context, t *testing.T, callers ...*load.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(ctx, commitAgain, fmt.Errorf("nothing was committed in %s", commitAgain))
	defer cancel()
	o.serial++
	began := time.Now()
	submit(ctx, t, callers, fmt.Sprintf("over-%d", o.serial))
	progress("%d sides committed in %.1f s", len(callers), time.Since(began).Seconds())
}

// leader is the consenter that leads now.
func (o *ordering) leader(ctx context.Context, t *testing.T) consenter {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	name, _, err := harness.LeaderOver(ctx, "trade", "demo", o.a.Cluster, o.b.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(o.members, func(m consenter) bool { return m.name == name })
	if i < 0 {
		t.Fatalf("%s leads and is no consenter", name)
	}
	return o.members[i]
}

// follower is a consenter of a site that does not lead.
func (o *ordering) follower(ctx context.Context, t *testing.T, at *linkedSite) consenter {
	t.Helper()
	leader := o.leader(ctx, t)
	i := slices.IndexFunc(o.members, func(m consenter) bool { return m.at == at && m != leader })
	if i < 0 {
		t.Fatalf("%s has no consenter but the leader", at.id)
	}
	return o.members[i]
}

// level waits until all consenters but one, who may be nobody, have the same height for two seconds: the channel rests.
func (o *ordering) level(ctx context.Context, t *testing.T, but string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(ctx, commitAgain, errors.New("the consenters did not come to one height"))
	defer cancel()
	var height uint64
	var since time.Time
	err := harness.Poll(ctx, func(ctx context.Context) error {
		heights := map[string]uint64{}
		for _, m := range o.members {
			if m.name == but {
				continue
			}
			h, err := m.at.OrdererHeight(ctx, "trade", m.name, "demo")
			if err != nil {
				return fmt.Errorf("height of %s: %w", m.name, err)
			}
			heights[m.name] = h
		}
		for _, h := range heights {
			if h != height {
				height, since = h, time.Now()
			}
		}
		if time.Since(since) < 2*time.Second {
			return fmt.Errorf("heights are %v", heights)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return height
}

// lose stops a consenter so that nobody is told, demands that the others order without it, and then kills it. Restarted, it
// has to find by itself what it missed, while no transaction comes.
func (o *ordering) lose(ctx context.Context, t *testing.T, lost consenter, what string) {
	t.Helper()
	// Who was lost before takes part again once it follows: two at a time are more than the ordering service has to bear.
	o.commits(ctx, t, o.callers...)
	before := o.level(ctx, t, "")
	pod, err := lost.at.PodOf(ctx, "trade", lost.name)
	if err != nil {
		t.Fatal(err)
	}
	container := pod.Spec.Containers[0].Name
	if err := lost.at.Signal(pod, container, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	progress("%s: %s/%s stands still at height %d", what, lost.at.id, lost.name, before)
	o.commits(ctx, t, o.callers...)
	height := o.level(ctx, t, lost.name)
	killed := time.Now()
	if err := lost.at.Kill(pod, container); err != nil {
		t.Fatal(err)
	}
	started := o.startedAgain(ctx, t, lost, pod)
	caught, err := o.reaches(ctx, lost, height)
	if err != nil {
		t.Fatalf("%s: %s does not catch up: %v", what, lost.name, err)
	}
	progress("%s: %s/%s, restarted, went from height %d to %d on the idle channel %.1f s after its start, %.1f s after it was killed",
		what, lost.at.id, lost.name, before, height, caught.Sub(started).Seconds(), caught.Sub(killed).Seconds())
	if took := caught.Sub(started); took > catchUp {
		t.Errorf("%s: %s caught up %.1f s after its start, want at most %s", what, lost.name, took.Seconds(), catchUp)
	}
	if now := o.level(ctx, t, ""); now != height {
		t.Errorf("%s: the channel was not idle: it went from height %d to %d", what, height, now)
	}
}

// startedAgain waits for the next container of a node, and tells when it was there.
func (o *ordering) startedAgain(ctx context.Context, t *testing.T, lost consenter, was *corev1.Pod) time.Time {
	t.Helper()
	id := was.Status.ContainerStatuses[0].ContainerID
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		pod, err := lost.at.PodOf(ctx, "trade", lost.name)
		if err != nil {
			return err
		}
		if s := pod.Status.ContainerStatuses; len(s) == 0 || s[0].ContainerID == id || s[0].State.Running == nil {
			return fmt.Errorf("%s has not started again", lost.name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return time.Now()
}

// reaches waits until an orderer has a height.
func (o *ordering) reaches(ctx context.Context, who consenter, height uint64) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		h, err := who.at.OrdererHeight(ctx, "trade", who.name, "demo")
		if err == nil && h < height {
			err = fmt.Errorf("it is at height %d and not at %d", h, height)
		}
		return err
	})
	return time.Now(), err
}

// cut takes the sites apart for a while, under a light load. Who stands at a side that has no majority is told so and
// does not hang; the other side, if there is one, goes on. Afterwards both commit, and nothing acknowledged is lost.
func (o *ordering) cut(ctx context.Context, t *testing.T, goesOn *load.Client) {
	t.Helper()
	run, err := load.Start(ctx, o.callers, load.Options{InFlight: 256, Rate: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer run.Stop()
	if _, err := run.AckAfter(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := o.a.Lab.Cut(ctx, o.a.Site.Name(), o.b.Site.Name()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	progress("the sites are cut from one another")
	var cut sync.WaitGroup
	for _, c := range o.callers {
		if c != goesOn {
			cut.Go(func() { o.refused(ctx, t, c, began) })
		}
	}
	if goesOn != nil {
		o.commits(ctx, t, goesOn)
	}
	cut.Wait()
	if err := o.a.Lab.Heal(ctx); err != nil {
		t.Fatal(err)
	}
	healed := time.Now()
	for _, c := range o.callers {
		if err := ackOf(ctx, run, c, healed); err != nil {
			t.Fatal(err)
		}
		progress("healed: %s committed after %.1f s", c.Name(), time.Since(healed).Seconds())
	}
	result := run.Stop()
	progress("load: %s", result)
	o.commits(ctx, t, o.callers...)
	sameLedgers(ctx, t, o.callers)
	if err := load.CheckKept(ctx, o.callers, result.Acks); err != nil {
		t.Errorf("acknowledged transactions were lost: %v", err)
	}
	progress("all consenters are at height %d", o.level(ctx, t, ""))
}

// ackOf waits for a caller's first transaction that was sent after a moment and committed.
func ackOf(ctx context.Context, run *load.Run, c *load.Client, after time.Time) error {
	ctx, cancel := context.WithTimeoutCause(ctx, commitAgain, fmt.Errorf("%s committed nothing in %s", c.Name(), commitAgain))
	defer cancel()
	for {
		ack, err := run.AckAfter(ctx, after)
		if err != nil || ack.Peer == c.Name() {
			return err
		}
		after = ack.Sent
	}
}

// refused calls once a second for as long as the sites are silent to each other: the first call may be under way when that
// begins, each later one has to end in an error, in time, and the ledger must not grow.
func (o *ordering) refused(ctx context.Context, t *testing.T, c *load.Client, began time.Time) {
	t.Helper()
	var longest, first time.Duration
	var said error
	var before load.Ledger
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	calls := 0
	for ; calls < 3 || time.Since(began) < silence; calls++ {
		start := time.Now()
		_, err := c.Submit(ctx, "Create", fmt.Sprintf("cut-%s-%d-%d", c.Name(), began.UnixNano(), calls), "e2e", "7")
		if calls == 0 {
			first = time.Since(start)
			if before, err = c.Ledger(ctx); err != nil {
				t.Errorf("%s: %v", c.Name(), err)
				return
			}
			continue
		}
		if err == nil {
			t.Errorf("%s committed, cut from the majority of consenters", c.Name())
			return
		}
		said, longest = err, max(longest, time.Since(start))
		<-tick.C
	}
	text, _, _ := strings.Cut(said.Error(), "\n")
	progress("%s: cut, the first call ended after %.1f s, %d further ones in errors after %.1f s at most: %s", c.Name(), first.Seconds(), calls-1, longest.Seconds(), text)
	after, err := c.Ledger(ctx)
	if err != nil || after != before {
		t.Errorf("%s: the ledger went from height %d to %d without a majority of consenters (%v)", c.Name(), before.Height, after.Height, err)
	}
	if longest > answerTime {
		t.Errorf("%s: an error took %.1f s, want at most %s: %v", c.Name(), longest.Seconds(), answerTime, said)
	}
}
