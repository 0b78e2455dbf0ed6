package nodeexport_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/nodeexport"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/specs"
)

func start(t *testing.T) *controllertest.Space {
	t.Helper()
	e := controllertest.NewSpace(t, operator.AddToScheme)
	e.Start(t, operator.CacheOptions, operator.ClientOptions(), nodeexport.New())
	return e
}

func peer(e *controllertest.Space, name, organization string) *v1alpha1.Peer {
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace, Labels: map[string]string{v1alpha1.LabelOrganization: organization}}}
	p.Spec.Organization, p.Spec.Version = organization, "3.1.5"
	return p
}

func orderer(e *controllertest.Space) *v1alpha1.Orderer {
	o := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Name: "orderer0-ord", Namespace: e.Namespace, Labels: map[string]string{v1alpha1.LabelOrganization: "ord"}}}
	o.Spec.Organization, o.Spec.Version = "ord", "3.1.5"
	return o
}

// partner makes a SiteLink and a way to set its state.
func partner(t *testing.T, e *controllertest.Space) (*v1alpha1.SiteLink, func(v1alpha1.SiteLinkState)) {
	t.Helper()
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: controllertest.Name("p")}}
	l.Spec.SiteID, l.Spec.Endpoints = "bankb2", []string{"192.0.2.7:30443"}
	e.Make(t, l)
	return l, func(s v1alpha1.SiteLinkState) {
		t.Helper()
		e.Eventually(t, "set state", func() bool {
			if err := e.Get(t.Context(), client.ObjectKeyFromObject(l), l); err != nil {
				t.Fatal(err)
			}
			l.Status.State = s
			return e.Status().Update(t.Context(), l) == nil
		})
	}
}

func names(e *v1alpha1.NodeExport) string {
	var out []string
	for _, n := range e.Status.Nodes {
		out = append(out, n.Name)
	}
	return strings.Join(out, " ")
}

func TestExport(t *testing.T) {
	e := start(t)
	link, state := partner(t, e)
	x := &v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Name: "some", Namespace: e.Namespace}}
	x.Spec.Links, x.Spec.Nodes = []string{link.Name}, []string{"peer0-banka", "orderer0-ord"}
	e.Make(t, peer(e, "peer0-banka", "banka"))
	e.Make(t, peer(e, "peer1-banka", "banka"))
	e.Make(t, x)
	if c := e.AwaitReason(t, x, v1alpha1.ReasonWaitingForDependency); !strings.Contains(c.Message, "orderer0-ord") || names(x) != "peer0-banka" {
		t.Errorf("exported are %q, and it says %q", names(x), c.Message)
	}
	o := orderer(e)
	e.Make(t, o)
	e.AwaitReason(t, x, v1alpha1.ReasonPendingApproval)
	if got := x.Status.Nodes; len(got) != 2 || got[0] != (v1alpha1.ExportedNode{Name: "orderer0-ord", Port: 7050}) || got[1].Port != 7051 {
		t.Errorf("exported are %v", got)
	}
	state(v1alpha1.LinkUp)
	e.AwaitReason(t, x, v1alpha1.ReasonWaitingForPod)
	d := specs.LinkDeployment(specs.Link{Place: specs.Place{Network: e.Namespace}, Name: link.Name, Settings: specs.LinkSettings{Image: "nginx:1"}}, true)
	e.Make(t, d)
	e.Serve(t, d.Name, true)
	e.AwaitReason(t, x, v1alpha1.ReasonReady)
	state(v1alpha1.LinkDown)
	e.AwaitReason(t, x, v1alpha1.ReasonUnreachable)
	state(v1alpha1.LinkRevoked)
	e.AwaitReason(t, x, v1alpha1.ReasonRevoked)
	if err := e.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "a node that goes is exported no more", func() bool { return e.Read(t, x, x.Name) && names(x) == "peer0-banka" })
}

func TestExportBySelector(t *testing.T) {
	e := start(t)
	x := &v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Name: "some", Namespace: e.Namespace}}
	x.Spec.Links = []string{"nobody"}
	x.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelOrganization: "banka"}}
	e.Make(t, x)
	if c := e.AwaitReason(t, x, v1alpha1.ReasonWaitingForDependency); !strings.Contains(c.Message, "nobody") {
		t.Errorf("it says %q", c.Message)
	}
	e.Make(t, peer(e, "peer0-banka", "banka"))
	e.Make(t, peer(e, "peer0-bankc", "bankc"))
	e.Make(t, orderer(e))
	e.Eventually(t, "the peer of the organization is exported", func() bool { return e.Read(t, x, x.Name) && names(x) == "peer0-banka" })
	controllertest.Change(t, e, x, func(x *v1alpha1.NodeExport) { x.Spec.Selector = &metav1.LabelSelector{} })
	e.Eventually(t, "an empty selector chooses all", func() bool {
		return e.Read(t, x, x.Name) && names(x) == "orderer0-ord peer0-banka peer0-bankc"
	})
}
