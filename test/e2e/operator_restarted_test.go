package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/test/harness"
)

// phase is a moment in which a network comes up.
type phase struct {
	name string
	// begun tells whether the moment has come.
	begun func(ctx context.Context, c *harness.Cluster, network string) error
}

// exists is a phase that begins with an object.
func exists(what string, obj client.Object, name string) phase {
	return phase{name: what, begun: func(ctx context.Context, c *harness.Cluster, network string) error {
		key := client.ObjectKey{Namespace: network, Name: name}
		if name == "" {
			key = client.ObjectKey{Name: network}
		}
		return c.Get(ctx, key, obj)
	}}
}

// phases from first to last.
var phases = []phase{
	exists("namespace made", &corev1.Namespace{}, ""),
	exists("issuers made", &corev1.Secret{}, "banka-ops"),
	exists("administrator made", &corev1.Secret{}, "ord-admin"),
	exists("first node's keys made", &corev1.Secret{}, "orderer0-ord"),
	exists("first Deployment made", &appsv1.Deployment{}, "orderer0-ord"),
	exists("genesis block made", &corev1.ConfigMap{}, "demo-genesis"),
	{name: "first orderer joined", begun: func(ctx context.Context, c *harness.Cluster, network string) error {
		_, err := c.OrdererBlock(ctx, network, "orderer0-ord", "demo", 0)
		return err
	}},
	{name: "first peer joined", begun: func(ctx context.Context, c *harness.Cluster, network string) error {
		cl, err := c.Client(ctx, network, "peer0-banka", "banka", "demo", "asset")
		if err != nil {
			return err
		}
		defer cl.Close()
		_, err = cl.Ledger(ctx)
		return err
	}},
	exists("contract's Deployment made", &appsv1.Deployment{}, "cc-demo-asset"),
	{name: "contract installed", begun: func(ctx context.Context, c *harness.Cluster, network string) error {
		cc := chaincode(network, "demo")
		if err := c.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
			return err
		}
		if cc.Status.PackageID == "" {
			return fmt.Errorf("contract has no package yet: %s", harness.Describe(cc))
		}
		return nil
	}},
}

// TestOperatorRestartedAtEachPhase: the operator is killed at each step on the way of one network, and the network
// comes up all the same, with one genesis block.
func TestOperatorRestartedAtEachPhase(t *testing.T) {
	ctx, c := start(t, 15*time.Minute)
	s := raft3("restarts")
	removeAfter(t, c, s.Name)
	apply(ctx, t, c, s.yaml(t))
	withContract := false
	for _, p := range phases {
		err := harness.Poll(ctx, func(ctx context.Context) error {
			if !withContract {
				// The contract's namespace is there after the first phase.
				withContract = c.Apply(ctx, contract(s.Name, "demo")) == nil
			}
			return p.begun(ctx, c, s.Name)
		})
		if err != nil {
			t.Fatalf("wait for phase %q: %v", p.name, err)
		}
		if err := killAndAwait(ctx, c); err != nil {
			t.Fatalf("phase %q: %v", p.name, err)
		}
		progress("the operator was killed at: %s", p.name)
	}
	ready(ctx, t, c, network(s.Name))
	ready(ctx, t, c, chaincode(s.Name, "demo"))
	peers := clients(ctx, t, c, s.Name, "demo")
	submit(ctx, t, peers, "after")
	sameLedgers(ctx, t, peers)
	oneGenesis(ctx, t, c, s.Name, "demo", peers)
}

// killAndAwait kills the operator and waits until the kubelet has started it again.
func killAndAwait(ctx context.Context, c *harness.Cluster) error {
	pod, err := c.Operator(ctx)
	if err != nil {
		return err
	}
	before := restarts(pod)
	if err := c.Kill(pod, pod.Spec.Containers[0].Name); err != nil {
		return err
	}
	return harness.Poll(ctx, func(ctx context.Context) error {
		now, err := c.Operator(ctx)
		if err != nil {
			return err
		}
		if now.Name == pod.Name && restarts(now) == before || !running(now) {
			return fmt.Errorf("the operator's pod %q has not started again", now.Name)
		}
		return nil
	})
}

func restarts(pod *corev1.Pod) int32 {
	n := int32(0)
	for _, s := range pod.Status.ContainerStatuses {
		n += s.RestartCount
	}
	return n
}

func running(pod *corev1.Pod) bool {
	for _, s := range pod.Status.ContainerStatuses {
		if s.State.Running == nil {
			return false
		}
	}
	return len(pod.Status.ContainerStatuses) > 0
}
