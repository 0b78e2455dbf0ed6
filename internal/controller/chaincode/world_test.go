package chaincode

import (
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/kube"
)

func TestSequence(t *testing.T) {
	for name, c := range map[string]struct {
		version, policy string
		committed       *admin.Committed
		done            bool
		want            int64
	}{
		"nothing yet":             {"1.0", "", nil, false, 1},
		"the same":                {"1.0", "", &admin.Committed{Version: "1.0", Sequence: 3, Policy: defaultPolicy}, true, 3},
		"the same, spelt anew":    {"1.0", "OR( 'AMSP.peer' ,'BMSP.peer')", &admin.Committed{Version: "1.0", Sequence: 3, Policy: "OR('AMSP.peer', 'BMSP.peer')"}, true, 3},
		"another version":         {"2.0", "", &admin.Committed{Version: "1.0", Sequence: 3, Policy: defaultPolicy}, false, 4},
		"another policy":          {"1.0", "AND('AMSP.peer', 'BMSP.peer')", &admin.Committed{Version: "1.0", Sequence: 3, Policy: defaultPolicy}, false, 4},
		"of the old kind":         {"1.0", "", &admin.Committed{Version: "1.0", Sequence: 3, Policy: defaultPolicy, InitRequired: true}, false, 4},
		"a policy of the channel": {"1.0", "/Channel/Application/Writers", &admin.Committed{Version: "1.0", Sequence: 1, Policy: "/Channel/Application/Writers"}, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{chaincode: &v1alpha1.Chaincode{Spec: v1alpha1.ChaincodeSpec{Version: c.version, EndorsementPolicy: c.policy}}, committed: c.committed}
			if got := w.sequence(); got != c.want || w.done() != c.done {
				t.Errorf("sequence %d, done %t; want %d, %t", got, w.done(), c.want, c.done)
			}
		})
	}
}

func TestConclude(t *testing.T) {
	running := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Generation: 2},
		Status:     appsv1.DeploymentStatus{ObservedGeneration: 2, AvailableReplicas: 1, UpdatedReplicas: 1},
	}
	scene := func(change func(*world, *member, *peer)) *world {
		p := &peer{name: "peer0-banka", seen: true, installed: true, known: true}
		m := &member{org: &access.Organization{Name: "banka", MSPID: "BankaMSP"}, peers: []*peer{p}}
		w := &world{
			chaincode:  &v1alpha1.Chaincode{Spec: v1alpha1.ChaincodeSpec{Version: "1.0"}},
			committed:  &admin.Committed{Version: "1.0", Sequence: 2, Policy: defaultPolicy},
			deployment: running, packageID: "asset:1", members: []*member{m},
		}
		m.approved = ptr.To(w.definition())
		change(w, m, p)
		return w
	}
	approved := func(w *world) {
		w.chaincode.Status.Organizations = []v1alpha1.ChaincodeOrganization{{MSPID: "BankaMSP", Approval: v1alpha1.ApprovalApproved}}
	}
	for name, c := range map[string]struct {
		change func(*world, *member, *peer)
		reason string
	}{
		"all is well":           {func(*world, *member, *peer) {}, ""},
		"not approved":          {func(_ *world, m *member, _ *peer) { m.approved = nil }, v1alpha1.ReasonProgressing},
		"another package":       {func(_ *world, m *member, _ *peer) { m.approved.PackageID = "asset:0" }, v1alpha1.ReasonProgressing},
		"not asked yet":         {func(_ *world, m *member, p *peer) { m.approved, p.known = nil, false }, v1alpha1.ReasonProgressing},
		"down, and fine before": {func(w *world, m *member, p *peer) { m.approved, p.seen, p.known = nil, false, false; approved(w) }, ""},
		"an error, and fine before": {func(w *world, m *member, _ *peer) {
			m.approved, m.err = nil, errors.New("no")
			approved(w)
		}, ""},
		"without the package": {func(_ *world, _ *member, p *peer) { p.installed = false }, v1alpha1.ReasonProgressing},
		"no pod":              {func(w *world, _ *member, _ *peer) { w.deployment = nil }, v1alpha1.ReasonWaitingForPod},
		"old pods": {func(w *world, _ *member, _ *peer) {
			w.deployment = running.DeepCopy()
			w.deployment.Generation = 3
		}, v1alpha1.ReasonWaitingForPod},
	} {
		t.Run(name, func(t *testing.T) {
			w := scene(c.change)
			err := w.conclude()
			if err == nil {
				err = w.serves()
			}
			i, ok := kube.AsIntent(err)
			if c.reason == "" && err != nil || c.reason != "" && (!ok || i.Reason != c.reason) {
				t.Errorf("got %v, want %q", err, c.reason)
			}
		})
	}
}

func TestSoon(t *testing.T) {
	if soon(nil) != nil {
		t.Error("nothing became something")
	}
	if _, ok := kube.AsIntent(soon(errors.New("gateway: no raft leader"))); !ok {
		t.Error("a missing leader is an error")
	}
	broken := errors.New("the definition is broken")
	if err := soon(fmt.Errorf("commit: %w", broken)); !errors.Is(err, broken) {
		t.Errorf("a broken definition became %v", err)
	}
}
