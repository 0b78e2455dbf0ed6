package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"heddle.dev/heddle/api/v1alpha1"
)

func TestCollector(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	at := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "trade", Name: name, Generation: 2}
	}
	ready := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 2}}
	stale := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: 1}}
	certificates := []v1alpha1.CertificateStatus{{Name: "tls", NotAfter: metav1.NewTime(time.Now().Add(36 * time.Hour))}}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: "trade", Generation: 2}, Status: v1alpha1.NetworkStatus{Conditions: stale}},
		&v1alpha1.Organization{ObjectMeta: at("banka"), Status: v1alpha1.OrganizationStatus{Conditions: ready, Certificates: certificates}},
		&v1alpha1.Orderer{ObjectMeta: at("orderer0-ord"), Status: v1alpha1.OrdererStatus{Certificates: certificates}},
		&v1alpha1.Peer{ObjectMeta: at("peer0-banka"), Status: v1alpha1.PeerStatus{Conditions: ready}},
		&v1alpha1.Channel{ObjectMeta: at("demo"), Status: v1alpha1.ChannelStatus{Height: ptr.To[int64](7), Nodes: []v1alpha1.ChannelNode{
			{Name: "peer0-banka", State: v1alpha1.NodeActive, Lag: ptr.To[int64](1)}, {Name: "peer1-banka", State: v1alpha1.NodeUnreachable},
		}}},
		&v1alpha1.Chaincode{ObjectMeta: at("asset")},
		&v1alpha1.Identity{ObjectMeta: at("app"), Status: v1alpha1.IdentityStatus{Conditions: ready, Certificate: &certificates[0]}},
		&v1alpha1.NodeExport{ObjectMeta: at("to-bank-b")},
		&v1alpha1.NodeImport{ObjectMeta: at("peer0-bankb"), Status: v1alpha1.NodeImportStatus{Conditions: ready}},
		&v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "local", Generation: 2}, Status: v1alpha1.SiteStatus{Conditions: ready}},
		&v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: "bank-b"}, Status: v1alpha1.SiteLinkStatus{State: v1alpha1.LinkUp, Certificates: certificates}},
		&v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: "bank-c"}, Status: v1alpha1.SiteLinkStatus{State: v1alpha1.LinkDown}},
	).Build()
	for _, namespaced := range []bool{false, true} {
		got := gather(t, newCollector(t.Context(), reader, namespaced))
		want := []string{
			"heddle_certificate_days_left tls Identity app trade 1.5", "heddle_certificate_days_left tls Orderer orderer0-ord trade 1.5",
			"heddle_certificate_days_left tls Organization banka trade 1.5", "heddle_certificate_days_left tls SiteLink bank-b  1.5",
			"heddle_channel_height demo trade 7.0", "heddle_channel_node_active demo trade peer0-banka 1.0",
			"heddle_channel_node_active demo trade peer1-banka 0.0", "heddle_channel_node_lag demo trade peer0-banka 1.0",
			"heddle_ready Chaincode asset trade 0.0", "heddle_ready Channel demo trade 0.0", "heddle_ready Identity app trade 1.0",
			"heddle_ready Network trade  0.0", "heddle_ready Orderer orderer0-ord trade 0.0", "heddle_ready Organization banka trade 1.0",
			"heddle_partner_up bank-b 1.0", "heddle_partner_up bank-c 0.0", "heddle_ready Peer peer0-banka trade 1.0",
			"heddle_ready NodeExport to-bank-b trade 0.0", "heddle_ready NodeImport peer0-bankb trade 1.0",
			"heddle_ready Site local  1.0", "heddle_ready SiteLink bank-b  0.0", "heddle_ready SiteLink bank-c  0.0",
		}
		if namespaced {
			want = slices.DeleteFunc(want, func(s string) bool {
				return strings.Contains(s, "Network") || strings.Contains(s, "Site") || strings.Contains(s, "partner") ||
					strings.Contains(s, "NodeExport") || strings.Contains(s, "NodeImport")
			})
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("namespaced %t: got\n%s\nwant\n%s", namespaced, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// gather renders what a collector tells, sorted; labels by their names' order.
func gather(t *testing.T, c prometheus.Collector) []string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			words := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				words = append(words, l.GetValue())
			}
			out = append(out, fmt.Sprintf("%s %.1f", strings.Join(words, " "), m.GetGauge().GetValue()))
		}
	}
	slices.Sort(out)
	return out
}
