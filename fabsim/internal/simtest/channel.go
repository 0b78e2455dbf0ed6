package simtest

import (
	"testing"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"github.com/hyperledger/fabric-x-common/common/channelconfig"
	"github.com/hyperledger/fabric-x-common/common/policies"
	"github.com/hyperledger/fabric-x-common/common/policydsl"
	"github.com/hyperledger/fabric-x-common/tools/configtxlator/update"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/node"
)

// Channel is a channel to be made.
type Channel struct {
	ID string
	// Orderers is the ordering organisation, Members are the others.
	Orderers *Org
	Members  []*Org
	// Consenters of Raft and Endpoints of the ordering organisation.
	Consenters []*etcdraft.Consenter
	Endpoints  []string
	// MaxMessages of a block, 10 if zero; Timeout of a batch, 100ms if empty;
	// Snapshot is after how many bytes Raft takes one.
	MaxMessages uint32
	Timeout     string
	Snapshot    uint32
	// Change edits the configuration at the end; optional.
	Change func(*cb.ConfigGroup)
}

// Genesis makes the channel's first block.
func (c Channel) Genesis(tb testing.TB) *cb.Block {
	tb.Helper()
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_CONFIG), ChannelId: c.ID, Timestamp: timestamppb.Now()}
	payload := &cb.Payload{
		Header: &cb.Header{ChannelHeader: Marshal(tb, header), SignatureHeader: Marshal(tb, &cb.SignatureHeader{Nonce: []byte("genesis")})},
		Data:   Marshal(tb, &cb.ConfigEnvelope{Config: c.Config(tb)}),
	}
	data := &cb.BlockData{Data: [][]byte{Marshal(tb, &cb.Envelope{Payload: Marshal(tb, payload)})}}
	block := &cb.Block{Header: &cb.BlockHeader{DataHash: blocks.DataHash(data)}, Data: data}
	blocks.InitMetadata(block)
	value := Marshal(tb, &cb.OrdererBlockMetadata{LastConfig: &cb.LastConfig{}})
	block.Metadata.Metadata[cb.BlockMetadataIndex_SIGNATURES] = Marshal(tb, &cb.Metadata{Value: value})
	return block
}

// Config is the channel's first configuration.
func (c Channel) Config(tb testing.TB) *cb.Config {
	tb.Helper()
	root := group(implicit()...)
	set(tb, root,
		channelconfig.HashingAlgorithmValue(), channelconfig.BlockDataHashingStructureValue(),
		channelconfig.CapabilitiesValue(map[string]bool{"V3_0": true}))
	root.Groups[channelconfig.OrdererGroupKey] = c.ordering(tb)
	application := group(append(implicit(), signedByAll("Endorsement"), signedByAll("LifecycleEndorsement"))...)
	set(tb, application, channelconfig.CapabilitiesValue(map[string]bool{"V2_5": true}))
	for _, org := range c.Members {
		application.Groups[org.Name] = member(tb, org)
	}
	root.Groups[channelconfig.ApplicationGroupKey] = application
	if c.Change != nil {
		c.Change(root)
	}
	return &cb.Config{ChannelGroup: root}
}

func (c Channel) ordering(tb testing.TB) *cb.ConfigGroup {
	tb.Helper()
	if c.MaxMessages == 0 {
		c.MaxMessages = 10
	}
	if c.Timeout == "" {
		c.Timeout = "100ms"
	}
	if c.Snapshot == 0 {
		c.Snapshot = 16 << 20
	}
	out := group(append(implicit(), policies.ImplicitMetaAnyPolicy("Writers"))...)
	out.Policies["BlockValidation"] = &cb.ConfigPolicy{Policy: policies.ImplicitMetaAnyPolicy("Writers").Value(), ModPolicy: "Admins"}
	set(tb, out,
		channelconfig.BatchSizeValue(c.MaxMessages, 1<<20, 512<<10), channelconfig.BatchTimeoutValue(c.Timeout),
		channelconfig.ChannelRestrictionsValue(0), channelconfig.CapabilitiesValue(map[string]bool{"V2_0": true}),
		channelconfig.ConsensusTypeValue("etcdraft", Marshal(tb, &etcdraft.ConfigMetadata{
			Consenters: c.Consenters,
			Options: &etcdraft.Options{
				TickInterval: "50ms", ElectionTick: 10, HeartbeatTick: 1, MaxInflightBlocks: 5, SnapshotIntervalSize: c.Snapshot,
			},
		})))
	org := member(tb, c.Orderers)
	set(tb, org, channelconfig.EndpointsValue(c.Endpoints))
	out.Groups[c.Orderers.Name] = org
	return out
}

func implicit() []*policies.StandardConfigPolicy {
	return []*policies.StandardConfigPolicy{
		policies.ImplicitMetaAnyPolicy("Readers"), policies.ImplicitMetaAnyPolicy("Writers"), policies.ImplicitMetaMajorityPolicy("Admins"),
	}
}

func signedByAll(name string) *policies.StandardConfigPolicy {
	return policies.SignaturePolicy(name, policydsl.AcceptAllPolicy)
}

func member(tb testing.TB, org *Org) *cb.ConfigGroup {
	tb.Helper()
	anyone := policydsl.SignedByMspMember(org.MSPID)
	out := group(policies.SignaturePolicy("Readers", anyone), policies.SignaturePolicy("Writers", anyone),
		policies.SignaturePolicy("Endorsement", anyone), policies.SignaturePolicy("Admins", policydsl.SignedByMspAdmin(org.MSPID)))
	set(tb, out, channelconfig.MSPValue(org.MSP(tb)))
	return out
}

func group(rules ...*policies.StandardConfigPolicy) *cb.ConfigGroup {
	out := &cb.ConfigGroup{
		Groups: map[string]*cb.ConfigGroup{}, Values: map[string]*cb.ConfigValue{}, Policies: map[string]*cb.ConfigPolicy{}, ModPolicy: "Admins",
	}
	for _, rule := range rules {
		out.Policies[rule.Key()] = &cb.ConfigPolicy{Policy: rule.Value(), ModPolicy: "Admins"}
	}
	return out
}

func set(tb testing.TB, into *cb.ConfigGroup, values ...*channelconfig.StandardConfigValue) {
	tb.Helper()
	for _, value := range values {
		SetValue(tb, into, value.Key(), value.Value())
	}
}

// SetValue sets a value of a group.
func SetValue(tb testing.TB, into *cb.ConfigGroup, key string, value proto.Message) {
	tb.Helper()
	version := into.Values[key].GetVersion()
	into.Values[key] = &cb.ConfigValue{Version: version, Value: Marshal(tb, value), ModPolicy: "Admins"}
}

// Marshal marshals a message.
func Marshal(tb testing.TB, message proto.Message) []byte {
	tb.Helper()
	raw, err := proto.Marshal(message)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// Transaction is something to order: an endorser transaction as far as
// orderers look.
func Transaction(tb testing.TB, signer *node.Identity, channel string, data []byte) *cb.Envelope {
	tb.Helper()
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: channel, Timestamp: timestamppb.Now()}
	return Envelope(tb, signer, header, &cb.Metadata{Value: data})
}

// Envelope signs a message.
func Envelope(tb testing.TB, signer *node.Identity, header *cb.ChannelHeader, message proto.Message) *cb.Envelope {
	tb.Helper()
	envelope, err := signer.Envelope(header, message)
	if err != nil {
		tb.Fatal(err)
	}
	return envelope
}

// Update makes the transaction that changes a configuration, signed by all
// signers and sent by the first.
func Update(tb testing.TB, channel string, before *cb.Config, change func(*cb.ConfigGroup), signers ...*node.Identity) *cb.Envelope {
	tb.Helper()
	after, ok := proto.Clone(before).(*cb.Config)
	if !ok {
		tb.Fatal("clone configuration")
	}
	change(after.GetChannelGroup())
	delta, err := update.Compute(before, after)
	if err != nil {
		tb.Fatal(err)
	}
	delta.ChannelId = channel
	wrapped := &cb.ConfigUpdateEnvelope{ConfigUpdate: Marshal(tb, delta)}
	for _, signer := range signers {
		header, err := signer.SignatureHeader()
		if err != nil {
			tb.Fatal(err)
		}
		raw := Marshal(tb, header)
		signature, err := signer.Sign(append(append([]byte{}, raw...), wrapped.GetConfigUpdate()...))
		if err != nil {
			tb.Fatal(err)
		}
		wrapped.Signatures = append(wrapped.Signatures, &cb.ConfigSignature{SignatureHeader: raw, Signature: signature})
	}
	header := &cb.ChannelHeader{Type: int32(cb.HeaderType_CONFIG_UPDATE), ChannelId: channel, Timestamp: timestamppb.Now()}
	return Envelope(tb, signers[0], header, wrapped)
}
