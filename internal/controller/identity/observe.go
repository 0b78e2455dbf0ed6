package identity

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
)

// scope is what was seen and made in one round.
type scope struct {
	id *v1alpha1.Identity
	// network is the namespace of the organisation.
	network string
	// object and org are the organisation and its public material.
	object *v1alpha1.Organization
	org    *access.Organization
	roster *access.Roster
	// secret as it stands; nil if there is none.
	secret *corev1.Secret
	// key and cert that the Secret shall hold.
	key  crypto.Signer
	cert *x509.Certificate
	// renewed says why the certificate was issued in this round; empty if it was not.
	renewed string
}

func (s *scope) enrollmentID() string {
	if s.id.Spec.EnrollmentID != "" {
		return s.id.Spec.EnrollmentID
	}
	return s.id.Namespace + "." + s.id.Name
}

func (s *scope) secretName() string {
	if s.id.Spec.SecretName != "" {
		return s.id.Spec.SecretName
	}
	return s.id.Name
}

func (s *scope) role() pki.Role {
	if s.id.Spec.Type == v1alpha1.IdentityAdmin {
		return pki.RoleAdmin
	}
	return pki.RoleClient
}

// permitted checks that the object may stand where it stands.
func (r *Reconciler) permitted(ctx context.Context, s *scope) error {
	s.network = s.id.Spec.NetworkRef
	if s.network == "" {
		s.network = s.id.Namespace
	}
	if s.network == s.id.Namespace {
		return nil
	}
	if s.id.Spec.Type == v1alpha1.IdentityAdmin {
		return kube.Stalled(v1alpha1.ReasonForbidden, "spec.type Admin: an administrator may stand in the network's own namespace %q only", s.network)
	}
	if r.opts.Namespaced {
		return kube.Stalled(v1alpha1.ReasonForbidden,
			"spec.networkRef: this operator works in single namespaces and cannot read Network %q: put the Identity into namespace %q", s.network, s.network)
	}
	var net v1alpha1.Network
	err := r.opts.Client.Get(ctx, types.NamespacedName{Name: s.network}, &net)
	if apierrors.IsNotFound(err) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for Network %q, which spec.networkRef names", s.network)
	}
	if err != nil {
		return fmt.Errorf("read Network %q: %w", s.network, err)
	}
	if !slices.Contains(net.Spec.ClientNamespaces, s.id.Namespace) {
		return kube.Stalled(v1alpha1.ReasonForbidden, "Namespace %q is not in spec.clientNamespaces of Network %q: ask the network's owner to add it", s.id.Namespace, s.network)
	}
	return nil
}

// look reads the organisation and the Secret.
func (r *Reconciler) look(ctx context.Context, s *scope) error {
	var err error
	if s.roster, err = access.LoadRoster(ctx, r.opts.Client, s.network); err != nil {
		return err
	}
	name := s.id.Spec.Organization
	if s.object = s.roster.Organization(name); s.object == nil {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0,
			"Waiting for Organization %q (spec.organization) in namespace %q: create it, or make the Identity anew for another one", name, s.network)
	}
	if remote := s.object.Spec.Remote; remote != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec,
			"spec.organization: %q is an organization of the partner %q, which issues its certificates: ask there, and delete this object", name, remote.Link)
	}
	s.org, err = r.opts.Nodes.Organization(ctx, s.network, name)
	if errors.Is(err, access.ErrMissing) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for the certificates of Organization %q", name)
	}
	if err != nil {
		return err
	}
	secret := &corev1.Secret{}
	err = r.opts.Reader.Get(ctx, types.NamespacedName{Namespace: s.id.Namespace, Name: s.secretName()}, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err):
		// The Network's controller gives the right; it may not have come to it yet.
		return kube.Waiting(v1alpha1.ReasonForbidden, time.Second, "Waiting for the right to keep Secrets in namespace %q", s.id.Namespace)
	case err != nil:
		return fmt.Errorf("read Secret %q: %w", s.secretName(), err)
	case !metav1.IsControlledBy(secret, s.id):
		return kube.Stalled(v1alpha1.ReasonInvalidOwnership,
			"Secret %q exists and was not made for this Identity: set spec.secretName of a new Identity to another name, or delete the Secret", secret.Name)
	}
	s.secret = secret
	// A Secret that was tampered with counts as lost.
	s.key, _ = pki.ParseKey(secret.Data[keyKey])
	s.cert, _ = pki.ParseCert(secret.Data[keyCert])
	return nil
}

// alone refuses the later of two Identities that mean the same user of an organisation.
func (r *Reconciler) alone(ctx context.Context, s *scope) error {
	var all v1alpha1.IdentityList
	if err := r.opts.Client.List(ctx, &all); err != nil {
		return fmt.Errorf("list identities: %w", err)
	}
	for i := range all.Items {
		o := &scope{id: &all.Items[i]}
		o.network = o.id.Spec.NetworkRef
		if o.network == "" {
			o.network = o.id.Namespace
		}
		same := o.id.UID != s.id.UID && o.network == s.network && o.id.Spec.Organization == s.id.Spec.Organization && o.enrollmentID() == s.enrollmentID()
		if same && precedes(o.id, s.id) {
			return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.enrollmentID: %q belongs to Identity %q in namespace %q: choose another in a new Identity",
				s.enrollmentID(), o.id.Name, o.id.Namespace)
		}
	}
	return nil
}

// precedes tells whether Identity a has the better right to a name than b: it has a certificate, or was made before.
// Times are in whole seconds, so two of the same second are told apart by their UIDs.
func precedes(a, b *v1alpha1.Identity) bool {
	if issuedA, issuedB := a.Status.Certificate != nil, b.Status.Certificate != nil; issuedA != issuedB {
		return issuedA
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp) || a.CreationTimestamp.Equal(&b.CreationTimestamp) && a.UID < b.UID
}

// predicates decide whether a certificate is issued anew.
func (s *scope) predicates() pki.Predicates {
	return pki.Predicates{pki.Missing, pki.KeyMismatch, pki.Expiring, pki.NameDrift, pki.RoleDrift, s.chainDrift, s.attributeDrift}
}

// chainDrift fails when the organisation's issuers are others now.
func (s *scope) chainDrift(l pki.Leaf) (string, string, bool) {
	for _, issuer := range s.org.MSP.IntermediateCerts {
		if c, err := pki.ParseCert(issuer); err == nil && l.Cert.CheckSignatureFrom(c) == nil {
			return "", "", false
		}
	}
	return pki.ReasonIssuerDrift, fmt.Sprintf("The certificate of %s was not signed by %s", l.CommonName, s.org.MSPID), true
}

// reasonAttributes is why a certificate with other attributes is issued anew.
const reasonAttributes = "AttributesChanged"

func (s *scope) attributeDrift(l pki.Leaf) (string, string, bool) {
	have, want := pki.AttributesOf(l.Cert), s.attributes()
	for name, value := range want {
		if v, ok := have[name]; !ok || v != value {
			return reasonAttributes, fmt.Sprintf("The certificate of %s lacks attribute %s", l.CommonName, name), true
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok && !isOwn(name) && name != attributeOwner {
			return reasonAttributes, fmt.Sprintf("The certificate of %s has attribute %s", l.CommonName, name), true
		}
	}
	return "", "", false
}

func (s *scope) attributes() map[string]string {
	out := map[string]string{}
	for _, a := range s.id.Spec.Attributes {
		// The CA takes an empty value for the wish to have none.
		if v := ptr.Deref(a.Value, ""); v != "" {
			out[a.Name] = v
		}
	}
	return out
}
