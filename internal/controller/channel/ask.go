package channel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/specs"
)

const (
	// askTimeout bounds one question to a node; all nodes are asked at once.
	askTimeout = 3 * time.Second
	// joinTimeout bounds one join: a peer opens a ledger for it.
	joinTimeout = 20 * time.Second
	// joinTurn is how long a peer takes to dial anchor peers, on a busy machine.
	joinTurn = 500 * time.Millisecond
	// readTimeout bounds reading the configuration.
	readTimeout = 5 * time.Second
	// ledgerRest is how long a configuration that was read counts while blocks come in and nothing is under way.
	ledgerRest = 10 * time.Second
)

// ask asks every node of the channel where it is.
func (r *Reconciler) ask(ctx context.Context, w *world) error {
	if w.nodes != nil {
		return nil
	}
	w.nodes = nodesOf(w)
	var wg sync.WaitGroup
	for _, n := range w.nodes {
		if w.orgs[n.org] == nil {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			n.asked = true
			if n.orderer {
				r.askOrderer(ctx, w, n)
				return
			}
			r.askPeer(ctx, w, n)
		})
	}
	wg.Wait()
	return nil
}

// nodesOf are the orderers and the members' peers.
func nodesOf(w *world) []*node {
	out := []*node{}
	for i := range w.roster.Orderers {
		o := &w.roster.Orderers[i]
		n := &node{name: o.Name, org: o.Spec.Organization, orderer: true, address: specs.Address(o.Name, w.network, v1alpha1.PortOrderer)}
		if t := o.DeletionTimestamp; t != nil {
			n.deleting, n.deletedAt = true, t.Time
		}
		out = append(out, n)
	}
	for i := range w.roster.Peers {
		p := &w.roster.Peers[i]
		if !slices.Contains(w.members, p.Spec.Organization) {
			continue
		}
		out = append(out, &node{
			name: p.Name, org: p.Spec.Organization, deleting: !p.DeletionTimestamp.IsZero(),
			address: specs.Address(p.Name, w.network, v1alpha1.PortPeer),
		})
	}
	return out
}

func (r *Reconciler) askOrderer(ctx context.Context, w *world, n *node) {
	api, err := r.participation(ctx, w, n)
	if err != nil {
		n.err = err
		return
	}
	info, err := api.Info(ctx, w.channelID)
	switch {
	case errors.Is(err, admin.ErrChannelNotFound):
		n.seen = true
	case err != nil:
		n.err = err
	default:
		n.seen, n.joined = true, true
		n.relation, n.status, n.height = info.Relation, info.Status, info.Height
	}
}

func (r *Reconciler) askPeer(ctx context.Context, w *world, n *node) {
	peer, err := r.peer(ctx, w, n)
	if err != nil {
		n.err = err
		return
	}
	height, err := peer.Height(ctx, w.channelID)
	if err == nil {
		n.seen, n.joined, n.height = true, true, height.Blocks
		return
	}
	if unreachable(err) {
		n.err = err
		return
	}
	joined, listErr := peer.Channels(ctx)
	if listErr != nil {
		n.err = listErr
		return
	}
	n.seen = true
	if slices.Contains(joined, w.channelID) {
		n.joined, n.err = true, err
	}
}

// unreachable tells errors of the way to a node from answers of the node.
func unreachable(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	s, ok := status.FromError(rootStatus(err))
	return ok && (s.Code() == codes.Unavailable || s.Code() == codes.DeadlineExceeded || s.Code() == codes.Canceled)
}

// rootStatus finds the gRPC status that an error wraps.
func rootStatus(err error) error {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Err()
	}
	return err
}

func (r *Reconciler) participation(ctx context.Context, w *world, n *node) (*admin.Participation, error) {
	return r.opts.Nodes.Participation(ctx, w.network, w.orgs[n.org], specs.Address(n.name, w.network, v1alpha1.PortParticipation))
}

func (r *Reconciler) peer(ctx context.Context, w *world, n *node) (*admin.Peer, error) {
	org := w.orgs[n.org]
	id, err := r.opts.Nodes.Admin(ctx, w.network, org)
	if err != nil {
		return nil, err
	}
	conn, err := r.opts.Nodes.Conn(n.address, org.TLSRoots)
	if err != nil {
		return nil, err
	}
	return admin.NewPeer(conn, id, r.opts.Now), nil
}

func (r *Reconciler) orderer(ctx context.Context, w *world, n *node) (*admin.Orderer, error) {
	org := w.orgs[n.org]
	id, err := r.opts.Nodes.Admin(ctx, w.network, org)
	if err != nil {
		return nil, err
	}
	conn, err := r.opts.Nodes.Conn(n.address, org.TLSRoots)
	if err != nil {
		return nil, err
	}
	return admin.NewOrderer(conn, id, r.opts.Now), nil
}

// seenLedger is a configuration as it was read.
type seenLedger struct {
	name   types.NamespacedName
	config *channelconfig.Config
	block  *cb.Block
	// height of the channel and time of reading.
	height uint64
	at     time.Time
}

// readLedger reads the newest configuration from the highest active orderer, if there may be a new one: a channel
// that has not grown has none.
func (r *Reconciler) readLedger(ctx context.Context, w *world) error {
	r.mu.Lock()
	last := r.ledgers[w.channel.UID]
	r.mu.Unlock()
	if last != nil {
		w.ledger, w.block = last.config, last.block
	}
	from, height := w.reader()
	if from == nil {
		return r.readAfar(ctx, w, last)
	}
	now := r.opts.Now()
	if last != nil && (last.height >= height || (!w.urgent && r.resting(w) && now.Sub(last.at) < ledgerRest)) {
		return nil
	}
	orderer, err := r.orderer(ctx, w, from)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	block, err := orderer.ConfigBlock(ctx, w.channelID)
	if err != nil {
		if last != nil {
			// What was read before is good enough to go on with; the next round reads again.
			return nil
		}
		return fmt.Errorf("read configuration from %s: %w", from.name, err)
	}
	config, err := channelconfig.Read(block)
	if err != nil {
		return err
	}
	if last != nil && config.Sequence < last.config.Sequence {
		return nil
	}
	r.took(w, config, block, height)
	return nil
}

// took remembers a configuration that was read.
func (r *Reconciler) took(w *world, config *channelconfig.Config, block *cb.Block, height uint64) {
	w.ledger, w.block = config, block
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ledgers[w.channel.UID] = &seenLedger{
		name:   types.NamespacedName{Namespace: w.network, Name: w.channel.Name},
		config: config, block: block, height: height, at: r.opts.Now(),
	}
}

// reader is the orderer to read from.
func (w *world) reader() (*node, uint64) {
	var best *node
	for _, n := range w.nodes {
		if n.orderer && n.seen && n.joined && n.status == admin.Active && n.height > 0 && (best == nil || n.height > best.height) {
			best = n
		}
	}
	if best == nil {
		return nil, 0
	}
	return best, best.height
}

// resting tells whether the round before ended in Ready for this very generation.
func (r *Reconciler) resting(w *world) bool {
	c := w.channel
	if _, adopting := c.Annotations[v1alpha1.AnnotationAdopt]; adopting {
		return false
	}
	return c.Status.ObservedGeneration == c.Generation && r.pace.Resting(types.NamespacedName{Namespace: w.network, Name: c.Name})
}
