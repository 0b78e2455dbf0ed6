package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// TestPeerReplaced: when a peer's pod is replaced, or its container started anew, the contracts that it had launched go,
// and the next call launches one. The record of launches outlives pods, peers and the operator.
func TestPeerReplaced(t *testing.T) {
	ctx, c, s := faultyLab(t, 10*time.Minute, "replaced")
	deployFaulty(ctx, t, c, s, "first")
	pongs(ctx, t, c, s)
	for _, fault := range []struct {
		name string
		hit  func(context.Context, *corev1.Pod) error
	}{
		{"pod deleted", func(ctx context.Context, pod *corev1.Pod) error { return c.Delete(ctx, pod) }},
		{"pod deleted without grace", func(ctx context.Context, pod *corev1.Pod) error {
			return c.Delete(ctx, pod, client.GracePeriodSeconds(0))
		}},
		{"container killed", func(_ context.Context, pod *corev1.Pod) error { return c.Kill(pod, pod.Spec.Containers[0].Name) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			former := map[string]bool{}
			for name := range launchNames(ctx, t, c, s) {
				former[name] = true
			}
			pod, err := c.PodOf(ctx, s.Name, "peer0-banka")
			must(t, err)
			must(t, fault.hit(ctx, pod))
			eventually(ctx, t, "there is another peer", func() error {
				now, err := c.PodOf(ctx, s.Name, "peer0-banka")
				if err == nil && (now.UID == pod.UID && restarts(now) == restarts(pod) || !running(now)) {
					err = fmt.Errorf("pod %s is still the former one", now.Name)
				}
				return err
			})
			eventually(ctx, t, "the peer is back and answers", func() error {
				_, err := evaluateAt(ctx, c, s, "banka", "Ping")
				return err
			})
			eventually(ctx, t, "each peer has one contract, and banka's is new", func() error { return oneEach(ctx, t, c, s, former) })
			wantEnds(ctx, t, c, s)
		})
	}
	before := deployed(ctx, t, c, s, faulty).Status.Launches
	must(t, killAndAwait(ctx, c))
	pongs(ctx, t, c, s)
	// What makes the operator look again, so that its successor has written what it knows.
	change(ctx, t, c, s, func(cc *v1alpha1.Chaincode) { cc.Annotations = map[string]string{"look": "again"} })
	time.Sleep(3 * time.Second)
	if diff := cmp.Diff(before, deployed(ctx, t, c, s, faulty).Status.Launches); diff != "" {
		t.Errorf("the record of launches changed with the operator (-before +after):\n%s", diff)
	}
	progress("the record has %d launches:%s", len(before), launchesOf(deployed(ctx, t, c, s, faulty)))
	if len(before) < 2+3 {
		t.Errorf("the record has %d launches, and there were at least 5", len(before))
	}
}

// oneEach demands one running pod of the faulty contract at each peer, at the first organization's none of the former.
func oneEach(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, former map[string]bool) error {
	t.Helper()
	count := map[string]int{}
	for _, pod := range launched(ctx, t, c, deployed(ctx, t, c, s, faulty)) {
		peer := pod.Labels[v1alpha1.LabelNode]
		count[peer]++
		if peer == "peer0-banka" && former[pod.Name] {
			return fmt.Errorf("pod %s of the former peer is still there", pod.Name)
		}
		if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
			return fmt.Errorf("pod %s is %s", pod.Name, pod.Status.Phase)
		}
	}
	if diff := cmp.Diff(map[string]int{"peer0-banka": 1, "peer0-bankb": 1}, count); diff != "" {
		return fmt.Errorf("pods of the contract by peer (-want +got):\n%s", diff)
	}
	return nil
}
