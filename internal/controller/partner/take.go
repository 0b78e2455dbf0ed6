package partner

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link/documents"
	"heddle.dev/heddle/internal/specs"
)

// takeIn brings what a partner told to where it belongs, and lists what it offers.
func (r *Reconciler) takeIn(ctx context.Context, link *v1alpha1.SiteLink) error {
	doc, err := r.stored(ctx, link)
	if err != nil || doc == nil {
		return err
	}
	var (
		networks []v1alpha1.OfferedNetwork
		nodes    []v1alpha1.OfferedNode
		failed   []error
	)
	for i := range doc.Networks {
		n := &doc.Networks[i]
		refused, err := r.takeNetwork(ctx, link, n)
		failed = append(failed, err)
		networks = append(networks, offered(n, refused))
		for _, o := range n.Organizations {
			for _, node := range o.Nodes {
				nodes = append(nodes, v1alpha1.OfferedNode{
					Network: n.Name, Name: node.Name, Port: node.Port, NetworkID: n.NetworkID, MSPID: o.MSPID,
				})
			}
		}
	}
	return errors.Join(append(failed, r.note(ctx, link, networks, nodes))...)
}

func offered(n *documents.Network, refused string) v1alpha1.OfferedNetwork {
	out := v1alpha1.OfferedNetwork{
		Name: n.Name, NetworkID: n.NetworkID, Version: n.Version, Consensus: v1alpha1.Consensus(n.Consensus), Sites: n.Sites, Refused: refused,
	}
	for _, ch := range n.Channels {
		out.Channels = append(out.Channels, v1alpha1.OfferedChannel{
			Name: ch.Name, ChannelID: ch.ChannelID, GenesisHash: ch.GenesisHash,
			Consensus: v1alpha1.Consensus(ch.Consensus), Timing: v1alpha1.TimingProfile(ch.Timing),
		})
	}
	return out
}

// note writes what is on offer into the link's status, and nothing else there.
func (r *Reconciler) note(ctx context.Context, link *v1alpha1.SiteLink, networks []v1alpha1.OfferedNetwork, nodes []v1alpha1.OfferedNode) error {
	const most = 256
	if len(nodes) > most {
		nodes = nodes[:most]
	}
	if equality.Semantic.DeepEqual(link.Status.Networks, networks) && equality.Semantic.DeepEqual(link.Status.Offered, nodes) {
		return nil
	}
	before := link.DeepCopy()
	link.Status.Networks, link.Status.Offered = networks, nodes
	if err := r.opts.Client.Status().Patch(ctx, link, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("note what %q offers: %w", link.Name, err)
	}
	return nil
}

// takeNetwork takes the organizations of a network in that both sites share. It says why, where nothing may be taken.
func (r *Reconciler) takeNetwork(ctx context.Context, link *v1alpha1.SiteLink, n *documents.Network) (refused string, err error) {
	var net v1alpha1.Network
	err = r.opts.Client.Get(ctx, client.ObjectKey{Name: n.Name}, &net)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read Network %q: %w", n.Name, err)
	}
	at := slices.IndexFunc(net.Spec.Partners, func(p v1alpha1.NetworkPartner) bool { return p.Link == link.Name })
	switch {
	case net.Spec.NetworkID != n.NetworkID:
		return fmt.Sprintf("Network %q of this site has networkID %q: it is another network; one of the two needs another name", n.Name, net.Spec.NetworkID), nil
	case at < 0 || !net.DeletionTimestamp.IsZero():
		return "", nil
	}
	for i := range n.Organizations {
		why, err := r.takeOrganization(ctx, link, &net, &n.Organizations[i])
		if err != nil {
			return refused, err
		}
		if why == "" && net.Spec.Partners[at].Imports != v1alpha1.ImportManual {
			err = r.importNodes(ctx, link, &net, &n.Organizations[i])
		}
		if err != nil {
			return refused, err
		}
		if why != "" {
			refused = why
		}
	}
	return refused, nil
}

// importNodes asks for every node that the partner offers. A NodeImport that somebody made by hand stays as it is, and
// whether one can be had is for its own status to say.
func (r *Reconciler) importNodes(ctx context.Context, link *v1alpha1.SiteLink, net *v1alpha1.Network, o *documents.Organization) error {
	var org v1alpha1.Organization
	if err := r.opts.Client.Get(ctx, client.ObjectKey{Namespace: net.Name, Name: o.Name}, &org); err != nil {
		return client.IgnoreNotFound(err) // made a moment ago: the change of it wakes this again
	}
	if !kube.IsReady(&org) {
		return nil // nor is a node of an organization that does not hold together
	}
	for _, n := range o.Nodes {
		want := &v1alpha1.NodeImport{
			ObjectMeta: metav1.ObjectMeta{Namespace: net.Name, Name: n.Name, Labels: placeOf(net).Labels("", "", "")},
			Spec:       v1alpha1.NodeImportSpec{Link: link.Name, Port: n.Port, MSPID: o.MSPID},
		}
		if err := r.applier.Apply(ctx, net, want); err != nil {
			if _, ok := kube.AsIntent(err); !ok {
				return err
			}
		}
	}
	return nil
}

func placeOf(net *v1alpha1.Network) specs.Place {
	return specs.PlaceOf(net.Name, map[string]string{v1alpha1.LabelNetworkID: net.Spec.NetworkID})
}

func (r *Reconciler) takeOrganization(
	ctx context.Context, link *v1alpha1.SiteLink, net *v1alpha1.Network, o *documents.Organization,
) (refused string, err error) {
	var have v1alpha1.OrganizationList
	if err := r.opts.Client.List(ctx, &have, client.InNamespace(net.Name)); err != nil {
		return "", fmt.Errorf("list organizations: %w", err)
	}
	for i := range have.Items {
		h := &have.Items[i]
		switch {
		case h.Name != o.Name && h.Spec.MSPID == o.MSPID:
			return fmt.Sprintf("MSP ID %q of the partner's organization %q is that of %q here", o.MSPID, o.Name, h.Name), nil
		case h.Name != o.Name:
		case h.Spec.Remote == nil:
			return fmt.Sprintf("Organization %q is one of this site: the partner has another of that name", o.Name), nil
		case h.Spec.Remote.Link != link.Name:
			return fmt.Sprintf("Organization %q is one of the partner %q", o.Name, h.Spec.Remote.Link), nil
		case h.Spec.MSPID != o.MSPID:
			return fmt.Sprintf("Organization %q has MSP ID %q here and %q at the partner", o.Name, h.Spec.MSPID, o.MSPID), nil
		}
	}
	want := &v1alpha1.Organization{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: net.Name, Name: o.Name, Labels: placeOf(net).Labels("", "", ""),
		},
		Spec: v1alpha1.OrganizationSpec{MSPID: o.MSPID, Remote: &v1alpha1.RemoteOrganization{
			Link: link.Name, CACertificates: o.CACertificates, IntermediateCertificates: o.IntermediateCertificates,
			TLSCACertificates: o.TLSCACertificates, TLSIntermediateCertificates: o.TLSIntermediateCertificates, RevocationLists: o.RevocationLists,
		}},
	}
	for _, n := range o.Nodes {
		want.Spec.Remote.Nodes = append(want.Spec.Remote.Nodes, v1alpha1.RemoteNode{
			Name: n.Name, Port: n.Port, Certificate: n.Certificate, TLSCertificate: n.TLSCertificate,
		})
	}
	err = r.applier.Apply(ctx, net, want)
	if i, ok := kube.AsIntent(err); ok {
		return i.Message, nil
	}
	return "", err
}
