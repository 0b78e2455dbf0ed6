package network

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// wanted are the inline objects that the spec asks for.
func (s *scope) wanted() []kube.Object {
	living := map[string]*v1alpha1.Channel{}
	for i := range s.world.channels {
		living[s.world.channels[i].Name] = &s.world.channels[i]
	}
	var out []kube.Object
	for _, o := range specs.InlineOrganizations(s.net) {
		out = append(out, o)
	}
	for _, o := range specs.InlineOrderers(s.net) {
		out = append(out, o)
	}
	for _, p := range specs.InlinePeers(s.net) {
		out = append(out, p)
	}
	for _, c := range specs.InlineChannels(s.net, living) {
		out = append(out, c)
	}
	return out
}

// children makes the inline objects. One that cannot be made does not keep the others from it.
func (r *Reconciler) children(ctx context.Context, s *scope) error {
	var steps []kube.Step[scope]
	for _, o := range s.wanted() {
		steps = append(steps, func(ctx context.Context, s *scope) error {
			return r.apply.Apply(ctx, s.net, o)
		})
	}
	return kube.RunAll(ctx, s, steps...)
}

// prune deletes inline objects that have left the spec. An organization goes after the last of its nodes.
func (r *Reconciler) prune(ctx context.Context, s *scope) error {
	keep := map[string]bool{}
	for _, o := range s.wanted() {
		keep[key(o)] = true
	}
	busy := map[string]bool{}
	for i := range s.world.orderers {
		busy[s.world.orderers[i].Spec.Organization] = true
	}
	for i := range s.world.peers {
		busy[s.world.peers[i].Spec.Organization] = true
	}
	for _, o := range s.world.nodes() {
		if keep[key(o)] || !inlineOf(s.net, o) || !o.GetDeletionTimestamp().IsZero() {
			continue
		}
		if _, isOrg := o.(*v1alpha1.Organization); isOrg && busy[o.GetName()] {
			continue
		}
		if err := r.remove(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func key(o client.Object) string { return fmt.Sprintf("%T/%s", o, o.GetName()) }

func (r *Reconciler) remove(ctx context.Context, o client.Object) error {
	if err := r.opts.Client.Delete(ctx, o); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", key(o), err)
	}
	return nil
}
