package network

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// settled is the last step: all that the network consists of must be Ready, and what leaves it must be gone.
func (r *Reconciler) settled(_ context.Context, s *scope) error {
	r.advise(s.net)
	have, wanted := map[string]bool{}, s.wanted()
	keep := map[string]bool{}
	for _, o := range wanted {
		keep[key(o)] = true
	}
	for _, o := range s.world.nodes() {
		have[key(o)] = true
		if org, ok := o.(*v1alpha1.Organization); ok && org.Spec.Remote != nil {
			continue // what a partner says of its own is no part of this site's network
		}
		if why := waitsFor(o); why != nil {
			return why
		}
		// What was seen of an object before this round changed or deleted it says nothing any more.
		if inlineOf(s.net, o) && !keep[key(o)] {
			return kube.Waiting(v1alpha1.ReasonDeleting, 0, "%s %q is being taken down", kindOf(o), o.GetName())
		}
		if !r.apply.Current(o) {
			return kube.Waiting(v1alpha1.ReasonProgressing, 0, "%s %q is being changed", kindOf(o), o.GetName())
		}
	}
	for _, o := range wanted {
		if !have[key(o)] {
			return kube.Waiting(v1alpha1.ReasonProgressing, 0, "%s %q is being made", kindOf(o), o.GetName())
		}
	}
	return nil
}

// waitsFor tells why an object keeps its network from being Ready; nil if it does not.
func waitsFor(o kube.Object) error {
	c := meta.FindStatusCondition(*o.GetConditions(), v1alpha1.ConditionReady)
	stalled := meta.IsStatusConditionTrue(*o.GetConditions(), v1alpha1.ConditionStalled)
	switch {
	case stalled && c != nil:
		return kube.Waiting(c.Reason, 0, "%s %q cannot go on: %s", kindOf(o), o.GetName(), c.Message)
	case !o.GetDeletionTimestamp().IsZero():
		return kube.Waiting(v1alpha1.ReasonDeleting, 0, "%s %q is being taken down", kindOf(o), o.GetName())
	case kube.IsReady(o):
		return nil
	case c != nil && c.ObservedGeneration == o.GetGeneration():
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "%s %q: %s", kindOf(o), o.GetName(), c.Message)
	default:
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "%s %q is being reconciled", kindOf(o), o.GetName())
	}
}

func kindOf(o kube.Object) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", o), "*v1alpha1.")
}

// advise warns, once for each generation of the spec, of a number of orderers that is allowed and not wise.
func (r *Reconciler) advise(n *v1alpha1.Network) {
	if n.Status.ObservedGeneration == n.Generation || r.opts.Recorder == nil {
		return
	}
	if advice := specs.SizeAdvice(n); advice != "" {
		r.opts.Recorder.Eventf(n, nil, corev1.EventTypeWarning, v1alpha1.ReasonQuorumRisk, "Reconcile", "%s", advice)
	}
}

// summarize adds up the states of the network's objects.
func (s *scope) summarize(n *v1alpha1.Network) {
	if s.namespace != nil && s.namespace.Labels[v1alpha1.LabelNetwork] == n.Name {
		n.Status.NetworkID = s.namespace.Labels[v1alpha1.LabelNetworkID]
	}
	w := &s.world
	n.Status.Orderers = count(w.orderers, func(o *v1alpha1.Orderer) kube.Object { return o })
	n.Status.Peers = count(w.peers, func(p *v1alpha1.Peer) kube.Object { return p })
	n.Status.Channels = count(w.channels, func(c *v1alpha1.Channel) kube.Object { return c })
	n.Status.SoonestExpiry = w.soonest()
}

func count[T any](items []T, object func(*T) kube.Object) string {
	ready := 0
	for i := range items {
		if kube.IsReady(object(&items[i])) {
			ready++
		}
	}
	return fmt.Sprintf("%d/%d", ready, len(items))
}

// soonest is the certificate of the network that ends first, named after its object.
func (w *world) soonest() *v1alpha1.CertificateStatus {
	var out *v1alpha1.CertificateStatus
	look := func(object string, certificates []v1alpha1.CertificateStatus) {
		for _, c := range certificates {
			if out == nil || c.NotAfter.Before(&out.NotAfter) {
				out = c.DeepCopy()
				out.Name = object + "/" + c.Name
			}
		}
	}
	for i := range w.organizations {
		look(w.organizations[i].Name, w.organizations[i].Status.Certificates)
	}
	for i := range w.orderers {
		look(w.orderers[i].Name, w.orderers[i].Status.Certificates)
	}
	for i := range w.peers {
		look(w.peers[i].Name, w.peers[i].Status.Certificates)
	}
	return out
}
