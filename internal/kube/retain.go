package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// Retain labels an object as left over from something that is gone. obj needs no more than a kind, a namespace, a name
// and the labels of what it was made for. An object that is not there is no error; one of somebody else is left alone.
func (a *Applier) Retain(ctx context.Context, obj client.Object) error {
	live, err := a.live(ctx, obj)
	if err != nil {
		return fmt.Errorf("read %T %q: %w", obj, obj.GetName(), err)
	}
	if live == nil || foreign(obj, live) {
		return nil
	}
	if _, is := live.GetLabels()[v1alpha1.LabelRetained]; is {
		return nil
	}
	return a.label(ctx, live, `"true"`)
}

// Release takes the label of Retain off an object that was just read.
func (a *Applier) Release(ctx context.Context, live client.Object) error {
	if _, is := live.GetLabels()[v1alpha1.LabelRetained]; !is {
		return nil
	}
	return a.label(ctx, live, "null")
}

func (a *Applier) label(ctx context.Context, live client.Object, value string) error {
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, v1alpha1.LabelRetained, value))
	if err := a.Client.Patch(ctx, live, patch, client.FieldOwner(a.FieldOwner)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("label %T %q: %w", live, live.GetName(), err)
	}
	return nil
}

// Annotate sets one annotation of an object that was just read and leaves the rest of it alone. Unlike Apply it needs not
// know the object, so it is for pods, which others make.
func (a *Applier) Annotate(ctx context.Context, live client.Object, key, value string) error {
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value))
	if err := a.Client.Patch(ctx, live, patch, client.FieldOwner(a.FieldOwner)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("annotate %T %q: %w", live, live.GetName(), err)
	}
	return nil
}
