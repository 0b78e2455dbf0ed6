package cli

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

// TestSiteInitKeeps: what is not given stays as it was, since what is applied replaces what was applied before.
func TestSiteInitKeeps(t *testing.T) {
	was := &v1alpha1.Site{Spec: v1alpha1.SiteSpec{
		SiteID: "banka1", DisplayName: "Bank A", Endpoints: []string{"192.0.2.7:30443"},
		Gateway: v1alpha1.SiteGateway{Service: v1alpha1.GatewayNodePort, NodePort: ptr.To[int32](30443), Image: "nginx:1"},
	}}
	change := func(f func(*v1alpha1.SiteSpec)) v1alpha1.SiteSpec {
		out := was.Spec.DeepCopy()
		f(out)
		return *out
	}
	for name, c := range map[string]struct {
		flags siteInitFlags
		given []string
		want  v1alpha1.SiteSpec
	}{
		"nothing given": {flags: siteInitFlags{service: "NodePort"}, want: was.Spec},
		"another address": {
			flags: siteInitFlags{service: "NodePort", endpoints: []string{"192.0.2.8:30444"}, nodePort: 30444}, given: []string{"endpoint", "node-port"},
			want: change(func(s *v1alpha1.SiteSpec) {
				s.Endpoints, s.Gateway.NodePort = []string{"192.0.2.8:30444"}, ptr.To[int32](30444)
			}),
		},
		"another Service has no port on machines": {
			flags: siteInitFlags{service: "LoadBalancer"}, given: []string{"service"},
			want: change(func(s *v1alpha1.SiteSpec) { s.Gateway.Service, s.Gateway.NodePort = v1alpha1.GatewayLoadBalancer, nil }),
		},
		"emptied": {
			flags: siteInitFlags{service: "NodePort"}, given: []string{"display-name", "image"},
			want: change(func(s *v1alpha1.SiteSpec) { s.DisplayName, s.Gateway.Image = "", "" }),
		},
		"another siteID is for the API server to refuse": {
			flags: siteInitFlags{service: "NodePort", id: "bankx1"}, given: []string{"site-id"},
			want: change(func(s *v1alpha1.SiteSpec) { s.SiteID = "bankx1" }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.flags.keep(was, func(flag string) bool { return slices.Contains(c.given, flag) })
			if diff := cmp.Diff(c.want, c.flags.site().Spec); diff != "" {
				t.Error(diff)
			}
		})
	}
}
