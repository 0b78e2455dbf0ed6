package msp

import (
	"errors"
	"fmt"

	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// typeFabric is the MSP type of X.509 organisations.
const typeFabric = 0

// Material is what the world needs to know of an organisation to check its
// identities. Every entry is one PEM block. It holds no private key.
type Material struct {
	// CACerts are the signing roots; at least one.
	CACerts [][]byte
	// IntermediateCerts are the signing intermediates.
	IntermediateCerts [][]byte
	// TLSCACerts are the TLS roots.
	TLSCACerts [][]byte
	// TLSIntermediates are the TLS intermediates.
	TLSIntermediates [][]byte
	// Admins are administrators by certificate; not needed with node OUs.
	Admins [][]byte
	// CRLs are the revocation lists, one for each issuer.
	CRLs [][]byte
	// NodeOUs tell roles apart by organisational unit.
	NodeOUs NodeOUs
}

// NodeOUs is the role classification of an MSP.
type NodeOUs struct {
	// Enable switches it on.
	Enable bool
	// Client, Peer, Admin and Orderer are the four roles.
	Client, Peer, Admin, Orderer OU
}

// OU is an organisational unit that stands for a role.
type OU struct {
	// Identifier is the unit's name in certificates.
	Identifier string
	// Certificate, in PEM, restricts the role to leaves of that authority.
	// Empty means any authority of the MSP.
	Certificate []byte
}

// DefaultNodeOUs classifies leaves of every authority by the unit alone. With
// two intermediates a pinned authority would reject half of the leaves, and
// would make a change of intermediates a flag day.
func DefaultNodeOUs() NodeOUs {
	return NodeOUs{
		Enable: true,
		Client: OU{Identifier: "client"}, Peer: OU{Identifier: "peer"},
		Admin: OU{Identifier: "admin"}, Orderer: OU{Identifier: "orderer"},
	}
}

// TLSRoots are all TLS authorities, roots first: what a client has to trust to
// reach any node of the organisation, whether or not nodes present a chain.
func (m Material) TLSRoots() [][]byte {
	return append(append([][]byte{}, m.TLSCACerts...), m.TLSIntermediates...)
}

// Config is the MSP message of a channel configuration.
func (m Material) Config(mspID string) (*mspproto.MSPConfig, error) {
	if mspID == "" {
		return nil, errors.New("build MSP config: the MSP id is empty")
	}
	if len(m.CACerts) == 0 {
		return nil, fmt.Errorf("build MSP config of %q: there is no root certificate", mspID)
	}
	fabric := &mspproto.FabricMSPConfig{
		Name:                 mspID,
		RootCerts:            m.CACerts,
		IntermediateCerts:    m.IntermediateCerts,
		TlsRootCerts:         m.TLSCACerts,
		TlsIntermediateCerts: m.TLSIntermediates,
		Admins:               m.Admins,
		RevocationList:       m.CRLs,
		CryptoConfig: &mspproto.FabricCryptoConfig{
			SignatureHashFamily:            "SHA2",
			IdentityIdentifierHashFunction: "SHA256",
		},
	}
	if m.NodeOUs.Enable {
		fabric.FabricNodeOus = &mspproto.FabricNodeOUs{
			Enable:             true,
			ClientOuIdentifier: m.NodeOUs.Client.message(), PeerOuIdentifier: m.NodeOUs.Peer.message(),
			AdminOuIdentifier: m.NodeOUs.Admin.message(), OrdererOuIdentifier: m.NodeOUs.Orderer.message(),
		}
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(fabric)
	if err != nil {
		return nil, fmt.Errorf("encode MSP config of %q: %w", mspID, err)
	}
	return &mspproto.MSPConfig{Type: typeFabric, Config: raw}, nil
}

// FromConfig reads the MSP message of a channel configuration.
func FromConfig(config *mspproto.MSPConfig) (mspID string, material Material, err error) {
	if config.GetType() != typeFabric {
		return "", Material{}, fmt.Errorf("read MSP config: type %d is not an X.509 MSP", config.GetType())
	}
	var fabric mspproto.FabricMSPConfig
	if err := proto.Unmarshal(config.GetConfig(), &fabric); err != nil {
		return "", Material{}, fmt.Errorf("read MSP config: %w", err)
	}
	units := fabric.GetFabricNodeOus()
	material = Material{
		CACerts:           fabric.GetRootCerts(),
		IntermediateCerts: fabric.GetIntermediateCerts(),
		TLSCACerts:        fabric.GetTlsRootCerts(),
		TLSIntermediates:  fabric.GetTlsIntermediateCerts(),
		Admins:            fabric.GetAdmins(),
		CRLs:              fabric.GetRevocationList(),
	}
	if units.GetEnable() {
		material.NodeOUs = NodeOUs{
			Enable: true,
			Client: fromMessage(units.GetClientOuIdentifier()), Peer: fromMessage(units.GetPeerOuIdentifier()),
			Admin: fromMessage(units.GetAdminOuIdentifier()), Orderer: fromMessage(units.GetOrdererOuIdentifier()),
		}
	}
	return fabric.GetName(), material, nil
}

func (u OU) message() *mspproto.FabricOUIdentifier {
	if u.Identifier == "" {
		return nil
	}
	return &mspproto.FabricOUIdentifier{OrganizationalUnitIdentifier: u.Identifier, Certificate: u.Certificate}
}

func fromMessage(unit *mspproto.FabricOUIdentifier) OU {
	return OU{Identifier: unit.GetOrganizationalUnitIdentifier(), Certificate: unit.GetCertificate()}
}
