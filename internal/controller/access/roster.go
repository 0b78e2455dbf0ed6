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
