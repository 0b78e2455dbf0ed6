package specs

import (
	"net"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/nginx"
)

const (
	// GatewayName names all objects of a site's gateway.
	GatewayName = "heddle-gateway"
	// SiteService is where the gateway finds the operator, and names the policy that lets it.
	SiteService = "heddle-site"
	// PortJoin and PortSiteAPI are where the operator takes calls of other sites.
	PortJoin    int32 = 9445
	PortSiteAPI int32 = 9446

	labelName = "app.kubernetes.io/name"

	// togetherConnections is what all partners have together where the way to the gateway hides their addresses, as that
	// through the port of any machine of the cluster does. A partner's link takes no more than 512 of them for long.
	togetherConnections = 6144
)

// Gateway is the public port of a site.
type Gateway struct {
	// Site that it belongs to.
	Site *v1alpha1.Site
	// System is the namespace of operator and gateway.
	System string
	// Settings of the installation; Image is the site's own if it names one.
	Settings LinkSettings
	// Links are all partners, and Networks the networks that are linked to each, by the SiteLink's name.
	Links    []v1alpha1.SiteLink
	Networks map[string][]string
}

// Config is what nginx does at the public port. Calls of a partner lead to the operator even when it is not accepted, or
// not any more: it is told so there. Its networks lead nowhere then.
func (g Gateway) Config() nginx.Gateway {
	operator := g.Settings.ServiceHost(SiteService, g.System)
	id := g.Site.Spec.SiteID
	routes := map[string]string{"join." + id: net.JoinHostPort(operator, port(PortJoin))}
	for i := range g.Links {
		l := &g.Links[i]
		routes["api."+l.Spec.SiteID+"."+id] = net.JoinHostPort(operator, port(PortSiteAPI))
		if l.IsRevoked() || !l.DeletionTimestamp.IsZero() || !accepted(l) {
			continue
		}
		for _, network := range g.Networks[l.Name] {
			routes[OuterSNI(network, l.Spec.SiteID, id)] = net.JoinHostPort(g.Settings.ServiceHost(LinkName(l.Name), network), port(nginx.PortIngress))
		}
	}
	out := nginx.Gateway{Resolvers: g.Settings.DNS}
	if g.Site.Spec.Gateway.Service != v1alpha1.GatewayLoadBalancer {
		out.MaxConnections = togetherConnections
	}
	for sni, to := range routes {
		out.Routes = append(out.Routes, nginx.Route{SNI: sni, To: to})
	}
	slices.SortFunc(out.Routes, func(a, b nginx.Route) int { return strings.Compare(a.SNI, b.SNI) })
	return out
}

func accepted(l *v1alpha1.SiteLink) bool {
	for _, c := range l.Status.Conditions {
		if c.Type == v1alpha1.ConditionAccepted {
			return c.Status == metav1.ConditionTrue
		}
	}
	return false
}

// GatewaySelects are the labels by which the gateway's pods are found; those of links admit them by the component.
func GatewaySelects() map[string]string {
	return map[string]string{labelName: GatewayName, v1alpha1.LabelComponent: v1alpha1.ComponentGateway}
}

func (g Gateway) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: g.System, Labels: merge(GatewaySelects(), map[string]string{
		"app.kubernetes.io/managed-by": "heddle", "app.kubernetes.io/part-of": "heddle",
	})}
}

// GatewayConfigMap holds nginx's configuration.
func GatewayConfigMap(g Gateway, text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: g.meta(GatewayName), Data: map[string]string{nginx.ConfigFile: text}}
}

// GatewayDeployment runs nginx.
func GatewayDeployment(g Gateway) *appsv1.Deployment {
	image := g.Settings.Image
	if own := g.Site.Spec.Gateway.Image; own != "" {
		image = own
	}
	meta := g.meta(GatewayName)
	return NginxPod{
		Image: image, Labels: meta.Labels, ConfigMap: GatewayName,
		Ports: []corev1.ContainerPort{containerPort("public", nginx.PortPublic)},
	}.Deployment(meta, GatewaySelects(), 1)
}

// GatewayPublicService is the way in from outside.
func GatewayPublicService(g Gateway) *corev1.Service {
	spec := g.Site.Spec.Gateway
	public := corev1.ServicePort{Name: "public", Port: 443, TargetPort: intstr.FromInt32(nginx.PortPublic), Protocol: corev1.ProtocolTCP}
	kind := corev1.ServiceTypeNodePort
	switch spec.Service {
	case v1alpha1.GatewayLoadBalancer:
		kind = corev1.ServiceTypeLoadBalancer
	case v1alpha1.GatewayClusterIP:
		kind = corev1.ServiceTypeClusterIP
	case v1alpha1.GatewayNodePort:
		if spec.NodePort != nil {
			public.NodePort = *spec.NodePort
		}
	}
	out := &corev1.Service{ObjectMeta: g.meta(GatewayName), Spec: corev1.ServiceSpec{
		Type: kind, Selector: GatewaySelects(), Ports: []corev1.ServicePort{public},
	}}
	if kind == corev1.ServiceTypeLoadBalancer {
		// The gateway counts connections by address. A load balancer finds the machine that it is on; people who name a
		// machine's port do not.
		out.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	return out
}

// SiteOperatorService is the way from the gateway to the operator.
func SiteOperatorService(g Gateway) *corev1.Service {
	return &corev1.Service{ObjectMeta: g.meta(SiteService), Spec: corev1.ServiceSpec{
		Selector: map[string]string{labelName: OperatorName},
		Ports:    []corev1.ServicePort{servicePort("join", PortJoin), servicePort("api", PortSiteAPI)},
	}}
}

// GatewayPolicies open the public port, the way from there to the operator and to links, and the operator's way to the
// partners' gateways.
func GatewayPolicies(g Gateway) []*networkingv1.NetworkPolicy {
	p := policies{place: Place{Network: g.System}}
	operator := map[string]string{labelName: OperatorName}
	links := []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: v1alpha1.LabelNetwork, Operator: metav1.LabelSelectorOpExists,
		}}},
		PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentLink}},
	}}
	gateway := p.policy(GatewayName, GatewaySelects(), []networkingv1.NetworkPolicyIngressRule{
		{Ports: tcp(nginx.PortPublic, nginx.PortHealth)},
		{From: namespaces(g.System), Ports: tcp(nginx.PortMetrics)},
	}, append(p.dns().Spec.Egress,
		networkingv1.NetworkPolicyEgressRule{To: pods(operator), Ports: tcp(PortJoin, PortSiteAPI)},
		networkingv1.NetworkPolicyEgressRule{To: links, Ports: tcp(nginx.PortIngress)},
	))
	var endpoints []string
	for i := range g.Links {
		endpoints = append(endpoints, g.Links[i].Spec.Endpoints...)
	}
	slices.Sort(endpoints)
	way := p.policy(SiteService, operator, []networkingv1.NetworkPolicyIngressRule{
		{From: pods(GatewaySelects()), Ports: tcp(PortJoin, PortSiteAPI)},
	}, Link{Endpoints: slices.Compact(endpoints)}.toPartner())
	for _, np := range []*networkingv1.NetworkPolicy{gateway, way} {
		np.Labels = g.meta("").Labels
	}
	return []*networkingv1.NetworkPolicy{gateway, way}
}
