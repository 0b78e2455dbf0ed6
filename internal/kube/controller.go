package kube

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// ControllerOptions are the same for every controller: several objects at once, since a round may wait seconds for a
// node that does not answer, and retries that start soon and never wait longer than 15 s, since what failed is mostly
// about to come up. The priority queue of controller-runtime 0.24 may never let a controller end
// (kubernetes-sigs/controller-runtime issue 3538, mended in 0.25), which costs the next operator its start.
func ControllerOptions() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: 8,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 15*time.Second),
		UsePriorityQueue:        ptr.To(false),
	}
}
