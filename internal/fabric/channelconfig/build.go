package channelconfig

import (
	"encoding/base64"
	"fmt"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/smartbft"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/policy"
)

// dataHashingWidth says that a block's data is hashed flat, as all networks do.
const dataHashingWidth = ^uint32(0)

// builder collects values and policies into a group; the first error sticks.
type builder struct {
	group *cb.ConfigGroup
	err   error
}

func newBuilder() *builder {
	return &builder{group: &cb.ConfigGroup{
		ModPolicy: admins,
		Groups:    map[string]*cb.ConfigGroup{}, Values: map[string]*cb.ConfigValue{}, Policies: map[string]*cb.ConfigPolicy{},
	}}
}

func (b *builder) value(key string, message proto.Message) {
	raw, err := marshal(message)
	if err != nil {
		b.fail(fmt.Errorf("encode %s: %w", key, err))
		return
	}
	b.group.Values[key] = &cb.ConfigValue{ModPolicy: admins, Value: raw}
}

func (b *builder) policies(policies map[string]Policy) {
	for name, p := range policies {
		message, err := p.message()
		if err != nil {
			b.fail(fmt.Errorf("encode policy %s: %w", name, err))
			continue
		}
		b.group.Policies[name] = &cb.ConfigPolicy{ModPolicy: admins, Policy: message}
	}
}

func (b *builder) capability(level string) {
	if level != "" {
		b.value(valueCapabilities, &cb.Capabilities{Capabilities: map[string]*cb.Capability{level: {}}})
	}
}

func (b *builder) sub(key string, group *cb.ConfigGroup, err error) {
	b.fail(err)
	b.group.Groups[key] = group
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// marshal is deterministic: the same channel has to give the same block hash.
func marshal(message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(message)
}

// build makes the configuration tree of a channel.
func build(c Channel) (*cb.ConfigGroup, error) {
	b := newBuilder()
	b.policies(c.Policies.Channel)
	b.value(valueHashing, &cb.HashingAlgorithm{Name: "SHA256"})
	b.value(valueDataHashing, &cb.BlockDataHashingStructure{Width: dataHashingWidth})
	b.capability(c.Capabilities.Channel)
	orderer, err := buildOrderer(c)
	b.sub(groupOrderer, orderer, err)
	application, err := buildApplication(c)
	b.sub(groupApplication, application, err)
	return b.group, b.err
}

func buildOrderer(c Channel) (*cb.ConfigGroup, error) {
	b := newBuilder()
	b.policies(c.Policies.Orderer)
	b.value(valueBatchSize, &ab.BatchSize{
		MaxMessageCount: c.Batch.MaxMessages, AbsoluteMaxBytes: c.Batch.AbsoluteMaxBytes, PreferredMaxBytes: c.Batch.PreferredMaxBytes,
	})
	b.value(valueBatchTimeout, &ab.BatchTimeout{Timeout: c.Batch.Timeout.String()})
	b.value(valueRestrictions, &ab.ChannelRestrictions{})
	b.capability(c.Capabilities.Orderer)
	consensus, err := c.consensusType()
	b.fail(err)
	b.value(valueConsensus, consensus)
	if c.Consensus == BFT {
		mapping := make([]*cb.Consenter, 0, len(c.Consenters))
		for _, consenter := range c.Consenters {
			mapping = append(mapping, consenter.bftMessage())
		}
		b.value(valueConsenters, &cb.Orderers{ConsenterMapping: mapping})
		quorum, err := quorumPolicy(c.Consenters)
		b.fail(err)
		b.group.Policies[blockValidation] = &cb.ConfigPolicy{ModPolicy: admins, Policy: quorum}
	}
	for _, org := range c.OrdererOrgs {
		group, err := buildOrganization(org, groupOrderer)
		b.sub(org.Key(), group, err)
	}
	return b.group, b.err
}

func buildApplication(c Channel) (*cb.ConfigGroup, error) {
	b := newBuilder()
	b.policies(c.Policies.Application)
	b.capability(c.Capabilities.Application)
	if len(c.ACLs) > 0 {
		acls := &pb.ACLs{Acls: map[string]*pb.APIResource{}}
		for resource, ref := range c.ACLs {
			acls.Acls[resource] = &pb.APIResource{PolicyRef: ref}
		}
		b.value(valueACLs, acls)
	}
	for _, org := range c.ApplicationOrgs {
		group, err := buildOrganization(org, groupApplication)
		b.sub(org.Key(), group, err)
	}
	return b.group, b.err
}

func buildOrganization(org Organization, part string) (*cb.ConfigGroup, error) {
	b := newBuilder()
	b.policies(org.Policies)
	config, err := org.MSP.Config(org.MSPID)
	if err != nil {
		return nil, err
	}
	b.value(valueMSP, config)
	if part == groupOrderer && len(org.Endpoints) > 0 {
		b.value(valueEndpoints, &cb.OrdererAddresses{Addresses: org.Endpoints})
	}
	if part == groupApplication && len(org.Anchors) > 0 {
		anchors := &pb.AnchorPeers{}
		for _, anchor := range org.Anchors {
			anchors.AnchorPeers = append(anchors.AnchorPeers, &pb.AnchorPeer{Host: anchor.Host, Port: int32(anchor.Port)}) //nolint:gosec // a port
		}
		b.value(valueAnchors, anchors)
	}
	return b.group, b.err
}

func (c Channel) consensusType() (*ab.ConsensusType, error) {
	var metadata proto.Message
	kind := typeRaft
	if c.Consensus == BFT {
		kind, metadata = typeBFT, c.BFTOptions.message(c.Batch)
	} else {
		raft := &etcdraft.ConfigMetadata{Options: c.RaftOptions.message()}
		for _, consenter := range c.Consenters {
			raft.Consenters = append(raft.Consenters, &etcdraft.Consenter{
				Host: consenter.Host, Port: consenter.Port, ClientTlsCert: consenter.ClientTLS, ServerTlsCert: consenter.ServerTLS,
			})
		}
		metadata = raft
	}
	raw, err := marshal(metadata)
	if err != nil {
		return nil, fmt.Errorf("encode consensus metadata: %w", err)
	}
	return &ab.ConsensusType{Type: kind, Metadata: raw}, nil
}

func (o RaftOptions) message() *etcdraft.Options {
	return &etcdraft.Options{
		TickInterval: o.TickInterval.String(), ElectionTick: o.ElectionTick, HeartbeatTick: o.HeartbeatTick,
		MaxInflightBlocks: o.MaxInflightBlocks, SnapshotIntervalSize: o.SnapshotIntervalSize,
	}
}

func (o BFTOptions) message(batch Batch) *smartbft.Options {
	return &smartbft.Options{
		// The orderers take these three from the batch size of the channel; the
		// options are checked for being sound all the same.
		RequestBatchMaxCount: uint64(batch.MaxMessages), RequestBatchMaxBytes: uint64(batch.AbsoluteMaxBytes), RequestMaxBytes: uint64(batch.AbsoluteMaxBytes),
		RequestBatchMaxInterval:   o.BatchMaxInterval.String(),
		IncomingMessageBufferSize: o.IncomingMessageBufferSize,
		RequestPoolSize:           o.RequestPoolSize,
		RequestForwardTimeout:     o.RequestForwardTimeout.String(),
		RequestComplainTimeout:    o.RequestComplainTimeout.String(),
		RequestAutoRemoveTimeout:  o.RequestAutoRemoveTimeout.String(),
		ViewChangeResendInterval:  o.ViewChangeResendInterval.String(),
		ViewChangeTimeout:         o.ViewChangeTimeout.String(),
		LeaderHeartbeatTimeout:    o.LeaderHeartbeatTimeout.String(),
		LeaderHeartbeatCount:      o.LeaderHeartbeatCount,
		CollectTimeout:            o.CollectTimeout.String(),
		SyncOnStart:               o.SyncOnStart,
		SpeedUpViewChange:         o.SpeedUpViewChange,
		LeaderRotation:            smartbft.Options_ROTATION_OFF, // the orderers refuse rotation
	}
}

func (c Consenter) bftMessage() *cb.Consenter {
	return &cb.Consenter{
		Id: c.ID, Host: c.Host, Port: c.Port, MspId: c.MSPID,
		Identity: c.Identity, ClientTlsCert: c.ClientTLS, ServerTlsCert: c.ServerTLS,
	}
}

// quorumPolicy is satisfied by the signatures of a quorum of these very
// consenters. The orderers refuse any other policy under BFT.
func quorumPolicy(consenters []Consenter) (*cb.Policy, error) {
	gate := &cb.SignaturePolicy_NOutOf{N: int32(BFT.Quorum(len(consenters)))} //nolint:gosec // a handful
	envelope := &cb.SignaturePolicyEnvelope{Rule: &cb.SignaturePolicy{Type: &cb.SignaturePolicy_NOutOf_{NOutOf: gate}}}
	for i, consenter := range consenters {
		id, err := marshal(&mspproto.SerializedIdentity{Mspid: consenter.MSPID, IdBytes: consenter.Identity})
		if err != nil {
			return nil, fmt.Errorf("encode identity of %s: %w", consenter.Address(), err)
		}
		gate.Rules = append(gate.Rules, &cb.SignaturePolicy{Type: &cb.SignaturePolicy_SignedBy{SignedBy: int32(i)}})
		envelope.Identities = append(envelope.Identities, &mspproto.MSPPrincipal{PrincipalClassification: mspproto.MSPPrincipal_IDENTITY, Principal: id})
	}
	raw, err := marshal(envelope)
	if err != nil {
		return nil, fmt.Errorf("encode quorum policy: %w", err)
	}
	return &cb.Policy{Type: int32(cb.Policy_SIGNATURE), Value: raw}, nil
}

func (p Policy) message() (*cb.Policy, error) {
	var kind cb.Policy_PolicyType
	var message proto.Message
	var err error
	switch p.Type {
	case Signature:
		kind = cb.Policy_SIGNATURE
		message, err = policy.Signature(p.Rule)
	case ImplicitMeta:
		kind = cb.Policy_IMPLICIT_META
		message, err = policy.Implicit(p.Rule)
	case Opaque:
		return decodeOpaque(p.Rule)
	default:
		return nil, fmt.Errorf("the type %q is neither Signature nor ImplicitMeta", p.Type)
	}
	if err != nil {
		return nil, err
	}
	raw, err := marshal(message)
	if err != nil {
		return nil, err
	}
	return &cb.Policy{Type: int32(kind), Value: raw}, nil
}

func decodeOpaque(rule string) (*cb.Policy, error) {
	raw, err := base64.StdEncoding.DecodeString(rule)
	if err != nil {
		return nil, fmt.Errorf("decode opaque policy: %w", err)
	}
	var message cb.Policy
	if err := proto.Unmarshal(raw, &message); err != nil {
		return nil, fmt.Errorf("decode opaque policy: %w", err)
	}
	return &message, nil
}
