// Package specs turns the objects of api/v1alpha1 into the Kubernetes objects
// that bring them about: pure functions without client, clock or chance, each
// with golden files. It also owns every name: of objects, of the keys in
// Secrets and ConfigMaps, of addresses. Controllers (the room above) decide
// when an object is applied; nothing here decides anything.
package specs

import (
	"fmt"
	"strconv"
)

// The operator's own home and the names of its rights.
const (
	// SystemNamespace is where the operator runs unless it is told otherwise.
	SystemNamespace = "heddle-system"
	// OperatorName is the operator's Deployment and ServiceAccount.
	OperatorName = "heddle-operator"
	// ClusterRoleNetwork is what the operator may do in a network's namespace, Secrets included.
	ClusterRoleNetwork = "heddle-operator-network"
	// ClusterRoleClient is what the operator may do in a namespace of clients: keep the Secrets of Identities.
	ClusterRoleClient = "heddle-operator-client"
	// ClusterRolePeer is what a peer may do in its network's namespace: launch contracts.
	ClusterRolePeer = "heddle-peer"
	// RoleBindingOperator binds ClusterRoleNetwork in a network's namespace.
	RoleBindingOperator = "heddle-operator"
)

// Keys of the Secrets.
const (
	// KeySignCert and the next three are the keys of an issuer's Secret. A certificate is followed by its parents,
	// without the root.
	KeySignCert = "sign-ca.crt"
	KeySignKey  = "sign-ca.key"
	KeyTLSCert  = "tls-ca.crt"
	KeyTLSKey   = "tls-ca.key"

	// KeyCert and KeyKey are enrolment certificate and key of a node or an administrator.
	KeyCert = "cert.pem"
	KeyKey  = "key.pem"
	// KeyNodeTLSCert (with its intermediates), KeyNodeTLSKey and KeyNodeTLSRoots are a node's TLS material.
	KeyNodeTLSCert  = "tls.crt"
	KeyNodeTLSKey   = "tls.key"
	KeyNodeTLSRoots = "ca.crt"

	// KeyUsername and KeyPassword are the registrar's of fabric-ca, and those that a peer has for its CouchDB.
	KeyUsername = "username"
	KeyPassword = "password"
)

// Keys of an organization's ConfigMap of public material.
const (
	KeyMSPID            = "mspID"
	KeyCACerts          = "cacerts.pem"
	KeyIntermediates    = "intermediatecerts.pem"
	KeyTLSCACerts       = "tlscacerts.pem"
	KeyTLSIntermediates = "tlsintermediatecerts.pem"
	KeyCRLs             = "crls.pem"
	KeyNodeOUs          = "config.yaml"
	// KeyTLSRoots is the bundle that verifies the TLS certificates of the organization's nodes.
	KeyTLSRoots = "tlsca.pem"
	// KeyCAChain is the chain of the application CA, from its own certificate to the root.
	KeyCAChain = "ca-chain.pem"
)

// AnnotationRan on a node's volume is the newest version that ran on it: an older line must not.
const AnnotationRan = "heddle.dev/ran-version"

// KeyGenesisBlock is the key of a channel's genesis block in its ConfigMap.
const KeyGenesisBlock = "block"

// RootSecret names the Secret with an organization's roots.
func RootSecret(organization string) string { return organization + "-root" }

// OpsSecret names the Secret with the intermediates that the operator issues from.
func OpsSecret(organization string) string { return organization + "-ops" }

// AppSecret names the Secret with the intermediates that fabric-ca issues from.
func AppSecret(organization string) string { return organization + "-app" }

// AdminSecret names the Secret with an organization's administrator.
func AdminSecret(organization string) string { return organization + "-admin" }

// CAAdminSecret names the Secret with the registrar of an organization's fabric-ca.
func CAAdminSecret(organization string) string { return organization + "-ca-admin" }

// CATLSSecret names the Secret with the TLS certificate of an organization's fabric-ca.
func CATLSSecret(organization string) string { return organization + "-ca-tls" }

// MSPConfigMap names the ConfigMap with an organization's public MSP material.
func MSPConfigMap(organization string) string { return organization + "-msp" }

// CouchDBName names volume, Secret and settings of a peer's CouchDB.
func CouchDBName(peer string) string { return peer + "-couchdb" }

// CAName names Deployment, Service and volume of an organization's fabric-ca.
func CAName(organization string) string { return "ca-" + organization }

// GenesisConfigMap names the ConfigMap with the genesis block of a Channel object.
func GenesisConfigMap(channel string) string { return channel + "-genesis" }

// ChaincodeName names Deployment and Service of a Chaincode object.
func ChaincodeName(chaincode string) string { return "cc-" + chaincode }

// ChaincodeTLSSecretName names the Secret with the certificate of a Chaincode object that runs as a service.
func ChaincodeTLSSecretName(chaincode string) string { return ChaincodeName(chaincode) + "-tls" }

// OrdererName names an orderer that a Network makes.
func OrdererName(organization string, index int) string {
	return nodeName("orderer", organization, index)
}

// PeerName names a peer that a Network makes.
func PeerName(organization string, index int) string { return nodeName("peer", organization, index) }

func nodeName(kind, organization string, index int) string {
	return kind + strconv.Itoa(index) + "-" + organization
}

// Host is a node's name from anywhere: in channel configurations, in certificates and for clients.
func Host(node, network string) string { return node + "." + network }

// Address is where a node is reached, from everywhere.
func Address(node, network string, port int32) string {
	return fmt.Sprintf("%s.%s:%d", node, network, port)
}

// PeerServiceAccountName names a peer's ServiceAccount and its RoleBinding. config/admission/peer-fence.yaml knows peers
// by the prefix.
func PeerServiceAccountName(peer string) string { return "heddle-peer-" + peer }

// OrderersPDB is the disruption budget of the network's ordering service.
const OrderersPDB = "orderers"

// PeersPDB names the disruption budget of an organization's peers.
func PeersPDB(organization string) string { return "peers-" + organization }

// ClientRoleBinding names the RoleBinding in a namespace of clients that lets the operator keep Identities there.
func ClientRoleBinding(network string) string { return OperatorName + "-" + network }

func port(p int32) string { return strconv.Itoa(int(p)) }

func listen(p int32) string { return "0.0.0.0:" + port(p) }
