package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// firewallTable holds the rules between sites, in the network in which they meet.
const firewallTable = "heddle_sites"

// parsePorts reads ports with commas between them; 0 alone is none.
func parsePorts(text string) ([]uint16, error) {
	if text == "0" {
		return nil, nil
	}
	var out []uint16
	for part := range strings.SplitSeq(text, ",") {
		port, err := strconv.ParseUint(part, 10, 16)
		if err != nil || port == 0 {
			return nil, fmt.Errorf("%q is no port", part)
		}
		out = append(out, uint16(port))
	}
	return out, nil
}

func portList(ports []uint16, divider string) string {
	parts := make([]string, len(ports))
	for i, p := range ports {
		parts[i] = strconv.Itoa(int(p))
	}
	return strings.Join(parts, divider)
}

// firewallScript lets some TCP ports of the nodes of each site through to the others, and nothing else; no port lets
// everything through. It replaces what was there at once.
func firewallScript(p *Plan, ports []uint16) string {
	var b strings.Builder
	fmt.Fprintf(&b, "add table inet %[1]s\ndelete table inet %[1]s\n", firewallTable)
	if len(ports) == 0 {
		return b.String()
	}
	ranges := make([]string, len(p.Sites))
	fmt.Fprintf(&b, "add table inet %[1]s\nadd counter inet %[1]s %[2]s\n", firewallTable, refusedCounter)
	fmt.Fprintf(&b, "table inet %s {\n\tchain forward {\n\t\ttype filter hook forward priority 0; policy accept;\n", firewallTable)
	for i := range p.Sites {
		s := &p.Sites[i]
		ranges[i] = s.nodeRange().String()
		fmt.Fprintf(&b, "\t\tiifname %q oifname %q accept\n", s.bridge(), s.bridge())
	}
	fmt.Fprintf(&b, "\t\tct state established,related accept\n")
	fmt.Fprintf(&b, "\t\tip daddr { %s } tcp dport { %s } accept\n", strings.Join(ranges, ", "), portList(ports, ", "))
	b.WriteString(refusedRules)
	fmt.Fprintf(&b, "\t\tiifname \"br*\" oifname \"br*\" counter drop\n\t}\n}\n")
	return b.String()
}

// firewall sets what passes between sites.
func (w *wan) firewall(ctx context.Context, ports []uint16) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := inNetns(w.ns, func() error {
		cmd := exec.CommandContext(ctx, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(firewallScript(w.plan, ports))
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("set firewall between sites: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	})
	if err == nil {
		w.ports = ports
	}
	return err
}

func (w *wan) firewallPorts() []uint16 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ports)
}

// Firewall drops everything between sites but connections to these TCP ports of their nodes; none ends that.
func (l *Lab) Firewall(ctx context.Context, ports ...uint16) error {
	list := portList(ports, ",")
	if list == "" {
		list = "0"
	}
	return l.command(ctx, "POST", "/firewall/"+list, nil)
}
