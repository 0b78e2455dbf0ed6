package network

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// ours reports whether the namespace holds this very network.
func (s *scope) ours() bool {
	return s.namespace != nil && s.namespace.Labels[v1alpha1.LabelNetwork] == s.net.Name &&
		s.namespace.Labels[v1alpha1.LabelNetworkID] == s.net.Spec.NetworkID
}

// dismiss deletes every object of the network, those made by hand too, and waits until their controllers have taken
// them down. Contracts and channels go first, since taking them down may need the nodes' objects.
func (r *Reconciler) dismiss(ctx context.Context, s *scope) error {
	if !s.ours() {
		return nil
	}
	var all []kube.Object
	for i := range s.world.chaincodes {
		all = append(all, &s.world.chaincodes[i])
	}
	for i := range s.world.channels {
		all = append(all, &s.world.channels[i])
	}
	for i := range s.world.orderers {
		all = append(all, &s.world.orderers[i])
	}
	for i := range s.world.peers {
		all = append(all, &s.world.peers[i])
	}
	if len(all) == 0 {
		for i := range s.world.organizations {
			all = append(all, &s.world.organizations[i])
		}
	}
	for _, o := range all {
		if o.GetDeletionTimestamp().IsZero() {
			if err := r.remove(ctx, o); err != nil {
				return err
			}
		}
	}
	if len(all) > 0 {
		return kube.Waiting(v1alpha1.ReasonDeleting, 0, "%s %q and %d more are being taken down", kindOf(all[0]), all[0].GetName(), len(all)-1)
	}
	return nil
}

// retain labels the data that stays, or deletes the namespace with everything in it, as the spec says.
func (r *Reconciler) retain(ctx context.Context, s *scope) error {
	if !s.ours() {
		return nil
	}
	if s.net.Spec.DeletionPolicy == v1alpha1.DeletionDelete {
		if s.namespace.DeletionTimestamp.IsZero() {
			if err := r.opts.Client.Delete(ctx, s.namespace); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("delete namespace %q: %w", s.net.Name, err)
			}
		}
		return kube.Waiting(v1alpha1.ReasonDeleting, 0, "Namespace %q is being deleted with all data", s.net.Name)
	}
	if len(s.world.rights) == 0 && s.namespace.Labels[v1alpha1.LabelRetained] == "true" {
		return nil // a round before has done all this, and has given up the rights to do it again
	}
	if err := r.apply.Apply(ctx, s.net, specs.OperatorRoleBinding(s.net, r.opts.Operator)); err != nil {
		return err
	}
	mine := []client.ListOption{client.InNamespace(s.net.Name), client.MatchingLabels{v1alpha1.LabelNetwork: s.net.Name}}
	for _, l := range []client.ObjectList{&corev1.PersistentVolumeClaimList{}, &corev1.ConfigMapList{}, &corev1.SecretList{}} {
		if err := r.opts.Client.List(ctx, l, mine...); err != nil {
			return fmt.Errorf("list %T in %q: %w", l, s.net.Name, err)
		}
		if err := kube.EachOf(l, func(o client.Object) error { return r.keep(ctx, o) }); err != nil {
			return err
		}
	}
	ns := specs.Namespace(s.net)
	ns.Labels[v1alpha1.LabelRetained] = "true"
	if err := r.apply.Apply(ctx, nil, ns); err != nil {
		return err
	}
	return r.leave(ctx, s)
}

// leave removes what the operator has put up for the nodes, its own rights last. The garbage collector would do it
// too, but later, and a network that comes back at once would meet the remains.
func (r *Reconciler) leave(ctx context.Context, s *scope) error {
	remains := slices.Clone(s.world.shelter)
	for i := range s.world.rights {
		remains = append(remains, &s.world.rights[i])
	}
	for _, o := range remains {
		if err := r.apply.Delete(ctx, s.net, o); err != nil {
			return err
		}
	}
	return nil
}

// keep labels one object as retained. What has an owner goes with it and is not labelled.
func (r *Reconciler) keep(ctx context.Context, o client.Object) error {
	if len(o.GetOwnerReferences()) > 0 || o.GetLabels()[v1alpha1.LabelRetained] == "true" {
		return nil
	}
	before, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("copy %s: unexpected type", key(o))
	}
	labels := o.GetLabels()
	labels[v1alpha1.LabelRetained] = "true"
	o.SetLabels(labels)
	if err := r.opts.Client.Patch(ctx, o, client.MergeFrom(before)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("label %s as retained: %w", key(o), err)
	}
	return nil
}
