package chaincode

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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
	"heddle.dev/heddle/internal/specs"
)

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	here := handler.EnqueueRequestsFromMapFunc(r.chaincodesOf)
	b := ctrl.NewControllerManagedBy(mgr).Named("chaincode").
		For(&v1alpha1.Chaincode{}, builder.WithPredicates(predicate.Or[client.Object](
			predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Watches(&corev1.Pod{}, r.onPods()).
		Watches(&v1alpha1.ChaincodeBuild{}, here, builder.WithPredicates(predicate.Funcs{UpdateFunc: buildMoved})).
		Watches(&v1alpha1.Channel{}, here, builder.WithPredicates(predicate.Funcs{UpdateFunc: channelMoved})).
		Watches(&v1alpha1.Peer{}, here, builder.WithPredicates(predicate.Funcs{UpdateFunc: peerMoved}))
	b = r.opts.Secrets.Wake(b, handler.EnqueueRequestsFromMapFunc(ofSecret))
	return b.WithOptions(kube.ControllerOptions()).Complete(r)
}

// ofSecret wakes the contract that shows the certificate in a Secret. Peers make Secrets with its label too.
func ofSecret(_ context.Context, obj client.Object) []reconcile.Request {
	name := obj.GetLabels()[v1alpha1.LabelChaincode]
	if name == "" || obj.GetName() != specs.ChaincodeTLSSecretName(name) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace(), Name: name}}}
}

// channelMoved is true when nodes came or changed their state; growing heights do not matter here.
func channelMoved(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(*v1alpha1.Channel)
	after, ok2 := e.ObjectNew.(*v1alpha1.Channel)
	if !ok1 || !ok2 {
		return true
	}
	return before.Generation != after.Generation || !equality.Semantic.DeepEqual(states(before), states(after)) ||
		!equality.Semantic.DeepEqual(before.Status.Members, after.Status.Members)
}

func states(ch *v1alpha1.Channel) map[string]v1alpha1.ChannelNodeState {
	out := map[string]v1alpha1.ChannelNodeState{}
	for _, n := range ch.Status.Nodes {
		out[n.Name] = n.State
	}
	return out
}

// buildMoved is true when a build came to its end.
func buildMoved(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(*v1alpha1.ChaincodeBuild)
	after, ok2 := e.ObjectNew.(*v1alpha1.ChaincodeBuild)
	return !ok1 || !ok2 || (before.Status.FinishedAt == nil) != (after.Status.FinishedAt == nil)
}

// peerMoved is true when a peer came up or went down.
func peerMoved(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(*v1alpha1.Peer)
	after, ok2 := e.ObjectNew.(*v1alpha1.Peer)
	return !ok1 || !ok2 || before.Generation != after.Generation || kube.IsReady(before) != kube.IsReady(after)
}

func (r *Reconciler) chaincodesOf(ctx context.Context, obj client.Object) []reconcile.Request {
	var list v1alpha1.ChaincodeList
	if err := r.opts.Client.List(ctx, &list, client.InNamespace(obj.GetNamespace())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List chaincodes", "namespace", obj.GetNamespace())
		return nil
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace(), Name: list.Items[i].Name}})
	}
	return out
}
