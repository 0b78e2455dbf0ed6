package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// drainTime is what draining a machine may take.
const drainTime = 60 * time.Second

// TestDrain: one machine of two is drained under load as kubectl drain does it. It ends in time, every node runs on the
// other machine, no volume ever had two writers, and nothing acknowledged is lost.
func TestDrain(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 15*time.Minute, errors.New("the test's 15 minutes are over"))
	t.Cleanup(cancel)
	c, err := harness.Open(ctx, harness.Options{Name: labName() + "-drain", Nodes: 2, Progress: progress})
	if errors.Is(err, harness.ErrUnavailable) {
		t.Skipf("skipped, not passed: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.Lab == nil {
		t.Skip("skipped, not passed: draining needs a lab with two machines")
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	s := raft3("drain")
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	writers := watchWriters(ctx, t, c, s.Name)
	under(ctx, t, peers, func(run *load.Run) {
		for _, machine := range c.Site.NodeNames() {
			flowing(ctx, t, run)
			drain(ctx, t, c, s, machine)
			next(ctx, t, run, "every pod of machine "+machine, time.Now())
			if err := c.Uncordon(ctx, machine); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, clash := range writers() {
		t.Error(clash)
	}
}

func drain(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, machine string) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, 3*drainTime, errors.New("draining takes far too long"))
	defer cancel()
	if err := c.EvictAll(ctx, machine); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	progress("machine %s is drained after %.1f s", machine, took.Seconds())
	if took > drainTime {
		t.Errorf("draining %s took %.0f s, want at most %.0f s", machine, took.Seconds(), drainTime.Seconds())
	}
	ready(ctx, t, c, network(s.Name))
	// The statuses may lag behind the eviction for a moment, so the pods themselves are waited for.
	if err := harness.Poll(ctx, func(ctx context.Context) error { return elsewhere(ctx, c, s, machine) }); err != nil {
		t.Error(err)
	}
}

// elsewhere returns an error unless every node of the network runs, and not on the drained machine.
func elsewhere(ctx context.Context, c *harness.Cluster, s shape, machine string) error {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(s.Name)); err != nil {
		return err
	}
	running := map[string]string{}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.Status.Phase == corev1.PodRunning && p.DeletionTimestamp == nil {
			running[p.Labels[v1alpha1.LabelNode]] = p.Spec.NodeName
		}
	}
	for _, node := range []string{"orderer0-ord", "orderer1-ord", "orderer2-ord", "peer0-banka", "peer0-bankb"} {
		if on, ok := running[node]; !ok || on == machine {
			return fmt.Errorf("%s runs on %q after %q was drained", node, on, machine)
		}
	}
	return nil
}

// watchWriters notes every moment at which containers of two pods ran on one volume. The returned function ends the
// watch and returns what was noted.
func watchWriters(ctx context.Context, t *testing.T, c *harness.Cluster, network string) func() []string {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	w, err := c.Watch(ctx, &corev1.PodList{}, client.InNamespace(network))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan []string, 1)
	go func() {
		clashes := map[string]bool{}
		holders := map[string]map[string]bool{} // volume -> pods with a running container
		for e := range w.ResultChan() {
			pod, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			for _, v := range pod.Spec.Volumes {
				if v.PersistentVolumeClaim == nil {
					continue
				}
				claim := v.PersistentVolumeClaim.ClaimName
				if holders[claim] == nil {
					holders[claim] = map[string]bool{}
				}
				delete(holders[claim], pod.Name)
				if e.Type != watch.Deleted && writes(pod) {
					holders[claim][pod.Name] = true
				}
				if len(holders[claim]) > 1 {
					clashes[fmt.Sprintf("volume %s had %d writers at once", claim, len(holders[claim]))] = true
				}
			}
		}
		var out []string
		for what := range clashes {
			out = append(out, what)
		}
		done <- out
	}()
	return func() []string {
		cancel()
		w.Stop()
		return <-done
	}
}

// writes tells whether a container of the pod runs.
func writes(pod *corev1.Pod) bool {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Running != nil {
			return true
		}
	}
	return false
}
