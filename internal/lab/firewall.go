package lab

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// firewallTable holds the rules between sites, in the network in which they meet.
const firewallTable = "heddle_sites"

// firewallScript lets one TCP port of the nodes of each site through to the others, and nothing else; port 0 lets
// everything through. It replaces what was there at once.
func firewallScript(p *Plan, port uint16) string {
	var b strings.Builder
	fmt.Fprintf(&b, "add table inet %[1]s\ndelete table inet %[1]s\n", firewallTable)
	if port == 0 {
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
	fmt.Fprintf(&b, "\t\tip daddr { %s } tcp dport %d accept\n", strings.Join(ranges, ", "), port)
	b.WriteString(refusedRules)
	fmt.Fprintf(&b, "\t\tiifname \"br*\" oifname \"br*\" counter drop\n\t}\n}\n")
	return b.String()
}

// firewall sets what passes between sites.
func (w *wan) firewall(ctx context.Context, port uint16) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := inNetns(w.ns, func() error {
		cmd := exec.CommandContext(ctx, "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(firewallScript(w.plan, port))
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("set firewall between sites: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	})
	if err == nil {
		w.port = port
	}
	return err
}

func (w *wan) firewallPort() uint16 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.port
}

// Firewall drops everything between sites but connections to one TCP port of their nodes; 0 ends that.
func (l *Lab) Firewall(ctx context.Context, port uint16) error {
	return l.command(ctx, "POST", "/firewall/"+strconv.Itoa(int(port)), nil)
}
