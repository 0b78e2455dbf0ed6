package specs

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"heddle.dev/heddle/api/v1alpha1"
)

// Names of the network policies of a network's namespace.
const (
	PolicyDefaultDeny = "default-deny"
	PolicyDNS         = "dns"
	PolicyOrderers    = "orderers"
	PolicyPeers       = "peers"
	PolicyChaincode   = "chaincode"
	PolicyServices    = "chaincode-services"
	PolicyOperator    = "operator"
	PolicyClients     = "clients"
)

const (
	labelNamespaceName = "kubernetes.io/metadata.name"
	dnsNamespace       = "kube-system"
	// linkLocal is where clusters with a DNS cache on every node have it listen.
	linkLocal = "169.254.0.0/16"
	portDNS   = 53
)

// portsAPIServer are those behind which API servers are found.
func portsAPIServer() []int32 { return []int32{443, 6443, 8443} }

// Policies shut a network's namespace and open what its nodes need: nothing else gets in or out.
func Policies(n *v1alpha1.Network, operator Operator) []*networkingv1.NetworkPolicy {
	p := policies{place: placeOfNetwork(n)}
	out := []*networkingv1.NetworkPolicy{
		p.denyAll(), p.dns(), p.orderers(), p.peers(), p.chaincode(), p.services(),
		p.from(PolicyOperator, []string{operator.Namespace},
			v1alpha1.PortOrderer, v1alpha1.PortPeer, v1alpha1.PortParticipation, v1alpha1.PortCA, v1alpha1.PortOperations),
	}
	if clients := n.Spec.ClientNamespaces; len(clients) > 0 {
		out = append(out, p.from(PolicyClients, clients, v1alpha1.PortOrderer, v1alpha1.PortPeer, v1alpha1.PortCA))
	}
	return out
}

// PeerPolicy opens the port for contracts of one peer to the contracts that this peer launched.
func PeerPolicy(peer *v1alpha1.Peer) *networkingv1.NetworkPolicy {
	p := policies{place: PlaceOf(peer.Namespace, peer.Labels)}
	own := map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentChaincode, v1alpha1.LabelNode: peer.Name}
	np := p.policy(peer.Name, p.place.selects(peer.Name, v1alpha1.ComponentPeer),
		[]networkingv1.NetworkPolicyIngressRule{{From: pods(own), Ports: tcp(v1alpha1.PortPeerChaincode)}}, nil)
	np.Labels = p.place.Labels(peer.Spec.Organization, peer.Name, v1alpha1.ComponentPeer)
	return np
}

type policies struct{ place Place }

func (p policies) denyAll() *networkingv1.NetworkPolicy {
	np := p.policy(PolicyDefaultDeny, nil, nil, nil)
	np.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	return np
}

func (p policies) dns() *networkingv1.NetworkPolicy {
	np := p.policy(PolicyDNS, nil, nil, []networkingv1.NetworkPolicyEgressRule{toDNS()})
	// A contract reaches its peer and nothing else, and is told the peer's address.
	np.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{
		Key: v1alpha1.LabelComponent, Operator: metav1.LabelSelectorOpNotIn, Values: []string{v1alpha1.ComponentChaincode},
	}}
	return np
}

func toDNS() networkingv1.NetworkPolicyEgressRule {
	ports := tcp(portDNS)
	udp := corev1.ProtocolUDP
	ports = append(ports, networkingv1.NetworkPolicyPort{Protocol: &udp, Port: ports[0].Port})
	to := append(namespaces(dnsNamespace), networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: linkLocal}})
	return networkingv1.NetworkPolicyEgressRule{To: to, Ports: ports}
}

func (p policies) orderers() *networkingv1.NetworkPolicy {
	both := append(component(v1alpha1.ComponentOrderer), component(v1alpha1.ComponentPeer)...)
	return p.policy(PolicyOrderers, map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentOrderer},
		[]networkingv1.NetworkPolicyIngressRule{{From: both, Ports: tcp(v1alpha1.PortOrderer)}},
		[]networkingv1.NetworkPolicyEgressRule{{To: component(v1alpha1.ComponentOrderer), Ports: tcp(v1alpha1.PortOrderer)}})
}

func (p policies) peers() *networkingv1.NetworkPolicy {
	return p.policy(PolicyPeers, map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentPeer},
		[]networkingv1.NetworkPolicyIngressRule{{From: component(v1alpha1.ComponentPeer), Ports: tcp(v1alpha1.PortPeer)}},
		[]networkingv1.NetworkPolicyEgressRule{
			{To: component(v1alpha1.ComponentPeer), Ports: tcp(v1alpha1.PortPeer)},
			{To: component(v1alpha1.ComponentOrderer), Ports: tcp(v1alpha1.PortOrderer)},
			{To: component(v1alpha1.ComponentChaincode), Ports: tcp(v1alpha1.PortChaincode)},
			// The API server, to launch contracts: it stands outside the pod network and is met by its ports alone.
			{Ports: tcp(portsAPIServer()...)},
		})
}

// chaincode lets contracts that peers launch call peers; which peers, their own policies say.
func (p policies) chaincode() *networkingv1.NetworkPolicy {
	return p.policy(PolicyChaincode, map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentChaincode}, nil,
		[]networkingv1.NetworkPolicyEgressRule{{To: component(v1alpha1.ComponentPeer), Ports: tcp(v1alpha1.PortPeerChaincode)}})
}

// services lets peers call contracts that run as services. One that a peer launched, which has the peer's label, is
// called by nobody.
func (p policies) services() *networkingv1.NetworkPolicy {
	np := p.policy(PolicyServices, map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentChaincode},
		[]networkingv1.NetworkPolicyIngressRule{{From: component(v1alpha1.ComponentPeer), Ports: tcp(v1alpha1.PortChaincode)}}, nil)
	np.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: v1alpha1.LabelNode, Operator: metav1.LabelSelectorOpDoesNotExist}}
	return np
}

// from opens ports of peers, orderers and CAs to every pod of some namespaces.
func (p policies) from(name string, sources []string, ports ...int32) *networkingv1.NetworkPolicy {
	np := p.policy(name, nil, []networkingv1.NetworkPolicyIngressRule{{From: namespaces(sources...), Ports: tcp(ports...)}}, nil)
	np.Spec.PodSelector.MatchExpressions = []metav1.LabelSelectorRequirement{{
		Key: v1alpha1.LabelComponent, Operator: metav1.LabelSelectorOpIn,
		Values: []string{v1alpha1.ComponentCA, v1alpha1.ComponentOrderer, v1alpha1.ComponentPeer},
	}}
	return np
}

func (p policies) policy(name string, match map[string]string, in []networkingv1.NetworkPolicyIngressRule,
	out []networkingv1.NetworkPolicyEgressRule,
) *networkingv1.NetworkPolicy {
	var kinds []networkingv1.PolicyType
	if in != nil {
		kinds = append(kinds, networkingv1.PolicyTypeIngress)
	}
	if out != nil {
		kinds = append(kinds, networkingv1.PolicyTypeEgress)
	}
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.place.Network, Labels: p.place.labels()},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: match}, PolicyTypes: kinds, Ingress: in, Egress: out,
		},
	}
}

func component(name string) []networkingv1.NetworkPolicyPeer {
	return pods(map[string]string{v1alpha1.LabelComponent: name})
}

func pods(labels map[string]string) []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: labels}}}
}

func namespaces(names ...string) []networkingv1.NetworkPolicyPeer {
	sorted := slices.Sorted(slices.Values(names))
	return []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{
			Key: labelNamespaceName, Operator: metav1.LabelSelectorOpIn, Values: sorted,
		}},
	}}}
}

func tcp(ports ...int32) []networkingv1.NetworkPolicyPort {
	protocol := corev1.ProtocolTCP
	out := make([]networkingv1.NetworkPolicyPort, 0, len(ports))
	for _, port := range ports {
		at := intstr.FromInt32(port)
		out = append(out, networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: &at})
	}
	return out
}
