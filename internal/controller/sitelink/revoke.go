package sitelink

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
)

const (
	// noticeWithin is how long the partner has to take a notice, and noticeAgain when it is sent again.
	noticeWithin = 3 * time.Second
	noticeAgain  = 15 * time.Second
)

// ended shows that a partnership is over, first of all: others take the links down when they see it. Then the partner is
// told, who may be away.
func (r *Reconciler) ended(ctx context.Context, s *scope) error {
	if !s.link.IsRevoked() {
		return nil
	}
	known := s.link.Status.State == v1alpha1.LinkRevoked
	s.over()
	r.pulse.end(s.link.Name)
	stalled := &kube.Intent{Reason: v1alpha1.ReasonRevoked, Message: s.epitaph(), After: time.Minute, Stalled: true}
	switch {
	case s.link.Annotations[v1alpha1.AnnotationCheck] != "" && s.link.Spec.Check != "" && s.link.Spec.Check != s.link.Annotations[v1alpha1.AnnotationCheck]:
		stalled.Reason = v1alpha1.ReasonCheckMismatch
	case s.byPartner() || s.link.Annotations[v1alpha1.AnnotationNotified] != "" || s.link.Spec.CACertificates == "":
	case !known:
		// The status is written before anything that may take its time.
		stalled.After = time.Millisecond
	default:
		if err := r.notify(ctx, s); err != nil {
			stalled.After = noticeAgain
			break
		}
		if err := r.apply.Mark(ctx, s.link, v1alpha1.AnnotationNotified, "yes"); err != nil {
			return err
		}
	}
	return stalled
}

func (s *scope) over() {
	s.state = v1alpha1.LinkRevoked
	s.accepted = no(v1alpha1.ReasonRevoked, "The partnership is over")
	s.connected = no(v1alpha1.ReasonRevoked, "The partnership is over")
}

func (s *scope) byPartner() bool { return s.link.Annotations[v1alpha1.AnnotationRevokedBy] != "" }

func (s *scope) epitaph() string {
	check := s.link.Annotations[v1alpha1.AnnotationCheck]
	switch {
	case check != "" && s.link.Spec.Check != "" && s.link.Spec.Check != check:
		return "The six digits from the partner are not those that are shown here: somebody else may have used the invitation; delete SiteLink and " +
			"SiteInvite, find out how the token got about, and invite the site again"
	case s.byPartner():
		return "The partner has ended the partnership: delete the SiteLink; a new one begins with a new invitation"
	}
	return "The partnership is over: delete the SiteLink when nothing needs it any more; a new one begins with a new invitation"
}

// notify tells the partner that it is over. That the partner knows already is as good.
func (r *Reconciler) notify(ctx context.Context, s *scope) error {
	within, cancel := context.WithTimeout(ctx, noticeWithin)
	defer cancel()
	err := r.opts.Partners.Send(within, s.link, link.KindRevocation, "", struct{}{})
	if _, answered := link.AsRefusal(err); answered {
		err = nil
	}
	r.opts.Partners.Cut(s.link.Name)
	return err
}

// dismiss ends the partnership with the object: the partner is told once, if it can be.
func (r *Reconciler) dismiss(ctx context.Context, s *scope) error {
	r.pulse.end(s.link.Name)
	s.over()
	if s.link.Status.State != v1alpha1.LinkRevoked {
		return &kube.Intent{Reason: v1alpha1.ReasonDeleting, Message: "The partnership is being ended", After: time.Millisecond}
	}
	if s.link.IsRevoked() && s.link.Annotations[v1alpha1.AnnotationNotified] != "" || s.byPartner() || s.link.Spec.CACertificates == "" {
		return nil
	}
	if err := r.notify(ctx, s); err != nil {
		ctrl.LoggerFrom(ctx).Info("Partner could not be told of the end", "cause", why(err))
	}
	return nil
}
