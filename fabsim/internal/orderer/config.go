package orderer

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"heddle.dev/heddle/fabsim/internal/node"
)

// defaultSuspicion is much shorter than Fabric's ten minutes: nobody who tries
// things out waits that long.
const defaultSuspicion = 20 * time.Second

// config is every setting that the simulated orderer heeds.
type config struct {
	server     node.ServerOptions
	serverTLS  node.TLSFiles
	mspDir     string
	mspID      string
	ledger     string
	walDir     string
	snapDir    string
	admin      string
	adminTLS   node.TLSFiles
	ops        node.OperationsOptions
	opsTLS     node.TLSFiles
	disabled   bool
	maxBody    int64
	timeWindow time.Duration
	skipExpiry bool
	rpcTimeout time.Duration
	tick       time.Duration
	suspicion  time.Duration
	clientCert string
	clientKey  string
	rootFiles  []string
}

func readConfig(environ []string) (*config, error) {
	c, err := node.LoadConfig(node.ConfigOptions{Name: "orderer", Environ: environ})
	if err != nil {
		return nil, err
	}
	out := &config{
		server: node.ServerOptions{
			Address:     fmt.Sprintf("%s:%d", c.String("General.ListenAddress", "127.0.0.1"), c.Int("General.ListenPort", 7050)),
			MinInterval: c.Duration("General.Keepalive.ServerMinInterval", 0),
			Interval:    c.Duration("General.Keepalive.ServerInterval", 0),
			Timeout:     c.Duration("General.Keepalive.ServerTimeout", 0),
			MaxRecv:     messageSize(c, "General.MaxRecvMsgSize"),
			MaxSend:     messageSize(c, "General.MaxSendMsgSize"),
		},
		serverTLS:  tlsFiles(c, "General.TLS"),
		mspDir:     c.Path("General.LocalMSPDir", "msp"),
		mspID:      c.String("General.LocalMSPID", ""),
		ledger:     c.Path("FileLedger.Location", "/var/hyperledger/production/orderer"),
		walDir:     c.Path("Consensus.WALDir", "/var/hyperledger/production/orderer/etcdraft/wal"),
		snapDir:    c.Path("Consensus.SnapDir", "/var/hyperledger/production/orderer/etcdraft/snapshot"),
		admin:      c.String("Admin.ListenAddress", "127.0.0.1:9443"),
		adminTLS:   tlsFiles(c, "Admin.TLS"),
		ops:        node.OperationsOptions{Address: c.String("Operations.ListenAddress", "127.0.0.1:8443"), Kind: "orderer"},
		opsTLS:     tlsFiles(c, "Operations.TLS"),
		disabled:   !c.Bool("ChannelParticipation.Enabled", true),
		maxBody:    c.Size("ChannelParticipation.MaxRequestBodySize", 1<<20),
		timeWindow: c.Duration("General.Authentication.TimeWindow", 0),
		skipExpiry: c.Bool("General.Authentication.NoExpirationChecks", false),
		rpcTimeout: c.Duration("General.Cluster.RPCTimeout", 7*time.Second),
		tick:       c.Duration("Consensus.TickIntervalOverride", 0),
		suspicion:  c.Duration("Consensus.EvictionSuspicion", defaultSuspicion),
		clientCert: c.Path("General.Cluster.ClientCertificate", ""),
		clientKey:  c.Path("General.Cluster.ClientPrivateKey", ""),
		rootFiles:  c.Paths("General.Cluster.RootCAs"),
	}
	out.ops.Metrics = c.String("Metrics.Provider", "disabled") == "prometheus"
	out.check(c)
	return out, c.Err()
}

func messageSize(c *node.Config, key string) int {
	size := c.Size(key, node.MaxMessageSize)
	if size > math.MaxInt32 {
		c.Reject(key, fmt.Errorf("%d is more than a message can have", size))
	}
	return int(size)
}

// check refuses what this orderer cannot do.
func (o *config) check(c *node.Config) {
	if method := c.String("General.BootstrapMethod", "none"); method != "none" {
		c.Reject("General.BootstrapMethod", fmt.Errorf("%q is not supported, only none is: there is no system channel", method))
	}
	if !o.serverTLS.Enabled {
		c.Reject("General.TLS.Enabled", errors.New("TLS is required for running ordering nodes of cluster type"))
	}
	for _, key := range []string{"ListenAddress", "ListenPort", "ServerCertificate", "ServerPrivateKey"} {
		if value := c.String("General.Cluster."+key, ""); value != "" && value != "0" {
			c.Reject("General.Cluster."+key, errors.New("a listener of its own for the cluster is not supported by a simulated orderer"))
		}
	}
	if provider := c.String("BCCSP.Default", c.String("General.BCCSP.Default", "SW")); provider != "SW" {
		c.Reject("General.BCCSP.Default", fmt.Errorf("%q is not supported by a simulated orderer, only SW is", provider))
	}
	if o.mspID == "" {
		c.Reject("General.LocalMSPID", errors.New("it is not set"))
	}
	if o.clientCert == "" && o.clientKey == "" {
		o.clientCert, o.clientKey = o.serverTLS.Certificate, o.serverTLS.Key
	}
}

func tlsFiles(c *node.Config, key string) node.TLSFiles {
	return node.TLSFiles{
		Enabled: c.Bool(key+".Enabled", false), Certificate: c.Path(key+".Certificate", ""), Key: c.Path(key+".PrivateKey", ""),
		ClientRoots: c.Paths(key + ".ClientRootCAs"), RequireClientCert: c.Bool(key+".ClientAuthRequired", false),
	}
}

// cluster is what the orderer shows to and expects of other orderers.
type clusterFiles struct {
	server []byte // own server certificate (PEM)
	client tls.Certificate
	roots  [][]byte
}

func (o *config) clusterFiles() (*clusterFiles, error) {
	out := &clusterFiles{}
	var err error
	if out.server, err = os.ReadFile(o.serverTLS.Certificate); err != nil {
		return nil, fmt.Errorf("read own TLS certificate: %w", err)
	}
	if out.client, err = tls.LoadX509KeyPair(o.clientCert, o.clientKey); err != nil {
		return nil, fmt.Errorf("read TLS certificate for the cluster: %w", err)
	}
	for _, file := range o.rootFiles {
		root, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read TLS roots of the cluster: %w", err)
		}
		out.roots = append(out.roots, root)
	}
	return out, nil
}
