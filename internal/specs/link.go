package specs

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/nginx"
)

// GatewayCASecret is the Secret in the operator's namespace with the CA that signs what this site shows to its partners.
const GatewayCASecret = "gateway-ca"

// KeyPartnerCA is the key in a link's Secret that verifies the partner.
const KeyPartnerCA = "partner-ca.crt"

// LinkName names all objects of a SiteLink in a network's namespace.
func LinkName(link string) string { return "link-" + link }

// OuterSNI is the name at which a site serves a network for a partner: both are siteIDs.
func OuterSNI(network, partner, site string) string { return network + "." + partner + "." + site }

// Link is a SiteLink in one network of this site.
type Link struct {
	// Place is the network.
	Place Place
	// Name of the SiteLink.
	Name string
	// System is the namespace of operator and gateway.
	System string
	// Settings of the installation; Image is the site's own if it names one.
	Settings LinkSettings
	// Exports are this site's nodes that the partner may reach.
	Exports []v1alpha1.ExportedNode
	// Endpoints of the partner's gateway, host:port, where nodes of it are imported.
	Endpoints []string
	// Site and Partner are the siteIDs.
	Site, Partner string
}

// ServedAs is the outer SNI of the link at this site, which its certificate bears.
func (l Link) ServedAs() string { return OuterSNI(l.Place.Network, l.Partner, l.Site) }

// Config is what nginx does in this link.
func (l Link) Config() nginx.Link {
	out := nginx.Link{Resolvers: l.Settings.DNS}
	for _, e := range l.Exports {
		out.Exports = append(out.Exports, nginx.Route{
			SNI: Host(e.Name, l.Place.Network),
			To:  net.JoinHostPort(l.Settings.ServiceHost(e.Name, l.Place.Network), port(e.Port)),
		})
	}
	if len(l.Endpoints) > 0 {
		out.Partner, out.Name = l.Endpoints[0], OuterSNI(l.Place.Network, l.Site, l.Partner)
		out.Fallbacks = l.Endpoints[1:]
	}
	return out
}

func (l Link) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: LinkName(l.Name), Namespace: l.Place.Network, Labels: l.Labels()}
}

// Labels of all objects of the link.
func (l Link) Labels() map[string]string {
	return l.Place.labels(v1alpha1.LabelComponent, v1alpha1.ComponentLink, v1alpha1.LabelLink, l.Name)
}

func (l Link) selects() map[string]string {
	return map[string]string{
		v1alpha1.LabelNetwork: l.Place.Network, v1alpha1.LabelComponent: v1alpha1.ComponentLink, v1alpha1.LabelLink: l.Name,
	}
}

// LinkSecret is an empty Secret of the link.
func LinkSecret(l Link) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: l.meta(), Type: corev1.SecretTypeOpaque, Data: map[string][]byte{}}
}

// LinkConfigMap holds nginx's configuration.
func LinkConfigMap(l Link, text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: l.meta(), Data: map[string]string{nginx.ConfigFile: text}}
}

// LinkDeployment runs the link, or keeps it at nought while the partner is away: its callers are refused at once then.
func LinkDeployment(l Link, running bool) *appsv1.Deployment {
	replicas := int32(0)
	if running {
		replicas = 1
	}
	return NginxPod{
		Image: l.Settings.Image, Labels: l.Labels(), Link: l.Name, Network: l.Place.Network, ConfigMap: LinkName(l.Name),
		Secret: LinkName(l.Name), Keys: []string{KeyNodeTLSCert, KeyNodeTLSKey, KeyPartnerCA},
		Ports: []corev1.ContainerPort{containerPort("egress", nginx.PortEgress), containerPort("ingress", nginx.PortIngress)},
	}.Deployment(l.meta(), l.selects(), replicas)
}

// LinkCheckPod goes the way of a link once, with its keys and under its policies, and says in its log what it met. It is
// made from the link's Deployment, which is there while the partner is away, too.
func LinkCheckPod(d *appsv1.Deployment, request string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: d.Name + "-check-", Namespace: d.Namespace, Labels: merge(d.Labels, map[string]string{
			v1alpha1.LabelComponent: v1alpha1.ComponentLinkCheck,
		})},
		Spec: *d.Spec.Template.Spec.DeepCopy(),
	}
	pod.Spec.RestartPolicy, pod.Spec.ShareProcessNamespace = corev1.RestartPolicyNever, nil
	pod.Spec.ActiveDeadlineSeconds = ptr.To[int64](120)
	for _, c := range pod.Spec.Containers {
		if c.Name == "reload" {
			c.Name, c.Command, c.Ports = "check", []string{"heddle-link", "check", request}, nil
			pod.Spec.Containers = []corev1.Container{c}
			break
		}
	}
	return pod
}

// LinkService is where the gateway finds the link, and the operator the way to nodes that are not imported yet.
func LinkService(l Link) *corev1.Service {
	return &corev1.Service{ObjectMeta: l.meta(), Spec: corev1.ServiceSpec{
		Selector: l.selects(),
		Ports:    []corev1.ServicePort{servicePort("ingress", nginx.PortIngress), servicePort("egress", nginx.PortEgress)},
	}}
}

// LinkPolicies open what the link needs: from the gateway to it, from it to the exported nodes and to the partner, and
// from the network's nodes to it. Its metrics are asked for from the operator's namespace, as those of nodes are.
func LinkPolicies(l Link) []*networkingv1.NetworkPolicy {
	p := policies{place: l.Place}
	own := pods(l.selects())
	nodes := nodesOf(v1alpha1.ComponentPeer, v1alpha1.ComponentOrderer)
	gateway := namespaces(l.System)
	gateway[0].PodSelector = &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentGateway}}
	pod := p.policy(LinkName(l.Name), l.selects(), []networkingv1.NetworkPolicyIngressRule{
		{From: gateway, Ports: tcp(nginx.PortIngress)},
		{From: append(nodes, namespaces(l.System)...), Ports: tcp(nginx.PortEgress)},
		{From: namespaces(l.System), Ports: tcp(nginx.PortMetrics)},
	}, append(append([]networkingv1.NetworkPolicyEgressRule{toDNS()}, l.toExports()...), l.toPartner()...))
	pod.Spec.PodSelector = metav1.LabelSelector{
		MatchLabels: map[string]string{v1alpha1.LabelNetwork: l.Place.Network, v1alpha1.LabelLink: l.Name},
		MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: v1alpha1.LabelComponent, Operator: metav1.LabelSelectorOpIn, Values: []string{v1alpha1.ComponentLink, v1alpha1.ComponentLinkCheck},
		}},
	}
	exports := p.policy(LinkName(l.Name)+"-exports", nil, []networkingv1.NetworkPolicyIngressRule{
		{From: own, Ports: tcp(v1alpha1.PortOrderer, v1alpha1.PortPeer)},
	}, nil)
	exports.Spec.PodSelector.MatchExpressions = l.exported()
	imports := p.policy(LinkName(l.Name)+"-imports", nil, nil, []networkingv1.NetworkPolicyEgressRule{{To: own, Ports: tcp(nginx.PortEgress)}})
	imports.Spec.PodSelector = *nodes[0].PodSelector
	out := []*networkingv1.NetworkPolicy{pod, exports, imports}
	for _, np := range out {
		np.Labels = l.Labels()
	}
	return out
}

func nodesOf(components ...string) []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: v1alpha1.LabelComponent, Operator: metav1.LabelSelectorOpIn, Values: components}},
	}}}
}

// exported selects the pods of the exported nodes; with none it selects nothing, where an empty list would be refused.
func (l Link) exported() []metav1.LabelSelectorRequirement {
	names := []string{}
	for _, e := range l.Exports {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	component := metav1.LabelSelectorRequirement{
		Key: v1alpha1.LabelComponent, Operator: metav1.LabelSelectorOpIn, Values: []string{v1alpha1.ComponentPeer, v1alpha1.ComponentOrderer},
	}
	if len(names) == 0 {
		return []metav1.LabelSelectorRequirement{component, {Key: v1alpha1.LabelComponent, Operator: metav1.LabelSelectorOpDoesNotExist}}
	}
	return []metav1.LabelSelectorRequirement{component, {Key: v1alpha1.LabelNode, Operator: metav1.LabelSelectorOpIn, Values: names}}
}

func (l Link) toExports() []networkingv1.NetworkPolicyEgressRule {
	if len(l.Exports) == 0 {
		return nil
	}
	to := []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchExpressions: l.exported()}}}
	return []networkingv1.NetworkPolicyEgressRule{{To: to, Ports: tcp(v1alpha1.PortOrderer, v1alpha1.PortPeer)}}
}

// toPartner opens the partner's endpoints. A policy knows no names: one that is given by name opens its port to every
// address.
func (l Link) toPartner() []networkingv1.NetworkPolicyEgressRule {
	var out []networkingv1.NetworkPolicyEgressRule
	for _, e := range l.Endpoints {
		host, text, err := net.SplitHostPort(e)
		if err != nil {
			continue // admission refuses it
		}
		number, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			continue
		}
		to := []networkingv1.NetworkPolicyPeer{
			{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}}, {IPBlock: &networkingv1.IPBlock{CIDR: "::/0"}},
		}
		if a, err := netip.ParseAddr(host); err == nil {
			to = []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: netip.PrefixFrom(a, a.BitLen()).String()}}}
		}
		out = append(out, networkingv1.NetworkPolicyEgressRule{To: to, Ports: tcp(int32(number))})
	}
	return out
}

// ImportService stands for a partner's node: it has the node's name and port, and leads to the link.
func ImportService(i *v1alpha1.NodeImport) *corev1.Service {
	place := PlaceOf(i.Namespace, i.Labels)
	l := Link{Place: place, Name: i.Spec.Link}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: i.Name, Namespace: i.Namespace, Labels: place.labels(v1alpha1.LabelLink, i.Spec.Link, v1alpha1.LabelImport, i.Name),
		},
		Spec: corev1.ServiceSpec{
			Selector: l.selects(),
			Ports: []corev1.ServicePort{{
				Name: "grpc", Port: i.Spec.Port, TargetPort: intstr.FromInt32(nginx.PortEgress),
			}},
		},
	}
}
