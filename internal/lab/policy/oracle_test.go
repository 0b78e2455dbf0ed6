package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// world is a cluster for tests: two nodes, n1 with 10.1.1.0/24 and n2 with 10.1.2.0/24.
type world struct {
	policies   []*networkingv1.NetworkPolicy
	pods       []*corev1.Pod
	namespaces []*corev1.Namespace
}

func (w *world) namespace(name string, l map[string]string) {
	w.namespaces = append(w.namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: l}})
}

func (w *world) pod(ns, name, node, ip string, l map[string]string, ports ...corev1.ContainerPort) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID(ns + "/" + name), Labels: l},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Ports: ports}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if ip != "" {
		p.Status.PodIP, p.Status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	}
	w.pods = append(w.pods, p)
	return p
}

func (w *world) policy(ns, name string, spec networkingv1.NetworkPolicySpec) {
	w.policies = append(w.policies, &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: spec})
}

func (w *world) compile(node string) Ruleset {
	return Compile(w.policies, w.pods, w.namespaces, Node{Name: node, Bridge: DefaultBridge})
}

// passes interprets a ruleset the way Script's rules do.
func (r Ruleset) passes(src, dst netip.Addr, proto corev1.Protocol, port uint16) bool {
	if src == dst && slices.Contains(r.Known, src) {
		return true
	}
	if allows, isolated := r.Egress[src]; isolated && !anyAllows(allows, dst, proto, port) {
		return false
	}
	allows, isolated := r.Ingress[dst]
	return !isolated || anyAllows(allows, src, proto, port)
}

func anyAllows(allows []Allow, other netip.Addr, proto corev1.Protocol, port uint16) bool {
	return slices.ContainsFunc(allows, func(a Allow) bool {
		peer := a.Peer.Any || slices.Contains(a.Peer.Addrs, other) ||
			a.Peer.Block.IsValid() && a.Peer.Block.Contains(other) &&
				!slices.ContainsFunc(a.Peer.Except, func(e netip.Prefix) bool { return e.Contains(other) })
		ports := len(a.Ports) == 0 || slices.ContainsFunc(a.Ports, func(p Ports) bool {
			return p.Protocol == proto && (p.First == 0 || p.First <= port && port <= p.Last)
		})
		return peer && ports
	})
}

// oracle answers the same question from the text of the NetworkPolicy API, object by object,
// with nothing shared with Compile but the objects.
type oracle struct{ w *world }

func (o oracle) at(addr netip.Addr) *corev1.Pod {
	for _, p := range o.w.pods {
		if len(p.Status.PodIPs) > 0 && p.Status.PodIPs[0].IP == addr.String() && !p.Spec.HostNetwork &&
			p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			return p
		}
	}
	return nil
}

func (o oracle) passes(src, dst netip.Addr, proto corev1.Protocol, port uint16) bool {
	from, to := o.at(src), o.at(dst)
	if from != nil && from == to {
		return true
	}
	return o.direction(networkingv1.PolicyTypeEgress, from, to, dst, to, proto, port) &&
		o.direction(networkingv1.PolicyTypeIngress, to, from, src, to, proto, port)
}

// direction judges one end: self is the pod whose policies count, other the far end.
func (o oracle) direction(dir networkingv1.PolicyType, self, other *corev1.Pod, otherAddr netip.Addr, target *corev1.Pod, proto corev1.Protocol, port uint16) bool {
	if self == nil {
		return true
	}
	isolated := false
	for _, p := range o.w.policies {
		if p.Namespace != self.Namespace || !match(&p.Spec.PodSelector, self.Labels) || !o.applies(p, dir) {
			continue
		}
		isolated = true
		if dir == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				if o.peers(p.Namespace, r.From, other, otherAddr) && portsMatch(r.Ports, target, proto, port) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			if o.peers(p.Namespace, r.To, other, otherAddr) && portsMatch(r.Ports, target, proto, port) {
				return true
			}
		}
	}
	return !isolated
}

func (o oracle) applies(p *networkingv1.NetworkPolicy, dir networkingv1.PolicyType) bool {
	if len(p.Spec.PolicyTypes) > 0 {
		return slices.Contains(p.Spec.PolicyTypes, dir)
	}
	return dir == networkingv1.PolicyTypeIngress || len(p.Spec.Egress) > 0
}

func (o oracle) peers(ns string, peers []networkingv1.NetworkPolicyPeer, other *corev1.Pod, addr netip.Addr) bool {
	if len(peers) == 0 {
		return true
	}
	for _, p := range peers {
		if p.IPBlock != nil {
			in := netip.MustParsePrefix(p.IPBlock.CIDR).Contains(addr)
			for _, e := range p.IPBlock.Except {
				in = in && !netip.MustParsePrefix(e).Contains(addr)
			}
			if in {
				return true
			}
			continue
		}
		if other == nil || p.PodSelector != nil && !match(p.PodSelector, other.Labels) {
			continue
		}
		if p.NamespaceSelector == nil {
			if other.Namespace == ns {
				return true
			}
			continue
		}
		for _, n := range o.w.namespaces {
			if n.Name == other.Namespace && match(p.NamespaceSelector, n.Labels) {
				return true
			}
		}
	}
	return false
}

func match(s *metav1.LabelSelector, l map[string]string) bool {
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(labels.Set(l))
}

func portsMatch(ports []networkingv1.NetworkPolicyPort, target *corev1.Pod, proto corev1.Protocol, port uint16) bool {
	if len(ports) == 0 {
		return true
	}
	for _, p := range ports {
		if want := p.Protocol; want != nil && *want != proto || want == nil && proto != corev1.ProtocolTCP {
			continue
		}
		switch {
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			if target == nil {
				continue
			}
			for _, c := range target.Spec.Containers {
				for _, cp := range c.Ports {
					if cp.Name == p.Port.StrVal && cp.Protocol == proto && uint16(cp.ContainerPort) == port {
						return true
					}
				}
			}
		case p.EndPort != nil:
			if int32(port) >= p.Port.IntVal && int32(port) <= *p.EndPort {
				return true
			}
		case int32(port) == p.Port.IntVal:
			return true
		}
	}
	return false
}

// random makes a small world in which collisions and overlaps are likely.
func random(r *rand.Rand) *world {
	w := &world{}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	some := func() map[string]string {
		return map[string]string{"app": pick("web", "db", "x"), "env": pick("dev", "prod")}
	}
	for _, ns := range []string{"a", "b", "c"} {
		w.namespace(ns, map[string]string{"env": pick("dev", "prod")})
	}
	for i := range 7 {
		node := 1 + r.IntN(2)
		p := w.pod(pick("a", "b", "c"), fmt.Sprintf("p%d", i), fmt.Sprintf("n%d", node), fmt.Sprintf("10.1.%d.%d", node, 10+i), some(),
			corev1.ContainerPort{Name: "main", ContainerPort: int32(80 + r.IntN(3)), Protocol: corev1.ProtocolTCP},
			corev1.ContainerPort{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP})
		switch r.IntN(8) {
		case 0:
			p.Status.Phase = corev1.PodSucceeded
		case 1:
			p.Spec.HostNetwork = true
		}
	}
	for i := range 1 + r.IntN(4) {
		w.policy(pick("a", "b", "c"), fmt.Sprintf("np%d", i), randomSpec(r))
	}
	return w
}

func randomSelector(r *rand.Rand) *metav1.LabelSelector {
	switch r.IntN(4) {
	case 0:
		return &metav1.LabelSelector{}
	case 1:
		return &metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}
	case 2:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"db"}}}}
	}
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
}

func randomSpec(r *rand.Rand) networkingv1.NetworkPolicySpec {
	spec := networkingv1.NetworkPolicySpec{PodSelector: *randomSelector(r)}
	in, out := networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress
	spec.PolicyTypes = [][]networkingv1.PolicyType{nil, {in}, {out}, {in, out}}[r.IntN(4)]
	for range r.IntN(3) {
		spec.Ingress = append(spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: randomPeers(r), Ports: randomPorts(r)})
	}
	for range r.IntN(3) {
		spec.Egress = append(spec.Egress, networkingv1.NetworkPolicyEgressRule{To: randomPeers(r), Ports: randomPorts(r)})
	}
	return spec
}

func randomPeers(r *rand.Rand) []networkingv1.NetworkPolicyPeer {
	var out []networkingv1.NetworkPolicyPeer
	for range r.IntN(3) {
		var p networkingv1.NetworkPolicyPeer
		switch r.IntN(4) {
		case 0:
			p.PodSelector = randomSelector(r)
		case 1:
			p.NamespaceSelector = randomSelector(r)
		case 2:
			p.PodSelector, p.NamespaceSelector = randomSelector(r), randomSelector(r)
		default:
			p.IPBlock = &networkingv1.IPBlock{CIDR: []string{"10.1.0.0/16", "0.0.0.0/0", "192.0.2.0/24", "10.1.1.12/30", "::/0"}[r.IntN(5)]}
			if r.IntN(2) == 0 && p.IPBlock.CIDR[0] != ':' {
				p.IPBlock.Except = []string{"10.1.2.0/24", "10.1.2.0/25", "10.1.1.10/31"}
			}
		}
		out = append(out, p)
	}
	return out
}

func randomPorts(r *rand.Rand) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for range r.IntN(4) {
		var p networkingv1.NetworkPolicyPort
		if r.IntN(3) > 0 {
			proto := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}[r.IntN(3)]
			p.Protocol = &proto
		}
		switch r.IntN(4) {
		case 0:
			v := intstr.FromString([]string{"main", "dns", "none"}[r.IntN(3)])
			p.Port = &v
		case 1:
			v := intstr.FromInt32(int32(79 + r.IntN(3)))
			end := v.IntVal + int32(r.IntN(3))
			p.Port, p.EndPort = &v, &end
		case 2:
			v := intstr.FromInt32([]int32{53, 80, 81}[r.IntN(3)])
			p.Port = &v
		}
		out = append(out, p)
	}
	return out
}

// compare asks compiled rules and the oracle about every pair of addresses of a random world.
func compare(t *testing.T, seed uint64) {
	t.Helper()
	w := random(rand.New(rand.NewPCG(seed, 7)))
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("10.200.1.11")}
	for _, p := range w.pods {
		addrs = append(addrs, netip.MustParseAddr(p.Status.PodIPs[0].IP))
	}
	n1, n2 := w.compile("n1"), w.compile("n2")
	for _, src := range addrs {
		for _, dst := range addrs {
			for _, end := range []Ports{
				{Protocol: corev1.ProtocolTCP, First: 79},
				{Protocol: corev1.ProtocolTCP, First: 80},
				{Protocol: corev1.ProtocolTCP, First: 81},
				{Protocol: corev1.ProtocolTCP, First: 82},
				{Protocol: corev1.ProtocolTCP, First: 83},
				{Protocol: corev1.ProtocolTCP, First: 9999},
				{Protocol: corev1.ProtocolUDP, First: 53},
				{Protocol: corev1.ProtocolUDP, First: 80},
				{Protocol: corev1.ProtocolSCTP, First: 81},
			} {
				got := n1.passes(src, dst, end.Protocol, end.First) && n2.passes(src, dst, end.Protocol, end.First)
				if want := (oracle{w}).passes(src, dst, end.Protocol, end.First); got != want {
					t.Fatalf("seed %d: %s -> %s %s/%d: got %v, want %v", seed, src, dst, end.Protocol, end.First, got, want)
				}
			}
		}
	}
}

// TestCompileAgainstOracle is long enough to meet every combination that ever went wrong.
func TestCompileAgainstOracle(t *testing.T) {
	for seed := range uint64(1000) {
		compare(t, seed)
	}
}

// FuzzCompile looks for worlds that the test does not have.
func FuzzCompile(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(compare)
}
