package nodeenv

import (
	"fmt"
	"strings"
)

// PeerConfig is what distinguishes one peer from another.
type PeerConfig struct {
	// ID names the peer in its logs.
	ID string
	// MSPID of its organisation.
	MSPID string
	// Address is where others reach it, host:port.
	Address string
	// Listen, ChaincodeListen and OperationsListen are what it binds.
	Listen, ChaincodeListen, OperationsListen string
	// ChaincodeAddress is where contracts that it launched reach it.
	ChaincodeAddress string
	// Bootstrap are peers of its own organisation, host:port. Empty means
	// itself.
	Bootstrap []string
	// ConfigPath is the folder of the release's core.yaml.
	ConfigPath string
	// MSPPath is the folder of its local MSP.
	MSPPath string
	// DataPath is the folder of its ledgers.
	DataPath string
	// TLS files.
	TLS TLS
	// Builders launch contracts. They replace the ones of core.yaml.
	Builders []Builder
	// CouchDB as state database; nil means LevelDB.
	CouchDB *CouchDB
	// Log settings.
	Log Log
}

// Builder is an external builder.
type Builder struct {
	// Name in logs.
	Name string
	// Path of the folder above bin/.
	Path string
	// Propagate are the variables it is given; all others are withheld.
	Propagate []string
}

// CouchDB says where the state database is. What the peer signs in with is not
// here: set CouchDBUsername and CouchDBPassword from a Secret.
type CouchDB struct {
	// Address is host:port.
	Address string
}

// CouchDBUsername and CouchDBPassword are the variables that hold what the peer
// signs in to the state database with.
const (
	CouchDBUsername = "CORE_LEDGER_STATE_COUCHDBCONFIG_USERNAME"
	CouchDBPassword = "CORE_LEDGER_STATE_COUCHDBCONFIG_PASSWORD" //nolint:gosec // the name of a variable
)

// couchDBRetries is how often a request to the state database is tried again,
// each time after twice the wait: 4 s in all. A peer that cannot commit ends
// itself, and CouchDB takes a second or two to start again.
const couchDBRetries = "5"

// Peer renders a peer's environment, in a fixed order.
func Peer(c PeerConfig) []Var {
	bootstrap := c.Bootstrap
	if len(bootstrap) == 0 {
		bootstrap = []string{c.Address}
	}
	vars := []Var{{"FABRIC_CFG_PATH", c.ConfigPath}}
	vars = append(vars, c.Log.vars()...)
	vars = append(vars,
		Var{"CORE_PEER_ID", c.ID},
		Var{"CORE_PEER_LOCALMSPID", c.MSPID},
		Var{"CORE_PEER_MSPCONFIGPATH", c.MSPPath},
		Var{"CORE_PEER_FILESYSTEMPATH", c.DataPath},
		Var{"CORE_LEDGER_SNAPSHOTS_ROOTDIR", c.DataPath + "/snapshots"},
		Var{"CORE_PEER_ADDRESS", c.Address},
		Var{"CORE_PEER_LISTENADDRESS", c.Listen},
		Var{"CORE_PEER_CHAINCODEADDRESS", c.ChaincodeAddress},
		Var{"CORE_PEER_CHAINCODELISTENADDRESS", c.ChaincodeListen},
		Var{"CORE_OPERATIONS_LISTENADDRESS", c.OperationsListen},
		Var{"CORE_METRICS_PROVIDER", "prometheus"},
		Var{"CORE_PEER_TLS_ENABLED", "true"},
		Var{"CORE_PEER_TLS_CERT_FILE", c.TLS.Cert},
		Var{"CORE_PEER_TLS_KEY_FILE", c.TLS.Key},
		Var{"CORE_PEER_TLS_ROOTCERT_FILE", c.TLS.Roots},
		Var{"CORE_PEER_GOSSIP_BOOTSTRAP", strings.Join(bootstrap, " ")},
		Var{"CORE_PEER_GOSSIP_EXTERNALENDPOINT", c.Address},
	)
	vars = append(vars, peerTuning()...)
	vars = append(vars, c.contracts()...)
	return append(vars, c.state()...)
}

// peerTuning is the same for every peer: members find one another again within
// seconds, calls fail within seconds when a node is gone, and every peer pulls
// its blocks from the orderers.
func peerTuning() []Var {
	return []Var{
		{"CORE_PEER_GOSSIP_USELEADERELECTION", "false"},
		{"CORE_PEER_GOSSIP_ORGLEADER", "true"},
		{"CORE_PEER_GOSSIP_STATE_ENABLED", "false"},
		{"CORE_PEER_GOSSIP_RECONNECTINTERVAL", gossipBeat},
		{"CORE_PEER_GOSSIP_DIALTIMEOUT", gossipDial},
		{"CORE_PEER_GOSSIP_ALIVETIMEINTERVAL", gossipBeat},
		{"CORE_PEER_GOSSIP_ALIVEEXPIRATIONTIMEOUT", gossipExpiry},
		{"CORE_PEER_GOSSIP_PUBLISHSTATEINFOINTERVAL", gossipBeat},
		{"CORE_PEER_GOSSIP_REQUESTSTATEINFOINTERVAL", gossipBeat},
		{"CORE_PEER_GOSSIP_PULLINTERVAL", gossipBeat},
		{"CORE_PEER_DELIVERYCLIENT_RECONNECTBACKOFFTHRESHOLD", reconnectCeil},
		// An orderer that is silent, or keeps BFT blocks back: 80 s and 30 s unless told.
		{"CORE_PEER_KEEPALIVE_DELIVERYCLIENT_INTERVAL", silentAfter},
		{"CORE_PEER_KEEPALIVE_DELIVERYCLIENT_TIMEOUT", silentFor},
		{"CORE_PEER_DELIVERYCLIENT_BLOCKCENSORSHIPTIMEOUTKEY", callTimeout},
		{"CORE_PEER_GATEWAY_ENDORSEMENTTIMEOUT", callTimeout},
		{"CORE_PEER_GATEWAY_BROADCASTTIMEOUT", callTimeout},
		{"CORE_PEER_GATEWAY_DIALTIMEOUT", callTimeout},
		{"CORE_PEER_LIMITS_CONCURRENCY_GATEWAYSERVICE", gatewayLimit},
		{"CORE_PEER_LIMITS_CONCURRENCY_ENDORSERSERVICE", gatewayLimit},
		{"CORE_PEER_LIMITS_CONCURRENCY_DELIVERSERVICE", gatewayLimit},
		{"CORE_PEER_KEEPALIVE_MININTERVAL", keepaliveMin},
	}
}

func (c PeerConfig) contracts() []Var {
	vars := []Var{
		// Present and empty: without it the peer looks for a Docker socket, and
		// its health check never passes.
		{"CORE_VM_ENDPOINT", ""},
		{"CORE_CHAINCODE_STARTUPTIMEOUT", "60s"},
	}
	if len(c.Builders) == 0 {
		return vars
	}
	builders := make([]string, 0, len(c.Builders))
	for _, b := range c.Builders {
		builders = append(builders, fmt.Sprintf("{name: %s, path: %s, propagateEnvironment: [%s]}",
			b.Name, b.Path, strings.Join(b.Propagate, ", ")))
	}
	return append(vars, Var{"CORE_CHAINCODE_EXTERNALBUILDERS", "[" + strings.Join(builders, ", ") + "]"})
}

func (c PeerConfig) state() []Var {
	if c.CouchDB == nil {
		return []Var{{"CORE_LEDGER_STATE_STATEDATABASE", "goleveldb"}}
	}
	return []Var{
		{"CORE_LEDGER_STATE_STATEDATABASE", "CouchDB"},
		{"CORE_LEDGER_STATE_COUCHDBCONFIG_COUCHDBADDRESS", c.CouchDB.Address},
		{"CORE_LEDGER_STATE_COUCHDBCONFIG_MAXRETRIES", couchDBRetries},
	}
}
