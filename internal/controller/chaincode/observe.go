package chaincode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/policy"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// askTimeout bounds what one peer is asked; all are asked at once.
const askTimeout = 3 * time.Second

// look reads what the cluster knows and checks the spec.
func (r *Reconciler) look(ctx context.Context, w *world) error {
	cc := w.chaincode
	w.network = cc.Namespace
	if err := w.check(); err != nil {
		return err
	}
	var err error
	if err = r.resolveImage(ctx, w); err != nil {
		return err
	}
	ch := &v1alpha1.Channel{}
	err = r.opts.Client.Get(ctx, types.NamespacedName{Namespace: w.network, Name: cc.Spec.Channel}, ch)
	if apierrors.IsNotFound(err) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for Channel %q: spec.channel names the object, not the channelID", cc.Spec.Channel)
	}
	if err != nil {
		return fmt.Errorf("read Channel %q: %w", cc.Spec.Channel, err)
	}
	w.channel, w.channelID = ch, ch.Name
	if ch.Spec.ChannelID != "" {
		w.channelID = ch.Spec.ChannelID
	}
	if err := r.alone(ctx, w); err != nil {
		return err
	}
	return r.lookMembers(ctx, w)
}

// check refuses what no peer would take.
func (w *world) check() error {
	spec := &w.chaincode.Spec
	if slices.Contains(ownContracts(), spec.ChaincodeName) {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.chaincodeName: %q is the name of a contract of Fabric's own: choose another in another Chaincode", spec.ChaincodeName)
	}
	if rule := spec.EndorsementPolicy; rule != "" && rule[0] != '/' {
		if _, err := policy.Signature(rule); err != nil {
			return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.endorsementPolicy: %s", err)
		}
	}
	if spec.Collections == "" {
		return nil
	}
	var err error
	if w.collections, err = admin.ParseCollections(spec.Collections); err == nil {
		w.collectionsHash, err = admin.Definition{Collections: w.collections}.CollectionsHash()
	}
	if err != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.collections: %s", err)
	}
	return nil
}

// ownContracts are names that peers refuse. Those that begin with '_' admission refuses.
func ownContracts() []string { return []string{"cscc", "escc", "lscc", "qscc", "vscc"} }

// alone refuses the younger of two Chaincodes that mean the same contract of a channel.
func (r *Reconciler) alone(ctx context.Context, w *world) error {
	var all v1alpha1.ChaincodeList
	if err := r.opts.Client.List(ctx, &all, client.InNamespace(w.network)); err != nil {
		return fmt.Errorf("list chaincodes: %w", err)
	}
	cc := w.chaincode
	for i := range all.Items {
		o := &all.Items[i]
		same := o.Name != cc.Name && o.Spec.Channel == cc.Spec.Channel && o.Spec.ChaincodeName == cc.Spec.ChaincodeName
		older := o.CreationTimestamp.Before(&cc.CreationTimestamp) || o.CreationTimestamp.Equal(&cc.CreationTimestamp) && o.Name < cc.Name
		if same && older {
			return kube.Stalled(v1alpha1.ReasonInvalidSpec, "Chaincode %q stands for contract %q on channel %q already: delete this object or choose another spec.chaincodeName",
				o.Name, cc.Spec.ChaincodeName, cc.Spec.Channel)
		}
	}
	return nil
}

func (r *Reconciler) lookMembers(ctx context.Context, w *world) error {
	roster, err := access.LoadRoster(ctx, r.opts.Client, w.network)
	if err != nil {
		return err
	}
	for _, name := range roster.Members(w.channel) {
		if roster.Link(name) != "" {
			continue // it installs and approves at its own site
		}
		org, err := r.opts.Nodes.Organization(ctx, w.network, name)
		if errors.Is(err, access.ErrMissing) {
			w.lacking = name
			continue
		}
		if err != nil {
			return err
		}
		m := &member{org: org}
		if o := roster.Organization(name); o != nil {
			m.since = o.CreationTimestamp
		}
		w.parties = append(w.parties, m)
		for _, p := range roster.PeersOf(name) {
			m.peers = append(m.peers, &peer{name: p.Name})
		}
		if len(m.peers) > 0 {
			w.members = append(w.members, m)
		}
	}
	return nil
}

// ask asks every peer what it has, and every organisation what it approved.
func (r *Reconciler) ask(ctx context.Context, w *world) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r.eachPeer(w, func(m *member, p *peer) { r.askPeer(ctx, w, m, p) })
	for _, m := range w.members {
		for _, p := range m.peers {
			if p.committed != nil && (w.committed == nil || p.committed.Sequence > w.committed.Sequence) {
				w.committed = p.committed
			}
		}
	}
	sequence := w.sequence()
	var wg sync.WaitGroup
	for _, m := range w.members {
		p := m.joined()
		if p == nil {
			continue
		}
		wg.Go(func() {
			client, err := r.client(ctx, w, m, p)
			if err != nil {
				m.err = err
				return
			}
			d, err := client.Approved(ctx, w.channelID, w.chaincode.Spec.ChaincodeName, sequence)
			switch {
			case err == nil:
				m.approved = &d
			case !errors.Is(err, admin.ErrNotApproved):
				m.err = err
			}
		})
	}
	wg.Wait()
	return nil
}

func (r *Reconciler) askPeer(ctx context.Context, w *world, m *member, p *peer) {
	c, err := r.client(ctx, w, m, p)
	if err != nil {
		p.err = err
		return
	}
	installed, err := c.Installed(ctx)
	if err != nil {
		p.err = err
		return
	}
	p.seen = true
	p.installed = slices.ContainsFunc(installed, func(i admin.Installed) bool { return i.PackageID == w.packageID })
	committed, err := c.Committed(ctx, w.channelID, w.chaincode.Spec.ChaincodeName)
	switch {
	case err == nil:
		p.known, p.committed = true, &committed
	case errors.Is(err, admin.ErrNotCommitted):
		p.known = true
	default:
		// Most likely it has not joined yet; the Channel's status tells.
		p.err = err
	}
}

// eachPeer does something at all peers at once.
func (r *Reconciler) eachPeer(w *world, f func(*member, *peer)) {
	var wg sync.WaitGroup
	for _, m := range w.members {
		for _, p := range m.peers {
			wg.Go(func() { f(m, p) })
		}
	}
	wg.Wait()
}

func (r *Reconciler) client(ctx context.Context, w *world, m *member, p *peer) (*admin.Peer, error) {
	id, err := r.opts.Nodes.Admin(ctx, w.network, m.org)
	if err != nil {
		return nil, err
	}
	conn, err := r.opts.Nodes.Conn(specs.Address(p.name, w.network, v1alpha1.PortPeer), m.org.TLSRoots)
	if err != nil {
		return nil, err
	}
	return admin.NewPeer(conn, id, r.opts.Now), nil
}
