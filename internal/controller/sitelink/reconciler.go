// Package sitelink reconciles SiteLinks: it uses invitations of other sites, waits for people's approval, asks each partner
// every second how things stand, tells partners of this site's CAs and endpoints, and ends partnerships. Objects that carry
// traffic belong to the controllers of site and link; what sites say to each other, and how, is internal/link's.
package sitelink

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
)

const fieldOwner = "heddle-sitelink"

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
	// Partners calls other sites.
	Partners *link.Client
	// System is the namespace of Secrets with codes.
	System string
	// Now is the clock.
	Now func() time.Time
}

// Reconciler brings SiteLinks about.
type Reconciler struct {
	opts   Options
	rounds *kube.Rounds
	apply  *kube.Applier
	pulse  *pulse
}

// New makes the controller.
func New(o Options) *Reconciler {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Reconciler{
		opts:   o,
		rounds: &kube.Rounds{Client: o.Client, Recorder: o.Recorder},
		apply:  &kube.Applier{Client: o.Client, Reader: o.Reader, FieldOwner: fieldOwner},
	}
	r.pulse = newPulse(r.ask)
	return r
}

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	if err := mgr.Add(r.pulse); err != nil {
		return fmt.Errorf("add the pulse of links: %w", err)
	}
	all := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []ctrl.Request {
		var links v1alpha1.SiteLinkList
		if err := r.opts.Client.List(ctx, &links); err != nil {
			return nil
		}
		var out []ctrl.Request
		for i := range links.Items {
			out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&links.Items[i])})
		}
		return out
	})
	return ctrl.NewControllerManagedBy(mgr).Named("sitelink").
		For(&v1alpha1.SiteLink{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		// What this site tells of itself may have changed.
		Watches(&v1alpha1.Site{}, all).
		WatchesRawSource(source.Channel(r.pulse.events, &handler.EnqueueRequestForObject{})).
		WithOptions(kube.ControllerOptions()).
		Complete(r)
}

// scope is what one round sees.
type scope struct {
	link *v1alpha1.SiteLink
	self *link.Self
	cas  []*x509.Certificate
	// state to be shown; empty leaves it as it was.
	state v1alpha1.SiteLinkState
	// The conditions to be shown; a nil one stays as it was.
	accepted, trusted, connected *condition
}

type condition struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(message string) *condition {
	return &condition{metav1.ConditionTrue, v1alpha1.ReasonReady, message}
}

func no(reason, message string) *condition {
	return &condition{metav1.ConditionFalse, reason, message}
}

// Reconcile runs one round for a SiteLink.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &scope{}
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.SiteLink{}, kube.Flow[*v1alpha1.SiteLink]{
		Steps: func(ctx context.Context, l *v1alpha1.SiteLink) error {
			s.link = l
			return kube.Run(ctx, s, r.identify, r.ended, r.join, r.trust, r.approve, r.connect, r.announce)
		},
		Finalize: func(ctx context.Context, l *v1alpha1.SiteLink) error {
			s.link = l
			return r.dismiss(ctx, s)
		},
		Status: func(l *v1alpha1.SiteLink) { s.summarize(l, r.opts.Now()) },
	})
}

// identify finds out who this site is, and that the partner is another one, and not one that is known by another name.
func (r *Reconciler) identify(ctx context.Context, s *scope) error {
	var err error
	s.self, err = r.opts.Self(ctx)
	if errors.Is(err, link.ErrNoSite) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, time.Second, "This cluster is not set up as a site yet: 'heddle site init' does it")
	}
	if err != nil {
		return err
	}
	if s.link.Spec.SiteID == s.self.SiteID {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.siteID is this site's own: a site cannot be its own partner")
	}
	var all v1alpha1.SiteLinkList
	if err := r.opts.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("list SiteLinks: %w", err)
	}
	for i := range all.Items {
		o := &all.Items[i]
		if o.Name != s.link.Name && o.Spec.SiteID == s.link.Spec.SiteID && !o.IsRevoked() && !s.link.IsRevoked() && precedes(o, s.link) {
			return kube.Stalled(v1alpha1.ReasonConflict, "SiteLink %q is to the same site: delete one of the two", o.Name)
		}
	}
	return nil
}

// precedes puts the older of two objects first.
func precedes(a, b client.Object) bool {
	at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	if !at.Equal(&bt) {
		return at.Before(&bt)
	}
	return a.GetName() < b.GetName()
}

// trust reads the partner's CAs.
func (r *Reconciler) trust(_ context.Context, s *scope) error {
	if s.link.Spec.CACertificates == "" {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.caCertificates is missing: invite the site ('heddle site invite') or join it ('heddle site join')")
	}
	var err error
	if s.cas, err = link.ParseCAs([]byte(s.link.Spec.CACertificates)); err != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.caCertificates cannot be used: %s", err)
	}
	return nil
}

// approve waits for what people have to do.
func (r *Reconciler) approve(ctx context.Context, s *scope) error {
	check, joined := s.link.Annotations[v1alpha1.AnnotationCheck], s.link.Spec.Join != nil
	switch {
	case s.wasAccepted(), check == "" && !joined:
		s.accepted = yes("Both sites have agreed")
		return nil
	case joined:
		// The partner's answer tells when it has approved.
		return nil
	case s.link.Spec.Check == "":
		s.state = v1alpha1.LinkPendingApproval
		s.accepted = no(v1alpha1.ReasonPendingApproval, "Nobody has approved yet")
		return kube.Waiting(v1alpha1.ReasonPendingApproval, 0,
			"Have a person at %s read out the six digits that are shown there, and enter them here: 'heddle site approve %s'", s.partner(), s.link.Name)
	case s.link.Spec.Check != check:
		return r.apply.Amend(ctx, s.link, revoke)
	}
	s.accepted = yes("Both sites have agreed")
	r.tell(s.link, corev1.EventTypeNormal, "Approved", "The six digits match: the site is a partner now")
	return nil
}

func (s *scope) wasAccepted() bool {
	return meta.IsStatusConditionTrue(s.link.Status.Conditions, v1alpha1.ConditionAccepted)
}

// partner is how the partner is spoken of.
func (s *scope) partner() string {
	if s.link.Spec.DisplayName == "" {
		return s.link.Spec.SiteID
	}
	return fmt.Sprintf("%q", s.link.Spec.DisplayName)
}

func (r *Reconciler) tell(l *v1alpha1.SiteLink, kind, reason, text string) {
	if r.opts.Recorder != nil {
		r.opts.Recorder.Eventf(l, nil, kind, reason, "Link", "%s", text)
	}
}

func revoke(o client.Object) {
	if l, ok := o.(*v1alpha1.SiteLink); ok {
		l.Spec.Partnership = v1alpha1.PartnershipRevoked
	}
}
