package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxComment is the length of a comment that nft accepts.
const maxComment = 128

// script collects the parts of an nft file. Chains and sets are named after their
// content, so pods and rules that need the same one share it.
type script struct {
	sets   map[string]string
	chains map[string]string
}

// Script renders the ruleset as one nft transaction that replaces the whole table: the
// kernel goes from the old rules to the new ones at once, with no open moment between.
func (r Ruleset) Script() string {
	s := &script{sets: map[string]string{}, chains: map[string]string{}}
	egress := s.dispatch(r.Egress, "eg", "daddr")
	ingress := s.dispatch(r.Ingress, "in", "saddr")

	var b strings.Builder
	fmt.Fprintf(&b, "add table inet %[1]s\ndelete table inet %[1]s\ntable inet %[1]s {\n", Table)
	known, self := make([]string, len(r.Known)), make([]string, len(r.Known))
	for i, a := range r.Known {
		known[i], self[i] = a.String(), a.String()+" . "+a.String()
	}
	writeSet(&b, "set known", "ipv4_addr", known)
	writeSet(&b, "set self", "ipv4_addr . ipv4_addr", self)
	for _, name := range sortedKeys(s.sets) {
		b.WriteString(s.sets[name])
	}
	for _, name := range sortedKeys(s.chains) {
		b.WriteString(s.chains[name])
	}
	writeSet(&b, "map egress", "ipv4_addr : verdict", egress)
	writeSet(&b, "map ingress", "ipv4_addr : verdict", ingress)
	r.writeHooks(&b)
	b.WriteString("}\n")
	return b.String()
}

// writeHooks writes the two chains that packets enter by.
//
// Only replies pass by connection state. Packets of the opening side are judged each
// time, so a changed policy also ends connections that it no longer allows, and an
// address that is used again inherits nothing. What the node itself sends, kubelet's
// probes above all, meets neither hook. Pods have no IPv6 addresses but link-local ones, which
// no policy can name: between pods these are closed, else they would lead around every policy.
//
// Who calls an address without a pod is told so. A Service names a pod until its object is gone, which is after its
// address: in silence a caller would try that one for many seconds, when the next try would find the new pod.
func (r Ruleset) writeHooks(b *strings.Builder) {
	replies := "\t\tct state related accept\n\t\tct state established ct direction reply accept\n"
	fmt.Fprintf(b, "\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n")
	fmt.Fprintf(b, "\t\tmeta nfproto ipv6 iifname %q counter drop\n%s", r.Bridge, replies)
	b.WriteString("\t\tip saddr . ip daddr @self accept\n")
	for _, p := range r.Closed {
		fmt.Fprintf(b, "\t\tip saddr %s ip saddr != @known counter drop\n", p)
		fmt.Fprintf(b, "\t\tip daddr %s ip daddr != @known counter reject with icmp type host-unreachable\n", p)
	}
	b.WriteString("\t\tip saddr vmap @egress\n\t\tip daddr vmap @ingress\n\t}\n")

	fmt.Fprintf(b, "\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n")
	fmt.Fprintf(b, "\t\tiifname != %q accept\n", r.Bridge)
	fmt.Fprintf(b, "\t\tmeta nfproto ipv6 meta l4proto != ipv6-icmp counter drop\n%s", replies)
	for _, p := range r.Closed {
		fmt.Fprintf(b, "\t\tip saddr %s ip saddr != @known counter drop\n", p)
	}
	b.WriteString("\t\tip saddr vmap @egress\n\t}\n")
}

// dispatch makes a chain for each distinct list of allows and returns the elements
// of the map that leads a pod's packets there.
func (s *script) dispatch(isolated map[netip.Addr][]Allow, prefix, field string) []string {
	var out []string
	for _, addr := range sortedAddrs(isolated) {
		var body strings.Builder
		for _, a := range isolated[addr] {
			for _, m := range s.matches(a, field) {
				fmt.Fprintf(&body, "\t\t%sreturn comment %q\n", m, truncate(a.Policy))
			}
		}
		body.WriteString("\t\tcounter drop\n")
		name := prefix + "-" + hash(body.String())
		s.chains[name] = fmt.Sprintf("\tchain %s {\n%s\t}\n", name, body.String())
		out = append(out, addr.String()+" : jump "+name)
	}
	return out
}

// matches renders one allow; each protocol takes a rule of its own.
func (s *script) matches(a Allow, field string) []string {
	peer := s.peer(a.Peer, field)
	if len(a.Ports) == 0 {
		return []string{peer}
	}
	var out []string
	for rest := a.Ports; len(rest) > 0; {
		n := slices.IndexFunc(rest, func(p Ports) bool { return p.Protocol != rest[0].Protocol })
		if n < 0 {
			n = len(rest)
		}
		out = append(out, peer+portMatch(rest[:n]))
		rest = rest[n:]
	}
	return out
}

// portMatch renders ports of one protocol.
func portMatch(ports []Ports) string {
	proto := strings.ToLower(string(ports[0].Protocol))
	if ports[0].First == 0 {
		return "meta l4proto " + proto + " "
	}
	elems := make([]string, len(ports))
	for i, p := range ports {
		elems[i] = strconv.FormatUint(uint64(p.First), 10)
		if p.Last != p.First {
			elems[i] = fmt.Sprintf("%d-%d", p.First, p.Last)
		}
	}
	return fmt.Sprintf("%s dport %s ", proto, anonymous(elems))
}

func (s *script) peer(p Peer, field string) string {
	switch {
	case p.Any:
		return ""
	case p.Block.IsValid():
		out := ""
		if p.Block.Bits() > 0 { // nft refuses to match on a mask of no bits
			out = fmt.Sprintf("ip %s %s ", field, p.Block)
		}
		if len(p.Except) > 0 {
			elems := make([]string, len(p.Except))
			for i, e := range p.Except {
				elems[i] = e.String()
			}
			out += fmt.Sprintf("ip %s != %s ", field, anonymous(elems))
		}
		return out
	case len(p.Addrs) == 1:
		return fmt.Sprintf("ip %s %s ", field, p.Addrs[0])
	}
	elems := make([]string, len(p.Addrs))
	for i, a := range p.Addrs {
		elems[i] = a.String()
	}
	var b strings.Builder
	name := "pods-" + hash(strings.Join(elems, ","))
	writeSet(&b, "set "+name, "ipv4_addr", elems)
	s.sets[name] = b.String()
	return fmt.Sprintf("ip %s @%s ", field, name)
}

func anonymous(elems []string) string {
	if len(elems) == 1 {
		return elems[0]
	}
	return "{ " + strings.Join(elems, ", ") + " }"
}

func writeSet(b *strings.Builder, head, typ string, elems []string) {
	fmt.Fprintf(b, "\t%s {\n\t\ttype %s\n", head, typ)
	if len(elems) > 0 {
		fmt.Fprintf(b, "\t\telements = { %s }\n", strings.Join(elems, ", "))
	}
	b.WriteString("\t}\n")
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

func truncate(s string) string {
	return s[:min(len(s), maxComment)]
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func sortedAddrs(m map[netip.Addr][]Allow) []netip.Addr {
	out := make([]netip.Addr, 0, len(m))
	for a := range m {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}
