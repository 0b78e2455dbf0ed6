package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// fieldOwner of what the tests apply.
const fieldOwner = "heddle-e2e"

// namespacePause is the pause between two looks for a namespace.
const namespacePause = 25 * time.Millisecond

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

// Apply applies manifests in their order, as kubectl apply --server-side does. An object whose namespace is still to be
// made, by the operator for a Network before it, waits for that.
func (c *Cluster) Apply(ctx context.Context, manifests string) error {
	objects, err := Parse(manifests)
	if err != nil {
		return err
	}
	for _, u := range objects {
		if err := c.applyOne(ctx, u); err != nil {
			return fmt.Errorf("apply %s %q: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return nil
}

func (c *Cluster) applyOne(ctx context.Context, u *unstructured.Unstructured) error {
	tick := time.NewTicker(namespacePause)
	defer tick.Stop()
	for {
		err := c.WithWatch.Apply(ctx, client.ApplyConfigurationFromUnstructured(u.DeepCopy()), client.FieldOwner(fieldOwner), client.ForceOwnership)
		if !apierrors.IsNotFound(err) || u.GetNamespace() == "" {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
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

// RemoveNetwork deletes a Network and whatever it retained.
func (c *Cluster) RemoveNetwork(ctx context.Context, name string) error {
	if err := c.Remove(ctx, &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return err
	}
	return c.Remove(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}
