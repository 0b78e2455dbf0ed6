// Package admission decides which messages of clients are ordered: their size,
// their signer's rights and certificate, and for configuration updates whether
// they may be made. It turns an update into the configuration transaction that
// is ordered in its place.
package admission

import (
	"errors"
	"fmt"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-x-common/common/policies"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/cutter"
)

var (
	// ErrNoChannel means that there is no such channel.
	ErrNoChannel = errors.New("channel does not exist")

	errPermission  = errors.New("permission denied")
	errMaintenance = errors.New("maintenance mode")
	errEmpty       = errors.New("Message was empty") //nolint:staticcheck // Fabric's text, which clients see
)

// Status is the status that a client is answered with.
func Status(err error) cb.Status {
	switch {
	case err == nil:
		return cb.Status_SUCCESS
	case errors.Is(err, errPermission):
		return cb.Status_FORBIDDEN
	case errors.Is(err, errMaintenance):
		return cb.Status_SERVICE_UNAVAILABLE
	default:
		return cb.Status_BAD_REQUEST
	}
}

// Gate admits messages.
type Gate struct {
	// Identity signs the configuration transactions.
	Identity *node.Identity
	// SkipExpiry admits signers whose certificate has ended.
	SkipExpiry bool
	// Now is the clock.
	Now func() time.Time
}

// Normal admits a message that is ordered as it is.
func (g *Gate) Normal(config *channel.Config, message *cb.Envelope) error {
	orderers, ok := config.OrdererConfig()
	if !ok {
		return errors.New("config does not contain orderer config")
	}
	if orderers.Capabilities().ConsensusTypeMigration() && orderers.ConsensusState() != ab.ConsensusType_STATE_NORMAL {
		return fmt.Errorf("normal transactions are rejected: %w", errMaintenance)
	}
	return g.filter(config, message)
}

// Update admits a configuration update and makes the transaction of it. Check
// has the consensus' own word on the next configuration.
func (g *Gate) Update(config *channel.Config, message *cb.Envelope, check func(next *channel.Config) error) (*cb.Envelope, error) {
	if err := g.filter(config, message); err != nil {
		return nil, fmt.Errorf("config update for existing channel did not pass initial checks: %w", err)
	}
	proposed, err := g.propose(config, message, check)
	if err != nil {
		return nil, fmt.Errorf("error applying config update to existing channel '%s': %w", config.ID(), err)
	}
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_CONFIG), ChannelId: config.ID(), Timestamp: timestamppb.New(g.Now())}
	transaction, err := g.Identity.Envelope(header, proposed)
	if err != nil {
		return nil, err
	}
	// Once more: the transaction may be too large, or the orderer itself no member.
	if err := g.filter(config, transaction); err != nil {
		return nil, fmt.Errorf("config update for existing channel did not pass final checks: %w", err)
	}
	return transaction, nil
}

func (g *Gate) propose(config *channel.Config, message *cb.Envelope, check func(*channel.Config) error) (*cb.ConfigEnvelope, error) {
	proposed, err := config.Propose(message)
	if err != nil {
		return nil, err
	}
	next, err := channel.New(config.ID(), proposed.GetConfig())
	if err != nil {
		return nil, err
	}
	if err := Supported(next); err != nil {
		return nil, fmt.Errorf("config update is not compatible: %w", err)
	}
	if err := check(next); err != nil {
		return nil, fmt.Errorf("consensus metadata update for channel config update is invalid: %w", err)
	}
	return proposed, nil
}

// Supported tells whether an orderer like this one can serve a channel of such
// a configuration.
func Supported(config *channel.Config) error {
	orderers, ok := config.OrdererConfig()
	if !ok {
		return errors.New("config does not contain orderer config")
	}
	if err := orderers.Capabilities().Supported(); err != nil {
		return fmt.Errorf("config requires unsupported orderer capabilities: %w", err)
	}
	if err := config.ChannelConfig().Capabilities().Supported(); err != nil {
		return fmt.Errorf("config requires unsupported channel capabilities: %w", err)
	}
	if kind := orderers.ConsensusType(); kind != channel.Raft {
		return fmt.Errorf("consensus type %s is not supported by a simulated orderer, only %s is", kind, channel.Raft)
	}
	if orderers.ConsensusState() != ab.ConsensusType_STATE_NORMAL {
		return errors.New("maintenance mode is not supported by a simulated orderer")
	}
	return nil
}

func (g *Gate) filter(config *channel.Config, message *cb.Envelope) error {
	orderers, ok := config.OrdererConfig()
	if !ok {
		return errors.New("config does not contain orderer config")
	}
	if len(message.GetPayload()) == 0 {
		return errEmpty
	}
	if size, most := cutter.Size(message), orderers.BatchSize().GetAbsoluteMaxBytes(); size > most {
		return fmt.Errorf("message payload is %d bytes and exceeds maximum allowed %d bytes", size, most)
	}
	signatures, err := channel.SignedBy(message)
	if err != nil {
		return err
	}
	if !g.SkipExpiry && orderers.Capabilities().ExpirationCheck() {
		ends := channel.CertificateExpiry(signatures[0].Identity.GetCertificate())
		if !ends.IsZero() && !g.Now().Before(ends) {
			return errors.New("broadcast client identity expired")
		}
	}
	if err := config.Check(policies.ChannelWriters, signatures); err != nil {
		return fmt.Errorf("%w: %w", err, errPermission)
	}
	return nil
}

// Readers tells whether the signer of a request may read the channel.
func Readers(config *channel.Config, request *cb.Envelope) error {
	if err := config.CheckEnvelope(policies.ChannelReaders, request); err != nil {
		return fmt.Errorf("%w: %w", err, errPermission)
	}
	return nil
}
