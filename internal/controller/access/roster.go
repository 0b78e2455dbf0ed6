package access

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// Roster is who stands in a network's namespace, each list sorted by name.
type Roster struct {
	Organizations []v1alpha1.Organization
	Orderers      []v1alpha1.Orderer
	Peers         []v1alpha1.Peer
}

// LoadRoster lists a network's organisations and nodes.
func LoadRoster(ctx context.Context, reader client.Reader, namespace string) (*Roster, error) {
	var (
		orgs     v1alpha1.OrganizationList
		orderers v1alpha1.OrdererList
		peers    v1alpha1.PeerList
	)
	for _, list := range []client.ObjectList{&orgs, &orderers, &peers} {
		if err := reader.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list %T in %q: %w", list, namespace, err)
		}
	}
	slices.SortFunc(orgs.Items, func(a, b v1alpha1.Organization) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(orderers.Items, func(a, b v1alpha1.Orderer) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(peers.Items, func(a, b v1alpha1.Peer) int { return strings.Compare(a.Name, b.Name) })
	return &Roster{Organizations: orgs.Items, Orderers: orderers.Items, Peers: peers.Items}, nil
}

// Organization finds an organisation by name; nil if there is none.
func (r *Roster) Organization(name string) *v1alpha1.Organization {
	for i := range r.Organizations {
		if r.Organizations[i].Name == name {
			return &r.Organizations[i]
		}
	}
	return nil
}

// PeersOf lists an organisation's peers that are not being deleted.
func (r *Roster) PeersOf(organization string) []v1alpha1.Peer {
	var out []v1alpha1.Peer
	for _, p := range r.Peers {
		if p.Spec.Organization == organization && p.DeletionTimestamp.IsZero() {
			out = append(out, p)
		}
	}
	return out
}

// Link is the partner that holds an organisation's keys; empty for one of this site, and for one that does not exist.
func (r *Roster) Link(organization string) string {
	if o := r.Organization(organization); o != nil && o.Spec.Remote != nil {
		return o.Spec.Remote.Link
	}
	return ""
}

// Members are the organisations that a channel's spec asks for, by name. Unless they are named, they are those of this
// site with peers, and a member stays one as long as its Organization exists: a peer that is made anew must not cost its
// membership.
func (r *Roster) Members(ch *v1alpha1.Channel) []string {
	var out []string
	for i := range r.Organizations {
		o := &r.Organizations[i]
		if !o.DeletionTimestamp.IsZero() {
			continue
		}
		if len(ch.Spec.Organizations) > 0 {
			if slices.Contains(ch.Spec.Organizations, o.Name) {
				out = append(out, o.Name)
			}
			continue
		}
		if o.Spec.Remote != nil {
			continue
		}
		isMember := slices.ContainsFunc(ch.Status.Nodes, func(n v1alpha1.ChannelNode) bool {
			return n.Role == v1alpha1.RolePeer && r.ownerOf(n.Name) == o.Name
		})
		if isMember || len(r.PeersOf(o.Name)) > 0 {
			out = append(out, o.Name)
		}
	}
	return out
}

// ownerOf is the organisation that a node's name ends in; where several would fit, the longest.
func (r *Roster) ownerOf(node string) string {
	owner := ""
	for i := range r.Organizations {
		if name := r.Organizations[i].Name; strings.HasSuffix(node, "-"+name) && len(name) > len(owner) {
			owner = name
		}
	}
	return owner
}
