package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/load"
)

// TestNetworkOverSites: two sovereign sites that know nothing of each other become partners, share a network and a channel
// by commands, deploy a contract that both have to endorse, and submit from either side. One port is open between them.
func TestNetworkOverSites(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 15*time.Minute, errors.New("the test's 15 minutes are over"))
	t.Cleanup(cancel)
	sites := openSites(ctx, t, "over", 2)
	a, b := sites[0], sites[1]
	partners(ctx, t, a, b, "bank-a", "bank-b")

	apply(ctx, t, a.Cluster, shape{
		Name: "trade", Consensus: "Raft", Orderers: 3, Channels: []string{"demo"}, Orgs: []org{{Name: "banka", MSP: "BankAMSP", Peers: 1}},
	}.yaml(t))
	ready(ctx, t, a.Cluster, network("trade"))
	heddle(ctx, t, a.Cluster, "network", "invite", "trade", "bank-b")
	heddle(ctx, t, b.Cluster, "network", "join", "trade", "--from", "bank-a", "--org", "bankb:BankBMSP:peers=1")
	ready(ctx, t, b.Cluster, network("trade"))
	progress("both sites have the network")
	heddle(ctx, t, a.Cluster, "channel", "invite", "trade/demo", "bankb")
	heddle(ctx, t, b.Cluster, "channel", "accept", "trade/demo", "--from", "bank-a")
	demo := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: "trade", Name: "demo"}}
	for _, s := range sites {
		ready(ctx, t, s.Cluster, demo.DeepCopy())
	}
	progress("both sites have the channel")

	for _, s := range sites {
		apply(ctx, t, s.Cluster, contract("trade", "demo"))
	}
	var callers []*load.Client
	for _, s := range sites {
		ready(ctx, t, s.Cluster, chaincode("trade", "demo"))
		clients, done, err := s.Clients(ctx, "trade", "demo", "asset")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(done)
		callers = append(callers, clients...)
	}
	if len(callers) != len(sites) {
		t.Fatalf("%d peers at %d sites", len(callers), len(sites))
	}
	for i, caller := range callers {
		for n := range 3 {
			submit(ctx, t, []*load.Client{caller}, fmt.Sprintf("over-%d-%d", i, n))
		}
	}
}
