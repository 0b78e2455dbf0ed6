package network

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

// Register adds the reconciler and its watches to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	telling := builder.WithPredicates(predicate.Funcs{UpdateFunc: changesNetwork})
	// Objects made by hand have no owner, and the network waits for them too: to be Ready, and to go.
	byNamespace := handler.EnqueueRequestsFromMapFunc(networkOf)
	goes := builder.WithPredicates(predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("network").
		For(&v1alpha1.Network{}, builder.WithPredicates(predicate.Or(
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&v1alpha1.Organization{}, byNamespace, telling).
		Watches(&v1alpha1.Orderer{}, byNamespace, telling).
		Watches(&v1alpha1.Peer{}, byNamespace, telling).
		Watches(&v1alpha1.Channel{}, byNamespace, telling).
		Owns(&rbacv1.RoleBinding{}).
		Owns(&networkingv1.NetworkPolicy{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Owns(&policyv1.PodDisruptionBudget{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.networksOf)).
		Watches(&v1alpha1.Chaincode{}, byNamespace, goes).
		WithOptions(kube.ControllerOptions()).
		Complete(r)
}

// changesNetwork is true for changes of a child that its Network has to know of; heights that grow are not among them.
func changesNetwork(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(kube.Object)
	after, ok2 := e.ObjectNew.(kube.Object)
	if !ok1 || !ok2 {
		return true
	}
	return before.GetGeneration() != after.GetGeneration() ||
		!equality.Semantic.DeepEqual(before.GetLabels(), after.GetLabels()) ||
		!equality.Semantic.DeepEqual(before.GetOwnerReferences(), after.GetOwnerReferences()) ||
		!before.GetDeletionTimestamp().Equal(after.GetDeletionTimestamp()) ||
		!equality.Semantic.DeepEqual(*before.GetConditions(), *after.GetConditions())
}

// networksOf maps a namespace to the network it belongs to and to those that name it as their clients'.
func (r *Reconciler) networksOf(ctx context.Context, o client.Object) []reconcile.Request {
	out := []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetName()}}}
	var all v1alpha1.NetworkList
	if err := r.opts.Client.List(ctx, &all); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list networks", "namespace", o.GetName())
		return out
	}
	for i := range all.Items {
		n := &all.Items[i]
		if n.Name != o.GetName() && slices.Contains(n.Spec.ClientNamespaces, o.GetName()) {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: n.Name}})
		}
	}
	return out
}

// networkOf maps an object to the network of its namespace.
func networkOf(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetNamespace()}}}
}
