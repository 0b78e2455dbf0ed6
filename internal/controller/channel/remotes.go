package channel

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/block"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// remote is an orderer of another site. It is joined and looked after there; here it is an address behind an import, and
// its certificates are what the partner says.
type remote struct {
	name, org, link string
	certs           access.NodeCertificates
}

// remotesOf are the orderers that the organizations of other sites name.
func remotesOf(roster *access.Roster) []remote {
	var out []remote
	for i := range roster.Organizations {
		o := &roster.Organizations[i]
		if o.Spec.Remote == nil {
			continue
		}
		for _, n := range o.Spec.Remote.Nodes {
			if n.Port == v1alpha1.PortOrderer {
				out = append(out, remote{name: n.Name, org: o.Name, link: o.Spec.Remote.Link, certs: access.NodeCertificates{
					Enrolment: []byte(n.Certificate), TLS: []byte(n.TLSCertificate),
				}})
			}
		}
	}
	slices.SortFunc(out, func(a, b remote) int { return strings.Compare(a.name, b.name) })
	return out
}

// remote finds an orderer of another site by name; nil if there is none.
func (w *world) remote(name string) *remote {
	for i := range w.remotes {
		if w.remotes[i].name == name {
			return &w.remotes[i]
		}
	}
	return nil
}

// place is an orderer of any site.
type place struct{ name, org string }

// orderers of all sites, this one's first.
func (w *world) orderers() []place {
	var out []place
	for i := range w.roster.Orderers {
		out = append(out, place{w.roster.Orderers[i].Name, w.roster.Orderers[i].Spec.Organization})
	}
	for _, o := range w.remotes {
		out = append(out, place{o.name, o.org})
	}
	return out
}

// invited tells that the channel was made at another site.
func (w *world) invited() bool { return w.channel.Spec.Invitation != nil }

// stretched tells that other sites take part in the network: then what is not this site's is theirs to bring about.
func (w *world) stretched() bool {
	return w.invited() || slices.ContainsFunc(w.roster.Organizations, func(o v1alpha1.Organization) bool { return o.Spec.Remote != nil })
}

// isLocal tells whether an organization's keys are here.
func (w *world) isLocal(mspID string) bool {
	return slices.ContainsFunc(w.roster.Organizations, func(o v1alpha1.Organization) bool {
		return o.Spec.MSPID == mspID && o.Spec.Remote == nil
	})
}

// isOurOrderer tells whether a consenter is an orderer of this site.
func (w *world) isOurOrderer(address string) bool {
	return slices.ContainsFunc(w.roster.Orderers, func(o v1alpha1.Orderer) bool {
		return specs.Address(o.Name, w.network, v1alpha1.PortOrderer) == address
	})
}

// remembered tells whether a setting was once this site's wish.
func (w *world) remembered(key string) bool { return w.memory != nil && w.memory.Wish[key] != "" }

// namedMSP tells whether the spec names an organization of another site as a member, and whether it names one of its
// orderers as a consenter.
func (w *world) namedMSP(mspID string) (member, consenter bool) {
	for i := range w.roster.Organizations {
		o := &w.roster.Organizations[i]
		if o.Spec.MSPID != mspID || o.Spec.Remote == nil {
			continue
		}
		member = slices.Contains(w.channel.Spec.Organizations, o.Name)
		consenter = slices.ContainsFunc(w.remotes, func(n remote) bool {
			return n.org == o.Name && slices.Contains(w.channel.Spec.Consenters, n.name)
		})
	}
	return member, consenter
}

// keepForeign puts into the wish what the ledger has of other sites: their organizations and orderers, as they stand
// there, are no wish of this site. What this site once named and names no more is left out.
func (w *world) keepForeign(c *channelconfig.Channel) {
	if w.ledger == nil || !w.stretched() {
		return
	}
	now := w.ledger.Channel
	keep := func(have, wish []channelconfig.Organization, prefix string, named func(mspID string) bool) []channelconfig.Organization {
		for _, o := range have {
			if w.isLocal(o.MSPID) || !named(o.MSPID) && w.remembered(prefix+o.Key()) {
				continue
			}
			if i := slices.IndexFunc(wish, func(x channelconfig.Organization) bool { return x.Key() == o.Key() }); i >= 0 {
				wish[i] = o
				continue
			}
			wish = append(wish, o)
		}
		return wish
	}
	c.ApplicationOrgs = keep(now.ApplicationOrgs, c.ApplicationOrgs, prefixMember, func(id string) bool { m, _ := w.namedMSP(id); return m })
	c.OrdererOrgs = keep(now.OrdererOrgs, c.OrdererOrgs, prefixOrderers, func(id string) bool { _, n := w.namedMSP(id); return n })
	// An orderer of another site is added by that site, which alone knows when it has caught up with the channel.
	c.Consenters = slices.DeleteFunc(c.Consenters, func(x channelconfig.Consenter) bool {
		return !w.isOurOrderer(x.Address().String()) &&
			!slices.ContainsFunc(now.Consenters, func(have channelconfig.Consenter) bool { return have.Address() == x.Address() })
	})
	for _, have := range now.Consenters {
		address := have.Address().String()
		if w.isOurOrderer(address) || !w.namedConsenter(address) && w.remembered(prefixConsenter+address) {
			continue
		}
		if i := slices.IndexFunc(c.Consenters, func(x channelconfig.Consenter) bool { return x.Address() == have.Address() }); i >= 0 {
			c.Consenters[i] = have
			continue
		}
		c.Consenters = append(c.Consenters, have)
	}
}

// namedConsenter tells whether the spec names the orderer at an address.
func (w *world) namedConsenter(address string) bool {
	return slices.ContainsFunc(w.channel.Spec.Consenters, func(name string) bool {
		return specs.Address(name, w.network, v1alpha1.PortOrderer) == address
	})
}

// mask takes out of the comparison what is neither this site's nor was ever named here.
func (w *world) mask() {
	if !w.stretched() {
		return
	}
	for _, key := range union(w.flatWish, w.flatLedger) {
		kind, name, _ := strings.Cut(key, ".")
		named := false
		switch kind + "." {
		case prefixMember:
			named, _ = w.namedMSP(name)
		case prefixOrderers:
			_, named = w.namedMSP(name)
		case prefixConsenter:
			named = w.namedConsenter(name)
		case prefixAnchors, prefixEndpoints:
		default:
			continue
		}
		ours := w.isLocal(name)
		if kind+"." == prefixConsenter {
			ours = w.isOurOrderer(name)
		}
		switch {
		case ours:
		case kind+"." == prefixAnchors, kind+"." == prefixEndpoints, !named && !w.remembered(key):
			delete(w.flatWish, key)
			delete(w.flatLedger, key)
		case named && w.flatLedger[key] == "" && w.remembered(key):
			// Somebody has taken out whom this site put in: that is theirs to say.
			w.flatWish[key] = w.memory.Wish[key]
		}
	}
}

// firstMemory of a channel that another site made: what the ledger has besides this site's own part is accepted as it
// stands.
func (w *world) firstMemory() *memory {
	m := &memory{Wish: settings{}, Accepted: settings{}}
	for _, key := range union(w.flatWish, w.flatLedger) {
		wish, ledger := w.flatWish[key], w.flatLedger[key]
		if wish != ledger && w.ownPart(key) {
			continue
		}
		set(m.Wish, key, wish)
		if wish != ledger {
			m.Accepted[key] = orAbsent(ledger)
		}
	}
	return m
}

// ownPart tells settings that are about this site's organizations and nodes.
func (w *world) ownPart(key string) bool {
	kind, name, _ := strings.Cut(key, ".")
	switch kind + "." {
	case prefixMember, prefixAnchors, prefixOrderers, prefixEndpoints:
		return w.isLocal(name)
	case prefixConsenter:
		return w.isOurOrderer(name)
	}
	return false
}

// remoteAnchors of an organization that is not on the ledger yet: the first peer that its site offers. Later ones are
// its own site's matter.
func (w *world) remoteAnchors(org string) []channelconfig.Address {
	for _, n := range w.roster.Organization(org).Spec.Remote.Nodes {
		if n.Port == v1alpha1.PortPeer {
			return []channelconfig.Address{{Host: specs.Host(n.Name, w.network), Port: uint32(v1alpha1.PortPeer)}}
		}
	}
	return nil
}

// foreignEndpoints changes the addresses of another site's organization only by the consenters that come and go.
func (w *world) foreignEndpoints(o *channelconfig.Organization, consenters []channelconfig.Consenter) {
	orders := func(list []channelconfig.Consenter, address string) bool {
		return slices.ContainsFunc(list, func(c channelconfig.Consenter) bool { return c.Address().String() == address })
	}
	list := slices.DeleteFunc(slices.Clone(o.Endpoints), func(a string) bool {
		return orders(w.ledger.Channel.Consenters, a) && !orders(consenters, a)
	})
	for _, n := range w.remotes {
		address := specs.Address(n.name, w.network, v1alpha1.PortOrderer)
		if org := w.orgs[n.org]; org != nil && org.MSPID == o.MSPID && orders(consenters, address) && !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	if len(list) > 0 {
		o.Endpoints = list
	}
}

// lookImports notes which nodes of other sites are reached from here.
func (r *Reconciler) lookImports(ctx context.Context, w *world) error {
	if !w.stretched() {
		return nil
	}
	var list v1alpha1.NodeImportList
	if err := r.opts.Client.List(ctx, &list, client.InNamespace(w.network)); err != nil {
		return fmt.Errorf("list imports of nodes: %w", err)
	}
	w.imports = map[string]bool{}
	for i := range list.Items {
		w.imports[list.Items[i].Name] = kube.IsReady(&list.Items[i])
	}
	return nil
}

// reportRemotes lists the nodes of other sites that take part in the channel.
func (w *world) reportRemotes(s *v1alpha1.ChannelStatus) {
	if w.ledger == nil || w.nodes == nil {
		return
	}
	for i := range w.roster.Organizations {
		o := &w.roster.Organizations[i]
		if o.Spec.Remote == nil {
			continue
		}
		for _, n := range o.Spec.Remote.Nodes {
			one := v1alpha1.ChannelNode{Name: n.Name, Role: v1alpha1.RolePeer, State: v1alpha1.NodeUnreachable, Link: o.Spec.Remote.Link}
			takesPart := hasOrg(w.ledger.Channel.ApplicationOrgs, o.Spec.MSPID)
			if n.Port == v1alpha1.PortOrderer {
				one.Role = v1alpha1.RoleConsenter
				takesPart = slices.ContainsFunc(w.ledger.Channel.Consenters, func(c channelconfig.Consenter) bool {
					return c.Address().String() == specs.Address(n.Name, w.network, v1alpha1.PortOrderer)
				})
			}
			if w.imports[n.Name] {
				one.State = v1alpha1.NodeRemote
			}
			if takesPart && len(s.Nodes) < 256 {
				s.Nodes = append(s.Nodes, one)
			}
		}
	}
	slices.SortFunc(s.Nodes, func(a, b v1alpha1.ChannelNode) int { return strings.Compare(a.Name, b.Name) })
}

// errNobody says that no organization of this site can ask for it.
var errNobody = errors.New("no organization of this site has an administrator yet")

// anyAdmin is an administrator of this site, one of the channel's members first.
func (r *Reconciler) anyAdmin(ctx context.Context, w *world) (*identity.Identity, error) {
	var first *access.Organization
	for _, name := range slices.Sorted(maps.Keys(w.orgs)) {
		org := w.orgs[name]
		if w.roster.Link(name) != "" {
			continue
		}
		if w.ledger != nil && hasOrg(w.ledger.Channel.ApplicationOrgs, org.MSPID) {
			return r.opts.Nodes.Admin(ctx, w.network, org)
		}
		if first == nil || slices.Contains(w.members, name) && !slices.Contains(w.members, first.Name) {
			first = org
		}
	}
	if first == nil {
		return nil, errNobody
	}
	return r.opts.Nodes.Admin(ctx, w.network, first)
}

// afar lets use try the orderers of other sites, one after the other, until one of them succeeds.
func (r *Reconciler) afar(ctx context.Context, w *world, use func(context.Context, *admin.Orderer) error) (bool, error) {
	id, err := r.anyAdmin(ctx, w)
	if err != nil {
		return false, err
	}
	var last error
	for _, n := range w.remotes {
		org := w.orgs[n.org]
		if org == nil {
			continue
		}
		conn, err := r.opts.Nodes.Conn(specs.Address(n.name, w.network, v1alpha1.PortOrderer), org.TLSRoots)
		if err != nil {
			return false, err
		}
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		err = use(ctx, admin.NewOrderer(conn, id, r.opts.Now))
		cancel()
		if err == nil {
			return true, nil
		}
		last = fmt.Errorf("ask %s of %s: %w", n.name, n.link, err)
	}
	return false, last
}

// readAfar reads the configuration from an orderer of another site, where this one has none that could tell it. Its own
// peers tell when there may be a new one.
func (r *Reconciler) readAfar(ctx context.Context, w *world, last *seenLedger) error {
	if len(w.remotes) == 0 || w.genesis == nil || len(w.roster.Orderers) > 0 && !w.invited() {
		return nil
	}
	height := w.highest()
	if last != nil && height <= last.height && r.opts.Now().Sub(last.at) < ledgerRest {
		return nil
	}
	var config *channelconfig.Config
	var from *cb.Block
	done, err := r.afar(ctx, w, func(ctx context.Context, o *admin.Orderer) error {
		b, err := o.ConfigBlock(ctx, w.channelID)
		if err == nil {
			config, err = channelconfig.Read(b)
			from = b
		}
		return err
	})
	if !done && last != nil {
		return nil
	}
	if !done {
		return unheard(err)
	}
	if last == nil || config.Sequence >= last.config.Sequence {
		r.took(w, config, from, height)
	}
	return nil
}

// unheard says what to do while no orderer of another site answers.
func unheard(err error) error {
	if err == nil {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for the partner to offer an orderer: it has to export one to this site")
	}
	var refused *admin.StatusError
	if errors.As(err, &refused) && refused.Status == cb.Status_FORBIDDEN {
		return kube.Waiting(v1alpha1.ReasonForbidden, 5*time.Second,
			"The partner's orderers do not let this site read the channel: its organization has to become a member there first")
	}
	return kube.Waiting(v1alpha1.ReasonUnreachable, 0, "Waiting for an orderer of the partner to answer: %s", err)
}

// fetchGenesis fetches the first block of a channel that another site made, and refuses any but the one that was agreed.
func (r *Reconciler) fetchGenesis(ctx context.Context, w *world) error {
	var first *cb.Block
	done, err := r.afar(ctx, w, func(ctx context.Context, o *admin.Orderer) error {
		b, err := o.Block(ctx, w.channelID, 0)
		if err == nil {
			first = b
		}
		return err
	})
	if errors.Is(err, errNobody) || errors.Is(err, access.ErrMissing) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for the certificates of an organization of this site")
	}
	if !done {
		return unheard(err)
	}
	got, want := hex.EncodeToString(block.Hash(first.GetHeader())), w.channel.Spec.Invitation.GenesisHash
	if got != want || !bytes.Equal(block.DataHash(first.GetData()), first.GetHeader().GetDataHash()) {
		return kube.Stalled(v1alpha1.ReasonConflict,
			"The ledger of channel %q begins with block %.12s… and not with the agreed %.12s…: it is another channel; make the Channel anew from a new invitation",
			w.channelID, got, want)
	}
	return r.store(ctx, w, first, nil)
}
