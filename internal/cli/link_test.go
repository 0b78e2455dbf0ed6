package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/link/check"
)

// partnerOfTest offers two nodes of one network, exports none, and one of which is imported.
func partnerOfTest() (*v1alpha1.SiteLink, []v1alpha1.NodeExport, []v1alpha1.NodeImport) {
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: "bank-b"}}
	l.Spec.SiteID, l.Spec.Endpoints, l.Status.State = "bankb2", []string{"b.example:443"}, v1alpha1.LinkUp
	l.Status.Offered = []v1alpha1.OfferedNode{
		{Network: "trade", Name: "peer1-bankb", Port: 7051, MSPID: "BankBMSP"}, {Network: "trade", Name: "peer0-bankb", Port: 7051, MSPID: "BankBMSP"},
	}
	e := v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Name: "to-bank-b", Namespace: "trade"}}
	e.Spec.Links, e.Status.Nodes = []string{"bank-b"}, []v1alpha1.ExportedNode{{Name: "peer0-banka", Port: 7051}, {Name: "orderer0-ord", Port: 7050}}
	other := v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Name: "to-others", Namespace: "deals"}}
	other.Spec.Links, other.Status.Nodes = []string{"bank-c"}, e.Status.Nodes
	i := v1alpha1.NodeImport{ObjectMeta: metav1.ObjectMeta{Name: "peer0-bankb", Namespace: "trade"}}
	i.Spec.Link, i.Spec.Port = "bank-b", 7051
	i.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonUnreachable, Message: "It sleeps"}}
	return l, []v1alpha1.NodeExport{e, other}, []v1alpha1.NodeImport{i}
}

func TestLinkGraph(t *testing.T) {
	l, exports, imports := partnerOfTest()
	g := &linkGraph{SiteID: "banka1", Name: "Bank A", Endpoint: "a.example:443", Partners: []graphPartner{
		{Name: l.Name, SiteID: l.Spec.SiteID, State: "Up", Endpoint: "b.example:443", Networks: networksOf(l, exports, imports)},
		{Name: "bank-c", SiteID: "bankc3", Endpoint: "c.example:443"},
	}}
	var out bytes.Buffer
	if err := g.draw(&out); err != nil {
		t.Fatal(err)
	}
	want := `banka1 "Bank A" at a.example:443
├─ bank-b (bankb2) Up at b.example:443
│    trade
│      -> orderer0-ord:7050
│      -> peer0-banka:7051
│      <- peer0-bankb:7051 not ready: It sleeps
│      offered: peer1-bankb:7051
└─ bank-c (bankc3) - at c.example:443
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := g.nodes("deals"); len(got) != 0 {
		t.Errorf("of another network: %v", got)
	}
	if got := g.nodes("trade"); len(got) != 4 || got[2] != (linkedNode{"trade", "peer0-bankb:7051", "imported", "bank-b", "It sleeps"}) {
		t.Errorf("the nodes are %v", got)
	}
	out.Reset()
	if err := (&linkGraph{}).draw(&out); err != nil || !strings.Contains(out.String(), "heddle site init") {
		t.Errorf("without a site it says %q", out.String())
	}
}

func TestChosen(t *testing.T) {
	l, _, _ := partnerOfTest()
	for name, c := range map[string]struct {
		network string
		names   []string
		want    int
		fail    string
	}{
		"all":             {network: "trade", want: 2},
		"one":             {network: "trade", names: []string{"peer1-bankb"}, want: 1},
		"not offered":     {network: "trade", names: []string{"peer1-bankb", "peer2-bankb"}, fail: "peer2-bankb"},
		"another network": {network: "deals", fail: "no node"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := chosen(l, c.network, c.names)
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Errorf("got %v, want %q", err, c.fail)
				}
				return
			}
			if err != nil || len(got) != c.want {
				t.Fatalf("got %d, %v", len(got), err)
			}
			if s := got[0].Spec; s.Link != "bank-b" || s.Port != 7051 || s.MSPID != "BankBMSP" || got[0].Namespace != "trade" {
				t.Errorf("got %+v", got[0])
			}
		})
	}
}

func TestChanged(t *testing.T) {
	for name, c := range map[string]struct {
		have, names []string
		out         bool
		want        []string
	}{
		"the first":   {names: []string{"b", "a"}, want: []string{"a", "b"}},
		"one twice":   {have: []string{"a"}, names: []string{"a", "b"}, want: []string{"a", "b"}},
		"out":         {have: []string{"a", "b"}, names: []string{"a", "c"}, out: true, want: []string{"b"}},
		"all of them": {have: []string{"a"}, names: []string{"a"}, out: true, want: []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, changed(c.have, c.names, c.out)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDrawFindings(t *testing.T) {
	l, _, _ := partnerOfTest()
	l.Status.State = v1alpha1.LinkDown
	var out bytes.Buffer
	err := drawFindings(&out, []linkFinding{
		partnership(l),
		{Network: "trade", Result: check.Result{Step: check.StepDNS, Subject: "b.example:443", State: check.OK, Detail: "192.0.2.1"}},
		{Network: "trade", Result: check.Result{Step: check.StepTCP, Subject: "b.example:443", State: check.Failed, Detail: "refused", Remedy: "ask"}},
		{Network: "trade", Result: check.Result{Step: check.StepOuterTLS, Subject: "b.example:443", State: check.Skipped}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"✗   -         partnership", "✓   trade     DNS", "✗   trade     TCP", "-> ask", "-   trade     outer TLS     b.example:443   not tried"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not in\n%s", part, out.String())
		}
	}
}
