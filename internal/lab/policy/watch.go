package policy

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// watch subscribes to the three kinds that rules are made from.
func (l *loop) watch(factory informers.SharedInformerFactory) error {
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	l.pods, l.namespaces, l.policies = pods.Lister(), namespaces.Lister(), policies.Lister()
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { l.mark() },
		DeleteFunc: func(any) { l.mark() },
		UpdateFunc: func(before, after any) {
			if changed(before, after) {
				l.mark()
			}
		},
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("watch for policy changes: %w", err)
		}
	}
	return nil
}

// mark notes that rules may be out of date.
func (l *loop) mark() { signal(l.dirty) }

// changed compares trimmed objects, so most updates of a pod's status are none for us.
func changed(before, after any) bool {
	return !equality.Semantic.DeepEqual(withoutVersion(before), withoutVersion(after))
}

// withoutVersion copies obj, because objects of a cache are shared.
func withoutVersion(obj any) runtime.Object {
	o, ok := obj.(runtime.Object)
	if !ok {
		return nil
	}
	o = o.DeepCopyObject()
	if m, ok := o.(metav1.Object); ok {
		m.SetResourceVersion("")
	}
	return o
}
