// Package proposal brings Proposals about: changes of a channel's configuration that need signatures of several sites.
// The site that made one sends it to the others and hands it to the orderers when the channel's policy is met. The
// others work out from the update itself what it does, wait for a person to sign or to reject it, sign with the keys
// that are theirs, and send the signatures back. No key and no signature of an administrator leaves without a decision.
package proposal

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/channel"
	"heddle.dev/heddle/internal/kube"
)

// fieldOwner of what this controller applies.
const fieldOwner = "heddle-proposal"

// Sender sends a document to a partner. What the partner refuses comes back as an error with its words.
type Sender interface {
	Send(ctx context.Context, link *v1alpha1.SiteLink, kind, subject string, payload any) error
}

// Options are what the controller works with.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Channels looks at channels, signs and submits.
	Channels *channel.Reconciler
	// Sender reaches the partners.
	Sender Sender
	// Now is the clock.
	Now func() time.Time
}

// Reconciler brings Proposals about.
type Reconciler struct {
	opts    Options
	rounds  *kube.Rounds
	applier *kube.Applier

	mu sync.Mutex
	// sent is when something was last sent to a partner for a proposal.
	sent map[sentKey]time.Time
}

type sentKey struct {
	proposal types.UID
	link     string
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
		sent:    map[sentKey]time.Time{},
	}
}

// Reconcile runs one round for a Proposal.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	w := &world{}
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.Proposal{}, kube.Flow[*v1alpha1.Proposal]{
		Steps: func(ctx context.Context, p *v1alpha1.Proposal) error {
			w.proposal, w.now, w.state = p, r.opts.Now(), p.Status.State
			err := r.round(ctx, w)
			if failed := r.prune(ctx, w); failed != nil {
				return failed
			}
			return err
		},
		Status: func(p *v1alpha1.Proposal) { w.report(p) },
	})
}

func (r *Reconciler) round(ctx context.Context, w *world) error {
	if err := w.final(); err != nil || w.state == v1alpha1.ProposalSubmitted {
		return err
	}
	return kube.Run(ctx, w, r.look, r.moved, r.expired, r.explain, r.hear, r.decide)
}

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	moved := builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok1 := e.ObjectOld.(*v1alpha1.Channel)
			after, ok2 := e.ObjectNew.(*v1alpha1.Channel)
			return ok1 && ok2 && sequence(before) != sequence(after)
		},
	})
	return ctrl.NewControllerManagedBy(mgr).Named("proposal").
		For(&v1alpha1.Proposal{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.Channel{}, handler.EnqueueRequestsFromMapFunc(r.proposalsOf), moved).
		WithOptions(kube.ControllerOptions()).Complete(r)
}

func sequence(ch *v1alpha1.Channel) int64 {
	if s := ch.Status.ConfigSequence; s != nil {
		return *s
	}
	return -1
}

// proposalsOf wakes the proposals for a channel whose configuration has moved on.
func (r *Reconciler) proposalsOf(ctx context.Context, obj client.Object) []reconcile.Request {
	var list v1alpha1.ProposalList
	if err := r.opts.Client.List(ctx, &list, client.InNamespace(obj.GetNamespace())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List proposals", "namespace", obj.GetNamespace())
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if p := &list.Items[i]; p.Spec.Channel == obj.GetName() && finalReason(p.Status.State) == "" && p.Status.State != v1alpha1.ProposalSubmitted {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(p)})
		}
	}
	return out
}
