package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// TestRetention: a deleted network leaves its ledgers and keys; another identity must not take them, the same one goes
// on at the same height and block hash.
func TestRetention(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	s := raft3("retained")
	s.Retain, s.ID = true, "retained-network-1"
	up(ctx, t, c, s)
	peers := clients(ctx, t, c, s.Name, "demo")
	keys := submit(ctx, t, peers, "before")
	before := sameLedgers(ctx, t, peers)

	if err := c.Remove(ctx, network(s.Name)); err != nil {
		t.Fatal(err)
	}
	var deployments appsv1.DeploymentList
	var services corev1.ServiceList
	var volumes corev1.PersistentVolumeClaimList
	err := harness.Poll(ctx, func(ctx context.Context) error {
		for _, l := range []client.ObjectList{&deployments, &services, &volumes} {
			if err := c.List(ctx, l, client.InNamespace(s.Name)); err != nil {
				return err
			}
		}
		if len(deployments.Items)+len(services.Items) > 0 {
			return fmt.Errorf("%d Deployments and %d Services are left", len(deployments.Items), len(services.Items))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(volumes.Items) != 5 {
		t.Errorf("got %d retained volumes, want 5", len(volumes.Items))
	}
	for i := range volumes.Items {
		if v := &volumes.Items[i]; v.Labels[v1alpha1.LabelRetained] != "true" || v.Labels[v1alpha1.LabelNetworkID] != s.ID {
			t.Errorf("retained volume %q has labels %v", v.Name, v.Labels)
		}
	}

	other := s
	other.ID = "another-network-2"
	apply(ctx, t, c, other.yaml(t))
	reason, message, err := c.WaitStalled(ctx, network(s.Name))
	if err != nil {
		t.Fatal(err)
	}
	if reason != v1alpha1.ReasonNamespaceRetained || !strings.Contains(message, "networkID") {
		t.Errorf("another network ID: got %s: %s", reason, message)
	}
	if err := c.Remove(ctx, network(s.Name)); err != nil {
		t.Fatal(err)
	}

	up(ctx, t, c, s)
	peers = clients(ctx, t, c, s.Name, "demo")
	if after := sameLedgers(ctx, t, peers); after != before {
		t.Errorf("the ledger was at %v before and is at %v now", before, after)
	}
	for _, p := range peers {
		if _, err := p.Read(ctx, "Read", keys[0]); err != nil {
			t.Errorf("read what was committed before: %v", err)
		}
	}
	submit(ctx, t, peers, "after")
}
