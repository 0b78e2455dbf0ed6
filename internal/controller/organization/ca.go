package organization

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/pods"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// applyVolume asks for the CA's volume and Service early.
func (r *Reconciler) applyVolume(ctx context.Context, s *scope) error {
	if !s.managed() {
		return nil
	}
	ca := specs.CAOf(s.org)
	if err := r.apply.Volume(ctx, ca.Volume()); err != nil {
		return err
	}
	return r.apply.Apply(ctx, s.org, ca.Service())
}

// runCA runs the application CA, or takes it down and keeps its volume.
func (r *Reconciler) runCA(ctx context.Context, s *scope) error {
	if !s.managed() {
		return r.removeCA(ctx, s.org)
	}
	if err := kube.Run(ctx, s, r.ensureCATLS, r.ensureRegistrar); err != nil {
		return err
	}
	want := specs.CAOf(s.org).Deployment(s.caMaterial())
	if err := r.apply.Apply(ctx, s.org, want); err != nil {
		return err
	}
	return pods.Await(ctx, r.client, want)
}

// caMaterial identifies the certificates that the CA reads at its start.
func (s *scope) caMaterial() string {
	sum := sha256.New()
	sum.Write(s.caTLS.Cert.Raw)
	for _, c := range s.caTLS.Chain {
		sum.Write(c.Raw)
	}
	sum.Write(s.app.Sign.Cert.Raw)
	sum.Write([]byte(s.msp.Data[specs.KeyCAChain]))
	return hex.EncodeToString(sum.Sum(nil))
}

func (r *Reconciler) removeCA(ctx context.Context, o *v1alpha1.Organization) error {
	meta := metav1.ObjectMeta{Name: specs.CAName(o.Name), Namespace: o.Namespace}
	for _, obj := range []client.Object{&appsv1.Deployment{ObjectMeta: meta}, &corev1.Service{ObjectMeta: meta}} {
		if err := r.apply.Delete(ctx, o, obj); err != nil {
			return err
		}
	}
	return r.apply.Retain(ctx, specs.CAOf(o).Volume())
}

// finalize takes the CA down and leaves keys and volume, labelled; a Network that is deleted for good deletes the
// whole namespace. The organization's nodes go first: they cannot renew without their issuer.
func (r *Reconciler) finalize(ctx context.Context, o *v1alpha1.Organization) error {
	if err := r.awaitNodes(ctx, o); err != nil {
		return err
	}
	if o.Spec.Remote != nil {
		return nil // nothing of it is here but what goes with the object
	}
	if err := r.removeCA(ctx, o); err != nil {
		return err
	}
	s := r.newScope(o)
	for _, name := range []string{
		specs.RootSecret(o.Name), specs.OpsSecret(o.Name), specs.AppSecret(o.Name), specs.AdminSecret(o.Name),
		specs.CAAdminSecret(o.Name), specs.CATLSSecret(o.Name),
	} {
		if err := r.apply.Retain(ctx, s.secret(name)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) awaitNodes(ctx context.Context, o *v1alpha1.Organization) error {
	var peers v1alpha1.PeerList
	if err := r.client.List(ctx, &peers, client.InNamespace(o.Namespace)); err != nil {
		return err
	}
	for i := range peers.Items {
		if p := &peers.Items[i]; p.Spec.Organization == o.Name {
			return kube.Waiting(v1alpha1.ReasonDeleting, 0, "Peer %q still belongs to this organization: delete it first", p.Name)
		}
	}
	var orderers v1alpha1.OrdererList
	if err := r.client.List(ctx, &orderers, client.InNamespace(o.Namespace)); err != nil {
		return err
	}
	for i := range orderers.Items {
		if n := &orderers.Items[i]; n.Spec.Organization == o.Name {
			return kube.Waiting(v1alpha1.ReasonDeleting, 0, "Orderer %q still belongs to this organization: delete it first", n.Name)
		}
	}
	return nil
}
