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

// onePerComponent lists one running pod of each component of a network.
func onePerComponent(ctx context.Context, t *testing.T, c *harness.Cluster, network string) map[string]*corev1.Pod {
	t.Helper()
	out := map[string]*corev1.Pod{}
	for _, component := range []string{v1alpha1.ComponentOrderer, v1alpha1.ComponentPeer, v1alpha1.ComponentCA, v1alpha1.ComponentChaincode} {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(network), client.MatchingLabels{v1alpha1.LabelComponent: component}); err != nil {
			t.Fatal(err)
		}
		if len(pods.Items) == 0 {
			t.Fatalf("network %q has no pod of component %q", network, component)
		}
		out[component] = &pods.Items[0]
	}
	return out
}

// healing is the network that things are broken in: as raft3, with a CA.
func healing(name string) shape {
	s := raft3(name)
	s.Orgs[0].CA = "Managed"
	return s
}

// TestContainersKilled: each kind of container is killed with SIGKILL under load; each comes back, transactions go on,
// and nothing acknowledged is lost.
func TestContainersKilled(t *testing.T) {
	ctx, c := start(t, 12*time.Minute)
	s := healing("killed")
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	under(ctx, t, peers, func(run *load.Run) {
		for component, pod := range onePerComponent(ctx, t, c, s.Name) {
			for _, container := range pod.Spec.Containers {
				flowing(ctx, t, run)
				began := time.Now()
				if err := c.Kill(pod, container.Name); err != nil {
					t.Fatal(err)
				}
				back(ctx, t, c, pod)
				ack, err := run.AckAfter(ctx, time.Now())
				if err != nil {
					t.Fatalf("after container %q of a %s was killed: %v", container.Name, component, err)
				}
				progress("%s/%s killed: ready and committing after %.1f s", component, container.Name, ack.At.Sub(began).Seconds())
			}
		}
		flowing(ctx, t, run)
		if err := killAndAwait(ctx, c); err != nil {
			t.Fatal(err)
		}
		progress("operator killed and started again")
		ready(ctx, t, c, network(s.Name))
	})
}

// back waits until a killed container of a pod runs again and the pod is ready.
func back(ctx context.Context, t *testing.T, c *harness.Cluster, pod *corev1.Pod) {
	t.Helper()
	before := restarts(pod)
	err := harness.Poll(ctx, func(ctx context.Context) error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if restarts(pod) == before || !running(pod) {
			return fmt.Errorf("pod %q has not started its container again", pod.Name)
		}
		for _, cond := range pod.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status != corev1.ConditionTrue {
				return fmt.Errorf("pod %q is not ready", pod.Name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
