package channel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
)

// update is one config update to make.
type update struct {
	target channelconfig.Channel
	// text says in words what it does.
	text string
	// removes tells that it takes a consenter or a member away.
	removes bool
}

// joins are the nodes that have to join the channel now.
func (w *world) joins() []*node {
	var out []*node
	for _, n := range w.nodes {
		if n.seen && !n.joined && w.shallJoin(n) {
			out = append(out, n)
		}
	}
	return out
}

// joinTurns says how long each node waits before it joins.
func joinTurns(nodes []*node) map[*node]time.Duration {
	turns := make(map[*node]time.Duration, len(nodes))
	orgs := map[string]time.Duration{}
	for _, n := range nodes {
		if n.orderer {
			turns[n] = 0
			continue
		}
		if _, ok := orgs[n.org]; !ok {
			orgs[n.org] = time.Duration(len(orgs)) * joinTurn
		}
		turns[n] = orgs[n.org]
	}
	return turns
}

// shallJoin tells whether a node belongs to the channel now.
func (w *world) shallJoin(n *node) bool {
	if n.deleting || w.genesis == nil {
		return false
	}
	org := w.orgs[n.org]
	if org == nil || w.invited() && w.ledger == nil {
		return false
	}
	if n.orderer {
		if !slices.Contains(w.consenters, n.name) && !w.onLedger(n) {
			return false
		}
		return w.ledger == nil || hasOrg(w.ledger.Channel.OrdererOrgs, org.MSPID)
	}
	if !slices.Contains(w.members, n.org) {
		return false
	}
	return w.ledger == nil || hasOrg(w.ledger.Channel.ApplicationOrgs, org.MSPID)
}

func hasOrg(list []channelconfig.Organization, mspID string) bool {
	return slices.ContainsFunc(list, func(o channelconfig.Organization) bool { return o.MSPID == mspID })
}

// removed tells orderers that are part of the channel still, without being wished or being a consenter.
func (w *world) removed(n *node) bool {
	return w.ledger != nil && n.orderer && n.seen && n.joined && !slices.Contains(w.consenters, n.name) && !w.onLedger(n)
}

// leaves are removed orderers that can be taken out of the channel now. One that has not noticed yet that it orders no
// more is given some seconds: taking the channel off it in that moment can hang it. (It may never notice: nobody tells a
// consenter that missed its own removal, and it asks itself after ten minutes.) And the peers have to know that it orders
// no more, else they hand it transactions for a channel that it does not have; but a peer that has its blocks from such
// an orderer learns nothing before that one has left, so they are not waited for for long.
func (w *world) leaves() []*node {
	var out []*node
	for _, n := range w.nodes {
		if !w.removed(n) {
			continue
		}
		since := w.now.Sub(n.removedAt)
		if (n.relation != admin.Consenter || since > notice) && (w.peersKnow() || since > spread) {
			out = append(out, n)
		}
	}
	return out
}

// peersKnow tells whether every peer that answers has the ledger's newest configuration.
func (w *world) peersKnow() bool {
	return !slices.ContainsFunc(w.nodes, func(n *node) bool {
		return !n.orderer && n.seen && n.joined && n.height <= w.ledger.BlockNumber
	})
}

// departing are orderers that are being deleted and have still to leave the channel: their pods are kept for it, for a
// while. One that comes back later under its name must not find the remains of its first life.
func (w *world) departing(n *node) bool {
	return n.deleting && w.removed(n) && w.now.Sub(n.deletedAt) < departure
}

// notice is how long a removed orderer is given to find that out by itself.
const notice = 5 * time.Second

// spread is how long peers are given to get the configuration that has it no more.
const spread = 15 * time.Second

// departure is how long an orderer that is being deleted is given to leave its channels.
const departure = 20 * time.Second

// next is the config update to make now; nil if there is none to make. It returns an intent where one is due that has
// to wait or that would be unsafe.
func (w *world) next() (*update, error) {
	if w.ledger == nil {
		return nil, nil //nolint:nilnil // nothing to do is an answer
	}
	if err := w.named(); err != nil {
		return nil, err
	}
	if len(w.verdict.ours) == 0 {
		return nil, nil //nolint:nilnil // nothing to do is an answer
	}
	var plain []string
	for _, key := range w.verdict.ours {
		if !strings.HasPrefix(key, prefixConsenter) {
			plain = append(plain, key)
		}
	}
	if len(plain) > 0 {
		return w.settingsUpdate(plain)
	}
	return w.consenterUpdate()
}

// named refuses to take anybody out for a name that is written wrong or made later, and to call a channel ready that
// lacks somebody who is named.
func (w *world) named() error {
	for _, name := range w.channel.Spec.Organizations {
		if w.roster.Organization(name) == nil {
			return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0,
				"Waiting for Organization %q, which spec.organizations names: create it, take it out there, or wait for the partner to tell of it", name)
		}
	}
	for _, name := range w.channel.Spec.Consenters {
		if !slices.ContainsFunc(w.roster.Orderers, func(o v1alpha1.Orderer) bool { return o.Name == name }) && w.remote(name) == nil {
			return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0,
				"Waiting for Orderer %q, which spec.consenters names: create it, take it out there, or wait for the partner to offer it", name)
		}
	}
	return nil
}

func (w *world) settingsUpdate(keys []string) (*update, error) {
	u := &update{target: w.ledger.Channel.Clone()}
	adopt(&u.target, w.wish, keys)
	for _, o := range w.ledger.Channel.ApplicationOrgs {
		u.removes = u.removes || !hasOrg(u.target.ApplicationOrgs, o.MSPID)
	}
	if u.removes && len(u.target.ApplicationOrgs) == 0 {
		return nil, kube.Stalled(v1alpha1.ReasonUnsafeChange, "The channel would have no member left: name one in spec.organizations")
	}
	changes := channelconfig.Diff(w.ledger.Channel, u.target)
	if len(changes) == 0 {
		return nil, nil //nolint:nilnil // differs in nothing that the ledger holds
	}
	texts := make([]string, 0, len(changes))
	for _, c := range changes {
		texts = append(texts, c.Text)
	}
	u.text = strings.Join(texts, "; ")
	return u, nil
}

// consenterUpdate is the next change of one consenter, if the ordering service can bear it now.
func (w *world) consenterUpdate() (*update, error) {
	now := w.ledger.Channel
	target, text, err := now.StepConsenters(w.allowedConsenters())
	if err != nil {
		return nil, fmt.Errorf("plan change of consenters: %w", err)
	}
	if text == "" {
		return nil, nil //nolint:nilnil // nothing to do is an answer
	}
	if err := w.bears(now, target); err != nil {
		return nil, err
	}
	w.endpointsAfter(&target)
	return &update{target: target, text: text, removes: len(target.Consenters) < len(now.Consenters)}, nil
}

// allowedConsenters are those of the ledger, changed only where the spec asks for it: what was changed elsewhere stays.
func (w *world) allowedConsenters() []channelconfig.Consenter {
	ours := func(c channelconfig.Consenter) bool {
		return slices.Contains(w.verdict.ours, prefixConsenter+c.Address().String())
	}
	find := func(list []channelconfig.Consenter, a channelconfig.Address) int {
		return slices.IndexFunc(list, func(c channelconfig.Consenter) bool { return c.Address() == a })
	}
	var out []channelconfig.Consenter
	for _, have := range w.ledger.Channel.Consenters {
		i := find(w.wish.Consenters, have.Address())
		switch {
		case !ours(have):
			out = append(out, have)
		case i >= 0:
			out = append(out, w.wish.Consenters[i])
		}
	}
	for _, want := range w.wish.Consenters {
		if ours(want) && find(w.ledger.Channel.Consenters, want.Address()) < 0 {
			want.ID = 0
			out = append(out, want)
		}
	}
	return out
}

// bears tells whether the ordering service can bear the change of one consenter now.
func (w *world) bears(now, target channelconfig.Channel) error {
	highest := w.highest()
	up := func(c channelconfig.Consenter) bool {
		n := w.at(c.Address().String())
		// A consenter of another site cannot be asked.
		return n == nil || n.active(highest)
	}
	contains := func(list []channelconfig.Consenter, c channelconfig.Consenter) bool {
		return slices.ContainsFunc(list, func(o channelconfig.Consenter) bool { return o.Address() == c.Address() })
	}
	var down []string
	alive := 0
	for _, c := range target.Consenters {
		if up(c) {
			alive++
			continue
		}
		down = append(down, c.Host)
		if !contains(now.Consenters, c) {
			return kube.Waiting(v1alpha1.ReasonCatchingUp, 0, "Orderer %s has to catch up with the channel before it becomes a consenter", c.Host)
		}
	}
	quorum := target.Consensus.Quorum(len(target.Consenters))
	if alive < quorum {
		return kube.Stalled(v1alpha1.ReasonUnsafeChange,
			"After the change %d of %d consenters would be active and %d are needed: bring %s back first",
			alive, len(target.Consenters), quorum, strings.Join(down, ", "))
	}
	if len(down) == 0 {
		return nil
	}
	// Taking a dead consenter out is the way back to health and need not wait for other dead ones.
	if len(target.Consenters) < len(now.Consenters) {
		for _, c := range now.Consenters {
			if !contains(target.Consenters, c) && !up(c) {
				return nil
			}
		}
	}
	return kube.Waiting(v1alpha1.ReasonCatchingUp, 0,
		"Consenters change one at a time and the next waits until all are active: %s not yet", verb(down))
}

func verb(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, ", ") + " are"
}
