package operator

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The lease's times. An operator that is told to stop gives the lease back, and one that was killed comes back in
// the same pod under the same identity and takes it over at once: only a lost machine costs the whole duration.
const (
	leaseName     = "heddle-operator"
	leaseDuration = 6 * time.Second
	leaseRenewal  = 5 * time.Second
	leaseRetry    = time.Second
)

func newLock(api *rest.Config, cfg Config) (resourcelock.Interface, error) {
	c := rest.CopyConfig(api)
	// A renewal that hangs must not outlive the lease.
	c.Timeout = leaseRenewal / 2
	client, err := coordinationv1.NewForConfig(c)
	if err != nil {
		return nil, fmt.Errorf("make client for the lease: %w", err)
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: leaseName, Namespace: cfg.Lease},
		Client:     client,
		LockConfig: resourcelock.ResourceLockConfig{Identity: cfg.Identity},
	}, nil
}
