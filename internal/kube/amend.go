package kube

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Amend adds to an object of a person's what the operator has learnt: it changes a copy of what was read, and writes that
// unless the object has changed since, which is an error to be tried again. The status is not written.
func (a *Applier) Amend(ctx context.Context, read client.Object, change func(client.Object)) error {
	changed, ok := read.DeepCopyObject().(client.Object)
	if !ok {
		return errors.New("copy object: unexpected type")
	}
	change(changed)
	patch := client.MergeFromWithOptions(read, client.MergeFromWithOptimisticLock{})
	if err := a.Client.Patch(ctx, changed, patch, client.FieldOwner(a.FieldOwner)); err != nil {
		return fmt.Errorf("amend %T %q: %w", read, read.GetName(), err)
	}
	return nil
}

// Mark sets one annotation of an object that was read, as Amend does.
func (a *Applier) Mark(ctx context.Context, read client.Object, key, value string) error {
	return a.Amend(ctx, read, func(o client.Object) { SetAnnotation(o, key, value) })
}

// SetAnnotation sets one annotation in memory.
func SetAnnotation(o client.Object, key, value string) {
	all := o.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	all[key] = value
	o.SetAnnotations(all)
}
