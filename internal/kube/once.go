package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// CreateOnce creates an object that must never be written over, such as a key or a genesis block. When it exists
// already, obj is filled with what is there, after the check that it is ours. created tells which of the two happened.
// obj is read from the API server itself, never from the cache: a key made twice would be two keys.
func (a *Applier) CreateOnce(ctx context.Context, owner, obj client.Object) (created bool, err error) {
	want, err := a.intended(owner, obj)
	if err != nil {
		return false, err
	}
	key := client.ObjectKeyFromObject(obj)
	if owner != nil {
		if err := controllerutil.SetControllerReference(owner, obj, a.Client.Scheme()); err != nil {
			return false, fmt.Errorf("set owner of %s %q: %w", want.GetKind(), key.Name, err)
		}
	}
	err = a.Client.Create(ctx, obj, client.FieldOwner(a.FieldOwner))
	if err == nil {
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, fmt.Errorf("create %s %q: %w", want.GetKind(), key.Name, err)
	}
	if err := a.Reader.Get(ctx, key, obj); err != nil {
		return false, fmt.Errorf("read %s %q: %w", want.GetKind(), key.Name, err)
	}
	return false, mayTake(owner, want, obj)
}
