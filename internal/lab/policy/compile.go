package policy

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Ruleset is what one node enforces.
type Ruleset struct {
	// Bridge and Closed repeat Node.Bridge and Node.PodCIDRs.
	Bridge string
	Closed []netip.Prefix
	// Known are the addresses of all pods on the node, isolated or not.
	Known []netip.Addr
	// Ingress and Egress hold the isolated pods of the node. A pod that is
	// in neither may talk to everybody; one with no Allow may talk to nobody.
	Ingress map[netip.Addr][]Allow
	Egress  map[netip.Addr][]Allow
}

// Allow permits traffic with Peer on any of Ports; no Ports at all means every port and protocol.
type Allow struct {
	// Policy is namespace/name of the policy it comes from.
	Policy string
	Peer   Peer
	Ports  []Ports
}

// Peer is the other end: one of everybody, a list of addresses, or a block with holes.
type Peer struct {
	Any    bool
	Addrs  []netip.Addr
	Block  netip.Prefix
	Except []netip.Prefix
}

// Ports is a range of one protocol; First 0 means all of the protocol.
type Ports struct {
	Protocol    corev1.Protocol
	First, Last uint16
}

// endpoint is a pod at an address.
type endpoint struct {
	addr netip.Addr
	pod  *corev1.Pod
}

// cluster is the indexed input of one compilation.
type cluster struct {
	namespaces map[string]labels.Set
	endpoints  map[string][]endpoint // by namespace, sorted by address
	names      []string              // namespaces that have endpoints, sorted
}

// Compile says what the node has to enforce. It is a pure function and its result does
// not depend on the order of the arguments.
func Compile(policies []*networkingv1.NetworkPolicy, pods []*corev1.Pod, namespaces []*corev1.Namespace, node Node) Ruleset {
	c := index(pods, namespaces, node.Leases)
	rs := Ruleset{
		Bridge:  node.Bridge,
		Closed:  node.PodCIDRs,
		Ingress: map[netip.Addr][]Allow{},
		Egress:  map[netip.Addr][]Allow{},
	}
	byNamespace := map[string][]*compiled{}
	for _, p := range sortedPolicies(policies) {
		byNamespace[p.Namespace] = append(byNamespace[p.Namespace], c.policy(p))
	}
	for _, ns := range c.names {
		for _, ep := range c.endpoints[ns] {
			if ep.pod.Spec.NodeName != node.Name {
				continue
			}
			rs.Known = append(rs.Known, ep.addr)
			for _, p := range byNamespace[ns] {
				p.addTo(&rs, ep)
			}
		}
	}
	slices.SortFunc(rs.Known, netip.Addr.Compare)
	return rs
}

func sortedPolicies(in []*networkingv1.NetworkPolicy) []*networkingv1.NetworkPolicy {
	out := slices.Clone(in)
	slices.SortFunc(out, func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// index finds out which pod holds which address.
func index(pods []*corev1.Pod, namespaces []*corev1.Namespace, leases []Lease) *cluster {
	c := &cluster{namespaces: map[string]labels.Set{}, endpoints: map[string][]endpoint{}}
	for _, ns := range namespaces {
		c.namespaces[ns.Name] = ns.Labels
	}
	for addr, pod := range holders(pods, leases) {
		c.endpoints[pod.Namespace] = append(c.endpoints[pod.Namespace], endpoint{addr, pod})
	}
	for ns, eps := range c.endpoints {
		c.names = append(c.names, ns)
		slices.SortFunc(eps, func(a, b endpoint) int { return a.addr.Compare(b.addr) })
	}
	slices.Sort(c.names)
	return c
}

// holders maps addresses to pods. Addresses are used again: a pod that has ended holds none,
// a younger pod wins over an older one, and what the CNI plugin gave out wins over status.
func holders(pods []*corev1.Pod, leases []Lease) map[netip.Addr]*corev1.Pod {
	live := make([]*corev1.Pod, 0, len(pods))
	byUID := map[types.UID]*corev1.Pod{}
	byName := map[types.NamespacedName]*corev1.Pod{}
	for _, pod := range pods {
		if pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		live = append(live, pod)
		byUID[pod.UID] = pod
		byName[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod
	}
	slices.SortFunc(live, func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
	})
	out := map[netip.Addr]*corev1.Pod{}
	for _, pod := range live {
		for _, ip := range pod.Status.PodIPs {
			if addr, err := netip.ParseAddr(ip.IP); err == nil && addr.Is4() {
				out[addr] = pod
			}
		}
	}
	leases = slices.Clone(leases)
	slices.SortStableFunc(leases, func(a, b Lease) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.UID, b.UID))
	})
	for _, l := range leases {
		pod := byUID[l.UID]
		if l.UID == "" {
			pod = byName[types.NamespacedName{Namespace: l.Namespace, Name: l.Name}]
		}
		if pod != nil && l.Addr.Is4() {
			out[l.Addr] = pod
		}
	}
	return out
}

// compiled is a policy whose selectors have been looked up, but whose
// named ports have not: these depend on the pod that is reached.
type compiled struct {
	name            string
	selector        labels.Selector
	isolatesIngress bool
	isolatesEgress  bool
	ingress, egress []rule
}

// rule is one element of spec.ingress or spec.egress.
type rule struct {
	any    bool
	pods   []endpoint // peers found by selectors
	blocks []Peer
	// reached are all pods among the peers, those in blocks included: named ports are theirs.
	reached []endpoint
	ports   []networkingv1.NetworkPolicyPort
}

func (c *cluster) policy(p *networkingv1.NetworkPolicy) *compiled {
	out := &compiled{name: p.Namespace + "/" + p.Name, selector: selector(&p.Spec.PodSelector)}
	for _, t := range p.Spec.PolicyTypes {
		out.isolatesIngress = out.isolatesIngress || t == networkingv1.PolicyTypeIngress
		out.isolatesEgress = out.isolatesEgress || t == networkingv1.PolicyTypeEgress
	}
	if len(p.Spec.PolicyTypes) == 0 {
		out.isolatesIngress, out.isolatesEgress = true, len(p.Spec.Egress) > 0
	}
	for _, r := range p.Spec.Ingress {
		out.ingress = append(out.ingress, c.rule(p.Namespace, r.From, r.Ports))
	}
	for _, r := range p.Spec.Egress {
		out.egress = append(out.egress, c.rule(p.Namespace, r.To, r.Ports))
	}
	return out
}

// selector never fails open: one that cannot be read selects nothing.
func selector(s *metav1.LabelSelector) labels.Selector {
	out, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return out
}

func (c *cluster) rule(namespace string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) rule {
	out := rule{any: len(peers) == 0, ports: ports}
	seen := map[netip.Addr]bool{}
	for _, p := range peers {
		if p.IPBlock != nil {
			if b, ok := block(p.IPBlock); ok {
				out.blocks = append(out.blocks, b)
			}
			continue
		}
		for _, ep := range c.selectPods(namespace, p.NamespaceSelector, p.PodSelector) {
			if !seen[ep.addr] {
				seen[ep.addr] = true
				out.pods = append(out.pods, ep)
			}
		}
	}
	slices.SortFunc(out.pods, func(a, b endpoint) int { return a.addr.Compare(b.addr) })
	if slices.ContainsFunc(ports, named) {
		out.reached = c.reached(out, seen)
	}
	return out
}

func (c *cluster) reached(r rule, selected map[netip.Addr]bool) []endpoint {
	var out []endpoint
	for _, ns := range c.names {
		for _, ep := range c.endpoints[ns] {
			if r.any || selected[ep.addr] || slices.ContainsFunc(r.blocks, func(b Peer) bool { return b.holds(ep.addr) }) {
				out = append(out, ep)
			}
		}
	}
	slices.SortFunc(out, func(a, b endpoint) int { return a.addr.Compare(b.addr) })
	return out
}

// holds says whether a block, less its holes, contains addr.
func (p Peer) holds(addr netip.Addr) bool {
	return p.Block.Contains(addr) && !slices.ContainsFunc(p.Except, func(e netip.Prefix) bool { return e.Contains(addr) })
}

// selectPods follows the API: no namespace selector means the policy's own namespace,
// no pod selector means every pod of the selected namespaces.
func (c *cluster) selectPods(namespace string, nsSelector, podSelector *metav1.LabelSelector) []endpoint {
	if nsSelector == nil && podSelector == nil {
		return nil
	}
	inNamespace := func(ns string) bool { return ns == namespace }
	if nsSelector != nil {
		s := selector(nsSelector)
		inNamespace = func(ns string) bool {
			set, known := c.namespaces[ns]
			return known && s.Matches(set)
		}
	}
	pods := labels.Everything()
	if podSelector != nil {
		pods = selector(podSelector)
	}
	var out []endpoint
	for _, ns := range c.names {
		if !inNamespace(ns) {
			continue
		}
		for _, ep := range c.endpoints[ns] {
			if pods.Matches(labels.Set(ep.pod.Labels)) {
				out = append(out, ep)
			}
		}
	}
	return out
}

// block reads an ipBlock. One that cannot be read, or is not IPv4 (the lab has no other),
// matches nothing; a hole that cannot be read closes the whole block.
func block(b *networkingv1.IPBlock) (Peer, bool) {
	cidr, err := netip.ParsePrefix(b.CIDR)
	if err != nil || !cidr.Addr().Is4() {
		return Peer{}, false
	}
	out := Peer{Block: cidr.Masked()}
	for _, e := range b.Except {
		hole, err := netip.ParsePrefix(e)
		if err != nil {
			return Peer{}, false
		}
		if hole.Addr().Is4() {
			out.Except = append(out.Except, hole.Masked())
		}
	}
	out.Except = mergePrefixes(out.Except)
	return out, true
}

// addTo isolates ep where the policy selects it and adds what the policy allows.
func (p *compiled) addTo(rs *Ruleset, ep endpoint) {
	if !p.selector.Matches(labels.Set(ep.pod.Labels)) {
		return
	}
	if p.isolatesIngress {
		rs.Ingress[ep.addr] = append(rs.Ingress[ep.addr], p.ingressTo(ep.pod)...)
	}
	if p.isolatesEgress {
		rs.Egress[ep.addr] = append(rs.Egress[ep.addr], p.allowEgress()...)
	}
}
