package policy

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// ingressTo lists what may reach pod; named ports are the pod's own.
func (p *compiled) ingressTo(pod *corev1.Pod) []Allow {
	var out []Allow
	for _, r := range p.ingress {
		ports, none := resolve(r.ports, pod)
		if none {
			continue
		}
		for _, peer := range r.peers() {
			out = append(out, Allow{Policy: p.name, Peer: peer, Ports: ports})
		}
	}
	return out
}

// allowEgress lists what the selected pods may reach. A named port is that of the pod
// reached, so each number it stands for comes with the addresses it stands for it at.
func (p *compiled) allowEgress() []Allow {
	var out []Allow
	for _, r := range p.egress {
		var plain []networkingv1.NetworkPolicyPort
		for _, port := range r.ports {
			if named(port) {
				out = append(out, p.egressByName(r, port)...)
				continue
			}
			plain = append(plain, port)
		}
		if len(plain) == 0 && len(r.ports) > 0 {
			continue
		}
		ports, _ := resolve(plain, nil)
		for _, peer := range r.peers() {
			out = append(out, Allow{Policy: p.name, Peer: peer, Ports: ports})
		}
	}
	return out
}

func (p *compiled) egressByName(r rule, port networkingv1.NetworkPolicyPort) []Allow {
	addrs := map[Ports][]netip.Addr{}
	for _, ep := range r.reached {
		ports, _ := resolve([]networkingv1.NetworkPolicyPort{port}, ep.pod)
		for _, found := range ports {
			addrs[found] = append(addrs[found], ep.addr)
		}
	}
	var out []Allow
	for found, list := range addrs {
		out = append(out, Allow{Policy: p.name, Peer: Peer{Addrs: list}, Ports: []Ports{found}})
	}
	slices.SortFunc(out, func(a, b Allow) int { return cmp.Compare(a.Ports[0].First, b.Ports[0].First) })
	return out
}

// peers lists the other ends of a rule; selectors that found nobody leave none.
func (r rule) peers() []Peer {
	if r.any {
		return []Peer{{Any: true}}
	}
	var out []Peer
	if len(r.pods) > 0 {
		p := Peer{}
		for _, ep := range r.pods {
			p.Addrs = append(p.Addrs, ep.addr)
		}
		out = append(out, p)
	}
	return append(out, r.blocks...)
}

func named(p networkingv1.NetworkPolicyPort) bool {
	return p.Port != nil && p.Port.Type == intstr.String
}

// resolve turns a rule's ports into merged ranges, looking names up in pod. It reports
// none when the rule has ports but no traffic can match them: a name nobody has must not
// turn into "every port".
func resolve(in []networkingv1.NetworkPolicyPort, pod *corev1.Pod) (out []Ports, none bool) {
	for _, p := range in {
		proto := corev1.ProtocolTCP
		if p.Protocol != nil {
			proto = *p.Protocol
		}
		switch {
		case p.Port == nil:
			out = append(out, Ports{Protocol: proto})
		case p.Port.Type == intstr.String:
			out = append(out, lookUp(pod, p.Port.StrVal, proto)...)
		case p.Port.IntVal > 0 && p.Port.IntVal <= 65535:
			first := uint16(p.Port.IntVal)
			last := first
			if end := ptr.Deref(p.EndPort, 0); end > 0 && end <= 65535 {
				last = max(first, uint16(end))
			}
			out = append(out, Ports{Protocol: proto, First: first, Last: last})
		}
	}
	return mergePorts(out), len(in) > 0 && len(out) == 0
}

// lookUp finds a named port. Sidecars (init containers that keep running) have ports too.
func lookUp(pod *corev1.Pod, name string, proto corev1.Protocol) []Ports {
	if pod == nil {
		return nil
	}
	var out []Ports
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, c := range list {
			for _, p := range c.Ports {
				got := cmp.Or(p.Protocol, corev1.ProtocolTCP)
				if p.Name == name && got == proto && p.ContainerPort > 0 && p.ContainerPort <= 65535 {
					out = append(out, Ports{Protocol: proto, First: uint16(p.ContainerPort), Last: uint16(p.ContainerPort)})
				}
			}
		}
	}
	return out
}

// mergePorts sorts ranges and joins those that overlap: nft refuses overlapping intervals.
func mergePorts(in []Ports) []Ports {
	slices.SortFunc(in, func(a, b Ports) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	var out []Ports
	for _, p := range in {
		if n := len(out); n > 0 && out[n-1].Protocol == p.Protocol {
			prev := &out[n-1]
			if prev.First == 0 { // already all of the protocol
				continue
			}
			if uint32(p.First) <= uint32(prev.Last)+1 {
				prev.Last = max(prev.Last, p.Last)
				continue
			}
		}
		out = append(out, p)
	}
	return out
}

// mergePrefixes sorts prefixes and drops those inside another one, for the same reason.
func mergePrefixes(in []netip.Prefix) []netip.Prefix {
	slices.SortFunc(in, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out []netip.Prefix
	for _, p := range in {
		if n := len(out); n > 0 && out[n-1].Overlaps(p) {
			continue
		}
		out = append(out, p)
	}
	return out
}
