package specs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

func siteLink(name, id string, agreed bool, endpoints ...string) v1alpha1.SiteLink {
	l := v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.SiteLinkSpec{SiteID: id, Endpoints: endpoints}}
	status := metav1.ConditionFalse
	if agreed {
		status = metav1.ConditionTrue
	}
	l.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: status}}
	return l
}

func gateway() Gateway {
	site := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName}}
	site.Spec.SiteID = "banka1"
	site.Spec.Gateway = v1alpha1.SiteGateway{Service: v1alpha1.GatewayNodePort, NodePort: ptr.To[int32](30443)}
	revoked := siteLink("bank-d", "bankd1", true, "192.0.2.9:443")
	revoked.Spec.Partnership = v1alpha1.PartnershipRevoked
	return Gateway{
		Site: site, System: SystemNamespace,
		Settings: LinkSettings{Image: "heddle.dev/heddle-nginx:dev", DNS: []string{"10.96.0.10"}, Domain: "cluster.local"},
		Links: []v1alpha1.SiteLink{
			siteLink("bank-b", "bankb1", true, "gateway.bank-b.example:443", "192.0.2.7:30443"), siteLink("bank-c", "bankc1", false, "192.0.2.8:443"), revoked,
		},
		Networks: map[string][]string{"bank-b": {"trade", "deals"}, "bank-c": {"trade"}, "bank-d": {"trade"}},
	}
}

func TestGatewayGolden(t *testing.T) {
	g := gateway()
	objects := []runtime.Object{
		GatewayConfigMap(g, "nginx's\n"), GatewayDeployment(g), GatewayPublicService(g), SiteOperatorService(g),
	}
	for _, np := range GatewayPolicies(g) {
		objects = append(objects, np)
	}
	golden(t, "gateway", objects...)
	g.Site.Spec.Gateway = v1alpha1.SiteGateway{Service: v1alpha1.GatewayLoadBalancer, Image: "registry.example/nginx:1"}
	g.Links = nil
	golden(t, "gateway-alone", GatewayDeployment(g), GatewayPublicService(g), GatewayPolicies(g)[1])
}

// TestGatewayRoutes: a partner's networks are open while both agree, and its calls are answered as long as it is known.
func TestGatewayRoutes(t *testing.T) {
	var got []string
	for _, r := range gateway().Config().Routes {
		got = append(got, r.SNI+" "+r.To)
	}
	want := []string{
		"api.bankb1.banka1 heddle-site.heddle-system.svc.cluster.local:9446",
		"api.bankc1.banka1 heddle-site.heddle-system.svc.cluster.local:9446",
		"api.bankd1.banka1 heddle-site.heddle-system.svc.cluster.local:9446",
		"deals.bankb1.banka1 link-bank-b.deals.svc.cluster.local:8444",
		"join.banka1 heddle-site.heddle-system.svc.cluster.local:9445",
		"trade.bankb1.banka1 link-bank-b.trade.svc.cluster.local:8444",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := gateway().Config().Render(); err != nil {
		t.Error(err)
	}
}
