package channelconfig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/internal/pki"
)

// Signer checks a signature of an update that came from elsewhere, and tells for which organisation it stands: it has to
// be by an administrator of an organisation in this configuration.
func (c *Config) Signer(raw []byte, s *cb.ConfigSignature, now time.Time) (mspID string, err error) {
	var header cb.SignatureHeader
	if err := proto.Unmarshal(s.GetSignatureHeader(), &header); err != nil {
		return "", fmt.Errorf("read signature: %w", err)
	}
	var creator mspproto.SerializedIdentity
	if err := proto.Unmarshal(header.GetCreator(), &creator); err != nil {
		return "", fmt.Errorf("read signature: %w", err)
	}
	org, ok := c.member(creator.GetMspid())
	if !ok {
		return "", fmt.Errorf("check signature: %q is no member of channel %q", creator.GetMspid(), c.Channel.ID)
	}
	cert, role, err := org.MSP.Enrolled(creator.GetIdBytes(), now)
	if err != nil {
		return "", fmt.Errorf("check signature of %q: %w", org.MSPID, err)
	}
	if role != pki.RoleAdmin {
		return "", fmt.Errorf("check signature of %q: %q is no administrator", org.MSPID, cert.Subject.CommonName)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return "", fmt.Errorf("check signature of %q: the key is not ECDSA", org.MSPID)
	}
	digest := sha256.Sum256(append(bytes.Clone(s.GetSignatureHeader()), raw...))
	if !ecdsa.VerifyASN1(key, digest[:], s.GetSignature()) || !isLowS(key, s.GetSignature()) {
		return "", fmt.Errorf("check signature of %q: it does not fit the update", org.MSPID)
	}
	return org.MSPID, nil
}

// isLowS tells whether a signature has the one of its two forms that Fabric takes.
func isLowS(key *ecdsa.PublicKey, signature []byte) bool {
	var parts struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &parts); err != nil {
		return false
	}
	half := new(big.Int).Rsh(key.Curve.Params().N, 1)
	return parts.S.Cmp(half) <= 0
}

func (c *Config) member(mspID string) (Organization, bool) {
	for _, list := range [][]Organization{c.Channel.OrdererOrgs, c.Channel.ApplicationOrgs} {
		for _, o := range list {
			if o.MSPID == mspID {
				return o, true
			}
		}
	}
	return Organization{}, false
}

// LastUpdate is the update that made the configuration in a config block; empty in a channel's first block.
func LastUpdate(b *cb.Block) ([]byte, error) {
	payload, header, err := block.Envelope(b, 0)
	if err != nil {
		return nil, fmt.Errorf("read config block: %w", err)
	}
	if cb.HeaderType(header.GetType()) != cb.HeaderType_CONFIG {
		return nil, errors.New("read config block: it has no configuration")
	}
	var envelope cb.ConfigEnvelope
	if err := proto.Unmarshal(payload.GetData(), &envelope); err != nil {
		return nil, fmt.Errorf("read config block: %w", err)
	}
	if envelope.GetLastUpdate() == nil {
		return nil, nil
	}
	var last cb.Payload
	if err := proto.Unmarshal(envelope.GetLastUpdate().GetPayload(), &last); err != nil {
		return nil, fmt.Errorf("read config block: %w", err)
	}
	var update cb.ConfigUpdateEnvelope
	if err := proto.Unmarshal(last.GetData(), &update); err != nil {
		return nil, fmt.Errorf("read config block: %w", err)
	}
	return update.GetConfigUpdate(), nil
}
