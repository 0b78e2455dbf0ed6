package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

// leastBFT is the number of consenters below which SmartBFT cannot agree.
const leastBFT = 4

// finalize takes a node down: an orderer not before every channel has let it go. Volume and keys stay, labelled,
// unless the node's deletionPolicy says otherwise.
func (r *Reconciler) finalize(ctx context.Context, s subject) error {
	if s.node.Component == v1alpha1.ComponentOrderer {
		if err := r.awaitRelease(ctx, s); err != nil {
			return err
		}
	}
	meta := metav1.ObjectMeta{Name: s.node.Name, Namespace: s.obj.GetNamespace()}
	gone := []client.Object{
		&appsv1.Deployment{ObjectMeta: meta}, &corev1.Service{ObjectMeta: meta}, &networkingv1.NetworkPolicy{ObjectMeta: meta},
	}
	for _, obj := range append(gone, s.couchDBSettings()...) {
		if err := r.apply.Delete(ctx, s.obj, obj, client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
			return err
		}
	}
	// The labels keep a node that was refused for its name from taking the data of the one that has the name.
	meta.Labels = s.node.Labels()
	left := []client.Object{&corev1.PersistentVolumeClaim{ObjectMeta: meta}, &corev1.Secret{ObjectMeta: meta}}
	for _, obj := range append(left, s.couchDBLeftovers()...) {
		err := r.apply.Retain(ctx, obj)
		if s.node.Settings.DeletionPolicy == v1alpha1.DeletionDelete {
			err = r.apply.Delete(ctx, nil, obj)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitRelease waits until no channel that is to live on orders through this node.
func (r *Reconciler) awaitRelease(ctx context.Context, s subject) error {
	var channels v1alpha1.ChannelList
	if err := r.client.List(ctx, &channels, client.InNamespace(s.obj.GetNamespace())); err != nil {
		return fmt.Errorf("list channels: %w", err)
	}
	for i := range channels.Items {
		ch := &channels.Items[i]
		if !ch.DeletionTimestamp.IsZero() || !slices.Contains(ch.Status.Consenters, s.node.Address()) {
			continue
		}
		if err := r.refuseLoss(ctx, s, ch); err != nil {
			return err
		}
		if slices.Contains(ch.Spec.Consenters, s.node.Name) {
			return kube.Waiting(v1alpha1.ReasonDeleting, 5*time.Second,
				"Channel %q names this orderer: remove it from spec.consenters there", ch.Name)
		}
		return kube.Waiting(v1alpha1.ReasonDeleting, time.Second,
			"Channel %q still orders through this node: it is being taken out", ch.Name)
	}
	return nil
}

// refuseLoss refuses to take out what a channel cannot do without.
func (r *Reconciler) refuseLoss(ctx context.Context, s subject, ch *v1alpha1.Channel) error {
	siblings, err := r.siblings(ctx, s)
	if err != nil {
		return err
	}
	least := 1
	if ch.Spec.Consensus == v1alpha1.ConsensusBFT {
		least = leastBFT
	}
	if len(siblings) >= least {
		return nil
	}
	return kube.Stalled(v1alpha1.ReasonUnsafeChange,
		"Channel %q needs at least %d orderers and %d would be left: add orderers first, or delete the channel",
		ch.Name, least, len(siblings))
}
