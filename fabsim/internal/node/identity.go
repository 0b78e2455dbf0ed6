package node

import (
	"crypto/rand"
	"fmt"

	"github.com/hyperledger/fabric-lib-go/bccsp"
	"github.com/hyperledger/fabric-lib-go/bccsp/factory"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-x-common/msp"
	"google.golang.org/protobuf/proto"
)

const nonceSize = 24

// Identity is who a node is: its local MSP and the key that it signs with.
// It is safe for concurrent use.
type Identity struct {
	// MSP is the organisation as the node's own files describe it.
	MSP msp.MSP
	// MSPID is the MSP's name, Serialized the node's creator bytes.
	MSPID      string
	Serialized []byte

	signer msp.SigningIdentity
}

// LoadIdentity reads a local MSP folder (cacerts, signcerts, keystore,
// config.yaml, …).
func LoadIdentity(dir, mspID string) (*Identity, error) {
	conf, err := msp.GetLocalMspConfig(dir, nil, mspID)
	if err != nil {
		return nil, fmt.Errorf("load local MSP %s: %w", dir, err)
	}
	csp, err := factory.GetBCCSPFromOpts(msp.SetupBCCSPKeystoreConfig(nil, dir+"/keystore"))
	if err != nil {
		return nil, fmt.Errorf("open key store of %s: %w", dir, err)
	}
	local, err := msp.New(&msp.BCCSPNewOpts{NewBaseOpts: msp.NewBaseOpts{Version: msp.MSPv3_0}}, csp)
	if err != nil {
		return nil, fmt.Errorf("make local MSP: %w", err)
	}
	if err := local.Setup(conf); err != nil {
		return nil, fmt.Errorf("set up local MSP %s: %w", dir, err)
	}
	signer, err := local.GetDefaultSigningIdentity()
	if err != nil {
		return nil, fmt.Errorf("load signing key of %s: %w", dir, err)
	}
	serialized, err := signer.Serialize()
	if err != nil {
		return nil, fmt.Errorf("serialize own identity: %w", err)
	}
	return &Identity{MSP: local, MSPID: mspID, Serialized: serialized, signer: signer}, nil
}

// Sign signs a message: the digest of SHA-256, ECDSA with low S, or Ed25519.
func (i *Identity) Sign(message []byte) ([]byte, error) {
	signature, err := i.signer.Sign(message)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return signature, nil
}

// Serialize gives the node's creator bytes.
func (i *Identity) Serialize() ([]byte, error) { return i.Serialized, nil }

// SignatureHeader makes a header with the node as creator and a new nonce.
func (i *Identity) SignatureHeader() (*cb.SignatureHeader, error) {
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return &cb.SignatureHeader{Creator: i.Serialized, Nonce: nonce}, nil
}

// Envelope signs a message of the node's own, such as a seek or a re-wrapped
// configuration. The channel header is the caller's.
func (i *Identity) Envelope(header *cb.ChannelHeader, message proto.Message) (*cb.Envelope, error) {
	signatureHeader, err := i.SignatureHeader()
	if err != nil {
		return nil, err
	}
	payload := &cb.Payload{Header: &cb.Header{}}
	for part, into := range map[proto.Message]*[]byte{
		header: &payload.Header.ChannelHeader, signatureHeader: &payload.Header.SignatureHeader, message: &payload.Data,
	} {
		if *into, err = proto.Marshal(part); err != nil {
			return nil, fmt.Errorf("marshal envelope: %w", err)
		}
	}
	raw, err := proto.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("marshal envelope: %w", err)
	}
	signature, err := i.Sign(raw)
	if err != nil {
		return nil, err
	}
	return &cb.Envelope{Payload: raw, Signature: signature}, nil
}

// CSP verifies signatures and hashes; it holds no keys.
func CSP() bccsp.BCCSP { return factory.GetDefault() }
