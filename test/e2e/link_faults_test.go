package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/test/harness"
)

// TestLinkUnderFaults: a network over two sites goes on, or is back within seconds, whatever happens to what links them,
// under load from both sides of a contract that both have to endorse.
func TestLinkUnderFaults(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 28*time.Minute, errors.New("the test's 28 minutes are over"))
	t.Cleanup(cancel)
	n := openShared(ctx, t, "faults")
	for _, s := range []struct {
		name string
		test func(context.Context, *testing.T)
	}{
		{"reload", n.reloaded},
		{"leaf rotation", n.leaves},
		{"CA rotation", n.authorities},
		{"address changes", n.moves},
		{"pods killed", n.killed},
	} {
		t.Run(s.name, func(t *testing.T) {
			s.test(ctx, t)
			n.up(ctx, t)
		})
	}
}

// tunnels are connections from each site to the other's peer, as nodes have them.
func (n *twoBanks) tunnels(ctx context.Context, t *testing.T) []*liveTunnel {
	t.Helper()
	var out []*liveTunnel
	for _, s := range n.sides {
		tunnel := s.imported(ctx, t, n.name)
		if err := harness.Poll(ctx, tunnel.ping); err != nil {
			t.Fatal(err)
		}
		if made := tunnel.dials.Load(); made != 1 {
			t.Fatalf("the tunnel from %s had to be made %d times", s.id, made)
		}
		out = append(out, tunnel)
	}
	return out
}

// stillThere demands that the connections are the ones from before.
func (n *twoBanks) stillThere(ctx context.Context, t *testing.T, tunnels []*liveTunnel) {
	t.Helper()
	for i, tunnel := range tunnels {
		tunnel.lives(ctx, t, n.sides[i].id)
	}
}

// steadily runs body under load, and demands that nothing was cut and nothing failed.
func (n *twoBanks) steadily(ctx context.Context, t *testing.T, body func(l *bothSides)) {
	t.Helper()
	proxies, tunnels := n.proxies(ctx, t), n.tunnels(ctx, t)
	l := n.load(ctx, t)
	since := time.Now()
	body(l)
	l.flowing(ctx, t)
	uncut(ctx, t, proxies, since)
	l.stop(ctx, t)
	l.whole(t)
	n.stillThere(ctx, t, tunnels)
}

// reloaded: all nginx read their files anew, three times, and cut nothing.
func (n *twoBanks) reloaded(ctx context.Context, t *testing.T) {
	proxies := n.proxies(ctx, t)
	n.steadily(ctx, t, func(l *bothSides) {
		for round := range 3 {
			for _, p := range proxies {
				p.reload(ctx, t)
			}
			l.flowing(ctx, t)
			progress("reload %d of %d nginx is done", round+1, len(proxies))
		}
	})
}

// reload signals nginx as heddle-link does, and waits for the new worker.
func (p proxy) reload(ctx context.Context, t *testing.T) {
	t.Helper()
	before, err := p.site.Processes(p.pod, "nginx")
	if err == nil {
		err = p.site.Signal(p.pod, "nginx", syscall.SIGHUP)
	}
	if err != nil {
		t.Fatal(err)
	}
	err = harness.Poll(ctx, func(context.Context) error {
		now, err := p.site.Processes(p.pod, "nginx")
		if err == nil && !slices.ContainsFunc(now, func(pid int) bool { return !slices.Contains(before, pid) }) {
			err = fmt.Errorf("%s has no new worker", p.what)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// killed: each pod on the way is deleted without grace, and each nginx is killed within its pod.
func (n *twoBanks) killed(ctx context.Context, t *testing.T) {
	for _, way := range []string{"deleted", "killed"} {
		for i := range n.proxies(ctx, t) {
			l := n.load(ctx, t)
			p := n.proxies(ctx, t)[i]
			what := p.what + " is " + way
			since := time.Now()
			if way == "deleted" {
				err := p.site.Delete(ctx, p.pod, client.GracePeriodSeconds(0))
				if err != nil {
					t.Fatal(err)
				}
			} else if err := p.site.Kill(p.pod, "nginx"); err != nil {
				t.Fatal(err)
			}
			n.replaced(ctx, t, p)
			l.flowing(ctx, t)
			l.stop(ctx, t)
			l.errors(t)
			l.back(t, what, since)
		}
	}
	n.up(ctx, t)
}

// replaced waits until the pod, or its nginx, is another one.
func (n *twoBanks) replaced(ctx context.Context, t *testing.T, old proxy) {
	t.Helper()
	started := func(pod *corev1.Pod) string {
		for _, s := range pod.Status.ContainerStatuses {
			if s.Name == "nginx" && s.Ready {
				return s.ContainerID
			}
		}
		return ""
	}
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := old.site.List(ctx, &pods, client.InNamespace(old.pod.Namespace), client.MatchingLabels(old.pod.Labels)); err != nil {
			return err
		}
		if len(pods.Items) != 1 || started(&pods.Items[0]) == "" || started(&pods.Items[0]) == started(old.pod) {
			return fmt.Errorf("%s has %d pods, and not a new one that is ready", old.what, len(pods.Items))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
