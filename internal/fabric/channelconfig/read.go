package channelconfig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	mspproto "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/smartbft"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/internal/fabric/msp"
	"heddle.dev/heddle/internal/fabric/policy"
)

// Config is a configuration as the ledger has it.
type Config struct {
	// Channel is the typed value.
	Channel Channel
	// Sequence grows by one with every update.
	Sequence uint64
	// BlockNumber is where it stands.
	BlockNumber uint64
	// Raw is the whole of it, with what the typed value does not know.
	Raw *cb.Config
}

// Read takes the configuration out of a config block.
func Read(b *cb.Block) (*Config, error) {
	payload, header, err := block.Envelope(b, 0)
	if err != nil {
		return nil, fmt.Errorf("read config block: %w", err)
	}
	if cb.HeaderType(header.GetType()) != cb.HeaderType_CONFIG {
		return nil, fmt.Errorf("read config block: block %d holds a %s and no configuration",
			b.GetHeader().GetNumber(), cb.HeaderType(header.GetType()))
	}
	var envelope cb.ConfigEnvelope
	if err := proto.Unmarshal(payload.GetData(), &envelope); err != nil {
		return nil, fmt.Errorf("read config block: %w", err)
	}
	config, err := FromRaw(header.GetChannelId(), envelope.GetConfig())
	if err != nil {
		return nil, err
	}
	config.BlockNumber = b.GetHeader().GetNumber()
	return config, nil
}

// FromRaw makes the typed value of a configuration message.
func FromRaw(channelID string, raw *cb.Config) (*Config, error) {
	if raw.GetChannelGroup() == nil {
		return nil, fmt.Errorf("read config of channel %q: it is empty", channelID)
	}
	c := Channel{ID: channelID}
	r := &reader{}
	top := raw.GetChannelGroup()
	c.Capabilities.Channel = r.capability(top)
	c.Policies.Channel = r.policies(top)
	r.orderer(&c, top.GetGroups()[groupOrderer])
	r.application(&c, top.GetGroups()[groupApplication])
	if r.err != nil {
		return nil, fmt.Errorf("read config of channel %q: %w", channelID, r.err)
	}
	return &Config{Channel: c, Sequence: raw.GetSequence(), Raw: raw}, nil
}

// reader decodes groups; the first error sticks.
type reader struct{ err error }

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// value decodes a value if it is there.
func (r *reader) value(group *cb.ConfigGroup, key string, into proto.Message) {
	if v, ok := group.GetValues()[key]; ok {
		if err := proto.Unmarshal(v.GetValue(), into); err != nil {
			r.fail(fmt.Errorf("value %s: %w", key, err))
		}
	}
}

func (r *reader) duration(key, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		r.fail(fmt.Errorf("value %s: %w", key, err))
	}
	return d
}

// capability is the highest level; older tools leave lower ones beside it.
func (r *reader) capability(group *cb.ConfigGroup) string {
	var capabilities cb.Capabilities
	r.value(group, valueCapabilities, &capabilities)
	highest := ""
	for level := range capabilities.GetCapabilities() {
		highest = max(highest, level)
	}
	return highest
}

func (r *reader) policies(group *cb.ConfigGroup) map[string]Policy {
	out := map[string]Policy{}
	for name, p := range group.GetPolicies() {
		out[name] = readPolicy(p.GetPolicy())
	}
	return out
}

func readPolicy(p *cb.Policy) Policy {
	switch cb.Policy_PolicyType(p.GetType()) {
	case cb.Policy_SIGNATURE:
		var envelope cb.SignaturePolicyEnvelope
		if proto.Unmarshal(p.GetValue(), &envelope) == nil {
			if rule, err := policy.Format(&envelope); err == nil {
				return Policy{Signature, rule}
			}
		}
	case cb.Policy_IMPLICIT_META:
		var implicit cb.ImplicitMetaPolicy
		if proto.Unmarshal(p.GetValue(), &implicit) == nil {
			rule := policy.FormatImplicit(&implicit)
			if _, err := policy.Implicit(rule); err == nil {
				return Policy{ImplicitMeta, rule}
			}
		}
	}
	// Marshalling a message that was just parsed cannot fail.
	raw, _ := marshal(p)
	return Policy{Opaque, base64.StdEncoding.EncodeToString(raw)}
}

func (r *reader) orderer(c *Channel, group *cb.ConfigGroup) {
	if group == nil {
		r.fail(errors.New("it has no orderer part"))
		return
	}
	var consensus ab.ConsensusType
	var size ab.BatchSize
	var timeout ab.BatchTimeout
	r.value(group, valueConsensus, &consensus)
	r.value(group, valueBatchSize, &size)
	r.value(group, valueBatchTimeout, &timeout)
	c.Batch = Batch{
		Timeout:     r.duration(valueBatchTimeout, timeout.GetTimeout()),
		MaxMessages: size.GetMaxMessageCount(), AbsoluteMaxBytes: size.GetAbsoluteMaxBytes(), PreferredMaxBytes: size.GetPreferredMaxBytes(),
	}
	c.Capabilities.Orderer = r.capability(group)
	c.Policies.Orderer = r.policies(group)
	switch consensus.GetType() {
	case typeRaft:
		c.Consensus = Raft
		r.raft(c, consensus.GetMetadata())
	case typeBFT:
		c.Consensus = BFT
		delete(c.Policies.Orderer, blockValidation) // it follows from the consenters
		r.bft(c, group, consensus.GetMetadata())
	default:
		r.fail(fmt.Errorf("consensus type %q is not supported", consensus.GetType()))
	}
	for _, key := range sorted(group.GetGroups()) {
		sub := group.GetGroups()[key]
		org := r.organization(key, sub)
		var endpoints cb.OrdererAddresses
		r.value(sub, valueEndpoints, &endpoints)
		org.Endpoints = endpoints.GetAddresses()
		c.OrdererOrgs = append(c.OrdererOrgs, org)
	}
}

func (r *reader) raft(c *Channel, raw []byte) {
	var metadata etcdraft.ConfigMetadata
	if err := proto.Unmarshal(raw, &metadata); err != nil {
		r.fail(fmt.Errorf("raft metadata: %w", err))
		return
	}
	o := metadata.GetOptions()
	c.RaftOptions = RaftOptions{
		TickInterval: r.duration("TickInterval", o.GetTickInterval()),
		ElectionTick: o.GetElectionTick(), HeartbeatTick: o.GetHeartbeatTick(),
		MaxInflightBlocks: o.GetMaxInflightBlocks(), SnapshotIntervalSize: o.GetSnapshotIntervalSize(),
	}
	for _, m := range metadata.GetConsenters() {
		c.Consenters = append(c.Consenters, Consenter{
			Host: m.GetHost(), Port: m.GetPort(), ClientTLS: m.GetClientTlsCert(), ServerTLS: m.GetServerTlsCert(),
		})
	}
}

func (r *reader) bft(c *Channel, group *cb.ConfigGroup, raw []byte) {
	var o smartbft.Options
	if err := proto.Unmarshal(raw, &o); err != nil {
		r.fail(fmt.Errorf("SmartBFT options: %w", err))
		return
	}
	c.BFTOptions = BFTOptions{
		BatchMaxInterval:          r.duration("RequestBatchMaxInterval", o.GetRequestBatchMaxInterval()),
		IncomingMessageBufferSize: o.GetIncomingMessageBufferSize(),
		RequestPoolSize:           o.GetRequestPoolSize(),
		RequestForwardTimeout:     r.duration("RequestForwardTimeout", o.GetRequestForwardTimeout()),
		RequestComplainTimeout:    r.duration("RequestComplainTimeout", o.GetRequestComplainTimeout()),
		RequestAutoRemoveTimeout:  r.duration("RequestAutoRemoveTimeout", o.GetRequestAutoRemoveTimeout()),
		ViewChangeResendInterval:  r.duration("ViewChangeResendInterval", o.GetViewChangeResendInterval()),
		ViewChangeTimeout:         r.duration("ViewChangeTimeout", o.GetViewChangeTimeout()),
		LeaderHeartbeatTimeout:    r.duration("LeaderHeartbeatTimeout", o.GetLeaderHeartbeatTimeout()),
		LeaderHeartbeatCount:      o.GetLeaderHeartbeatCount(),
		CollectTimeout:            r.duration("CollectTimeout", o.GetCollectTimeout()),
		SyncOnStart:               o.GetSyncOnStart(),
		SpeedUpViewChange:         o.GetSpeedUpViewChange(),
	}
	var mapping cb.Orderers
	r.value(group, valueConsenters, &mapping)
	for _, m := range mapping.GetConsenterMapping() {
		c.Consenters = append(c.Consenters, Consenter{
			ID: m.GetId(), Host: m.GetHost(), Port: m.GetPort(), MSPID: m.GetMspId(),
			Identity: m.GetIdentity(), ClientTLS: m.GetClientTlsCert(), ServerTLS: m.GetServerTlsCert(),
		})
	}
}

func (r *reader) application(c *Channel, group *cb.ConfigGroup) {
	c.Capabilities.Application = r.capability(group)
	c.Policies.Application = r.policies(group)
	var acls pb.ACLs
	r.value(group, valueACLs, &acls)
	for resource, api := range acls.GetAcls() {
		if c.ACLs == nil {
			c.ACLs = map[string]string{}
		}
		c.ACLs[resource] = api.GetPolicyRef()
	}
	for _, key := range sorted(group.GetGroups()) {
		sub := group.GetGroups()[key]
		org := r.organization(key, sub)
		var anchors pb.AnchorPeers
		r.value(sub, valueAnchors, &anchors)
		for _, a := range anchors.GetAnchorPeers() {
			org.Anchors = append(org.Anchors, Address{Host: a.GetHost(), Port: uint32(a.GetPort())}) //nolint:gosec // a port
		}
		c.ApplicationOrgs = append(c.ApplicationOrgs, org)
	}
}

func (r *reader) organization(key string, group *cb.ConfigGroup) Organization {
	var config mspproto.MSPConfig
	r.value(group, valueMSP, &config)
	id, material, err := msp.FromConfig(&config)
	if err != nil {
		r.fail(fmt.Errorf("organisation %s: %w", key, err))
	}
	return Organization{Name: key, MSPID: id, MSP: material, Policies: r.policies(group)}
}
