// Package siteinvite reconciles SiteInvites and decides about the codes that other sites use: it fixes the key of the
// first site that uses one, makes that site's SiteLink, and voids an invitation that somebody else uses as well. The
// protocol is internal/link's; what becomes of the SiteLink is decided by the sitelink controller.
package siteinvite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
)

const fieldOwner = "heddle-siteinvite"

// Options are what the controller works with.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Self is this site.
	Self link.SelfFunc
	// Now is the clock.
	Now func() time.Time
}

// Reconciler brings SiteInvites about.
type Reconciler struct {
	opts   Options
	rounds *kube.Rounds
	apply  *kube.Applier
}

// New makes the controller.
func New(o Options) *Reconciler {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Reconciler{
		opts:   o,
		rounds: &kube.Rounds{Client: o.Client, Recorder: o.Recorder},
		apply:  &kube.Applier{Client: o.Client, Reader: o.Reader, FieldOwner: fieldOwner},
	}
}

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	sameName := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []ctrl.Request {
		return []ctrl.Request{{NamespacedName: client.ObjectKey{Name: o.GetName()}}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("siteinvite").
		For(&v1alpha1.SiteInvite{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.SiteLink{}, sameName, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(kube.ControllerOptions()).
		Complete(r)
}

// scope is what one round sees.
type scope struct {
	invite *v1alpha1.SiteInvite
	link   *v1alpha1.SiteLink // the one of the same name; nil if there is none
	state  v1alpha1.SiteInviteState
}

// Reconcile runs one round for a SiteInvite.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &scope{}
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.SiteInvite{}, kube.Flow[*v1alpha1.SiteInvite]{
		Steps: func(ctx context.Context, i *v1alpha1.SiteInvite) error {
			s.invite = i
			return kube.Run(ctx, s, r.observe, r.compare, r.void, r.used, r.open)
		},
		Status: func(i *v1alpha1.SiteInvite) { s.summarize(i, r.opts.Now()) },
	})
}

func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	l := &v1alpha1.SiteLink{}
	err := r.opts.Client.Get(ctx, client.ObjectKey{Name: s.invite.Name}, l)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read SiteLink %q: %w", s.invite.Name, err)
	}
	if err == nil {
		s.link = l
	}
	return nil
}

// ours tells whether a SiteLink came of an invitation.
func ours(i *v1alpha1.SiteInvite, l *v1alpha1.SiteLink) bool {
	return l != nil && l.Annotations[v1alpha1.AnnotationInvite] == string(i.UID)
}

// compare voids an invitation of whose SiteLink somebody entered other digits than those that are shown.
func (r *Reconciler) compare(ctx context.Context, s *scope) error {
	if !ours(s.invite, s.link) || s.link.Spec.Check == "" || s.link.Spec.Check == s.link.Annotations[v1alpha1.AnnotationCheck] ||
		s.invite.Annotations[v1alpha1.AnnotationVoid] != "" {
		return nil
	}
	return r.apply.Mark(ctx, s.invite, v1alpha1.AnnotationVoid, "the six digits did not match")
}

// void ends what came of an invitation that somebody else may have, unless a person has approved it with the digits.
func (r *Reconciler) void(ctx context.Context, s *scope) error {
	why := s.invite.Annotations[v1alpha1.AnnotationVoid]
	if why == "" {
		return nil
	}
	s.state = v1alpha1.InviteVoid
	if ours(s.invite, s.link) && !s.link.IsRevoked() && !approved(s.link) {
		err := r.apply.Amend(ctx, s.link, func(o client.Object) {
			if l, ok := o.(*v1alpha1.SiteLink); ok {
				l.Spec.Partnership = v1alpha1.PartnershipRevoked
			}
		})
		if err != nil {
			return err
		}
	}
	return kube.Stalled(v1alpha1.ReasonInviteVoid, "The invitation is void, since %s: somebody else may have the token; delete the SiteInvite, "+
		"find out how the token got about, and invite the site again", why)
}

func approved(l *v1alpha1.SiteLink) bool {
	return meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.ConditionAccepted) ||
		l.Spec.Check != "" && l.Spec.Check == l.Annotations[v1alpha1.AnnotationCheck]
}

func (r *Reconciler) used(_ context.Context, s *scope) error {
	if s.invite.Annotations[v1alpha1.AnnotationJoiner] == "" {
		return nil
	}
	s.state = v1alpha1.InviteUsed
	return kube.LookAgain(time.Hour)
}

func (r *Reconciler) open(ctx context.Context, s *scope) error {
	left := s.invite.Spec.ExpiresAt.Sub(r.opts.Now())
	if left <= 0 {
		s.state = v1alpha1.InviteExpired
		return kube.Stalled(v1alpha1.ReasonInviteExpired, "Nobody used the invitation in time: delete it and invite the site again")
	}
	s.state = v1alpha1.InviteOpen
	if s.link != nil && !ours(s.invite, s.link) {
		return kube.Stalled(v1alpha1.ReasonConflict, "SiteLink %q exists: delete one of the two, or give the invitation another name", s.link.Name)
	}
	if _, err := r.opts.Self(ctx); err != nil {
		if errors.Is(err, link.ErrNoSite) {
			return kube.Waiting(v1alpha1.ReasonWaitingForDependency, time.Second, "This cluster is not set up as a site yet: 'heddle site init' does it")
		}
		return err
	}
	return kube.LookAgain(left)
}

func (s *scope) summarize(i *v1alpha1.SiteInvite, now time.Time) {
	if s.state != "" {
		i.Status.State = s.state
	}
	joiner, _, _ := strings.Cut(i.Annotations[v1alpha1.AnnotationJoiner], " ")
	if joiner != "" && i.Status.UsedBy == "" && (ours(i, s.link) || s.state == v1alpha1.InviteVoid) {
		i.Status.UsedBy, i.Status.UsedAt = joiner, ptr.To(metav1.NewTime(now))
	}
}

// missing tells whether an error says that an object is not there.
func missing(err error) bool { return apierrors.IsNotFound(err) }
