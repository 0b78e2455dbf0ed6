package channel

import (
	"errors"
	"fmt"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-x-common/api/msppb"
	"github.com/hyperledger/fabric-x-common/common/channelconfig"
	"github.com/hyperledger/fabric-x-common/common/configtx"
	"github.com/hyperledger/fabric-x-common/protoutil"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/node"
)

// Config is the configuration of a channel at one point in time.
//
// The embedded bundle has the library's own view: PolicyManager, MSPManager,
// OrdererConfig, ApplicationConfig, ChannelConfig.
type Config struct {
	*channelconfig.Bundle

	id string
}

// New makes a Config of a configuration.
func New(id string, config *cb.Config) (*Config, error) {
	bundle, err := channelconfig.NewBundle(id, config, node.CSP())
	if err != nil {
		return nil, fmt.Errorf("read configuration of %s: %w", id, err)
	}
	c := &Config{Bundle: bundle, id: id}
	if err := c.strict(config.GetChannelGroup()); err != nil {
		return nil, fmt.Errorf("read configuration of %s: %w", id, err)
	}
	return c, nil
}

// FromBlock makes a Config of a configuration block.
func FromBlock(block *cb.Block) (*Config, error) {
	envelope, err := protoutil.ExtractEnvelope(block, 0)
	if err != nil {
		return nil, fmt.Errorf("read configuration block: %w", err)
	}
	return FromEnvelope(envelope)
}

// FromEnvelope makes a Config of a transaction of type CONFIG.
func FromEnvelope(envelope *cb.Envelope) (*Config, error) {
	header, update, err := ParseConfig(envelope)
	if err != nil {
		return nil, err
	}
	return New(header.GetChannelId(), update.GetConfig())
}

// ParseConfig reads a transaction of type CONFIG.
func ParseConfig(envelope *cb.Envelope) (*cb.ChannelHeader, *cb.ConfigEnvelope, error) {
	update := &cb.ConfigEnvelope{}
	header, err := protoutil.UnmarshalEnvelopeOfType(envelope, cb.HeaderType_CONFIG, update)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration transaction: %w", err)
	}
	return header, update, nil
}

// strict has the rules of Fabric 3.1.5 that fabric-x-common gave up.
func (c *Config) strict(group *cb.ConfigGroup) error {
	capabilities := c.ChannelConfig().Capabilities()
	if orderers, ok := c.OrdererConfig(); ok {
		for name := range orderers.Organizations() {
			_, has := group.GetGroups()[channelconfig.OrdererGroupKey].GetGroups()[name].GetValues()[channelconfig.EndpointsKey]
			if has && !capabilities.OrgSpecificOrdererEndpoints() {
				return fmt.Errorf("orderer org %s cannot contain endpoints value until V1_4_2+ capabilities have been enabled", name)
			}
			if capabilities.ConsensusTypeBFT() && len(orderers.Organizations()[name].Endpoints()) == 0 {
				return fmt.Errorf("some orderer organizations endpoints are empty: [%s]", name)
			}
		}
	}
	if !capabilities.OrgSpecificOrdererEndpoints() && len(c.ChannelConfig().OrdererAddresses()) == 0 {
		return errors.New("must set some OrdererAddresses")
	}
	return nil
}

// ID is the channel's name.
func (c *Config) ID() string { return c.id }

// Sequence counts the configurations of the channel; the genesis has 0.
func (c *Config) Sequence() uint64 { return c.ConfigtxValidator().Sequence() }

// Proto is the configuration itself. Nobody may change it.
func (c *Config) Proto() *cb.Config { return c.ConfigtxValidator().ConfigProto() }

// Check tells whether signatures satisfy a policy, such as
// policies.ChannelReaders. A policy that there is not satisfies nobody.
func (c *Config) Check(policy string, signatures []*protoutil.SignedData) error {
	rule, ok := c.PolicyManager().GetPolicy(policy)
	if !ok {
		return fmt.Errorf("could not find policy %s", policy)
	}
	return rule.EvaluateSignedData(signatures) //nolint:wrapcheck // its text reaches clients as it is, as Fabric's does
}

// CheckEnvelope tells whether the signer of an envelope satisfies a policy.
func (c *Config) CheckEnvelope(policy string, envelope *cb.Envelope) error {
	signatures, err := SignedBy(envelope)
	if err != nil {
		return err
	}
	return c.Check(policy, signatures)
}

// SignedBy is who signed an envelope. A creator that cannot be read is nobody,
// whom no policy is satisfied with: the library would have it an error of form.
func SignedBy(envelope *cb.Envelope) ([]*protoutil.SignedData, error) {
	payload, by := &cb.Payload{}, &cb.SignatureHeader{}
	if err := proto.Unmarshal(envelope.GetPayload(), payload); err != nil {
		return nil, fmt.Errorf("could not convert message to signedData: %w", err)
	}
	if payload.GetHeader() == nil {
		return nil, errors.New("could not convert message to signedData: Missing Header")
	}
	if err := proto.Unmarshal(payload.GetHeader().GetSignatureHeader(), by); err != nil {
		return nil, fmt.Errorf("could not convert message to signedData: GetSignatureHeaderFromBytes failed, err %w", err)
	}
	id, err := protoutil.UnmarshalIdentity(by.GetCreator())
	if err != nil {
		id = &msppb.Identity{}
	}
	return []*protoutil.SignedData{{Data: envelope.GetPayload(), Identity: id, Signature: envelope.GetSignature()}}, nil
}

// Propose turns a transaction of type CONFIG_UPDATE into the configuration
// that it leads to, if its signatures suffice and that configuration is sound.
func (c *Config) Propose(update *cb.Envelope) (*cb.ConfigEnvelope, error) {
	proposed, err := c.ConfigtxValidator().ProposeConfigUpdate(update)
	if err != nil {
		return nil, err //nolint:wrapcheck // its text reaches clients as it is, as Fabric's does
	}
	next, err := New(c.id, proposed.GetConfig())
	if err != nil {
		return nil, err
	}
	if err := c.ValidateNew(next); err != nil {
		return nil, fmt.Errorf("new bundle invalid: %w", err)
	}
	return proposed, nil
}

// Apply checks a configuration that somebody proposed, signatures and all, and
// makes the Config of it.
func (c *Config) Apply(proposed *cb.ConfigEnvelope) (*Config, error) {
	if err := c.ConfigtxValidator().Validate(proposed); err != nil {
		return nil, fmt.Errorf("apply configuration: %w", err)
	}
	next, err := New(c.id, proposed.GetConfig())
	if err != nil {
		return nil, err
	}
	if err := c.ValidateNew(next); err != nil {
		return nil, fmt.Errorf("apply configuration: %w", err)
	}
	return next, nil
}

// ApplyBlock is Apply for the transaction of a configuration block.
func (c *Config) ApplyBlock(block *cb.Block) (*Config, error) {
	envelope, err := protoutil.ExtractEnvelope(block, 0)
	if err != nil {
		return nil, fmt.Errorf("read configuration block: %w", err)
	}
	_, proposed, err := ParseConfig(envelope)
	if err != nil {
		return nil, err
	}
	return c.Apply(proposed)
}

// ParseUpdate reads a transaction of type CONFIG_UPDATE as far as its form
// goes: the update and who signed it.
func ParseUpdate(envelope *cb.Envelope) (*cb.ConfigUpdate, []*protoutil.SignedData, error) {
	wrapped, err := protoutil.EnvelopeToConfigUpdate(envelope)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration update: %w", err)
	}
	update := &cb.ConfigUpdate{}
	if err := proto.Unmarshal(wrapped.GetConfigUpdate(), update); err != nil {
		return nil, nil, fmt.Errorf("read configuration update: %w", err)
	}
	signatures, err := protoutil.ConfigUpdateEnvelopeAsSignedData(wrapped)
	if err != nil {
		return nil, nil, fmt.Errorf("read configuration update: %w", err)
	}
	return update, signatures, nil
}

// ValidID tells whether a channel may be called so.
func ValidID(id string) error {
	return configtx.ValidateChannelID(id) //nolint:wrapcheck // its text reaches clients as it is, as Fabric's does
}
