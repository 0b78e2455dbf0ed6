package sitelink

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/pki"
)

// ask asks one partner how this site stands with it.
func (r *Reconciler) ask(ctx context.Context, name string) verdict {
	l := &v1alpha1.SiteLink{}
	if err := r.opts.Client.Get(ctx, client.ObjectKey{Name: name}, l); err != nil {
		return verdict{reason: v1alpha1.ReasonRetrying, text: "the SiteLink cannot be read"}
	}
	standing, err := r.opts.Partners.Probe(ctx, l)
	if err == nil {
		return verdict{standing: standing}
	}
	if refusal, ok := link.AsRefusal(err); ok {
		if refusal.Reason == link.RefusedRevoked {
			return verdict{standing: link.Revoked}
		}
		return verdict{reason: v1alpha1.ReasonUnreachable, text: "it answers: " + refusal.Message}
	}
	if link.Untrusted(err) {
		return verdict{reason: v1alpha1.ReasonUntrusted, text: "one of the two sites does not trust the other's certificate"}
	}
	if link.HungUp(err) {
		return verdict{reason: v1alpha1.ReasonUnreachable, text: "its gateway answers, and the operator behind it does not", hungUp: true}
	}
	return verdict{reason: v1alpha1.ReasonUnreachable, text: why(err)}
}

// why names the kind of trouble on the way to a partner, in words that stay the same while the trouble does.
func why(err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "its name does not resolve"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	}
	return "the connection breaks off"
}

// connect judges what the partner last answered.
func (r *Reconciler) connect(ctx context.Context, s *scope) error {
	v, known := r.pulse.of(s.link.Name)
	if !known {
		s.pendingUnlessAccepted()
		return kube.Waiting(v1alpha1.ReasonProgressing, 0, "%s is being asked how things stand", s.partner())
	}
	switch v.standing {
	case link.Revoked:
		return r.apply.Amend(ctx, s.link, func(o client.Object) {
			revoke(o)
			kube.SetAnnotation(o, v1alpha1.AnnotationRevokedBy, "partner")
		})
	case link.Pending:
		return s.notYet()
	case link.Accepted:
		s.accepted = yes("Both sites have agreed")
		s.trusted = yes("The partner showed a certificate of its CA")
		s.connected = yes("The partner answers")
		s.state = v1alpha1.LinkUp
		return nil
	}
	s.pendingUnlessAccepted()
	if s.accepted != nil {
		s.state = v1alpha1.LinkDown
	}
	s.connected = no(v.reason, "The partner does not answer: "+v.text)
	if v.reason == v1alpha1.ReasonUntrusted {
		s.trusted = no(v.reason, v.text)
		return kube.Waiting(v.reason, 0, "%s answers at %s, but %s: compare spec.caCertificates with the partner's Site, and whether the partner ended the partnership",
			s.partner(), s.link.Spec.Endpoints[0], v.text)
	}
	return kube.Waiting(v.reason, 0, "%s does not answer at %s: %s", s.partner(), strings.Join(s.link.Spec.Endpoints, ", "), v.text)
}

// notYet is a partner that answers, and for whom this site is no partner yet.
func (s *scope) notYet() error {
	s.trusted = yes("The partner showed a certificate of its CA")
	s.connected = yes("The partner answers")
	s.state = v1alpha1.LinkPendingApproval
	if s.accepted != nil {
		return kube.Waiting(v1alpha1.ReasonPendingApproval, 0, "%s has not taken note of the approval yet", s.partner())
	}
	s.accepted = no(v1alpha1.ReasonPendingApproval, "Nobody has approved yet")
	return kube.Waiting(v1alpha1.ReasonPendingApproval, 0, "Read the six digits %s out to a person at %s, who approves with them",
		s.link.Annotations[v1alpha1.AnnotationCheck], s.partner())
}

func (s *scope) pendingUnlessAccepted() {
	if s.accepted == nil {
		s.accepted = no(v1alpha1.ReasonPendingApproval, "Nobody has approved yet")
		s.state = v1alpha1.LinkPendingApproval
	}
}

const (
	announceWithin = 5 * time.Second
	announceAgain  = 5 * time.Second
)

// Announcement identifies what partners are told of a site: they have the newest when their SiteLink is annotated with it.
func Announcement(s *link.Self) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{s.DisplayName, string(pki.EncodeCerts(s.Trusted()...))}, s.Endpoints...), "\n")))
	return hex.EncodeToString(sum[:16])
}

// announce tells a partner of this site's CAs and endpoints, when they are others than it was told last.
func (r *Reconciler) announce(ctx context.Context, s *scope) error {
	want := Announcement(s.self)
	if s.link.Annotations[v1alpha1.AnnotationAnnounced] == want {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, announceWithin)
	defer cancel()
	err := r.opts.Partners.Send(within, s.link, link.KindSite, "", link.SiteDocument{
		DisplayName: s.self.DisplayName, Endpoints: s.self.Endpoints, Certificates: string(pki.EncodeCerts(s.self.Trusted()...)),
	})
	if err != nil {
		ctrl.LoggerFrom(ctx).V(1).Info("Partner was not told of this site", "cause", err.Error())
		return kube.LookAgain(announceAgain)
	}
	return r.apply.Mark(ctx, s.link, v1alpha1.AnnotationAnnounced, want)
}

func (s *scope) summarize(l *v1alpha1.SiteLink, now time.Time) {
	if s.state != "" {
		l.Status.State = s.state
	}
	l.Status.Check = l.Annotations[v1alpha1.AnnotationCheck]
	switch {
	case l.Status.State != v1alpha1.LinkDown:
		l.Status.DownSince = nil
	case l.Status.DownSince == nil:
		since := metav1.NewTime(now)
		l.Status.DownSince = &since
	}
	if len(s.cas) > 0 {
		l.Status.Certificates = nil
		for i, ca := range s.cas {
			l.Status.Certificates = append(l.Status.Certificates, keys.Status(fmt.Sprintf("partner-ca-%d", i), ca, now))
		}
	}
	for kind, c := range map[string]*condition{
		v1alpha1.ConditionAccepted: s.accepted, v1alpha1.ConditionTrustVerified: s.trusted, v1alpha1.ConditionConnected: s.connected,
	} {
		if c != nil {
			meta.SetStatusCondition(&l.Status.Conditions, metav1.Condition{
				Type: kind, Status: c.status, Reason: c.reason, Message: c.message, ObservedGeneration: l.Generation,
			})
		}
	}
}
