// Package nginx renders the configuration of the two kinds of nginx in a link between sites: the gateway, one for each
// site, which routes its public port by the outer SNI and decrypts nothing; and the link, one for each partner of a
// network, which ends the partners' mutual TLS and routes by the inner SNI, the nodes' own, to what is exported.
//
// It takes plain values and returns text. What may be exported to whom is decided above, what runs nginx is in
// internal/specs. Every directive that is not obvious is explained in the templates, with the version it was tried on.
package nginx

import (
	"embed"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

// Ports inside the pods.
const (
	// PortPublic of a gateway takes all that comes from partners.
	PortPublic = 8443
	// PortEgress of a link takes the connections to imported Services.
	PortEgress = 8443
	// PortIngress of a link takes the partner's tunnels, from the gateway.
	PortIngress = 8444
	// PortHealth answers probes.
	PortHealth = 8081
	// PortMetrics of heddle-link answers Prometheus.
	PortMetrics = 8082
	// portEndpoint and the numbers after it lead, within the pod, to endpoints of a partner that are given by name.
	portEndpoint = 8090
	// maxFallbacks is one less than the addresses that a site may have.
	maxFallbacks = 3
	// PortNotes is where heddle-link, on this pod's own address, hears of connections that ended.
	PortNotes = 8083
)

// Route leads a name of SNI to an address, host:port. A host that is no IP address is looked up again as its TTL says.
type Route struct {
	SNI, To string
}

// Gateway is a site's public port.
type Gateway struct {
	// Resolvers are the addresses of the cluster's DNS.
	Resolvers []string
	// Routes by outer SNI.
	Routes []Route
	// MaxConnections from one address at a time; 0 stands for 1024. Where all callers seem to have the same address, it is
	// what all of them have together.
	MaxConnections int
}

// WorkerConnections is how many connections nginx has room for, two for each that it passes on.
func (Gateway) WorkerConnections() int { return 16384 }

// Files that nginx may have open.
func (g Gateway) Files() int { return 2 * g.WorkerConnections() }

// Link joins one network of this site to one partner.
type Link struct {
	// Resolvers are the addresses of the cluster's DNS.
	Resolvers []string
	// Exports are this site's nodes that the partner may reach, by inner SNI.
	Exports []Route
	// Partner is the public address of the partner's gateway, host:port, and Name the outer SNI of this link there, which
	// the partner's certificate has to bear. Both empty: nothing is imported.
	Partner, Name string
	// Fallbacks are further addresses of the partner's gateway, for when the one before does not answer.
	Fallbacks []string
	// MaxConnections of the partner at a time; 0 stands for 512.
	MaxConnections int
}

// Endpoint is one of several addresses of a partner.
type Endpoint struct {
	// To is the address, and Way what nginx's list has for it.
	To, Way string
	// Number of one that is given by name; 0: it is not.
	Number int
}

// Endpoints are the addresses of the partner, where there are several. nginx looks up the names in a list once, and does
// not start with one that it cannot find: a name goes a way of its own, on which it is looked up again as its TTL says.
func (l Link) Endpoints() []Endpoint {
	var out []Endpoint
	for i, to := range append([]string{l.Partner}, l.Fallbacks...) {
		e := Endpoint{To: to, Way: to}
		if _, err := netip.ParseAddrPort(to); err != nil {
			e.Number = i + 1
			e.Way = net.JoinHostPort("127.0.0.1", strconv.Itoa(portEndpoint+e.Number))
		}
		out = append(out, e)
	}
	return out
}

// WorkerConnections is how many connections nginx has room for, two for each that it passes on, or four.
func (Link) WorkerConnections() int { return 8192 }

// Files that nginx may have open.
func (l Link) Files() int { return 2 * l.WorkerConnections() }

// Files of a link's pod, as the templates name them.
const (
	// KeyFolder holds this site's certificate for the link, tls.crt and tls.key, and partner-ca.crt and partner-crl.pem.
	KeyFolder = "/etc/heddle/link"
	// ConfigFolder holds nginx.conf.
	ConfigFolder = "/etc/nginx"
	// ConfigFile is its name.
	ConfigFile = "nginx.conf"
	// PIDFile holds the number of nginx's master.
	PIDFile = "/tmp/nginx.pid"
)

//go:embed templates/*.conf
var files embed.FS

// Render writes the gateway's configuration.
func (g Gateway) Render() (string, error) {
	if err := check(g.Resolvers, g.Routes); err != nil {
		return "", fmt.Errorf("render gateway: %w", err)
	}
	g.Routes = sorted(g.Routes)
	if g.MaxConnections == 0 {
		g.MaxConnections = 1024
	}
	return render("gateway.conf", g)
}

// Render writes the link's configuration.
func (l Link) Render() (string, error) {
	routes := slices.Clone(l.Exports)
	if l.Partner != "" || l.Name != "" {
		routes = append(routes, Route{SNI: l.Name, To: l.Partner})
	}
	if err := check(l.Resolvers, routes); err != nil {
		return "", fmt.Errorf("render link: %w", err)
	}
	for _, a := range l.Fallbacks {
		if err := checkAddress(a); err != nil {
			return "", fmt.Errorf("render link: %w", err)
		}
	}
	if len(l.Fallbacks) > maxFallbacks {
		return "", fmt.Errorf("render link: a partner with %d addresses", len(l.Fallbacks)+1)
	}
	l.Exports = sorted(l.Exports)
	if l.MaxConnections == 0 {
		l.MaxConnections = 512
	}
	return render("link.conf", l)
}

func render(file string, data any) (string, error) {
	functions := template.FuncMap{
		"port": func() map[string]int {
			return map[string]int{"public": PortPublic, "egress": PortEgress, "ingress": PortIngress, "health": PortHealth, "notes": PortNotes}
		},
		"folder": func() string { return KeyFolder },
		"join":   strings.Join,
	}
	t, err := template.New(file).Funcs(functions).ParseFS(files, "templates/"+file, "templates/stream.conf")
	if err != nil {
		return "", fmt.Errorf("parse template: %w", err)
	}
	var out strings.Builder
	if err := t.Execute(&out, data); err != nil {
		return "", fmt.Errorf("fill template: %w", err)
	}
	return out.String(), nil
}

// name is a DNS name in lower case: what comes out of objects and messages of partners goes into a configuration file.
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

func check(resolvers []string, routes []Route) error {
	if len(resolvers) == 0 {
		return fmt.Errorf("no address of a DNS server is known")
	}
	for _, r := range resolvers {
		if _, err := netip.ParseAddr(r); err != nil {
			return fmt.Errorf("DNS server: %w", err)
		}
	}
	seen := map[string]bool{}
	for _, r := range routes {
		if !name.MatchString(r.SNI) || len(r.SNI) > 253 {
			return fmt.Errorf("%q is no name", r.SNI)
		}
		if seen[r.SNI] {
			return fmt.Errorf("name %q leads to two addresses", r.SNI)
		}
		seen[r.SNI] = true
		if err := checkAddress(r.To); err != nil {
			return err
		}
	}
	return nil
}

func checkAddress(address string) error {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return fmt.Errorf("address %q has no port", address)
	}
	host, port := address[:i], address[i+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q has no port between 1 and 65535", address)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]")); err != nil || !a.Is6() || a.Zone() != "" {
			return fmt.Errorf("address %q is none of IPv6", address)
		}
		return nil
	}
	if !name.MatchString(host) || len(host) > 253 {
		return fmt.Errorf("address %q has no usable host", address)
	}
	return nil
}

func sorted(routes []Route) []Route {
	return slices.SortedFunc(slices.Values(routes), func(a, b Route) int { return strings.Compare(a.SNI, b.SNI) })
}
