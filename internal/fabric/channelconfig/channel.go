package channelconfig

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"heddle.dev/heddle/internal/fabric/msp"
)

// Consensus is how orderers agree.
type Consensus string

// The two kinds of consensus.
const (
	Raft Consensus = "raft"
	BFT  Consensus = "bft"
)

// Channel is a channel's configuration.
type Channel struct {
	// ID of the channel.
	ID string
	// Consensus of its orderers.
	Consensus Consensus
	// Consenters are the orderers that agree.
	Consenters []Consenter
	// Batch says when a block is cut.
	Batch Batch
	// RaftOptions and BFTOptions are the timing; only the one of Consensus
	// counts.
	RaftOptions RaftOptions
	BFTOptions  BFTOptions
	// Capabilities switch features on for all nodes at once.
	Capabilities Capabilities
	// Policies of the channel and of its two parts.
	Policies Policies
	// ACLs replace default access rules: resource -> policy path.
	ACLs map[string]string
	// OrdererOrgs run the consenters.
	OrdererOrgs []Organization
	// ApplicationOrgs run the peers.
	ApplicationOrgs []Organization
}

// Consenter is one orderer of the consensus.
type Consenter struct {
	// ID is the number in BFT, unique and at least 1; Raft has none.
	ID uint32
	// Host and Port are the address that the other consenters dial.
	Host string
	Port uint32
	// MSPID and Identity (the enrolment certificate, PEM) count in BFT.
	MSPID    string
	Identity []byte
	// ClientTLS and ServerTLS are its TLS certificates, PEM, leaf only.
	ClientTLS, ServerTLS []byte
}

// Batch says when a block is cut: at the first of these.
type Batch struct {
	// Timeout after the block's first transaction.
	Timeout time.Duration
	// MaxMessages in a block.
	MaxMessages uint32
	// AbsoluteMaxBytes no block may exceed.
	AbsoluteMaxBytes uint32
	// PreferredMaxBytes a block should not exceed.
	PreferredMaxBytes uint32
}

// RaftOptions are the timing of Raft.
type RaftOptions struct {
	TickInterval                time.Duration
	ElectionTick, HeartbeatTick uint32
	MaxInflightBlocks           uint32
	SnapshotIntervalSize        uint32
}

// BFTOptions are the timing of SmartBFT. How many transactions a block takes
// comes from Batch.
type BFTOptions struct {
	BatchMaxInterval          time.Duration
	IncomingMessageBufferSize uint64
	RequestPoolSize           uint64
	RequestForwardTimeout     time.Duration
	RequestComplainTimeout    time.Duration
	RequestAutoRemoveTimeout  time.Duration
	ViewChangeResendInterval  time.Duration
	ViewChangeTimeout         time.Duration
	LeaderHeartbeatTimeout    time.Duration
	LeaderHeartbeatCount      uint64
	CollectTimeout            time.Duration
	SyncOnStart               bool
	SpeedUpViewChange         bool
}

// Capabilities are the levels of the three parts, such as V3_0.
type Capabilities struct {
	Channel, Orderer, Application string
}

// Policies of the channel's three parts, by name.
type Policies struct {
	Channel, Orderer, Application map[string]Policy
}

// PolicyType is the kind of a policy.
type PolicyType string

// The kinds of policies. Opaque ones come from other tools; they are kept and
// shown, and cannot be written by hand.
const (
	Signature    PolicyType = "Signature"
	ImplicitMeta PolicyType = "ImplicitMeta"
	Opaque       PolicyType = "Opaque"
)

// Policy is a rule in the notation of package policy.
type Policy struct {
	Type PolicyType
	Rule string
}

// Organization is a member of the channel.
type Organization struct {
	// Name is its key in the configuration; empty means the MSP id.
	Name string
	// MSPID of the organisation.
	MSPID string
	// MSP is what is needed to check its identities.
	MSP msp.Material
	// Policies by name; empty means the usual four.
	Policies map[string]Policy
	// Anchors are the peers through which other organisations find its own.
	Anchors []Address
	// Endpoints are its orderers for clients and peers, host:port.
	Endpoints []string
}

// Address of a node.
type Address struct {
	Host string
	Port uint32
}

func (a Address) String() string { return a.Host + ":" + strconv.FormatUint(uint64(a.Port), 10) }

// Address of the consenter.
func (c Consenter) Address() Address { return Address{c.Host, c.Port} }

// Key is the organisation's key in the configuration.
func (o Organization) Key() string {
	if o.Name == "" {
		return o.MSPID
	}
	return o.Name
}

// Quorum is how many of n consenters have to agree.
func (c Consensus) Quorum(n int) int {
	if c == BFT {
		faulty := (n - 1) / 3
		return (n + faulty + 2) / 2
	}
	return n/2 + 1
}

// Tolerates is how many of n consenters may fail.
func (c Consensus) Tolerates(n int) int {
	if n < 1 {
		return 0
	}
	if c == BFT {
		return (n - 1) / 3
	}
	return (n - 1) / 2
}

// CaughtUp tells whether a consenter of that height keeps up with the channel.
// Under BFT one block behind is as good as none: on a quiet channel nothing
// tells such a node so, and it fetches the block with the next transaction.
func (c Consensus) CaughtUp(height, channel uint64) bool {
	if c == BFT {
		height++
	}
	return height >= channel
}

// Clone is a copy that shares nothing that the operations of this package
// change. Certificates are shared: nobody writes into them.
func (c Channel) Clone() Channel {
	c.Consenters = slices.Clone(c.Consenters)
	c.ACLs = maps.Clone(c.ACLs)
	c.Policies = Policies{maps.Clone(c.Policies.Channel), maps.Clone(c.Policies.Orderer), maps.Clone(c.Policies.Application)}
	c.OrdererOrgs = cloneOrgs(c.OrdererOrgs)
	c.ApplicationOrgs = cloneOrgs(c.ApplicationOrgs)
	return c
}

func cloneOrgs(orgs []Organization) []Organization {
	out := slices.Clone(orgs)
	for i := range out {
		out[i].Policies = maps.Clone(out[i].Policies)
		out[i].Anchors = slices.Clone(out[i].Anchors)
		out[i].Endpoints = slices.Clone(out[i].Endpoints)
	}
	return out
}

// Equal tells whether two consenters are the same in all that counts for the
// consensus.
func (c Consenter) Equal(o Consenter, kind Consensus) bool {
	same := c.Address() == o.Address() && bytes.Equal(c.ClientTLS, o.ClientTLS) && bytes.Equal(c.ServerTLS, o.ServerTLS)
	if kind != BFT {
		return same
	}
	return same && c.ID == o.ID && c.MSPID == o.MSPID && bytes.Equal(c.Identity, o.Identity)
}

// find is the position of an organisation by key.
func find(orgs []Organization, key string) (int, error) {
	i := slices.IndexFunc(orgs, func(o Organization) bool { return o.Key() == key })
	if i < 0 {
		return 0, fmt.Errorf("find organisation %q: it is not in the channel", key)
	}
	return i, nil
}
