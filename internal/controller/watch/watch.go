// Package watch maps what changed to the object that has to look at it, for
// things that no owner reference leads back from: volumes, pods and key Secrets.
package watch

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"heddle.dev/heddle/api/v1alpha1"
)

// ByLabel wakes the object that a label names, if the label of the component has the given value.
func ByLabel(label, component string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, obj client.Object) []ctrl.Request {
		name := obj.GetLabels()[label]
		if name == "" || obj.GetLabels()[v1alpha1.LabelComponent] != component {
			return nil
		}
		return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: obj.GetNamespace(), Name: name}}}
	})
}
