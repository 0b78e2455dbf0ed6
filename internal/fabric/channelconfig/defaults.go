package channelconfig

import (
	"fmt"
	"time"
)

// Profile is a set of timing options.
type Profile string

// The timing profiles: nodes in one place, or in several.
const (
	LAN Profile = "lan"
	WAN Profile = "wan"
)

// DefaultBatch is a compromise between latency and size for small networks.
func DefaultBatch() Batch {
	return Batch{Timeout: 200 * time.Millisecond, MaxMessages: 100, AbsoluteMaxBytes: 10 << 20, PreferredMaxBytes: 2 << 20}
}

// RaftOptionsOf is the timing of Raft by profile; an unknown one is LAN.
func RaftOptionsOf(profile Profile) RaftOptions {
	options := RaftOptions{
		TickInterval: 100 * time.Millisecond, ElectionTick: 10, HeartbeatTick: 1,
		MaxInflightBlocks: 5, SnapshotIntervalSize: 16 << 20,
	}
	if profile == WAN {
		options.TickInterval = 300 * time.Millisecond
	}
	return options
}

// BFTOptionsOf is the timing of SmartBFT by profile; an unknown one is LAN.
// BatchMaxInterval is left at zero: then the batch time-out counts.
//
// An orderer that was restarted asks the others at once what it has missed.
// Without that it believes in the view that it knew: the heartbeats of another
// leader say nothing to it, and it asks after a heartbeat's time-out and a view
// change's, which is 11 s on a channel where nothing happens (lan; 21 s wan).
func BFTOptionsOf(profile Profile) BFTOptions {
	options := BFTOptions{
		IncomingMessageBufferSize: 200,
		RequestPoolSize:           100_000,
		RequestForwardTimeout:     time.Second,
		RequestComplainTimeout:    3 * time.Second,
		RequestAutoRemoveTimeout:  3 * time.Minute,
		ViewChangeResendInterval:  2 * time.Second,
		ViewChangeTimeout:         5 * time.Second,
		LeaderHeartbeatTimeout:    5 * time.Second,
		LeaderHeartbeatCount:      10,
		CollectTimeout:            time.Second,
		SyncOnStart:               true,
	}
	if profile == WAN {
		options.RequestForwardTimeout = 2 * time.Second
		options.RequestComplainTimeout = 6 * time.Second
		options.ViewChangeResendInterval = 5 * time.Second
		options.ViewChangeTimeout = 10 * time.Second
		options.LeaderHeartbeatTimeout = 10 * time.Second
		options.CollectTimeout = 2 * time.Second
	}
	return options
}

// DefaultCapabilities are the newest that every supported line of nodes
// understands; BFT needs Fabric 3.
func DefaultCapabilities(consensus Consensus) Capabilities {
	capabilities := Capabilities{Channel: "V2_0", Orderer: "V2_0", Application: "V2_5"}
	if consensus == BFT {
		capabilities.Channel = "V3_0"
	}
	return capabilities
}

// DefaultPolicies are those of Fabric's own samples.
func DefaultPolicies() Policies {
	base := func() map[string]Policy {
		return map[string]Policy{
			"Readers": {ImplicitMeta, "ANY Readers"},
			"Writers": {ImplicitMeta, "ANY Writers"},
			"Admins":  {ImplicitMeta, "MAJORITY Admins"},
		}
	}
	policies := Policies{base(), base(), base()}
	policies.Orderer[blockValidation] = Policy{ImplicitMeta, "ANY Writers"}
	policies.Application["Endorsement"] = Policy{ImplicitMeta, "MAJORITY Endorsement"}
	policies.Application["LifecycleEndorsement"] = Policy{ImplicitMeta, "MAJORITY Endorsement"}
	return policies
}

// OrganizationPolicies are those of Fabric's own samples for an organisation.
func OrganizationPolicies(mspID string) map[string]Policy {
	rule := func(role string) Policy { return Policy{Signature, fmt.Sprintf("OR('%s.%s')", mspID, role)} }
	return map[string]Policy{
		"Readers": rule("member"), "Writers": rule("member"), "Admins": rule("admin"), "Endorsement": rule("peer"),
	}
}

// WithDefaults fills what is empty: batch, timing (of the profile),
// capabilities, policies, consenter ids, names of organisations. Policies that
// are set replace the default of the same name only.
func (c Channel) WithDefaults(profile Profile) Channel {
	c = c.Clone()
	c.Batch = c.Batch.withDefaults()
	if c.RaftOptions == (RaftOptions{}) && c.Consensus == Raft {
		c.RaftOptions = RaftOptionsOf(profile)
	}
	if c.BFTOptions == (BFTOptions{}) && c.Consensus == BFT {
		c.BFTOptions = BFTOptionsOf(profile)
	}
	if c.Consensus == BFT && c.BFTOptions.BatchMaxInterval == 0 {
		c.BFTOptions.BatchMaxInterval = c.Batch.Timeout
	}
	c.Capabilities = c.Capabilities.withDefaults(DefaultCapabilities(c.Consensus))
	defaults := DefaultPolicies()
	if c.Consensus == BFT {
		// Made from the consenters, whatever anybody wishes.
		delete(defaults.Orderer, blockValidation)
		delete(c.Policies.Orderer, blockValidation)
	}
	c.Policies.Channel = overlay(defaults.Channel, c.Policies.Channel)
	c.Policies.Orderer = overlay(defaults.Orderer, c.Policies.Orderer)
	c.Policies.Application = overlay(defaults.Application, c.Policies.Application)
	for _, orgs := range [][]Organization{c.OrdererOrgs, c.ApplicationOrgs} {
		for i := range orgs {
			orgs[i].Name = orgs[i].Key()
			orgs[i].Policies = overlay(OrganizationPolicies(orgs[i].MSPID), orgs[i].Policies)
		}
	}
	if c.Consensus == BFT {
		numberConsenters(c.Consenters)
	}
	return c
}

func (b Batch) withDefaults() Batch {
	defaults := DefaultBatch()
	if b.Timeout == 0 {
		b.Timeout = defaults.Timeout
	}
	if b.MaxMessages == 0 {
		b.MaxMessages = defaults.MaxMessages
	}
	if b.AbsoluteMaxBytes == 0 {
		b.AbsoluteMaxBytes = max(defaults.AbsoluteMaxBytes, b.PreferredMaxBytes)
	}
	if b.PreferredMaxBytes == 0 {
		b.PreferredMaxBytes = min(defaults.PreferredMaxBytes, b.AbsoluteMaxBytes)
	}
	return b
}

func (c Capabilities) withDefaults(defaults Capabilities) Capabilities {
	if c.Channel == "" {
		c.Channel = defaults.Channel
	}
	if c.Orderer == "" {
		c.Orderer = defaults.Orderer
	}
	if c.Application == "" {
		c.Application = defaults.Application
	}
	return c
}

func overlay(base, top map[string]Policy) map[string]Policy {
	for name, policy := range top {
		base[name] = policy
	}
	return base
}

// numberConsenters gives the next free number to consenters without one.
func numberConsenters(consenters []Consenter) {
	var highest uint32
	for _, c := range consenters {
		highest = max(highest, c.ID)
	}
	for i := range consenters {
		if consenters[i].ID == 0 {
			highest++
			consenters[i].ID = highest
		}
	}
}
