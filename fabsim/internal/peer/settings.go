package peer

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/runtime"
)

// settings are those of a peer's core.yaml and environment that matter here.
type settings struct {
	mspID, mspDir, dataDir         string
	address, listen, endpoint      string
	chaincodeListen, chaincodeAddr string
	operations                     string
	operationsTLS                  node.TLSFiles
	metrics                        bool
	tls                            node.TLSFiles
	rootFile                       string
	bootstrap                      []string
	keepaliveMin                   time.Duration
	maxRecv, maxSend               int
	reconnectMax                   time.Duration
	timeWindow                     time.Duration

	gateway                            bool
	endorseTimeout, broadcastTimeout   time.Duration
	discovery, orgMembersMayDiscover   bool
	builders                           []runtime.Builder
	startupTimeout, executeTimeout     time.Duration
	maxBatch                           int
	stateDatabase                      string
	couchAddress, couchUser, couchPass string
	couchRetries                       int
	couchTimeout                       time.Duration
	queryLimit, couchBatch             int
	history                            bool
	transientRetention                 int
	reconcileEvery                     time.Duration
	pushTimeout                        time.Duration
	implicitRequired, implicitMax      int
}

func readSettings(c *node.Config) (*settings, error) {
	s := &settings{
		mspID: c.String("peer.localMspId", "SampleOrg"), mspDir: c.Path("peer.mspConfigPath", "msp"),
		dataDir: c.Path("peer.fileSystemPath", "/var/hyperledger/production"),
		address: c.String("peer.address", "0.0.0.0:7051"), listen: c.String("peer.listenAddress", "0.0.0.0:7051"),
		chaincodeListen: c.String("peer.chaincodeListenAddress", ""), chaincodeAddr: c.String("peer.chaincodeAddress", ""),
		operations: c.String("operations.listenAddress", "127.0.0.1:9443"),
		metrics:    c.String("metrics.provider", "disabled") == "prometheus",
		endpoint:   c.String("peer.gossip.externalEndpoint", ""), bootstrap: c.Strings("peer.gossip.bootstrap"),
		keepaliveMin: c.Duration("peer.keepalive.minInterval", time.Minute),
		maxRecv:      int(c.Size("peer.maxRecvMsgSize", node.MaxMessageSize)), maxSend: int(c.Size("peer.maxSendMsgSize", node.MaxMessageSize)),
		reconnectMax: c.Duration("peer.deliveryclient.reconnectBackoffThreshold", time.Hour),
		timeWindow:   c.Duration("peer.authentication.timewindow", 15*time.Minute),
		rootFile:     c.Path("peer.tls.rootcert.file", ""),
	}
	s.tls = node.TLSFiles{
		Enabled: c.Bool("peer.tls.enabled", false), Certificate: c.Path("peer.tls.cert.file", ""), Key: c.Path("peer.tls.key.file", ""),
		ClientRoots: c.Paths("peer.tls.clientRootCAs.files"), RequireClientCert: c.Bool("peer.tls.clientAuthRequired", false),
	}
	s.operationsTLS = node.TLSFiles{
		Enabled: c.Bool("operations.tls.enabled", false), Certificate: c.Path("operations.tls.cert.file", ""), Key: c.Path("operations.tls.key.file", ""),
		ClientRoots: c.Paths("operations.tls.clientRootCAs.files"), RequireClientCert: c.Bool("operations.tls.clientAuthRequired", false),
	}
	// The stock settings name authorities' files that are there only where
	// clients have to show certificates.
	if !s.tls.RequireClientCert {
		s.tls.ClientRoots = nil
	}
	if !s.operationsTLS.RequireClientCert {
		s.operationsTLS.ClientRoots = nil
	}
	s.readServices(c)
	s.readContracts(c)
	s.readLedger(c)
	if s.chaincodeListen == "" {
		s.chaincodeListen = s.listen
	}
	if s.chaincodeAddr == "" {
		s.chaincodeAddr = s.chaincodeListen
	}
	if s.endpoint == "" {
		s.endpoint = s.address
	}
	return s, c.Err()
}

func (s *settings) readServices(c *node.Config) {
	s.gateway = c.Bool("peer.gateway.enabled", true)
	s.endorseTimeout = c.Duration("peer.gateway.endorsementTimeout", 30*time.Second)
	s.broadcastTimeout = c.Duration("peer.gateway.broadcastTimeout", 30*time.Second)
	s.discovery = c.Bool("peer.discovery.enabled", true)
	s.orgMembersMayDiscover = c.Bool("peer.discovery.orgMembersAllowedAccess", false)
}

func (s *settings) readContracts(c *node.Config) {
	c.Decode("chaincode.externalBuilders", &s.builders)
	s.startupTimeout = c.Duration("chaincode.startuptimeout", 5*time.Minute)
	s.executeTimeout = c.Duration("chaincode.executetimeout", 30*time.Second)
	s.maxBatch = c.Int("chaincode.runtimeParams.maxSizeWriteBatch", 1000)
	for _, b := range s.builders {
		if b.Name == "" || b.Path == "" {
			c.Reject("chaincode.externalBuilders", fmt.Errorf("a builder needs a name and a path"))
		}
	}
}

func (s *settings) readLedger(c *node.Config) {
	s.stateDatabase = c.String("ledger.state.stateDatabase", "goleveldb")
	if s.stateDatabase != "goleveldb" && s.stateDatabase != "CouchDB" {
		c.Reject("ledger.state.stateDatabase", fmt.Errorf("%q is neither goleveldb nor CouchDB", s.stateDatabase))
	}
	s.couchAddress = c.String("ledger.state.couchDBConfig.couchDBAddress", "127.0.0.1:5984")
	s.couchUser, s.couchPass = c.String("ledger.state.couchDBConfig.username", ""), c.String("ledger.state.couchDBConfig.password", "")
	s.couchRetries = c.Int("ledger.state.couchDBConfig.maxRetriesOnStartup", 10)
	s.couchTimeout = c.Duration("ledger.state.couchDBConfig.requestTimeout", 35*time.Second)
	s.couchBatch = c.Int("ledger.state.couchDBConfig.internalQueryLimit", 1000)
	s.queryLimit = c.Int("ledger.state.totalQueryLimit", 100000)
	s.history = c.Bool("ledger.history.enableHistoryDatabase", true)
	s.transientRetention = c.Int("peer.gossip.pvtData.transientstoreMaxBlockRetention", 1000)
	s.reconcileEvery = c.Duration("peer.gossip.pvtData.reconcileSleepInterval", time.Minute)
	s.pushTimeout = c.Duration("peer.gossip.pvtData.pushAckTimeout", 3*time.Second)
	s.implicitRequired = c.Int("peer.gossip.pvtData.implicitCollectionDisseminationPolicy.requiredPeerCount", 0)
	s.implicitMax = c.Int("peer.gossip.pvtData.implicitCollectionDisseminationPolicy.maxPeerCount", 1)
}

func (s *settings) dir(parts ...string) string {
	return filepath.Join(append([]string{s.dataDir}, parts...)...)
}

// roots are the authorities (PEM) that other peers' certificates come from,
// beside those of the channels.
func (s *settings) roots() ([][]byte, error) {
	if !s.tls.Enabled || s.rootFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(s.rootFile)
	if err != nil {
		return nil, fmt.Errorf("read TLS roots: %w", err)
	}
	return [][]byte{pem}, nil
}
