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
	// Spec is a FABRIC_LOGGING_SPEC such as "info" or "warn:gossip=debug"; info without a line for every call if empty.
	Spec string
	// Format is "json" or empty for text.
	Format string
}

// A gateway pings its quiet connections to other nodes every 10 s, the least
// that gRPC allows, and everything else in Fabric every 60 s; a Fabric server
// takes offence at anything under 60 s ("too_many_pings") and hangs up, so that
// the next transaction pays for a new connection. 5 s is below all of them.
const (
	keepaliveMin = "5s"
	gatewayLimit = "2500"
	gossipBeat   = "1s"
	gossipExpiry = "10s"
	// gossipDial is what a peer loses when it joins a channel: its first dial of
	// an anchor peer always fails, since it does not trust the channel's other
	// organisations yet, and takes the whole time-out to do so.
	gossipDial    = "1s"
	callTimeout   = "8s"
	reconnectCeil = "5s"
	// silentAfter is the least that gRPC allows between pings.
	silentAfter = "10s"
	silentFor   = "5s"
	// dialTimeout is above four round trips between far sites.
	dialTimeout = "2s"
	// forwardTimeout is above an election on lan timing.
	forwardTimeout = "2s"
	// defaultLog is Fabric's without a line for every call, every transaction and
	// every state of a connection: carrying what pods write takes the container
	// runtime much processor time. An orderer warns each time that a peer's gateway
	// ends its stream, as it does after every transaction; why an orderer refuses
	// one, the gateway tells the client.
	defaultLog = "info:grpc=warn:comm.grpc.server=warn:endorser=warn:gateway=warn:orderer.common.broadcast=error"
)

func (l Log) vars() []Var {
	spec := l.Spec
	if spec == "" {
		spec = defaultLog
	}
	vars := []Var{{"FABRIC_LOGGING_SPEC", spec}}
	if l.Format != "" {
		vars = append(vars, Var{"FABRIC_LOGGING_FORMAT", l.Format})
	}
	return vars
}

// list renders a list in the form that an orderer's environment takes.
func list(items ...string) string { return "[" + strings.Join(items, ",") + "]" }
