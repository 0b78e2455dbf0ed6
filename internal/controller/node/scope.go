package node

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// longest is how long a node is left alone when nothing changes: days left in the status are to stay about right.
const longest = 30 * time.Minute

// scope is what one round sees and makes.
type scope struct {
	subject
	now time.Time
	// org is the node's organization.
	org v1alpha1.Organization
	// volume is the node's volume as it is; nil if there is none.
	volume *corev1.PersistentVolumeClaim
	// msp is the organization's public material.
	msp *corev1.ConfigMap
	// sign and tls are the node's certificates.
	sign, tls keys.Pair
	// password of the peer's CouchDB, if it has one.
	password []byte
	// want is the Deployment that follows from all that.
	want *appsv1.Deployment
	// certs and ran go into the status.
	certs []v1alpha1.CertificateStatus
	// ran and built are the version and the build that the running node tells.
	ran, built string
	// next is when something has to be renewed or looked at.
	next time.Duration
}

func (r *Reconciler) newScope(s subject) *scope {
	return &scope{subject: s, now: r.opts.Now(), next: longest}
}

func (s *scope) wake(after time.Duration) { s.next = min(s.next, after) }

// note writes what was seen into the object's status.
func (s *scope) note() {
	*s.address = s.node.Address()
	if s.certs != nil {
		*s.certificates = s.certs
	}
	if s.ran != "" {
		*s.version, *s.build = s.ran, s.built
	}
}

// observe reads what the steps build on, apart from Secrets, which are read where they are needed.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	var pvc corev1.PersistentVolumeClaim
	err := r.client.Get(ctx, client.ObjectKeyFromObject(s.obj), &pvc)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read volume %q: %w", s.node.Name, err)
	}
	// Somebody else's of that name says nothing about this node; it is refused when the volume is asked for.
	if err == nil && kube.Owned(s.node.Volume(), &pvc) == nil {
		s.volume = &pvc
	}
	return nil
}

// findOrganization makes sure that the node's organization exists: for a name that is written wrong nothing is made.
// What the organization still has to make itself is not waited for here.
func (r *Reconciler) findOrganization(ctx context.Context, s *scope) error {
	name := s.node.Organization
	err := r.client.Get(ctx, client.ObjectKey{Namespace: s.obj.GetNamespace(), Name: name}, &s.org)
	if apierrors.IsNotFound(err) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 5*time.Second,
			"Organization %q (spec.organization) does not exist: create it, or make the node anew for another one", name)
	}
	if err != nil {
		return fmt.Errorf("read organization %q: %w", name, err)
	}
	if remote := s.org.Spec.Remote; remote != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec,
			"spec.organization: %q is an organization of the partner %q, whose nodes run there: delete this object", name, remote.Link)
	}
	return nil
}

// applyVolume asks for the node's volume, and notes on it what ran on it.
func (r *Reconciler) applyVolume(ctx context.Context, s *scope) error {
	want := s.node.Volume()
	if ran := newer(*s.version, s.ranBefore()); ran != "" {
		want.Annotations = map[string]string{specs.AnnotationRan: ran}
	}
	return r.apply.Volume(ctx, want)
}

func (s *scope) ranBefore() string {
	if s.volume == nil {
		return ""
	}
	return s.volume.Annotations[specs.AnnotationRan]
}

// applyService makes the Service, and for a peer what it launches contracts with: the rights, and the policy that lets
// its own contracts in.
func (r *Reconciler) applyService(ctx context.Context, s *scope) error {
	if err := r.apply.Apply(ctx, s.obj, s.node.Service()); err != nil {
		return err
	}
	p, ok := s.obj.(*v1alpha1.Peer)
	if !ok {
		return nil
	}
	for _, o := range []client.Object{specs.PeerServiceAccount(p), specs.PeerRoleBinding(p), specs.PeerPolicy(p)} {
		if err := r.apply.Apply(ctx, s.obj, o); err != nil {
			return err
		}
	}
	return nil
}

// readOrganization reads the public material of the node's organization.
func (r *Reconciler) readOrganization(ctx context.Context, s *scope) error {
	namespace, name := s.obj.GetNamespace(), s.node.Organization
	var msp corev1.ConfigMap
	err := r.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: specs.MSPConfigMap(name)}, &msp)
	if apierrors.IsNotFound(err) || err == nil && !owns(&s.org, &msp) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Organization %q has no certificates yet", name)
	}
	if err != nil {
		return fmt.Errorf("read MSP of organization %q: %w", name, err)
	}
	s.msp = &msp
	return nil
}

func owns(org *v1alpha1.Organization, msp *corev1.ConfigMap) bool {
	for _, o := range msp.OwnerReferences {
		if o.UID == org.UID {
			return true
		}
	}
	return false
}
