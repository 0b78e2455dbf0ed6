package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// TestObjectsDeleted: each kind of pod, Deployment, Service and ConfigMap is deleted under load; the object comes back,
// transactions go on, and nothing acknowledged is lost.
func TestObjectsDeleted(t *testing.T) {
	ctx, c := start(t, 20*time.Minute)
	s := healing("deleted")
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	genesis := genesisBlock(ctx, t, c, s.Name)
	under(ctx, t, peers, func(run *load.Run) {
		for component, pod := range onePerComponent(ctx, t, c, s.Name) {
			flowing(ctx, t, run)
			began := time.Now()
			if err := c.Delete(ctx, pod); err != nil {
				t.Fatal(err)
			}
			replaced(ctx, t, c, pod)
			next(ctx, t, run, "pod of a "+component, began)
		}
		for _, name := range []string{"orderer1-ord", "peer0-banka", "ca-banka", "cc-demo-asset"} {
			for _, obj := range []client.Object{&appsv1.Deployment{}, &corev1.Service{}} {
				flowing(ctx, t, run)
				began := time.Now()
				again(ctx, t, c, obj, client.ObjectKey{Namespace: s.Name, Name: name})
				next(ctx, t, run, fmt.Sprintf("%T %s", obj, name), began)
			}
		}
		for _, name := range configMaps(ctx, t, c, s.Name) {
			flowing(ctx, t, run)
			began := time.Now()
			again(ctx, t, c, &corev1.ConfigMap{}, client.ObjectKey{Namespace: s.Name, Name: name})
			next(ctx, t, run, "ConfigMap "+name, began)
		}
		ready(ctx, t, c, network(s.Name))
		ready(ctx, t, c, chaincode(s.Name, "demo"))
	})
	if diff := cmp.Diff(genesis, genesisBlock(ctx, t, c, s.Name)); diff != "" {
		t.Error("the genesis block in its ConfigMap is another one now")
	}
	oneGenesis(ctx, t, c, s.Name, "demo", peers)
}

// next waits for a transaction that was sent after now.
func next(ctx context.Context, t *testing.T, run *load.Run, what string, began time.Time) {
	t.Helper()
	ack, err := run.AckAfter(ctx, time.Now())
	if err != nil {
		t.Fatalf("after %s was deleted: %v", what, err)
	}
	progress("%s deleted: back and committing after %.1f s", what, ack.At.Sub(began).Seconds())
}

// replaced waits until the node that a deleted pod served has another one that is ready.
func replaced(ctx context.Context, t *testing.T, c *harness.Cluster, pod *corev1.Pod) {
	t.Helper()
	match := client.MatchingLabels{}
	for _, l := range []string{v1alpha1.LabelComponent, v1alpha1.LabelNode, v1alpha1.LabelChaincode} {
		if v := pod.Labels[l]; v != "" {
			match[l] = v
		}
	}
	err := harness.Poll(ctx, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := c.List(ctx, &pods, client.InNamespace(pod.Namespace), match); err != nil {
			return err
		}
		for i := range pods.Items {
			for _, cond := range pods.Items[i].Status.Conditions {
				if pods.Items[i].UID != pod.UID && cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
					return nil
				}
			}
		}
		return fmt.Errorf("pod %q has no successor that is ready", pod.Name)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// again deletes an object and waits until there is another one of its name; of a Deployment its pod must be ready.
func again(ctx context.Context, t *testing.T, c *harness.Cluster, obj client.Object, key client.ObjectKey) {
	t.Helper()
	if err := c.Get(ctx, key, obj); err != nil {
		t.Fatal(err)
	}
	uid := obj.GetUID()
	if err := c.Delete(ctx, obj, client.PropagationPolicy("Background")); err != nil {
		t.Fatal(err)
	}
	err := harness.Poll(ctx, func(ctx context.Context) error {
		err := c.Get(ctx, key, obj)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		if err != nil || obj.GetUID() == uid {
			return fmt.Errorf("%T %q has not been made again", obj, key.Name)
		}
		if d, ok := obj.(*appsv1.Deployment); ok && d.Status.ReadyReplicas < 1 {
			return fmt.Errorf("Deployment %q has no ready pod", key.Name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// configMaps names those of a network's namespace that Heddle made.
func configMaps(ctx context.Context, t *testing.T, c *harness.Cluster, network string) []string {
	t.Helper()
	var list corev1.ConfigMapList
	if err := c.List(ctx, &list, client.InNamespace(network), client.HasLabels{v1alpha1.LabelNetwork}); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) < 2 {
		t.Fatalf("got %d ConfigMaps, want at least an MSP and a genesis block", len(list.Items))
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out
}

func genesisBlock(ctx context.Context, t *testing.T, c *harness.Cluster, network string) map[string][]byte {
	t.Helper()
	var cm corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: "demo-genesis"}, &cm); err != nil {
		t.Fatal(err)
	}
	return cm.BinaryData
}
