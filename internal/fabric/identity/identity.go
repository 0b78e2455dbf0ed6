// Package identity is a signing identity of a Fabric organisation: an MSP id, a
// certificate and a crypto.Signer. It signs as Fabric demands (low S) for the
// clients in the rooms beside it; where the key lives is the signer's affair.
package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/pki"
)

// nonceSize is what Fabric's own clients use.
const nonceSize = 24

// Identity signs for a member of an organisation.
type Identity struct {
	mspID string
	cert  []byte
	key   crypto.Signer
}

// New puts an identity together and checks that key and certificate belong to
// each other. The certificate is in PEM; only its first block counts.
func New(mspID string, certText []byte, key crypto.Signer) (*Identity, error) {
	if mspID == "" {
		return nil, errors.New("load identity: the MSP id is empty")
	}
	cert, err := pki.ParseCert(certText)
	if err != nil {
		return nil, fmt.Errorf("load identity of %q: %w", mspID, err)
	}
	if !pki.SameKey(cert, key) {
		return nil, fmt.Errorf("load identity %q of %q: key and certificate do not belong together", cert.Subject.CommonName, mspID)
	}
	return &Identity{mspID: mspID, cert: pki.EncodeCerts(cert), key: key}, nil
}

// MspID is the organisation's MSP id. (The spelling is the one of the
// gateway's interface.)
func (i *Identity) MspID() string { return i.mspID }

// Credentials is the certificate in PEM.
func (i *Identity) Credentials() []byte { return i.cert }

// Sign signs a message.
func (i *Identity) Sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	return i.SignDigest(digest[:])
}

// SignDigest signs the SHA-256 digest of a message.
func (i *Identity) SignDigest(digest []byte) ([]byte, error) {
	signature, err := i.key.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("sign for %q: %w", i.mspID, err)
	}
	return lowS(i.key.Public(), signature)
}

// Serialized is the identity as it stands in transactions.
func (i *Identity) Serialized() ([]byte, error) {
	raw, err := proto.Marshal(&mspproto.SerializedIdentity{Mspid: i.mspID, IdBytes: i.cert})
	if err != nil {
		return nil, fmt.Errorf("encode identity of %q: %w", i.mspID, err)
	}
	return raw, nil
}

// SignatureHeader names the identity as a creator, with a fresh nonce.
func (i *Identity) SignatureHeader() (*cb.SignatureHeader, error) {
	creator, err := i.Serialized()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return &cb.SignatureHeader{Creator: creator, Nonce: nonce}, nil
}

// Envelope signs a payload of that type for a channel.
func (i *Identity) Envelope(header *cb.ChannelHeader, data proto.Message) (*cb.Envelope, error) {
	creator, err := i.SignatureHeader()
	if err != nil {
		return nil, err
	}
	parts := make([][]byte, 0, 3)
	for _, message := range []proto.Message{header, creator, data} {
		raw, err := proto.Marshal(message)
		if err != nil {
			return nil, fmt.Errorf("encode envelope for channel %q: %w", header.GetChannelId(), err)
		}
		parts = append(parts, raw)
	}
	payload, err := proto.Marshal(&cb.Payload{Header: &cb.Header{ChannelHeader: parts[0], SignatureHeader: parts[1]}, Data: parts[2]})
	if err != nil {
		return nil, fmt.Errorf("encode envelope for channel %q: %w", header.GetChannelId(), err)
	}
	signature, err := i.Sign(payload)
	if err != nil {
		return nil, err
	}
	return &cb.Envelope{Payload: payload, Signature: signature}, nil
}

// lowS turns an ECDSA signature into the one of its two forms that Fabric
// takes.
func lowS(public crypto.PublicKey, signature []byte) ([]byte, error) {
	ec, ok := public.(*ecdsa.PublicKey)
	if !ok || ec.Curve != elliptic.P256() {
		return signature, nil
	}
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &pair); err != nil || len(rest) != 0 {
		return nil, errors.New("normalise signature: the signer did not return an ECDSA signature")
	}
	order := ec.Params().N
	if pair.S.Cmp(new(big.Int).Rsh(order, 1)) > 0 {
		pair.S.Sub(order, pair.S)
	}
	return asn1.Marshal(pair)
}
