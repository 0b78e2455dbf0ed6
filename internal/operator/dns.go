package operator

import (
	"net/netip"
	"os"
	"strings"

	"heddle.dev/heddle/internal/specs"
)

const (
	resolvConf = "/etc/resolv.conf"
	// maxDNS is how many servers the C library looks at.
	maxDNS        = 3
	defaultDomain = "cluster.local"
)

// completeDNS takes what is not set from the settings of this pod, which the kubelet wrote for the cluster. Where they
// cannot be read, no link comes up, and it says so itself.
func completeDNS(s *specs.LinkSettings, file string) {
	raw, _ := os.ReadFile(file)
	servers, domain := parseResolvConf(string(raw))
	if len(s.DNS) == 0 {
		s.DNS = servers
	}
	if s.Domain == "" {
		s.Domain = domain
	}
	if s.Domain == "" {
		s.Domain = defaultDomain
	}
}

// parseResolvConf finds the servers, and the domain below which Services have their names.
func parseResolvConf(text string) (servers []string, domain string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if _, err := netip.ParseAddr(fields[1]); err == nil && len(servers) < maxDNS {
				servers = append(servers, fields[1])
			}
		case "search":
			for _, name := range fields[1:] {
				if rest, ok := strings.CutPrefix(strings.TrimSuffix(name, "."), "svc."); ok {
					domain = rest
				}
			}
		}
	}
	return servers, domain
}
