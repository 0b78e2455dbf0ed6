// Package channel brings Channels about: it makes the genesis block once, joins orderers and peers as soon as they
// answer, carries changes of the spec over to the ledger's configuration, one consenter at a time, and shows where
// each node is. The ledger's configuration is the truth; what was changed there by others is shown and never undone.
// design/0003-channel-config.md tells how the two are kept apart.
package channel

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/pace"
	"heddle.dev/heddle/internal/kube"
)

// fieldOwner of what this controller applies.
const fieldOwner = "heddle-channel"

// Options are what the controller works with.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Nodes reaches peers and orderers.
	Nodes *access.Nodes
	// Now is the clock.
	Now func() time.Time
	// Namespaced says that Networks and Namespaces cannot be read.
	Namespaced bool
}

// Reconciler brings Channels about.
type Reconciler struct {
	opts    Options
	rounds  *kube.Rounds
	applier *kube.Applier

	mu      sync.Mutex
	ledgers map[types.UID]*seenLedger
	certs   map[types.UID]*seenCerts
	// removed is since when orderers are part of a channel that they do not belong to.
	removed map[removedKey]time.Time
	// submitted is the update that each channel was last given.
	submitted map[types.UID]submitted
	pace      pace.Pace
}

// New makes the controller.
func New(opts Options) *Reconciler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Reconciler{
		opts:    opts,
		rounds:  &kube.Rounds{Client: opts.Client, Recorder: opts.Recorder},
		applier: &kube.Applier{Client: opts.Client, Reader: opts.Reader, FieldOwner: fieldOwner},
		ledgers: map[types.UID]*seenLedger{},
		certs:   map[types.UID]*seenCerts{},
		removed: map[removedKey]time.Time{},
		pace:    pace.Pace{Now: opts.Now},

		submitted: map[types.UID]submitted{},
	}
}

// removedKey is an orderer of a channel.
type removedKey struct {
	channel types.UID
	orderer string
}

// Reconcile runs one round for a Channel.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	w := &world{}
	res, err := kube.Reconcile(ctx, r.rounds, req, &v1alpha1.Channel{}, kube.Flow[*v1alpha1.Channel]{
		Steps: func(ctx context.Context, ch *v1alpha1.Channel) error {
			w.channel = ch
			return kube.Run(ctx, w, r.look, r.ensureGenesis, r.ask, r.readLedger, r.compare, r.act)
		},
		Status: func(ch *v1alpha1.Channel) { w.report(ch) },
	})
	if w.channel == nil {
		r.forget(req)
		return res, err
	}
	return r.pace.Next(req.NamespacedName, res, err, w.fingerprint(), kube.IsReady(w.channel))
}

// forget drops what is remembered of a Channel that is gone.
func (r *Reconciler) forget(req ctrl.Request) {
	r.pace.Forget(req.NamespacedName)
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid, l := range r.ledgers {
		if l.name == req.NamespacedName {
			delete(r.ledgers, uid)
			delete(r.submitted, uid)
		}
	}
}
