package identity

import (
	"context"

	corev1 "k8s.io/api/core/v1"
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

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	of := handler.EnqueueRequestsFromMapFunc(r.identitiesOf)
	changed := builder.WithPredicates(predicate.Funcs{UpdateFunc: moved})
	b := ctrl.NewControllerManagedBy(mgr).Named("identity").
		For(&v1alpha1.Identity{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.Organization{}, of, changed).
		Watches(&v1alpha1.Peer{}, of, changed).
		Watches(&corev1.ConfigMap{}, of)
	if !r.opts.Namespaced {
		b = b.Watches(&v1alpha1.Network{}, of, builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	}
	b = r.opts.Secrets.Wake(b, handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &v1alpha1.Identity{}, handler.OnlyControllerOwner()))
	return b.WithOptions(kube.ControllerOptions()).Complete(r)
}

// moved is true when an object's spec changed or when it became Ready.
func moved(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(kube.Object)
	after, ok2 := e.ObjectNew.(kube.Object)
	return !ok1 || !ok2 || before.GetGeneration() != after.GetGeneration() || kube.IsReady(before) != kube.IsReady(after)
}

// identitiesOf are the identities of the network that an object stands in, wherever they stand themselves.
func (r *Reconciler) identitiesOf(ctx context.Context, obj client.Object) []reconcile.Request {
	network := obj.GetNamespace()
	if _, ok := obj.(*v1alpha1.Network); ok {
		network = obj.GetName()
	}
	var list v1alpha1.IdentityList
	if err := r.opts.Client.List(ctx, &list); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List identities", "network", network)
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		id := &list.Items[i]
		if id.Spec.NetworkRef == network || id.Spec.NetworkRef == "" && id.Namespace == network {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: id.Namespace, Name: id.Name}})
		}
	}
	return out
}
