package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// The load on a link: transactions a second that each side offers, and how many of them are the full rate.
const (
	sideRate = 8
	sideFull = 6
)

// What is asked of a link under faults, and what is allowed on top on a busy machine before a test fails.
const (
	errorWithin = 10 * time.Second
	backWithin  = 10 * time.Second
	busy        = 10 * time.Second
)

// bothSides is load from both sites at once, each a run of its own, so that neither hides behind the other.
type bothSides struct {
	n       *twoBanks
	runs    []*load.Run
	results []load.Result
}

// load starts transactions from both sides and waits until they flow. They end with the test at the latest.
func (n *twoBanks) load(ctx context.Context, t *testing.T) *bothSides {
	t.Helper()
	l := &bothSides{n: n}
	for _, s := range n.sides {
		run, err := load.Start(ctx, []*load.Client{s.caller}, load.Options{InFlight: manyInFlight, Rate: sideRate})
		if err != nil {
			t.Fatal(err)
		}
		l.runs = append(l.runs, run)
		t.Cleanup(func() { run.Stop() })
	}
	l.flowing(ctx, t)
	return l
}

// flowing waits for the full rate from both sides.
func (l *bothSides) flowing(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for i, run := range l.runs {
		if err := run.Flowing(ctx, sideFull); err != nil {
			t.Fatalf("from %s: %v", l.n.sides[i].id, err)
		}
	}
}

// stop ends the load and demands that both sides see the same ledger, with every acknowledged transaction on it.
func (l *bothSides) stop(ctx context.Context, t *testing.T) {
	t.Helper()
	check, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for i, run := range l.runs {
		r := run.Stop()
		l.results = append(l.results, r)
		progress("%s: %s: %s", t.Name(), l.n.sides[i].id, r)
		if r.Offered() < sideFull {
			t.Errorf("%s offered %.1f transactions a second, want at least %d", l.n.sides[i].id, r.Offered(), sideFull)
		}
	}
	sameLedgers(check, t, l.n.callers())
	for _, r := range l.results {
		if err := load.CheckKept(check, l.n.callers(), r.Acks); err != nil {
			t.Errorf("acknowledged transactions were lost: %v", err)
		}
	}
	progress("%s: %d acknowledged transactions are on both ledgers", t.Name(), len(l.results[0].Acks)+len(l.results[1].Acks))
}

// whole demands that not one transaction failed.
func (l *bothSides) whole(t *testing.T) {
	t.Helper()
	for i, r := range l.results {
		if n := len(r.Failures); n > 0 {
			t.Errorf("%d transactions of %s failed, such as: %v", n, l.n.sides[i].id, r.Failures[0].Err)
		}
	}
}

// errors demands that no caller waited long for an error. Whoever waits for the fate of what orderers have taken waits as
// long as it cares to, since a peer without blocks knows nothing: that is told, and not judged.
func (l *bothSides) errors(t *testing.T) {
	t.Helper()
	for i, r := range l.results {
		longest, fate := longestWaits(r)
		progress("%s: %s: %d failed; the longest wait for an error was %.1f s; for the fate of one that was on its way, %.1f s",
			t.Name(), l.n.sides[i].id, len(r.Failures), longest.Took().Seconds(), fate.Took().Seconds())
		if longest.Took() > errorWithin+busy {
			t.Errorf("a caller at %s waited %.1f s for %q, want at most %.0f s", l.n.sides[i].id, longest.Took().Seconds(), longest.Err, errorWithin.Seconds())
		}
	}
}

// longestWaits are those for an error, and for the fate of what orderers had taken.
func longestWaits(r load.Result) (plain, fate load.Failure) {
	for _, f := range r.Failures {
		if errors.Is(f.Err, load.ErrFateUnknown) {
			if f.Took() > fate.Took() {
				fate = f
			}
		} else if f.Took() > plain.Took() {
			plain = f
		}
	}
	return plain, fate
}

// back demands that the full rate was there again soon after a moment, from both sides.
func (l *bothSides) back(t *testing.T, what string, after time.Time) {
	t.Helper()
	for i, r := range l.results {
		took, ok := r.Back(after, sideFull)
		progress("%s: %s: the full rate is back %.1f s after %s", t.Name(), l.n.sides[i].id, took.Seconds(), what)
		if !ok || took > backWithin+busy {
			t.Errorf("%s: from %s the full rate was back after %.1f s (%v), want at most %.0f s", what, l.n.sides[i].id, took.Seconds(), ok, backWithin.Seconds())
		}
	}
}

// up waits until both sites see each other.
func (n *twoBanks) up(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, s := range n.sides {
		s.await(ctx, t, s.partner, v1alpha1.LinkUp)
	}
}

// proxy is a pod of nginx on the way between the sites.
type proxy struct {
	site *sideOf
	what string
	// link says that it is a link and not a gateway.
	link bool
	pod  *corev1.Pod
}

// proxies are all pods of nginx on the way: each site's gateway and its link.
func (n *twoBanks) proxies(ctx context.Context, t *testing.T) []proxy {
	t.Helper()
	var out []proxy
	for _, s := range n.sides {
		for _, kind := range []struct {
			what  string
			where []client.ListOption
		}{
			{"gateway", []client.ListOption{client.InNamespace(harness.SystemNamespace), client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentGateway}}},
			{"link", []client.ListOption{client.InNamespace(n.name), client.MatchingLabels{
				v1alpha1.LabelComponent: v1alpha1.ComponentLink, v1alpha1.LabelLink: s.partner,
			}}},
		} {
			var pods corev1.PodList
			if err := s.List(ctx, &pods, kind.where...); err != nil || len(pods.Items) != 1 {
				t.Fatalf("the %s of %s has %d pods (%v), want 1", kind.what, s.id, len(pods.Items), err)
			}
			out = append(out, proxy{s, s.id + "'s " + kind.what, kind.what == "link", &pods.Items[0]})
		}
	}
	return out
}

// ended are the streams from this site's nodes that a link's log tells to have ended since a moment. Each of them goes
// through all proxies; those of operators, which look at nodes now and then, are their own affair.
func (p proxy) ended(ctx context.Context, since time.Time) ([]string, error) {
	nodes := map[string]string{}
	var pods corev1.PodList
	if err := p.site.List(ctx, &pods, client.InNamespace(p.pod.Namespace)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		switch o := &pods.Items[i]; o.Labels[v1alpha1.LabelComponent] {
		case v1alpha1.ComponentPeer, v1alpha1.ComponentOrderer:
			nodes[o.Status.PodIP] = o.Name
		}
	}
	out, err := p.site.Kubectl(ctx, "logs", "-n", p.pod.Namespace, p.pod.Name, "-c", "nginx", "--since-time", since.UTC().Format(time.RFC3339))
	if err != nil {
		return nil, fmt.Errorf("read log of %s: %w: %s", p.what, err, out)
	}
	var ended []string
	for line := range strings.Lines(out) {
		var stream struct {
			Port string `json:"port"`
			From string `json:"from"`
		}
		if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &stream) != nil || stream.Port != strconv.Itoa(nginx.PortEgress) {
			continue
		}
		if node := nodes[stream.From]; node != "" {
			ended = append(ended, node+": "+strings.TrimSpace(line))
		}
	}
	return ended, nil
}

// uncut demands that no stream of a node has ended since a moment.
func uncut(ctx context.Context, t *testing.T, proxies []proxy, since time.Time) {
	t.Helper()
	count := 0
	for _, p := range proxies {
		if !p.link {
			continue
		}
		ended, err := p.ended(ctx, since)
		if err != nil {
			t.Fatal(err)
		}
		count += len(ended)
		for _, line := range ended {
			t.Errorf("%s has ended a stream of %s", p.what, line)
		}
	}
	progress("%s: %d streams of nodes have ended", t.Name(), count)
}
