// Package chaincode brings Chaincodes about: it runs the contract as a Deployment behind a Service, or tells peers how to
// launch it, puts the package on every peer, approves the definition for every organisation of this site and commits it.
// It looks at peers and ledger in each round and does what is missing, so it goes on from wherever it was stopped.
// The sequence is never chosen by anybody: it follows from what the channel has committed.
package chaincode

import (
	"context"
	"time"

	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/controller/pace"
	"heddle.dev/heddle/internal/controller/watch"
	"heddle.dev/heddle/internal/kube"
)

const (
	fieldOwner = "heddle-chaincode"
	// rest is how often a contract that is as it should be is looked at without a reason: what can change it is watched,
	// but for a peer that loses its packages.
	rest = time.Minute
)

// Options are what the controller works with.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Nodes reaches peers.
	Nodes *access.Nodes
	// Meta reads what a build left beside an image for the packages of it: the archive with that digest in the image's
	// repository. nil where there are no builds.
	Meta func(ctx context.Context, image, digest string) ([]byte, error)
	// Lifetimes of certificates; keys.DefaultLifetimes unless given.
	Lifetimes keys.Lifetimes
	// Secrets tells of changed and deleted Secrets; nil leaves them to the next look.
	Secrets *watch.Secrets
	// Now is the clock.
	Now func() time.Time
}

// Reconciler brings Chaincodes about.
type Reconciler struct {
	opts    Options
	rounds  *kube.Rounds
	applier *kube.Applier
	pace    pace.Pace
	endings endings
}

// New makes the controller.
func New(opts Options) *Reconciler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Lifetimes == (keys.Lifetimes{}) {
		opts.Lifetimes = keys.DefaultLifetimes()
	}
	return &Reconciler{
		opts:    opts,
		rounds:  &kube.Rounds{Client: opts.Client, Recorder: opts.Recorder},
		applier: &kube.Applier{Client: opts.Client, Reader: opts.Reader, FieldOwner: fieldOwner},
		pace:    pace.Pace{Now: opts.Now, Rest: rest},
	}
}

// Reconcile runs one round for a Chaincode.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	w := &world{}
	res, err := kube.Reconcile(ctx, r.rounds, req, &v1alpha1.Chaincode{}, kube.Flow[*v1alpha1.Chaincode]{
		Steps: func(ctx context.Context, cc *v1alpha1.Chaincode) error {
			w.chaincode, w.now = cc, r.opts.Now()
			return kube.Run(ctx, w, r.look, r.secure, r.pack, r.serve, r.recall, r.ask, r.act)
		},
		Status: func(cc *v1alpha1.Chaincode) { w.report(cc) },
	})
	if w.chaincode == nil {
		r.pace.Forget(req.NamespacedName)
		return res, err
	}
	return r.pace.Next(req.NamespacedName, res, err, w.fingerprint(), kube.IsReady(w.chaincode))
}
