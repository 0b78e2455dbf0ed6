package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// TestContractAsService: peers and a contract of the runtime Service know each other by certificates. With two pods,
// transactions go on when each of them is deleted, when the certificate is made anew, and when the peers' pods are; the
// package stays the same.
func TestContractAsService(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	s := raft3("services")
	up(ctx, t, c, s)
	cc := chaincode(s.Name, demoChannel)
	apply(ctx, t, c, strings.Replace(contract(s.Name, demoChannel), "spec: {", "spec: {replicas: 2, tls: Required, ", 1))
	served(ctx, t, c, cc, 2)
	before := cc.Status.PackageID
	if len(cc.Status.Certificates) != 1 {
		t.Errorf("certificates %+v", cc.Status.Certificates)
	}
	peers := clients(ctx, t, c, s.Name, demoChannel)
	under(ctx, t, peers, func(run *load.Run) {
		for _, pod := range launched(ctx, t, c, cc) {
			flowing(ctx, t, run)
			must(t, c.Delete(ctx, &pod))
			goesOn(ctx, t, run, "pod "+pod.Name+" deleted")
			served(ctx, t, c, cc, 2)
		}
		flowing(ctx, t, run)
		secret := &corev1.Secret{}
		must(t, c.Get(ctx, client.ObjectKey{Namespace: s.Name, Name: specs.ChaincodeTLSSecretName(cc.Name)}, secret))
		must(t, c.Delete(ctx, secret))
		eventually(ctx, t, "there is another certificate", func() error {
			next := &corev1.Secret{}
			err := c.Get(ctx, client.ObjectKeyFromObject(secret), next)
			if err == nil && string(next.Data[specs.KeyNodeTLSCert]) == string(secret.Data[specs.KeyNodeTLSCert]) {
				err = fmt.Errorf("the certificate is the former one")
			}
			return err
		})
		served(ctx, t, c, cc, 2)
		goesOn(ctx, t, run, "another certificate")
	})
	for _, o := range s.Orgs {
		pod, err := c.PodOf(ctx, s.Name, specs.PeerName(o.Name, 0))
		must(t, err)
		must(t, c.Delete(ctx, pod))
	}
	ready(ctx, t, c, network(s.Name))
	submit(ctx, t, clients(ctx, t, c, s.Name, demoChannel), "restarted")
	served(ctx, t, c, cc, 2)
	if cc.Status.PackageID != before || *cc.Status.Sequence != 1 {
		t.Errorf("the package is %s after the renewal, was %s; sequence %d", cc.Status.PackageID, before, *cc.Status.Sequence)
	}
}

// served waits until a contract of the runtime Service has exactly so many pods, all of the newest template and ready.
func served(ctx context.Context, t *testing.T, c *harness.Cluster, cc *v1alpha1.Chaincode, pods int) {
	t.Helper()
	eventually(ctx, t, "all pods of the contract serve", func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
			return err
		}
		have := launched(ctx, t, c, cc)
		for i := range have {
			for _, status := range have[i].Status.ContainerStatuses {
				if !status.Ready || have[i].DeletionTimestamp != nil {
					return fmt.Errorf("pod %s is not ready or ends", have[i].Name)
				}
			}
			if have[i].Labels["pod-template-hash"] != have[0].Labels["pod-template-hash"] {
				return fmt.Errorf("pod %s is of another template", have[i].Name)
			}
		}
		if len(have) != pods || cc.Status.ObservedGeneration != cc.Generation || !harness.IsReady(cc) {
			return fmt.Errorf("%d pods; %s", len(have), harness.Describe(cc))
		}
		return nil
	})
}

// goesOn: a transaction that is sent from now on is committed.
func goesOn(ctx context.Context, t *testing.T, run *load.Run, what string) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ack, err := run.AckAfter(ctx, began)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	progress("%s: committing after %.1f s", what, ack.At.Sub(began).Seconds())
}
