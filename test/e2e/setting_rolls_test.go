package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// TestSettingRolls: a changed setting of the orderers reaches each of them, one at a time, while transactions go on.
func TestSettingRolls(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	s := raft3("setting-rolls")
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	most := 0
	under(ctx, t, peers, func(*load.Run) {
		before := podsOf(t, c, s.Name, v1alpha1.ComponentOrderer)
		s.Orderer = "logging: warn"
		apply(ctx, t, c, s.yaml(t))
		err := harness.Poll(ctx, func(ctx context.Context) error {
			now := podsOf(t, c, s.Name, v1alpha1.ComponentOrderer)
			down, fresh := 3-len(now), 0
			for name, ok := range now {
				if !ok {
					down++
				}
				if _, old := before[name]; ok && !old {
					fresh++
				}
			}
			most = max(most, down)
			if fresh < 3 {
				return fmt.Errorf("%d of 3 orderers have rolled", fresh)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		ready(ctx, t, c, network(s.Name))
	})
	if most > 1 {
		t.Errorf("%d orderers were down at once, want at most 1", most)
	}
}

// podsOf lists the pods of a component by name, and whether each is ready.
func podsOf(t *testing.T, c *harness.Cluster, network, component string) map[string]bool {
	t.Helper()
	var pods corev1.PodList
	err := c.List(t.Context(), &pods, client.InNamespace(network), client.MatchingLabels{v1alpha1.LabelComponent: component})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for i := range pods.Items {
		p := &pods.Items[i]
		ready := p.DeletionTimestamp == nil
		for _, s := range p.Status.Conditions {
			if s.Type == corev1.PodReady {
				ready = ready && s.Status == corev1.ConditionTrue
			}
		}
		out[p.Name] = ready && p.Status.Phase == corev1.PodRunning
	}
	return out
}
