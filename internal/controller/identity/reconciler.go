// Package identity brings Identities about: a key made once and a certificate of the organisation, in a Secret beside
// the object, with a connection profile. Client users are registered and enrolled with the organisation's fabric-ca,
// or issued by the operator where there is none; administrators are issued by the operator. It owns no CA and no
// decision about who may stand where: that is the Network's spec.clientNamespaces.
package identity

import (
	"context"
	"time"

	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/pace"
	"heddle.dev/heddle/internal/controller/watch"
	"heddle.dev/heddle/internal/kube"
)

const (
	fieldOwner = "heddle-identity"
	// lifetime of certificates that the operator issues itself, and how long before the end they are renewed.
	lifetime    = 365 * 24 * time.Hour
	renewBefore = 30 * 24 * time.Hour
	// recheck is how often a Secret is looked at without a reason: those in namespaces of clients are not watched.
	recheck = 5 * time.Minute
)

// Options are what the controller works with.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Nodes reads organisations' material and reaches their CAs.
	Nodes *access.Nodes
	// Secrets tells of changed and deleted Secrets; nil leaves them to the next look.
	Secrets *watch.Secrets
	// Now is the clock.
	Now func() time.Time
	// Namespaced says that Networks cannot be read.
	Namespaced bool
}

// Reconciler brings Identities about.
type Reconciler struct {
	opts    Options
	rounds  *kube.Rounds
	applier *kube.Applier
	pace    pace.Pace
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
		pace:    pace.Pace{Now: opts.Now},
	}
}

// Reconcile runs one round for an Identity.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &scope{}
	res, err := kube.Reconcile(ctx, r.rounds, req, &v1alpha1.Identity{}, kube.Flow[*v1alpha1.Identity]{
		Steps: func(ctx context.Context, id *v1alpha1.Identity) error {
			s.id = id
			return kube.Run(ctx, s, r.permitted, r.look, r.alone, r.issue, r.write)
		},
		Status: func(id *v1alpha1.Identity) { s.report(id, r.opts.Now()) },
	})
	if s.id == nil {
		r.pace.Forget(req.NamespacedName)
		return res, err
	}
	ready := kube.IsReady(s.id)
	if ready && err == nil && res.RequeueAfter == 0 {
		res.RequeueAfter = recheck
	}
	return r.pace.Next(req.NamespacedName, res, err, kube.ReadyMessage(s.id), ready)
}
