package organization

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// longest is how long an Organization is left alone when nothing changes: days left in the status are to stay about
// right.
const longest = 30 * time.Minute

// scope is what one round sees and makes.
type scope struct {
	org   *v1alpha1.Organization
	place specs.Place
	now   time.Time
	// roots and the intermediates below them.
	roots    roots
	ops, app keys.Issuers
	// caTLS is the TLS certificate of the application CA.
	caTLS keys.Pair
	// msp is the published ConfigMap.
	msp *corev1.ConfigMap
	// certificates for the status.
	certificates []v1alpha1.CertificateStatus
	// next is when something has to be renewed.
	next time.Duration
}

func (r *Reconciler) newScope(o *v1alpha1.Organization) *scope {
	return &scope{org: o, place: specs.PlaceOf(o.Namespace, o.Labels), now: r.opts.Now(), next: longest}
}

func (s *scope) managed() bool {
	return s.org.Spec.Remote == nil && s.org.Spec.CA.Mode != v1alpha1.CANone
}

// secret is an empty Secret of the organization. It has no owner: keys outlive the object they were made for.
func (s *scope) secret(name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.org.Namespace, Labels: s.place.Labels(s.org.Name, "", "")},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{},
	}
}

func (s *scope) wake(after time.Duration) { s.next = min(s.next, after) }

// checkSpec refuses what admission cannot see.
func (r *Reconciler) checkSpec(_ context.Context, s *scope) error {
	ref := s.org.Spec.CA.IssuerRef
	if ref == nil {
		return nil
	}
	for _, own := range []string{specs.RootSecret(s.org.Name), specs.OpsSecret(s.org.Name), specs.AppSecret(s.org.Name)} {
		if ref.Name == own {
			return kube.Stalled(v1alpha1.ReasonInvalidSpec,
				"spec.ca.issuerRef.name is %q, which is a name that Heddle makes itself: give the Secret another name", own)
		}
	}
	return nil
}

// status writes what was seen; s is nil when the Organization is paused or being deleted.
func (r *Reconciler) status(o *v1alpha1.Organization, s *scope) {
	if s == nil {
		return
	}
	if s.msp != nil {
		o.Status.MSPHash = specs.MSPHash(s.msp)
	}
	if s.certificates != nil {
		o.Status.Certificates = s.certificates
	}
	o.Status.CAAddress = ""
	if s.managed() {
		o.Status.CAAddress = specs.CAOf(o).Address()
	}
}
