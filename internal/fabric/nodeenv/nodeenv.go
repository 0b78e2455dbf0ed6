package nodeenv

import "strings"

// Var is one environment variable.
type Var struct {
	Name, Value string
}

// Strings renders variables as os/exec takes them.
func Strings(vars []Var) []string {
	out := make([]string, 0, len(vars))
	for _, v := range vars {
		out = append(out, v.Name+"="+v.Value)
	}
	return out
}

// TLS says where a node finds its TLS files.
type TLS struct {
	// Cert is the certificate, followed by its intermediates.
	Cert string
	// Key is the private key, PKCS#8.
	Key string
	// Roots are the authorities that the node trusts: its organisation's TLS
	// roots and intermediates, in one file.
	Roots string
}

// Log says what a node writes. Empty means level info and Fabric's own format.
type Log struct {
	// Spec is a FABRIC_LOGGING_SPEC such as "info" or "warn:gossip=debug".
	Spec string
	// Format is "json" or empty for text.
	Format string
}

// The two numbers behind "too_many_pings": a Fabric client pings a quiet
// connection every 60 s and a Fabric server takes no offence from 60 s on, so
// that the clocks' jitter decides. A server that allows 30 s ends that.
const (
	keepaliveMin  = "30s"
	gatewayLimit  = "2500"
	gossipBeat    = "1s"
	gossipExpiry  = "10s"
	callTimeout   = "8s"
	reconnectCeil = "5s"
	// forwardTimeout is above an election on lan timing.
	forwardTimeout = "2s"
)

func (l Log) vars() []Var {
	spec := l.Spec
	if spec == "" {
		spec = "info"
	}
	vars := []Var{{"FABRIC_LOGGING_SPEC", spec}}
	if l.Format != "" {
		vars = append(vars, Var{"FABRIC_LOGGING_FORMAT", l.Format})
	}
	return vars
}

// list renders a list in the form that an orderer's environment takes.
func list(items ...string) string { return "[" + strings.Join(items, ",") + "]" }
