package specs

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/nginx"
)

func link() Link {
	return Link{
		Place: Place{Network: "trade", NetworkID: "id-12345"}, Name: "bank-b", System: SystemNamespace, Site: "banka1", Partner: "bankb2",
		Settings:  LinkSettings{Image: "heddle.dev/heddle-nginx:dev", DNS: []string{"10.96.0.10"}, Domain: "cluster.local"},
		Exports:   []v1alpha1.ExportedNode{{Name: "peer0-banka", Port: v1alpha1.PortPeer}, {Name: "orderer0-ord", Port: v1alpha1.PortOrderer}},
		Endpoints: []string{"gateway.bank-b.example:443", "192.0.2.7:30443", "[2001:db8::7]:30443"},
	}
}

func linkObjects(l Link, running bool) []runtime.Object {
	out := []runtime.Object{LinkSecret(l), LinkConfigMap(l, "nginx's\n"), LinkDeployment(l, running), LinkService(l)}
	for _, np := range LinkPolicies(l) {
		out = append(out, np)
	}
	return out
}

func TestLinkGolden(t *testing.T) {
	golden(t, "link", linkObjects(link(), true)...)
	bare := link()
	bare.Exports, bare.Endpoints = nil, nil
	golden(t, "link-down", linkObjects(bare, false)...)
	i := &v1alpha1.NodeImport{ObjectMeta: metav1.ObjectMeta{Name: "peer0-bankb", Namespace: "trade", Labels: labels}}
	i.Spec.Link, i.Spec.Port = "bank-b", v1alpha1.PortPeer
	golden(t, "import", ImportService(i))
	golden(t, "link-check", LinkCheckPod(LinkDeployment(link(), false), "{}"))
}

func TestLinkConfig(t *testing.T) {
	l := link()
	c := l.Config()
	if want := (nginx.Route{SNI: "peer0-banka.trade", To: "peer0-banka.trade.svc.cluster.local:7051"}); c.Exports[0] != want {
		t.Errorf("got %v, want %v", c.Exports[0], want)
	}
	// At the partner the two sites change places.
	if c.Name != "trade.banka1.bankb2" || l.ServedAs() != "trade.bankb2.banka1" || c.Partner != "gateway.bank-b.example:443" {
		t.Errorf("it goes to %q as %q and is served as %q", c.Partner, c.Name, l.ServedAs())
	}
	if _, err := c.Render(); err != nil || len(c.Fallbacks) != 2 {
		t.Errorf("fallbacks %q, %v", c.Fallbacks, err)
	}
	l.Endpoints = l.Endpoints[1:]
	if c := l.Config(); c.Partner != "192.0.2.7:30443" || len(c.Fallbacks) != 1 || c.Fallbacks[0] != "[2001:db8::7]:30443" {
		t.Errorf("it goes to %q, else to %q", c.Partner, c.Fallbacks)
	}
}

// TestLinkTemplateIsSteady: what comes and goes in a link must not replace its pod, or it would cut streams.
func TestLinkTemplateIsSteady(t *testing.T) {
	before := LinkDeployment(link(), true).Spec.Template
	other := link()
	other.Exports, other.Endpoints, other.Place.NetworkID = other.Exports[:1], []string{"192.0.2.8:1"}, "id-12345"
	after := LinkDeployment(other, true).Spec.Template
	if a, b := before.Annotations[v1alpha1.AnnotationConfigHash], after.Annotations[v1alpha1.AnnotationConfigHash]; a != b {
		t.Errorf("another export made another template: %s, %s", a, b)
	}
	other.Settings.Image = "another"
	if LinkDeployment(other, true).Spec.Template.Annotations[v1alpha1.AnnotationConfigHash] == before.Annotations[v1alpha1.AnnotationConfigHash] {
		t.Error("another image is the same template")
	}
}
