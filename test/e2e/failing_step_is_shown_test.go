package e2e

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// TestFailingStepIsShown: an image that cannot be had is told in the status of the node and of its network, with its
// name; when the cause is removed, everything goes on by itself.
func TestFailingStepIsShown(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	s := raft3("failing-step")
	s.Fabric = "images: {peer: heddle.dev/no-such-peer:1}, imagePullPolicy: Never"
	removeAfter(t, c, s.Name)
	apply(ctx, t, c, s.yaml(t))
	told := func(obj harness.Object, reason, word string) {
		t.Helper()
		err := c.Until(ctx, obj, func() bool {
			r := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionReady)
			return r != nil && (reason == "" || r.Reason == reason) && strings.Contains(r.Message, word)
		})
		if err != nil {
			t.Fatalf("the cause is not shown: %v", err)
		}
	}
	told(thePeer("peer0-banka")(s.Name), v1alpha1.ReasonImageUnavailable, "heddle.dev/no-such-peer:1")
	told(network(s.Name), "", "peer0-banka")
	s.Fabric = ""
	apply(ctx, t, c, s.yaml(t))
	apply(ctx, t, c, contract(s.Name, "demo"))
	ready(ctx, t, c, network(s.Name))
	ready(ctx, t, c, chaincode(s.Name, "demo"))
	submit(ctx, t, clients(ctx, t, c, s.Name, "demo"), "after")
}
