package e2e

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// TestOneOfEachKind: one network with one object of every kind gets Ready, reads well under kubectl, takes a
// transaction, and every pod in it was admitted under Pod Security restricted.
func TestOneOfEachKind(t *testing.T) {
	ctx, c := start(t, 6*time.Minute)
	s := healing("kinds")
	up(ctx, t, c, s)
	apply(ctx, t, c, `
apiVersion: heddle.dev/v1alpha1
kind: Identity
metadata: {name: alice, namespace: kinds}
spec: {organization: banka}
`)
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: s.Name, Name: name} }
	for _, obj := range []harness.Object{
		&v1alpha1.Identity{ObjectMeta: named("alice")}, &v1alpha1.Organization{ObjectMeta: named("banka")},
		&v1alpha1.Orderer{ObjectMeta: named("orderer0-ord")}, &v1alpha1.Peer{ObjectMeta: named("peer0-banka")},
		&v1alpha1.Channel{ObjectMeta: named("demo")},
	} {
		ready(ctx, t, c, obj)
		if obj.GetNamespace() != "" && obj.GetLabels()[v1alpha1.LabelNetwork] == "" && obj.GetName() != "alice" {
			t.Errorf("%T %q has no label %s", obj, obj.GetName(), v1alpha1.LabelNetwork)
		}
	}
	peers := clients(ctx, t, c, s.Name, "demo")
	submit(ctx, t, peers, "kinds")
	sameLedgers(ctx, t, peers)
	table := kubectl(t, c, "get", "heddle", "-A")
	progress("kubectl get heddle -A\n%s", table)
	for _, word := range []string{"network.heddle.dev/kinds", "orderer0-ord.kinds:7050", "BankAMSP", "peer0-banka.kinds:7051", "alice"} {
		if !strings.Contains(table, word) {
			t.Errorf("kubectl get heddle -A does not show %q", word)
		}
	}
}

// kubectl runs the lab's kubectl, or the one of the path, against the cluster.
func kubectl(t *testing.T, c *harness.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatalf("kubectl %q: %v\n%s", args, err, out)
	}
	return out
}
