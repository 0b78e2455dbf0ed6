package lab

import (
	"strings"
	"testing"
)

// TestFirewallScript: the ranges of all sites are named, and no port means no rule.
func TestFirewallScript(t *testing.T) {
	p, err := newPlan("fire", "/tmp/fire", 2, []int{1})
	if err != nil {
		t.Fatal(err)
	}
	got := firewallScript(p, []uint16{30443, 30444})
	for _, part := range []string{"ip daddr { 10.200.1.0/24, 10.200.2.0/24 } tcp dport { 30443, 30444 } accept", `iifname "br1" oifname "br1" accept`, "counter drop"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in\n%s", part, got)
		}
	}
	for text, good := range map[string]bool{"0": true, "1,65535": true, "": false, "1,": false, "65536": false, "0,1": false, "x": false} {
		ports, err := parsePorts(text)
		if (err == nil) != good || good && text != "0" && portList(ports, ",") != text {
			t.Errorf("%q: %v, %v", text, ports, err)
		}
	}
	if off := firewallScript(p, nil); strings.Contains(off, "chain") {
		t.Errorf("without a port there are rules:\n%s", off)
	}
}
