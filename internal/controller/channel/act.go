package channel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// compare works out the wish and how it stands to the ledger.
func (r *Reconciler) compare(_ context.Context, w *world) error {
	if w.ledger == nil {
		return nil
	}
	wish, err := w.wishes()
	if err != nil {
		return err
	}
	w.wish, w.flatWish, w.flatLedger = wish, flatten(wish), flatten(w.ledger.Channel)
	w.mask()
	if w.memory == nil && w.invited() {
		w.memory, w.fresh = w.firstMemory(), true
	}
	w.verdict = compare(w.flatWish, w.flatLedger, w.memory)
	return nil
}

// act does what is due: joins first, then at most one update.
func (r *Reconciler) act(ctx context.Context, w *world) error {
	r.join(ctx, w)
	if err := r.leave(ctx, w); err != nil {
		return err
	}
	if err := r.remember(ctx, w); err != nil {
		return err
	}
	if err := r.update(ctx, w); err != nil {
		return err
	}
	return w.conclude()
}

// join joins everybody who is due: all at once, but for the peers of different organizations. An orderer that comes later
// gets the newest configuration, so that it starts as a follower and knows whom to copy from; a peer always starts at the
// first block.
//
// A peer that joins dials the anchor peers of the other organizations. Two that dial each other at the same moment each
// close the connection that they opened when the other's arrives (gossip/comm/conn.go in Fabric), and both wait 5 s before
// they try again (gossip/discovery, sendUntilAcked), so one organization after the other joins.
func (r *Reconciler) join(ctx context.Context, w *world) {
	var wg sync.WaitGroup
	for n, turn := range joinTurns(w.joins()) {
		wg.Go(func() {
			select {
			case <-time.After(turn):
			case <-ctx.Done():
			}
			ctx, cancel := context.WithTimeout(ctx, joinTimeout)
			defer cancel()
			err := r.joinOne(ctx, w, n)
			if err != nil && !errors.Is(err, admin.ErrChannelExists) {
				n.err = err
				return
			}
			n.joined, n.status = true, admin.OnBoarding
			if n.orderer && w.ledger == nil {
				n.status, n.height = admin.Active, 1
			}
		})
	}
	wg.Wait()
}

func (r *Reconciler) joinOne(ctx context.Context, w *world, n *node) error {
	if !n.orderer {
		peer, err := r.peer(ctx, w, n)
		if err != nil {
			return err
		}
		return peer.Join(ctx, w.genesis)
	}
	api, err := r.participation(ctx, w, n)
	if err != nil {
		return err
	}
	from := w.genesis
	if w.block != nil && w.block.GetHeader().GetNumber() > 0 {
		from = w.block
	}
	_, err = api.Join(ctx, from)
	return err
}

// leave takes the channel off orderers that were removed from it.
func (r *Reconciler) leave(ctx context.Context, w *world) error {
	r.noteRemoved(w)
	leaves := w.leaves()
	if len(leaves) == 0 {
		return nil
	}
	if err := r.standing(ctx, w); err != nil {
		return w.goneOr(err)
	}
	for _, n := range leaves {
		api, err := r.participation(ctx, w, n)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, admin.RemovePatience)
		err = api.Remove(ctx, w.channelID)
		cancel()
		if err != nil && !errors.Is(err, admin.ErrChannelNotFound) {
			n.err = err
			continue
		}
		n.joined = false
	}
	return nil
}

// noteRemoved notes since when orderers do not belong to the channel any more.
func (r *Reconciler) noteRemoved(w *world) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range w.nodes {
		key := removedKey{channel: w.channel.UID, orderer: n.name}
		if !w.removed(n) {
			delete(r.removed, key)
			continue
		}
		if _, ok := r.removed[key]; !ok {
			r.removed[key] = w.now
		}
		n.removedAt = r.removed[key]
	}
}

// remember writes down what has been carried out, and what the user accepts.
func (r *Reconciler) remember(ctx context.Context, w *world) error {
	if w.ledger == nil {
		return nil
	}
	wish, ledger := w.flatWish, w.flatLedger
	next := w.memory.learn(wish, ledger, w.verdict, w.channel.Generation)
	if w.memory != nil {
		next = next.overtake(w.memory, wish, ledger, w.verdict.ours)
	}
	_, adopting := w.channel.Annotations[v1alpha1.AnnotationAdopt]
	if adopting {
		next = next.accept(ledger, w.verdict.theirs)
	} else if agreed, err := r.agreed(ctx, w); err != nil {
		return err
	} else if len(agreed) > 0 {
		next = next.accept(ledger, agreed)
	}
	if w.fresh || !next.equal(w.memory) {
		text, err := next.encode()
		if err != nil {
			return err
		}
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.network, Name: specs.GenesisConfigMap(w.channel.Name)}}
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, annotationMemory, text)
		if err := r.opts.Client.Patch(ctx, cm, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner)); err != nil {
			return fmt.Errorf("note applied settings: %w", err)
		}
		w.memory, w.fresh = next, false
		w.verdict = compare(wish, ledger, w.memory)
	}
	if !adopting {
		return nil
	}
	ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: w.network, Name: w.channel.Name}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}}}`, v1alpha1.AnnotationAdopt)
	if err := r.opts.Client.Patch(ctx, ch, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(fieldOwner)); err != nil {
		return fmt.Errorf("remove annotation %s: %w", v1alpha1.AnnotationAdopt, err)
	}
	return nil
}

// update makes the one config update that is due now, if any.
func (r *Reconciler) update(ctx context.Context, w *world) error {
	u, err := w.next()
	if u == nil || err != nil {
		return err
	}
	if u.removes {
		if err := r.standing(ctx, w); err != nil {
			return w.goneOr(err)
		}
	}
	if err := r.stillRemembered(ctx, w); err != nil {
		return err
	}
	up, err := w.ledger.Update(u.target)
	if errors.Is(err, channelconfig.ErrNoChange) {
		return nil
	}
	if err != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "The spec cannot become the channel's configuration: %s", err)
	}
	if foreign, err := r.needsOthers(w, up); err != nil {
		return err
	} else if foreign {
		return r.propose(ctx, w, u, up)
	}
	if err := r.sign(ctx, w, up); err != nil {
		return err
	}
	if err := r.submit(ctx, w, up); err != nil {
		return err
	}
	if r.opts.Recorder != nil {
		r.opts.Recorder.Eventf(w.channel, nil, corev1.EventTypeNormal, v1alpha1.ReasonProgressing, "UpdateConfig", "%s", limit(u.text))
	}
	return kube.Waiting(v1alpha1.ReasonProgressing, 250*time.Millisecond, "Config update on its way: %s", u.text)
}

// stillRemembered makes sure at the API server itself that the memory, on which the update was decided, is current.
func (r *Reconciler) stillRemembered(ctx context.Context, w *world) error {
	var cm corev1.ConfigMap
	key := types.NamespacedName{Namespace: w.network, Name: specs.GenesisConfigMap(w.channel.Name)}
	if err := r.opts.Reader.Get(ctx, key, &cm); err != nil {
		return fmt.Errorf("read ConfigMap %q: %w", key.Name, err)
	}
	m, err := parseMemory(cm.Annotations[annotationMemory])
	if err != nil {
		return err
	}
	if !m.equal(w.memory) {
		return kube.Waiting(v1alpha1.ReasonProgressing, 100*time.Millisecond, "Waiting for the newest state of the channel")
	}
	return nil
}

// sign collects the signatures of every member at this site.
func (r *Reconciler) sign(ctx context.Context, w *world, up *channelconfig.Update) error {
	signed := map[string]bool{}
	for _, list := range [][]channelconfig.Organization{w.ledger.Channel.OrdererOrgs, w.ledger.Channel.ApplicationOrgs} {
		for _, o := range list {
			id, err := r.adminOf(ctx, w, o.MSPID)
			if err != nil {
				return err
			}
			if id == nil || signed[o.MSPID] {
				continue
			}
			signed[o.MSPID] = true
			if err := up.Sign(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// adminOf finds the administrator of a local organisation by MSP id; nil if it is not local.
func (r *Reconciler) adminOf(ctx context.Context, w *world, mspID string) (*identity.Identity, error) {
	for _, org := range w.orgs {
		if org.MSPID == mspID && w.roster.Link(org.Name) == "" {
			return r.opts.Nodes.Admin(ctx, w.network, org)
		}
	}
	return nil, nil //nolint:nilnil // an organisation of another site
}

// goneOr ends the round quietly when the network is being deleted.
func (w *world) goneOr(err error) error {
	if errors.Is(err, errGone) {
		return kube.Waiting(v1alpha1.ReasonDeleting, 0, "The network is being deleted: the ledger stays as it is")
	}
	return err
}

// conclude says what is still to be waited for.
func (w *world) conclude() error {
	for _, check := range []func() error{w.everybodyIn, w.quorate, w.peersOpen, w.everybodyOut} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// everybodyOut waits for orderers that were removed and have to leave.
func (w *world) everybodyOut() error {
	for _, n := range w.nodes {
		if w.departing(n) || w.removed(n) {
			if n.err != nil {
				return fmt.Errorf("take the channel off %s: %w", n.name, n.err)
			}
			return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for %s to leave the channel", n.name)
		}
	}
	return nil
}

// everybodyIn waits for nodes that have not joined yet.
func (w *world) everybodyIn() error {
	var waiting []string
	for _, n := range w.nodes {
		if !w.shallJoin(n) || n.joined {
			continue
		}
		if n.seen && n.err != nil {
			return fmt.Errorf("join %s to the channel: %w", n.name, n.err)
		}
		if !w.knownBefore(n) {
			waiting = append(waiting, n.name)
		}
	}
	for _, name := range w.consenters {
		if _, ok := w.certs[name]; !ok {
			return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for the certificates of %s", name)
		}
	}
	if len(waiting) > 0 {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for %s to join the channel", some(waiting))
	}
	return nil
}

// quorate waits until enough consenters are active to order.
func (w *world) quorate() error {
	if w.ledger == nil {
		return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for an active orderer")
	}
	consenters, highest := w.ledger.Channel.Consenters, w.highest()
	var down []string
	for _, c := range consenters {
		if n := w.at(c.Address().String()); n != nil && !n.active(highest) {
			down = append(down, n.name)
		}
	}
	quorum := w.ledger.Channel.Consensus.Quorum(len(consenters))
	if active := len(consenters) - len(down); active < quorum {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "%d of %d consenters are active and %d are needed to order: waiting for %s",
			active, len(consenters), quorum, some(down))
	}
	return nil
}

// peersOpen waits for peers that have joined and do not serve the channel yet.
func (w *world) peersOpen() error {
	for _, n := range w.nodes {
		if w.shallJoin(n) && !n.orderer && n.joined && n.height == 0 && !w.knownBefore(n) {
			return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Waiting for %s to open the channel", n.name)
		}
	}
	return nil
}

// knownBefore tells whether a node had joined when it was last seen: then it is down and not on its way.
func (w *world) knownBefore(n *node) bool {
	if n.seen {
		return false
	}
	return slices.ContainsFunc(w.channel.Status.Nodes, func(s v1alpha1.ChannelNode) bool {
		return s.Name == n.name && s.Height != nil
	})
}

// limit keeps an event's note within what the API takes.
func limit(s string) string {
	const most = 900
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
