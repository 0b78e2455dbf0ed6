package link

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// takeDown leaves nothing of a link. Its pods go first and without grace, so that no tunnel lives on in either direction;
// the Deployment is kept at nought until they are gone, or it would make others.
func (r *Reconciler) takeDown(ctx context.Context, s *scope) error {
	var d appsv1.Deployment
	err := r.client.Get(ctx, client.ObjectKey{Namespace: s.spec.Place.Network, Name: specs.LinkName(s.spec.Name)}, &d)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Deployment of link: %w", err)
	}
	if err == nil && d.Labels[v1alpha1.LabelLink] == s.spec.Name && ptr.Deref(d.Spec.Replicas, 1) != 0 {
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":0}}`))
		if err := r.client.Patch(ctx, &d, patch, client.FieldOwner(FieldOwner)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("stop link %q: %w", s.spec.Name, err)
		}
	}
	if err := r.killPods(ctx, s); err != nil {
		return err
	}
	objects := []client.Object{specs.LinkService(s.spec), specs.LinkConfigMap(s.spec, ""), specs.LinkSecret(s.spec)}
	for _, np := range specs.LinkPolicies(s.spec) {
		objects = append(objects, np)
	}
	for _, obj := range append(objects, specs.LinkDeployment(s.spec, false)) {
		if err := r.remove(ctx, s, obj); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes an object that was made for this link, whoever its SiteLink was.
func (r *Reconciler) remove(ctx context.Context, s *scope, obj client.Object) error {
	live, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("copy %T: unexpected type", obj)
	}
	err := r.client.Get(ctx, client.ObjectKeyFromObject(obj), live)
	if apierrors.IsNotFound(err) || err == nil && live.GetLabels()[v1alpha1.LabelLink] != s.spec.Name {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %T %q: %w", obj, obj.GetName(), err)
	}
	if err := r.client.Delete(ctx, live, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %T %q: %w", obj, obj.GetName(), err)
	}
	return nil
}

func (r *Reconciler) pods(ctx context.Context, s *scope) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := r.client.List(ctx, &list, client.InNamespace(s.spec.Place.Network), client.MatchingLabels{
		v1alpha1.LabelComponent: v1alpha1.ComponentLink, v1alpha1.LabelLink: s.spec.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("list pods of link %q: %w", s.spec.Name, err)
	}
	return list.Items, nil
}

// killPods ends the link's pods at once and waits until none is left.
func (r *Reconciler) killPods(ctx context.Context, s *scope) error {
	pods, err := r.pods(ctx, s)
	if err != nil {
		return err
	}
	for i := range pods {
		if err := r.client.Delete(ctx, &pods[i], client.GracePeriodSeconds(0)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("end pod %q: %w", pods[i].Name, err)
		}
	}
	if len(pods) > 0 {
		return kube.Waiting(v1alpha1.ReasonDeleting, soon, "Waiting for %d pods of link %q to go", len(pods), s.spec.Name)
	}
	return nil
}
