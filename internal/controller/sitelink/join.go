package sitelink

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// joinAgain is when a join that failed for want of an answer is tried again.
const joinAgain = 3 * time.Second

// join uses the partner's invitation, once. What comes of it is written before the code is thrown away: until then the
// partner gives the same answer again.
func (r *Reconciler) join(ctx context.Context, s *scope) error {
	j := s.link.Spec.Join
	if j == nil {
		return nil
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: j.CodeSecret, Namespace: r.opts.System}}
	err := r.opts.Reader.Get(ctx, client.ObjectKeyFromObject(secret), secret)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Secret %q: %w", j.CodeSecret, err)
	}
	there := err == nil
	if s.link.Spec.CACertificates != "" {
		if there {
			return r.forget(ctx, secret)
		}
		return nil
	}
	s.state = v1alpha1.LinkJoining
	if !there {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "Secret %q with the code is not in namespace %q: delete the SiteLink and join again with the token",
			j.CodeSecret, r.opts.System)
	}
	joined, err := r.opts.Partners.Join(ctx, link.Invitation{
		SiteID: s.link.Spec.SiteID, Endpoints: s.link.Spec.Endpoints, Pin: j.Pin, Code: string(secret.Data[specs.KeyJoinCode]),
	})
	if err != nil {
		return joinTrouble(s, err)
	}
	return r.apply.Amend(ctx, s.link, func(o client.Object) {
		kube.SetAnnotation(o, v1alpha1.AnnotationCheck, joined.Check)
		if l, ok := o.(*v1alpha1.SiteLink); ok {
			l.Spec.CACertificates = string(pki.EncodeCerts(joined.CA))
			l.Spec.DisplayName = joined.DisplayName
		}
	})
}

// forget throws the used code away.
func (r *Reconciler) forget(ctx context.Context, secret *corev1.Secret) error {
	if err := r.opts.Client.Delete(ctx, secret); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Secret %q: %w", secret.Name, err)
	}
	return nil
}

// joinTrouble tells what keeps this site from joining, and whether trying again helps.
func joinTrouble(s *scope, err error) error {
	if refusal, ok := link.AsRefusal(err); ok {
		if refusal.Reason == link.RefusedBusy {
			return kube.Waiting(v1alpha1.ReasonJoinRefused, joinAgain, "%s is busy: it is asked again", s.partner())
		}
		return kube.Stalled(v1alpha1.ReasonJoinRefused, "%s refuses: %s", s.partner(), refusal.Message)
	}
	if link.Untrusted(err) || link.WrongPin(err) {
		return kube.Stalled(v1alpha1.ReasonUntrusted, "Who answers at %s is not the site that the token names: check with %s that the token is genuine, "+
			"delete the SiteLink and join again", s.link.Spec.Endpoints[0], s.partner())
	}
	return kube.Waiting(v1alpha1.ReasonUnreachable, joinAgain, "The gateway of %s does not answer at %s (%s): check the way there, such as firewalls",
		s.partner(), s.link.Spec.Endpoints[0], why(err))
}
