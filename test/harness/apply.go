package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fieldOwner of what the tests apply.
const fieldOwner = "heddle-e2e"

// Parse reads manifests that are separated by "---".
func Parse(manifests string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := decoder.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("parse manifests: %w", err)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

// Apply applies manifests in their order, as kubectl apply --server-side does.
func (c *Cluster) Apply(ctx context.Context, manifests string) error {
	objects, err := Parse(manifests)
	if err != nil {
		return err
	}
	for _, u := range objects {
		err := c.WithWatch.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldOwner), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply %s %q: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return nil
}

// Remove deletes an object and waits until it is gone.
func (c *Cluster) Remove(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	if err := c.Delete(ctx, obj, opts...); err != nil {
		return client.IgnoreNotFound(err)
	}
	return c.WaitGone(ctx, obj)
}

// WaitGone waits until an object is not there any more.
func (c *Cluster) WaitGone(ctx context.Context, obj client.Object) error {
	return Poll(ctx, func(ctx context.Context) error {
		err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("%T %q is still there (finalizers %q)", obj, obj.GetName(), obj.GetFinalizers())
	})
}
