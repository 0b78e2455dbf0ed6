package channel

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

// Register adds the controller to a manager. Everything a channel is made of stands in its namespace, so every change
// there looks at the namespace's channels.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	here := handler.EnqueueRequestsFromMapFunc(r.channelsOf)
	b := ctrl.NewControllerManagedBy(mgr).Named("channel").
		For(&v1alpha1.Channel{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&v1alpha1.Organization{}, here).
		Watches(&v1alpha1.Orderer{}, here).
		Watches(&v1alpha1.Peer{}, here).
		Watches(&v1alpha1.Proposal{}, here).
		Watches(&corev1.ConfigMap{}, here)
	if !r.opts.Namespaced {
		b = b.Watches(&v1alpha1.Network{}, here, builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	}
	return b.WithOptions(kube.ControllerOptions()).Complete(r)
}

func (r *Reconciler) channelsOf(ctx context.Context, obj client.Object) []reconcile.Request {
	namespace := obj.GetNamespace()
	if _, ok := obj.(*v1alpha1.Network); ok {
		namespace = obj.GetName()
	}
	var list v1alpha1.ChannelList
	if err := r.opts.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List channels", "namespace", namespace)
		return nil
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: list.Items[i].Name}})
	}
	return out
}
