package link

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// JoinName is the outer SNI at which a site takes invitations that are used.
func JoinName(site string) string { return "join." + site }

// APIName is the outer SNI at which a site takes documents from a partner, and the name in its certificate there.
func APIName(partner, site string) string { return "api." + partner + "." + site }

// NetworkName is the outer SNI at which a site takes a partner's tunnels into a network.
func NetworkName(network, partner, site string) string { return network + "." + partner + "." + site }

// partnerOf reads the partner out of the name of a call to the API.
func partnerOf(sni, site string) (string, bool) {
	rest, ok := strings.CutPrefix(sni, "api.")
	if !ok {
		return "", false
	}
	partner, ok := strings.CutSuffix(rest, "."+site)
	return partner, ok && sitePattern.MatchString(partner)
}

// What the API's types ask for, asked again of what partners send.
const (
	maxEndpoints = 4
	maxEndpoint  = 259
	maxName      = 64
)

var (
	sitePattern = regexp.MustCompile(`^[a-z][a-z0-9]{3,15}$`)
	hostPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
)

func checkSite(id string) error {
	if !sitePattern.MatchString(id) {
		return fmt.Errorf("%q is no siteID: 4 to 16 lower-case letters and digits that start with a letter", clip(id, maxName))
	}
	return nil
}

// checkName refuses what would look like something else on a person's screen.
func checkName(name string) error {
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName {
		return fmt.Errorf("the display name is longer than %d characters, or no text", maxName)
	}
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return fmt.Errorf("the display name %q has characters that cannot be shown", name)
	}
	return nil
}

func checkEndpoints(endpoints []string) error {
	if len(endpoints) == 0 || len(endpoints) > maxEndpoints {
		return fmt.Errorf("there are %d endpoints: 1 to %d are needed", len(endpoints), maxEndpoints)
	}
	for _, e := range endpoints {
		if err := checkEndpoint(e); err != nil {
			return err
		}
	}
	return nil
}

func checkEndpoint(endpoint string) error {
	i := strings.LastIndexByte(endpoint, ':')
	if i <= 0 || len(endpoint) > maxEndpoint {
		return fmt.Errorf("endpoint %q is not host:port", clip(endpoint, maxName))
	}
	host, port := endpoint[:i], endpoint[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return fmt.Errorf("endpoint %q has no port between 1 and 65535", clip(endpoint, maxName))
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !a.Is6() || a.Zone() != "" || !strings.HasSuffix(inner, "]") {
			return fmt.Errorf("endpoint %q has no address of IPv6 in its brackets", clip(endpoint, maxName))
		}
		return nil
	}
	if !hostPattern.MatchString(host) {
		return fmt.Errorf("endpoint %q has no usable host", clip(endpoint, maxName))
	}
	return nil
}

// clip bounds what is shown of something foreign.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
