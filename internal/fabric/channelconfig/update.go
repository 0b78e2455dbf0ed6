package channelconfig

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-config/configtx"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/internal/fabric/identity"
)

// ErrNoChange says that the configuration is as wished already.
var ErrNoChange = errors.New("the configuration is as wished already")

// Update leads from one configuration to another. It holds against one
// sequence: if the ledger has moved on, it has to be computed again.
type Update struct {
	// ChannelID of the channel.
	ChannelID string
	// Sequence of the configuration that it was computed against.
	Sequence uint64
	// Raw is what administrators sign.
	Raw []byte
	// Changes says in words what it does.
	Changes []Change
	// Signatures collected so far, one for each administrator.
	Signatures []*cb.ConfigSignature
}

// Update computes what leads from this configuration to the wished one. Parts
// that the typed value does not know stay as they are. Without a difference
// the error is ErrNoChange.
func (c *Config) Update(wish Channel) (*Update, error) {
	id := c.Channel.ID
	if wish.ID != id || wish.Consensus != c.Channel.Consensus {
		return nil, fmt.Errorf("compute update of channel %q: id and consensus cannot change", id)
	}
	if err := wish.Validate(); err != nil {
		return nil, fmt.Errorf("compute update of channel %q: %w", id, err)
	}
	base, err := build(c.Channel)
	if err != nil {
		return nil, fmt.Errorf("compute update of channel %q: %w", id, err)
	}
	target, err := build(wish)
	if err != nil {
		return nil, fmt.Errorf("compute update of channel %q: %w", id, err)
	}
	tx := configtx.New(c.Raw)
	if !merge(tx.UpdatedConfig().GetChannelGroup(), base, target) {
		return nil, ErrNoChange
	}
	raw, err := tx.ComputeMarshaledUpdate(id)
	if err != nil {
		return nil, fmt.Errorf("compute update of channel %q: %w", id, err)
	}
	return &Update{ChannelID: id, Sequence: c.Sequence, Raw: raw, Changes: Diff(c.Channel, wish)}, nil
}

// merge carries the differences from base to target over to the ledger's tree,
// which may hold more than either.
func merge(ledger, base, target *cb.ConfigGroup) bool {
	changed := false
	for key := range union(base.GetValues(), target.GetValues()) {
		from, to := base.GetValues()[key], target.GetValues()[key]
		switch {
		case to == nil:
			delete(ledger.Values, key)
		case from != nil && bytes.Equal(from.GetValue(), to.GetValue()):
			continue
		default:
			if have := ledger.GetValues()[key]; have != nil {
				to.ModPolicy, to.Version = have.GetModPolicy(), have.GetVersion()
			}
			ledger.Values = put(ledger.Values, key, to)
		}
		changed = true
	}
	for key := range union(base.GetPolicies(), target.GetPolicies()) {
		from, to := base.GetPolicies()[key], target.GetPolicies()[key]
		switch {
		case to == nil:
			delete(ledger.Policies, key)
		case from != nil && proto.Equal(from.GetPolicy(), to.GetPolicy()):
			continue
		default:
			if have := ledger.GetPolicies()[key]; have != nil {
				to.ModPolicy, to.Version = have.GetModPolicy(), have.GetVersion()
			}
			ledger.Policies = put(ledger.Policies, key, to)
		}
		changed = true
	}
	for key := range union(base.GetGroups(), target.GetGroups()) {
		from, to := base.GetGroups()[key], target.GetGroups()[key]
		switch {
		case to == nil:
			delete(ledger.Groups, key)
			changed = true
		case from == nil || ledger.GetGroups()[key] == nil:
			ledger.Groups = put(ledger.Groups, key, to)
			changed = true
		default:
			changed = merge(ledger.GetGroups()[key], from, to) || changed
		}
	}
	return changed
}

func union[V any](a, b map[string]V) map[string]bool {
	keys := map[string]bool{}
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}

func put[V any](m map[string]V, key string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}

// Sign adds an administrator's signature. Signing twice with one identity
// leaves one signature.
func (u *Update) Sign(by *identity.Identity) error {
	creator, err := by.Serialized()
	if err != nil {
		return err
	}
	kept := u.Signatures[:0:0]
	for _, s := range u.Signatures {
		var header cb.SignatureHeader
		if proto.Unmarshal(s.GetSignatureHeader(), &header) != nil || !bytes.Equal(header.GetCreator(), creator) {
			kept = append(kept, s)
		}
	}
	header, err := by.SignatureHeader()
	if err != nil {
		return err
	}
	raw, err := marshal(header)
	if err != nil {
		return fmt.Errorf("sign update of channel %q: %w", u.ChannelID, err)
	}
	signature, err := by.Sign(append(bytes.Clone(raw), u.Raw...))
	if err != nil {
		return fmt.Errorf("sign update of channel %q: %w", u.ChannelID, err)
	}
	u.Signatures = append(kept, &cb.ConfigSignature{SignatureHeader: raw, Signature: signature})
	return nil
}

// Envelope is the transaction for the orderers. Who submits it signs the
// envelope, and needs no more right than to write.
func (u *Update) Envelope(submitter *identity.Identity, now time.Time) (*cb.Envelope, error) {
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_CONFIG_UPDATE), ChannelId: u.ChannelID, Timestamp: timestamppb.New(now)}
	return submitter.Envelope(header, &cb.ConfigUpdateEnvelope{ConfigUpdate: u.Raw, Signatures: u.Signatures})
}
