package launch

// Environment of heddle-builder, set on the peer's container and passed on by the peer.
const (
	// EnvAPI is the folder with token and ca.crt for the API server.
	EnvAPI = "HEDDLE_API"
	// EnvNode, EnvNetwork and EnvNetworkID say which peer this is.
	EnvNode      = "HEDDLE_NODE"
	EnvNetwork   = "HEDDLE_NETWORK"
	EnvNetworkID = "HEDDLE_NETWORK_ID"
	// EnvPodName, EnvPodUID and EnvPodIP are the peer's own pod.
	EnvPodName = "HEDDLE_POD_NAME"
	EnvPodUID  = "HEDDLE_POD_UID"
	EnvPodIP   = "HEDDLE_POD_IP"
	// EnvTLSCert and EnvTLSKey are the files of the peer's own TLS pair, which it shows to contracts that run as services.
	EnvTLSCert = "CORE_PEER_TLS_CERT_FILE"
	EnvTLSKey  = "CORE_PEER_TLS_KEY_FILE"
)

// Propagated are the variables that heddle-builder needs and a peer withholds unless told.
func Propagated() []string {
	return []string{
		"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
		EnvAPI, EnvNode, EnvNetwork, EnvNetworkID, EnvPodName, EnvPodUID, EnvPodIP, EnvTLSCert, EnvTLSKey,
	}
}

// LogMark stands before the lines of contracts in a peer's log, followed by the label of the package and a blank.
const LogMark = "contract: "
