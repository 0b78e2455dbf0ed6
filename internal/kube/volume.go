package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"heddle.dev/heddle/api/v1alpha1"
)

// Volume applies a volume claim, which has no owner, and takes a left-over one into use again. A claim can grow, never
// shrink, and never change its class: a wish for that is told in words before the API server refuses it.
func (a *Applier) Volume(ctx context.Context, want *corev1.PersistentVolumeClaim) error {
	live, err := a.live(ctx, want)
	if err != nil {
		return err
	}
	if have, ok := live.(*corev1.PersistentVolumeClaim); ok {
		// Whose it is comes first: size and class of somebody else's say nothing.
		if err := Owned(want, have); err != nil {
			return err
		}
		size, asked := have.Spec.Resources.Requests[corev1.ResourceStorage], want.Spec.Resources.Requests[corev1.ResourceStorage]
		if asked.Cmp(size) < 0 {
			return Stalled(v1alpha1.ReasonInvalidSpec, "storage.size %s is smaller than volume %q, which has %s: a volume cannot shrink, give at least that",
				asked.String(), want.Name, size.String())
		}
		class := have.Spec.StorageClassName
		if want.Spec.StorageClassName != nil && class != nil && *class != *want.Spec.StorageClassName {
			return Stalled(v1alpha1.ReasonInvalidSpec, "storage.storageClassName is %q but volume %q has %q: a volume cannot change its class",
				*want.Spec.StorageClassName, want.Name, *class)
		}
		if err := a.Release(ctx, live); err != nil {
			return err
		}
	}
	return a.Apply(ctx, nil, want)
}
