// Package network reconciles Networks: the namespace, the operator's rights in it, network policies, disruption
// budgets, and the inline organizations, orderers, peers and channels. Those are brought about by their own
// controllers; this one makes them, removes the ones that left the spec, and adds up their states.
package network

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// fieldOwner is this controller's name in managedFields.
const fieldOwner = "heddle-network"

// Options are what the reconciler needs.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Operator says who the operator is, for its rights and for network policies.
	Operator specs.Operator
	// NewID makes the identity of a network that was given none: random, lower-case letters and digits.
	NewID func() string
}

// Reconciler brings Networks about.
type Reconciler struct {
	opts   Options
	rounds *kube.Rounds
	apply  *kube.Applier
}

// New makes a Reconciler.
func New(o Options) *Reconciler {
	return &Reconciler{
		opts:   o,
		rounds: &kube.Rounds{Client: o.Client, Recorder: o.Recorder},
		apply:  &kube.Applier{Client: o.Client, Reader: o.Reader, FieldOwner: fieldOwner},
	}
}

// scope is what one round has seen of a network.
type scope struct {
	net       *v1alpha1.Network
	namespace *corev1.Namespace // nil if there is none
	world     world
}

// Reconcile runs one round for a Network.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &scope{}
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.Network{}, kube.Flow[*v1alpha1.Network]{
		Steps: func(ctx context.Context, n *v1alpha1.Network) error {
			s.net = n
			return kube.Run(ctx, s, r.observe, r.identity, r.home, r.rights, r.shelter, r.children, r.prune, r.settled)
		},
		Finalize: func(ctx context.Context, n *v1alpha1.Network) error {
			s.net = n
			return kube.Run(ctx, s, r.observe, r.dismiss, r.retain)
		},
		Status: func(n *v1alpha1.Network) { s.summarize(n) },
	})
}

// identity refuses namespaces of others and gives a network without an ID a random one, by writing it into the spec.
func (r *Reconciler) identity(ctx context.Context, s *scope) error {
	if s.namespace != nil {
		owner, id := s.namespace.Labels[v1alpha1.LabelNetwork], s.namespace.Labels[v1alpha1.LabelNetworkID]
		switch {
		case owner != s.net.Name:
			return kube.Stalled(v1alpha1.ReasonNamespaceTaken,
				"Namespace %q exists and was not made by Heddle: delete it, or give the Network another metadata.name", s.net.Name)
		case id != s.net.Spec.NetworkID:
			return kube.Stalled(v1alpha1.ReasonNamespaceRetained,
				"Namespace %q holds the network with networkID %q: set spec.networkID to it to go on with its data, or give the Network another metadata.name",
				s.net.Name, id)
		case !s.namespace.DeletionTimestamp.IsZero():
			return kube.Waiting(v1alpha1.ReasonDeleting, 0, "Namespace %q is still being deleted", s.net.Name)
		}
	}
	if s.net.Spec.NetworkID != "" {
		return nil
	}
	minted := &v1alpha1.Network{}
	minted.Name = s.net.Name
	minted.Spec.NetworkID = r.opts.NewID()
	if err := r.apply.Apply(ctx, nil, minted); err != nil {
		return fmt.Errorf("write spec.networkID: %w", err)
	}
	return kube.Waiting(v1alpha1.ReasonProgressing, 0, "The network has been given a networkID")
}

// home makes the namespace.
func (r *Reconciler) home(ctx context.Context, s *scope) error {
	return r.apply.Apply(ctx, nil, specs.Namespace(s.net))
}

// rights gives the operator its rights in the namespace and in those of the clients, and takes away stale ones.
func (r *Reconciler) rights(ctx context.Context, s *scope) error {
	if err := r.apply.Apply(ctx, s.net, specs.OperatorRoleBinding(s.net, r.opts.Operator)); err != nil {
		return err
	}
	for _, ns := range s.world.clients {
		if err := r.apply.Apply(ctx, s.net, specs.ClientNamespaceRoleBinding(s.net, ns, r.opts.Operator)); err != nil {
			return err
		}
	}
	for i := range s.world.rights {
		b := &s.world.rights[i]
		if b.Name != specs.ClientRoleBinding(s.net.Name) || slices.Contains(s.net.Spec.ClientNamespaces, b.Namespace) {
			continue
		}
		if err := r.apply.Delete(ctx, s.net, b); err != nil {
			return err
		}
	}
	return nil
}

// shelter makes network policies and disruption budgets, and removes those that are no longer meant.
func (r *Reconciler) shelter(ctx context.Context, s *scope) error {
	var meant []client.Object
	for _, p := range specs.Policies(s.net, r.opts.Operator) {
		meant = append(meant, p)
	}
	if orderers := len(specs.InlineOrderers(s.net)); orderers > 0 {
		meant = append(meant, specs.OrderersBudget(s.net))
	}
	for i := range s.net.Spec.Organizations {
		if o := s.net.Spec.Organizations[i]; specs.Peers(o) > 0 {
			meant = append(meant, specs.PeersBudget(s.net, o.Name))
		}
	}
	keep := map[string]bool{}
	var steps []kube.Step[scope]
	for _, o := range meant {
		keep[key(o)] = true
		steps = append(steps, func(ctx context.Context, s *scope) error { return r.apply.Apply(ctx, s.net, o) })
	}
	for _, o := range s.world.shelter {
		if !keep[key(o)] {
			steps = append(steps, func(ctx context.Context, s *scope) error { return r.apply.Delete(ctx, s.net, o) })
		}
	}
	return kube.RunAll(ctx, s, steps...)
}
