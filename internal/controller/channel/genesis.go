package channel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// ensureGenesis makes the channel's first block, once: it needs everybody's certificates and no running node. If the
// channel was born before and its ConfigMap is lost, the block comes back from a node.
func (r *Reconciler) ensureGenesis(ctx context.Context, w *world) error {
	if w.genesis != nil {
		if kube.IsReady(w.channel) {
			return nil
		}
		return w.isOurs()
	}
	if w.channel.Spec.Invitation != nil {
		return r.fetchGenesis(ctx, w)
	}
	if w.channel.Status.GenesisHash != "" {
		return r.recoverGenesis(ctx, w)
	}
	if err := r.complete(ctx, w); err != nil {
		return err
	}
	wish, err := w.wishes()
	if err != nil {
		return err
	}
	block, err := channelconfig.Genesis(wish, w.channel.CreationTimestamp.Time)
	if err != nil {
		return err
	}
	return r.store(ctx, w, block, &memory{Generation: w.channel.Generation, Wish: flatten(wish)})
}

// isOurs refuses a retained block of another ledger.
func (w *world) isOurs() error {
	c, err := channelconfig.Read(w.genesis)
	if err != nil {
		return fmt.Errorf("read genesis block: %w", err)
	}
	if c.Channel.ID != w.channelID {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "ConfigMap %q holds the genesis block of channel %q and not of %q: choose another name for the Channel",
			specs.GenesisConfigMap(w.channel.Name), c.Channel.ID, w.channelID)
	}
	if c.Channel.Consensus != consensusOf(w.channel.Spec.Consensus) {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "The channel was born with consensus %s: set spec.consensus to it", c.Channel.Consensus)
	}
	return nil
}

// store writes the block where it can never be written over, together with the wish that it was made from.
func (r *Reconciler) store(ctx context.Context, w *world, block *cb.Block, m *memory) error {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(block)
	if err != nil {
		return fmt.Errorf("encode genesis block: %w", err)
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.network, Name: specs.GenesisConfigMap(w.channel.Name),
			Labels: specs.PlaceOf(w.network, w.channel.Labels).Labels("", "", ""),
		},
		Immutable:  ptr.To(true),
		BinaryData: map[string][]byte{specs.KeyGenesisBlock: raw},
	}
	cm.Labels[v1alpha1.LabelChannel] = w.channel.Name
	if m != nil {
		text, err := m.encode()
		if err != nil {
			return err
		}
		cm.Annotations = map[string]string{annotationMemory: text}
	}
	if _, err := r.applier.CreateOnce(ctx, nil, cm); err != nil {
		return err
	}
	if err := w.takeGenesis(cm); err != nil {
		return err
	}
	return w.isOurs()
}

// recoverGenesis reads block 0 back from an orderer that has it.
func (r *Reconciler) recoverGenesis(ctx context.Context, w *world) error {
	if err := r.ask(ctx, w); err != nil {
		return err
	}
	var failed error
	for _, n := range w.nodes {
		if !n.orderer || !n.joined {
			continue
		}
		orderer, err := r.orderer(ctx, w, n)
		if err != nil {
			failed = err
			continue
		}
		block, err := orderer.Block(ctx, w.channelID, 0)
		if err != nil {
			failed = err
			continue
		}
		return r.store(ctx, w, block, nil)
	}
	if failed != nil {
		return fmt.Errorf("read the lost genesis block back: %w", failed)
	}
	return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "ConfigMap %q is gone: waiting for an orderer to read the genesis block back from",
		specs.GenesisConfigMap(w.channel.Name))
}

// complete waits until everybody who belongs into the first block is there with certificates. Where a Network stands
// behind the namespace it says who that is; else the set has to be still for a moment.
func (r *Reconciler) complete(ctx context.Context, w *world) error {
	missing, err := r.missing(ctx, w)
	if err != nil {
		return err
	}
	missing = append(missing, w.unknown(missing)...)
	for _, name := range w.members {
		if w.orgs[name] == nil {
			missing = append(missing, "certificates of "+name)
		}
	}
	for _, o := range w.orderers() {
		if _, ok := w.certs[o.name]; slices.Contains(w.consenters, o.name) && (!ok || w.orgs[o.org] == nil) {
			missing = append(missing, "certificates of "+o.name)
		}
	}
	if len(w.consenters) == 0 && len(w.channel.Spec.Consenters) == 0 {
		missing = append(missing, "an Orderer")
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for %s", some(slices.Compact(missing)))
}

// unknown names what the Channel asks for and nobody else does, and what to do about it.
func (w *world) unknown(coming []string) []string {
	var out []string
	for _, name := range w.channel.Spec.Organizations {
		if what := "Organization " + name; w.roster.Organization(name) == nil && !slices.Contains(coming, what) {
			out = append(out, what+" (create it, take it out of spec.organizations, or wait for the partner to tell of it)")
		}
	}
	for _, name := range w.channel.Spec.Consenters {
		if what := "Orderer " + name; !slices.Contains(w.consenters, name) && !slices.Contains(coming, what) {
			out = append(out, what+" (create it, take it out of spec.consenters, or wait for the partner to offer it)")
		}
	}
	return out
}

// missing names what the Network asks for and what is not there yet.
func (r *Reconciler) missing(ctx context.Context, w *world) ([]string, error) {
	var net v1alpha1.Network
	err := apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("networks").GroupResource(), w.network)
	if !r.opts.Namespaced {
		if e := r.opts.Client.Get(ctx, types.NamespacedName{Name: w.network}, &net); e == nil {
			err = nil
		} else if !apierrors.IsNotFound(e) {
			return nil, fmt.Errorf("read Network %q: %w", w.network, e)
		}
	}
	if err != nil {
		return nil, r.still(w)
	}
	var out []string
	for _, o := range net.Spec.Organizations {
		if w.roster.Organization(o.Name) == nil {
			out = append(out, "Organization "+o.Name)
		}
		if o.Orderers != nil {
			for i := range ptr.Deref(o.Orderers.Count, 0) {
				name := specs.OrdererName(o.Name, int(i))
				if !slices.ContainsFunc(w.roster.Orderers, func(x v1alpha1.Orderer) bool { return x.Name == name }) {
					out = append(out, "Orderer "+name)
				}
			}
		}
		if o.Peers != nil && ptr.Deref(o.Peers.Count, 0) > 0 && len(w.roster.PeersOf(o.Name)) == 0 {
			out = append(out, "Peer "+specs.PeerName(o.Name, 0))
		}
	}
	return out, nil
}

// still waits until the newest object of a hand-made network has stood for a moment.
func (r *Reconciler) still(w *world) error {
	newest := w.channel.CreationTimestamp.Time
	for i := range w.roster.Organizations {
		newest = later(newest, w.roster.Organizations[i].CreationTimestamp.Time)
	}
	for i := range w.roster.Orderers {
		newest = later(newest, w.roster.Orderers[i].CreationTimestamp.Time)
	}
	for i := range w.roster.Peers {
		newest = later(newest, w.roster.Peers[i].CreationTimestamp.Time)
	}
	if rest := settle - r.opts.Now().Sub(newest); rest > 0 {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, rest, "Waiting for the network's objects to be complete")
	}
	return nil
}

// some joins the first few of a list.
func some(list []string) string {
	const most = 6
	if len(list) > most {
		return strings.Join(list[:most], ", ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, ", ")
}

// errGone says that the network is being taken down.
var errGone = errors.New("the network is being deleted")

// standing makes sure, at the API server itself, that the network is not being deleted: then its nodes go away and
// the ledger has to stay as it is.
func (r *Reconciler) standing(ctx context.Context, w *world) error {
	if r.opts.Namespaced {
		return nil
	}
	var ns corev1.Namespace
	if err := r.opts.Reader.Get(ctx, types.NamespacedName{Name: w.network}, &ns); err != nil {
		return fmt.Errorf("read namespace %q: %w", w.network, err)
	}
	if !ns.DeletionTimestamp.IsZero() {
		return errGone
	}
	var net v1alpha1.Network
	err := r.opts.Reader.Get(ctx, types.NamespacedName{Name: w.network}, &net)
	if apierrors.IsNotFound(err) {
		// A network made by hand, unless the channel was made by a Network that is gone now.
		if w.channel.Labels[v1alpha1.LabelInline] != "" {
			return errGone
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read Network %q: %w", w.network, err)
	}
	if !net.DeletionTimestamp.IsZero() {
		return errGone
	}
	return nil
}
