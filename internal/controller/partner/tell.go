package partner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/msp"
	"heddle.dev/heddle/internal/link/documents"
)

// tell sends the partner what this site has for it, if that is new, and says when to look again.
func (r *Reconciler) tell(ctx context.Context, link *v1alpha1.SiteLink) (time.Duration, error) {
	if link.Status.State != v1alpha1.LinkUp {
		return again, nil
	}
	doc, err := r.describe(ctx, link)
	if err != nil || doc == nil {
		return retry, err
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return 0, fmt.Errorf("encode descriptor for %q: %w", link.Name, err)
	}
	sum := sha256.Sum256(raw)
	digest, now := hex.EncodeToString(sum[:]), r.opts.Now()
	r.mu.Lock()
	last, ok := r.told[link.Name]
	r.mu.Unlock()
	if ok && last.digest == digest && now.Sub(last.at) < again {
		return again - now.Sub(last.at), nil
	}
	if err := r.opts.Sender.Send(ctx, link, documents.KindDescriptor, doc.SiteID, doc); err != nil {
		// The link's own probe tells people that the partner does not answer; what it refuses stands in its log.
		return retry, nil //nolint:nilerr // tried again soon
	}
	r.mu.Lock()
	r.told[link.Name] = telling{digest: digest, at: now}
	r.mu.Unlock()
	return again, nil
}

// describe puts together what a partner may know; nil as long as this site has no name.
func (r *Reconciler) describe(ctx context.Context, link *v1alpha1.SiteLink) (*documents.Descriptor, error) {
	var self v1alpha1.Site
	if err := r.opts.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SiteName}, &self); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if self.Status.SiteID == "" {
		return nil, nil //nolint:nilnil // nothing to tell yet
	}
	doc := &documents.Descriptor{SiteID: self.Status.SiteID}
	var networks v1alpha1.NetworkList
	if err := r.opts.Client.List(ctx, &networks); err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	slices.SortFunc(networks.Items, func(a, b v1alpha1.Network) int { return strings.Compare(a.Name, b.Name) })
	for i := range networks.Items {
		net := &networks.Items[i]
		shared := slices.ContainsFunc(net.Spec.Partners, func(p v1alpha1.NetworkPartner) bool { return p.Link == link.Name })
		if !shared || net.Spec.NetworkID == "" || !net.DeletionTimestamp.IsZero() {
			continue
		}
		one, err := r.network(ctx, net, link)
		if err != nil {
			return nil, err
		}
		doc.Networks = append(doc.Networks, *one)
	}
	return doc, nil
}

func (r *Reconciler) network(ctx context.Context, net *v1alpha1.Network, link *v1alpha1.SiteLink) (*documents.Network, error) {
	out := &documents.Network{
		Name: net.Name, NetworkID: net.Spec.NetworkID, Version: net.Spec.Fabric.Version, Consensus: string(net.Spec.Ordering.Consensus),
	}
	for _, p := range net.Spec.Partners {
		if p.Link == link.Name {
			continue
		}
		var other v1alpha1.SiteLink
		err := r.opts.Client.Get(ctx, client.ObjectKey{Name: p.Link}, &other)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read SiteLink %q: %w", p.Link, err)
		}
		if err == nil {
			out.Sites = append(out.Sites, other.Spec.SiteID)
		}
	}
	slices.Sort(out.Sites)
	roster, err := access.LoadRoster(ctx, r.opts.Client, net.Name)
	if err != nil {
		return nil, err
	}
	exported, err := r.exported(ctx, net.Name, link.Name)
	if err != nil {
		return nil, err
	}
	for i := range roster.Organizations {
		o := &roster.Organizations[i]
		if o.Spec.Remote != nil {
			continue
		}
		one, err := r.organization(ctx, roster, o, exported)
		if errors.Is(err, access.ErrMissing) {
			continue // it has no certificates yet
		}
		if err != nil {
			return nil, err
		}
		out.Organizations = append(out.Organizations, *one)
	}
	out.Channels, err = r.channels(ctx, net.Name, roster, link.Name)
	return out, err
}

// exported are the nodes of a network that the partner can reach.
func (r *Reconciler) exported(ctx context.Context, network, link string) (map[string]bool, error) {
	var list v1alpha1.NodeExportList
	if err := r.opts.Client.List(ctx, &list, client.InNamespace(network)); err != nil {
		return nil, fmt.Errorf("list exports of nodes: %w", err)
	}
	out := map[string]bool{}
	for i := range list.Items {
		e := &list.Items[i]
		if !slices.Contains(e.Spec.Links, link) || !e.DeletionTimestamp.IsZero() {
			continue
		}
		for _, n := range e.Status.Nodes {
			out[n.Name] = true
		}
	}
	return out, nil
}

func (r *Reconciler) organization(
	ctx context.Context, roster *access.Roster, o *v1alpha1.Organization, exported map[string]bool,
) (*documents.Organization, error) {
	public, err := r.opts.Nodes.Organization(ctx, o.Namespace, o.Name)
	if err != nil {
		return nil, err
	}
	texts := textsOf(public.MSP)
	out := &documents.Organization{
		Name: o.Name, MSPID: o.Spec.MSPID,
		CACertificates: texts.CACerts, IntermediateCertificates: texts.Intermediates,
		TLSCACertificates: texts.TLSCACerts, TLSIntermediateCertificates: texts.TLSIntermediates, RevocationLists: texts.CRLs,
	}
	for i := range roster.Orderers {
		n := &roster.Orderers[i]
		if n.Spec.Organization != o.Name || !exported[n.Name] {
			continue
		}
		certs, err := r.opts.Nodes.NodeCertificates(ctx, o.Namespace, n.Name)
		if errors.Is(err, access.ErrMissing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Nodes = append(out.Nodes, documents.Node{
			Name: n.Name, Port: v1alpha1.PortOrderer, Certificate: string(certs.Enrolment), TLSCertificate: string(certs.TLS),
		})
	}
	for _, n := range roster.PeersOf(o.Name) {
		if exported[n.Name] {
			out.Nodes = append(out.Nodes, documents.Node{Name: n.Name, Port: v1alpha1.PortPeer})
		}
	}
	return out, nil
}

func textsOf(m msp.Material) msp.Texts {
	join := func(blocks [][]byte) string { return string(slices.Concat(blocks...)) }
	return msp.Texts{
		CACerts: join(m.CACerts), Intermediates: join(m.IntermediateCerts),
		TLSCACerts: join(m.TLSCACerts), TLSIntermediates: join(m.TLSIntermediates), CRLs: join(m.CRLs),
	}
}

// channels are those whose spec names an organization or an orderer of the partner: invitations.
func (r *Reconciler) channels(ctx context.Context, network string, roster *access.Roster, link string) ([]documents.Channel, error) {
	var list v1alpha1.ChannelList
	if err := r.opts.Client.List(ctx, &list, client.InNamespace(network)); err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.Channel) int { return strings.Compare(a.Name, b.Name) })
	var out []documents.Channel
	for i := range list.Items {
		ch := &list.Items[i]
		if ch.Status.GenesisHash == "" || ch.Status.ChannelID == "" || !concerns(ch, roster, link) {
			continue
		}
		one := documents.Channel{
			Name: ch.Name, ChannelID: ch.Status.ChannelID, GenesisHash: ch.Status.GenesisHash,
			Consensus: string(v1alpha1.ConsensusRaft), Timing: string(v1alpha1.TimingLAN),
		}
		if ch.Spec.Consensus != "" {
			one.Consensus = string(ch.Spec.Consensus)
		}
		if ch.Spec.Timing != "" {
			one.Timing = string(ch.Spec.Timing)
		}
		out = append(out, one)
	}
	return out, nil
}

func concerns(ch *v1alpha1.Channel, roster *access.Roster, link string) bool {
	for i := range roster.Organizations {
		o := &roster.Organizations[i]
		if o.Spec.Remote == nil || o.Spec.Remote.Link != link {
			continue
		}
		orders := slices.ContainsFunc(o.Spec.Remote.Nodes, func(n v1alpha1.RemoteNode) bool { return slices.Contains(ch.Spec.Consenters, n.Name) })
		if orders || slices.Contains(ch.Spec.Organizations, o.Name) {
			return true
		}
	}
	return false
}
