package channel

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-x-common/api/msppb"
	"github.com/hyperledger/fabric-x-common/common/policies"
	"github.com/hyperledger/fabric-x-common/protoutil"

	"heddle.dev/heddle/fabsim/internal/blocks"
)

// BlockValidation is the policy that orderers' signatures on blocks have to
// satisfy.
const BlockValidation = policies.BlockValidation

// VerifyBlock checks a block that came from elsewhere: its data fits its
// header, and its orderers' signatures satisfy the channel's BlockValidation
// policy. That the block follows the last one is checked when it is appended.
func (c *Config) VerifyBlock(block *cb.Block) error {
	if err := blocks.CheckData(block); err != nil {
		return err
	}
	metadata, _, err := blocks.Signatures(block)
	if err != nil {
		return err
	}
	var signatures []*protoutil.SignedData
	for _, signature := range metadata.GetSignatures() {
		creator, header, err := c.blockSigner(signature)
		if err != nil {
			return fmt.Errorf("verify block %d: %w", block.GetHeader().GetNumber(), err)
		}
		if creator == nil {
			continue
		}
		signatures = append(signatures, &protoutil.SignedData{
			Identity: creator, Signature: signature.GetSignature(),
			Data: blocks.SignedBytes(metadata.GetValue(), header, block.GetHeader()),
		})
	}
	if err := c.Check(BlockValidation, signatures); err != nil {
		return fmt.Errorf("verify block %d: %w", block.GetHeader().GetNumber(), err)
	}
	return nil
}

// blockSigner finds who signed, by name or, on BFT channels, by number, and
// the header that was signed along. Unknown numbers are nobody.
func (c *Config) blockSigner(signature *cb.MetadataSignature) (*msppb.Identity, []byte, error) {
	if len(signature.GetSignatureHeader()) == 0 && len(signature.GetIdentifierHeader()) > 0 && c.ChannelConfig().Capabilities().ConsensusTypeBFT() {
		identifier, err := protoutil.UnmarshalIdentifierHeader(signature.GetIdentifierHeader())
		if err != nil {
			return nil, nil, fmt.Errorf("read signer's number: %w", err)
		}
		orderers, ok := c.OrdererConfig()
		if !ok {
			return nil, nil, errors.New("the channel has no orderers")
		}
		for _, consenter := range orderers.Consenters() {
			if consenter.GetId() == identifier.GetIdentifier() {
				return msppb.NewIdentity(consenter.GetMspId(), consenter.GetIdentity()), signature.GetIdentifierHeader(), nil
			}
		}
		return nil, nil, nil
	}
	header, err := protoutil.UnmarshalSignatureHeader(signature.GetSignatureHeader())
	if err != nil {
		return nil, nil, fmt.Errorf("read signature's header: %w", err)
	}
	creator, err := protoutil.UnmarshalIdentity(header.GetCreator())
	if err != nil {
		return nil, nil, fmt.Errorf("read signer: %w", err)
	}
	return creator, signature.GetSignatureHeader(), nil
}

// Expiry is when the certificate of a serialized identity ends; zero if it
// has none that can be read.
func Expiry(creator []byte) time.Time {
	identity, err := protoutil.UnmarshalIdentity(creator)
	if err != nil {
		return time.Time{}
	}
	return CertificateExpiry(identity.GetCertificate())
}

// CertificateExpiry is when a certificate (PEM) ends; zero if it cannot be
// read.
func CertificateExpiry(certificate []byte) time.Time {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return time.Time{}
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return parsed.NotAfter
}
