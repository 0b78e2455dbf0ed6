package metrics

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"heddle.dev/heddle/api/v1alpha1"
)

func TestMetrics(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ends := func(days int) []v1alpha1.CertificateStatus {
		return []v1alpha1.CertificateStatus{{Name: "tls", NotAfter: metav1.NewTime(now.AddDate(0, 0, days))}}
	}
	peer := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: "peer0-banka", Namespace: "trade"}}
	peer.Spec.Organization = "banka"
	peer.Status.Certificates = ends(90)
	peer.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	orderer := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Name: "orderer0-ord", Namespace: "trade"}}
	orderer.Spec.Organization = "ord"
	orderer.Status.Certificates = ends(-2)
	org := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Name: "banka", Namespace: "trade"}}
	org.Status.Certificates = ends(365)
	c := &collector{
		ctx: t.Context(), now: func() time.Time { return now },
		reader: fake.NewClientBuilder().WithScheme(scheme).WithObjects(peer, orderer, org).Build(),
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			parts := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				parts = append(parts, l.GetName()+"="+l.GetValue())
			}
			got = append(got, fmt.Sprintf("%s %g", strings.Join(parts, " "), m.GetGauge().GetValue()))
		}
	}
	want := []string{
		"heddle_certificate_days_left name=tls network=trade node= organization=banka 365",
		"heddle_certificate_days_left name=tls network=trade node=orderer0-ord organization=ord -2",
		"heddle_certificate_days_left name=tls network=trade node=peer0-banka organization=banka 90",
		"heddle_node_ready component=orderer network=trade node=orderer0-ord organization=ord 0",
		"heddle_node_ready component=peer network=trade node=peer0-banka organization=banka 1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
