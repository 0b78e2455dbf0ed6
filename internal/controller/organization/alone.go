package organization

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

// alone refuses the later of two Organizations of a network with one MSP ID: on a ledger they would be one organization
// with the issuers of either.
func (r *Reconciler) alone(ctx context.Context, s *scope) error {
	var all v1alpha1.OrganizationList
	if err := r.client.List(ctx, &all, client.InNamespace(s.org.Namespace)); err != nil {
		return fmt.Errorf("list organizations: %w", err)
	}
	for i := range all.Items {
		if o := &all.Items[i]; rivals(o, s.org) && precedes(o, s.org) {
			return kube.Stalled(v1alpha1.ReasonInvalidSpec,
				"spec.mspID: %q is the MSP ID of Organization %q in this network: delete this object and make it anew with another mspID, or delete that one",
				s.org.Spec.MSPID, o.Name)
		}
	}
	return nil
}

// rivals tells whether two objects of a namespace stand for one organization on the ledger.
func rivals(a, b *v1alpha1.Organization) bool {
	return a.Name != b.Name && a.Spec.MSPID == b.Spec.MSPID
}

// precedes tells whether a has the better right to an MSP ID than b: it has published certificates for it, or was made
// before. Times are in whole seconds, so two of the same second are told apart by their names.
func precedes(a, b *v1alpha1.Organization) bool {
	if certifiedA, certifiedB := a.Status.MSPHash != "", b.Status.MSPHash != ""; certifiedA != certifiedB {
		return certifiedA
	}
	return a.CreationTimestamp.Before(&b.CreationTimestamp) || a.CreationTimestamp.Equal(&b.CreationTimestamp) && a.Name < b.Name
}

// namesakes wakes the Organizations with the MSP ID of one that is gone: one of them may have it now.
func (r *Reconciler) namesakes(ctx context.Context, obj client.Object) []ctrl.Request {
	gone, ok := obj.(*v1alpha1.Organization)
	if !ok {
		return nil
	}
	var all v1alpha1.OrganizationList
	if err := r.client.List(ctx, &all, client.InNamespace(gone.Namespace)); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list organizations")
		return nil
	}
	var out []ctrl.Request
	for i := range all.Items {
		if rivals(&all.Items[i], gone) {
			out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return out
}
