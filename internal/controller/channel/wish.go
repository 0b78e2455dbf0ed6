package channel

import (
	"slices"
	"strings"
	"time"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// wishes turns the spec and what stands in the namespace into the configuration that the channel shall have. What
// follows from the ledger, such as numbers of BFT consenters and anchors that still exist, is kept.
func (w *world) wishes() (channelconfig.Channel, error) {
	spec := &w.channel.Spec
	c := channelconfig.Channel{
		ID:        w.channelID,
		Consensus: consensusOf(spec.Consensus),
		Batch: channelconfig.Batch{
			Timeout:           milliseconds(spec.Batch.TimeoutMilliseconds),
			MaxMessages:       uint32(spec.Batch.MaxMessageCount),       //nolint:gosec // bounded by the CRD
			PreferredMaxBytes: uint32(spec.Batch.PreferredMaxKiB) << 10, //nolint:gosec // bounded by the CRD
			AbsoluteMaxBytes:  uint32(spec.Batch.AbsoluteMaxKiB) << 10,  //nolint:gosec // bounded by the CRD
		},
		Capabilities: channelconfig.Capabilities{
			Channel: spec.Capabilities.Channel, Orderer: spec.Capabilities.Orderer, Application: spec.Capabilities.Application,
		},
		Policies: policiesOf(spec.Policies),
		ACLs:     map[string]string{},
	}
	for _, a := range spec.ACLs {
		c.ACLs[a.Resource] = a.Policy
	}
	for _, name := range w.members {
		if org := w.orgs[name]; org != nil {
			c.ApplicationOrgs = append(c.ApplicationOrgs, channelconfig.Organization{MSPID: org.MSPID, MSP: org.MSP, Anchors: w.anchors(org)})
		}
	}
	c.Consenters = w.wishedConsenters()
	c.OrdererOrgs = w.orderingOrgs(c.Consenters)
	w.keepForeign(&c)
	c = c.WithDefaults(channelconfig.Profile(spec.Timing))
	return c, w.check(c)
}

// check refuses a wish that cannot be brought about, in the words of the spec.
func (w *world) check(c channelconfig.Channel) error {
	if c.Consensus == channelconfig.BFT && len(c.Consenters) < 4 {
		return kube.Stalled(w.unfit(),
			"spec.consensus BFT needs at least 4 consenters and there would be %d: add orderers, or name 4 in spec.consenters", len(c.Consenters))
	}
	if len(c.Consenters) == 0 {
		return kube.Stalled(v1alpha1.ReasonUnsafeChange, "The channel would have no consenter left: add an Orderer, or name one in spec.consenters")
	}
	if node, version := w.oldest(); c.Capabilities.Channel == "V3_0" && strings.HasPrefix(version, "2.") {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec,
			"capabilities.channel V3_0 (which BFT needs) is for Fabric 3.1 and %s runs %s: set its version to 3.1.x, or capabilities.channel to V2_0", node, version)
	}
	if err := c.Validate(); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "The channel's settings cannot be used: %s", first)
	}
	return nil
}

// unfit is the reason for refusing consenters: what is unsafe for a ledger is plainly wrong as long as there is none.
func (w *world) unfit() string {
	if w.genesis == nil {
		return v1alpha1.ReasonInvalidSpec
	}
	return v1alpha1.ReasonUnsafeChange
}

// oldest is the node of the channel with the oldest version of Fabric.
func (w *world) oldest() (node, version string) {
	for _, o := range w.roster.Orderers {
		if slices.Contains(w.consenters, o.Name) && (version == "" || o.Spec.Version < version) {
			node, version = o.Name, o.Spec.Version
		}
	}
	for _, p := range w.roster.Peers {
		if slices.Contains(w.members, p.Spec.Organization) && (version == "" || p.Spec.Version < version) {
			node, version = p.Name, p.Spec.Version
		}
	}
	return node, version
}

func consensusOf(c v1alpha1.Consensus) channelconfig.Consensus {
	if c == v1alpha1.ConsensusBFT {
		return channelconfig.BFT
	}
	return channelconfig.Raft
}

func policiesOf(list []v1alpha1.ChannelPolicy) channelconfig.Policies {
	p := channelconfig.Policies{
		Channel: map[string]channelconfig.Policy{}, Orderer: map[string]channelconfig.Policy{}, Application: map[string]channelconfig.Policy{},
	}
	groups := map[v1alpha1.PolicyGroup]map[string]channelconfig.Policy{"Channel": p.Channel, "Orderer": p.Orderer, "Application": p.Application}
	for _, one := range list {
		kind := channelconfig.Signature
		if first, _, _ := strings.Cut(strings.TrimSpace(one.Rule), " "); slices.Contains([]string{"ANY", "ALL", "MAJORITY"}, strings.ToUpper(first)) {
			kind = channelconfig.ImplicitMeta
		}
		if g := groups[one.Group]; g != nil {
			g[one.Name] = channelconfig.Policy{Type: kind, Rule: one.Rule}
		}
	}
	return p
}

// anchors of a member: those on the ledger as long as their peers exist, else its first peer by name.
func (w *world) anchors(org *access.Organization) []channelconfig.Address {
	if w.roster.Link(org.Name) != "" {
		return w.remoteAnchors(org.Name)
	}
	peers := w.roster.PeersOf(org.Name)
	exists := func(a channelconfig.Address) bool {
		return slices.ContainsFunc(peers, func(p v1alpha1.Peer) bool { return specs.Host(p.Name, w.network) == a.Host })
	}
	if w.ledger != nil {
		for _, o := range w.ledger.Channel.ApplicationOrgs {
			kept := slices.DeleteFunc(slices.Clone(o.Anchors), func(a channelconfig.Address) bool { return !exists(a) })
			if o.MSPID == org.MSPID && len(kept) > 0 {
				return kept
			}
		}
	}
	if len(peers) == 0 {
		return nil
	}
	return []channelconfig.Address{{Host: specs.Host(peers[0].Name, w.network), Port: uint32(v1alpha1.PortPeer)}}
}

// wishedConsenters are the consenters that the spec asks for; one without certificates yet is left out.
func (w *world) wishedConsenters() []channelconfig.Consenter {
	var out []channelconfig.Consenter
	for _, o := range w.orderers() {
		certs, ok := w.certs[o.name]
		org := w.orgs[o.org]
		if !ok || org == nil || !slices.Contains(w.consenters, o.name) {
			continue
		}
		c := channelconfig.Consenter{
			Host: specs.Host(o.name, w.network), Port: uint32(v1alpha1.PortOrderer),
			MSPID: org.MSPID, Identity: certs.Enrolment, ClientTLS: certs.TLS, ServerTLS: certs.TLS,
		}
		if w.ledger != nil {
			for _, have := range w.ledger.Channel.Consenters {
				if have.Address() == c.Address() {
					c.ID = have.ID
				}
			}
		}
		out = append(out, c)
	}
	if w.ledger == nil {
		return out
	}
	// Numbers of the ledger first: who is new gets the next free one.
	slices.SortStableFunc(out, func(a, b channelconfig.Consenter) int { return rankID(a.ID) - rankID(b.ID) })
	return out
}

func rankID(id uint32) int {
	if id == 0 {
		return int(^uint32(0) >> 1)
	}
	return int(id)
}

// orderingOrgs are the organisations of the consenters, wished or on the ledger, with the addresses at which clients
// find an orderer: those that order now. An organisation whose first consenter is yet to come names that one.
func (w *world) orderingOrgs(wished []channelconfig.Consenter) []channelconfig.Organization {
	var out []channelconfig.Organization
	for _, o := range w.roster.Organizations {
		org := w.orgs[o.Name]
		if org == nil {
			continue
		}
		var now, later []string
		for _, orderer := range w.orderers() {
			if orderer.org != o.Name {
				continue
			}
			address := specs.Address(orderer.name, w.network, v1alpha1.PortOrderer)
			is := func(c channelconfig.Consenter) bool { return c.Address().String() == address }
			if w.ledger != nil && slices.ContainsFunc(w.ledger.Channel.Consenters, is) {
				now = append(now, address)
			}
			if slices.ContainsFunc(wished, is) {
				later = append(later, address)
			}
		}
		if w.ledger == nil || len(now) == 0 {
			now = later
		}
		if len(now) == 0 {
			continue
		}
		out = append(out, channelconfig.Organization{MSPID: org.MSPID, MSP: org.MSP, Endpoints: now})
	}
	return out
}

// endpointsAfter sets the addresses of our ordering organisations to what holds once the target's consenters order.
func (w *world) endpointsAfter(target *channelconfig.Channel) {
	for i := range target.OrdererOrgs {
		if w.stretched() && !w.isLocal(target.OrdererOrgs[i].MSPID) {
			w.foreignEndpoints(&target.OrdererOrgs[i], target.Consenters)
			continue
		}
		var list []string
		for _, o := range w.roster.Orderers {
			org := w.orgs[o.Spec.Organization]
			if org == nil || org.MSPID != target.OrdererOrgs[i].MSPID {
				continue
			}
			address := specs.Address(o.Name, w.network, v1alpha1.PortOrderer)
			if slices.ContainsFunc(target.Consenters, func(c channelconfig.Consenter) bool { return c.Address().String() == address }) {
				list = append(list, address)
			}
		}
		if len(list) > 0 {
			target.OrdererOrgs[i].Endpoints = list
		}
	}
}

// settle is how long the set of a hand-made network's objects has to be still before it is taken as complete.
const settle = 2 * time.Second
