package image

import (
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Repositories of the images that make images provides. Fabric's carry the full
// form of the name that a node's settings use, so that a kubelet finds them.
const (
	OperatorRepository  = "heddle.dev/heddle-operator"
	BuilderRepository   = "heddle.dev/heddle-builder"
	RegistryRepository  = "heddle.dev/heddle-registry"
	AssetRepository     = "heddle.dev/asset-go"
	TestboxRepository   = "heddle.dev/testbox"
	NginxRepository     = "heddle.dev/heddle-nginx"
	BuildGoRepository   = "heddle.dev/heddle-build-go"
	BuildNodeRepository = "heddle.dev/heddle-build-node"
	PeerRepository      = "docker.io/hyperledger/fabric-peer"
	OrdererRepository   = "docker.io/hyperledger/fabric-orderer"
	CARepository        = "docker.io/hyperledger/fabric-ca"
	CouchDBRepository   = "docker.io/library/couchdb"
)

// FullRef writes a short image name out as container runtimes do:
// "fabric-peer" becomes "docker.io/library/fabric-peer:latest". What is no image
// name comes back as it is.
func FullRef(ref string) string {
	parsed, err := name.ParseReference(ref, name.WeakValidation)
	if err != nil {
		return ref
	}
	if rest, ok := strings.CutPrefix(parsed.Name(), name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest
	}
	return parsed.Name()
}
