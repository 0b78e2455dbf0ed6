package network

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

// world is what stands in the cluster for a network.
type world struct {
	organizations []v1alpha1.Organization
	orderers      []v1alpha1.Orderer
	peers         []v1alpha1.Peer
	channels      []v1alpha1.Channel
	chaincodes    []v1alpha1.Chaincode
	// shelter are the network policies and disruption budgets.
	shelter []client.Object
	// clients are the namespaces of spec.clientNamespaces that exist.
	clients []string
	// rights are the operator's rights for this network, wherever they stand.
	rights []rbacv1.RoleBinding
}

// observe reads the namespace and all that stands in it.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	ns := &corev1.Namespace{}
	err := r.opts.Client.Get(ctx, client.ObjectKey{Name: s.net.Name}, ns)
	switch {
	case err == nil:
		s.namespace = ns
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("read namespace %q: %w", s.net.Name, err)
	}
	w := &s.world
	var (
		orgs       v1alpha1.OrganizationList
		orderers   v1alpha1.OrdererList
		peers      v1alpha1.PeerList
		channels   v1alpha1.ChannelList
		chaincodes v1alpha1.ChaincodeList
		budgets    policyv1.PodDisruptionBudgetList
		policies   networkingv1.NetworkPolicyList
		rights     rbacv1.RoleBindingList
	)
	for _, l := range []client.ObjectList{&orgs, &orderers, &peers, &channels, &chaincodes, &budgets, &policies} {
		if err := r.opts.Client.List(ctx, l, client.InNamespace(s.net.Name)); err != nil {
			return fmt.Errorf("list %T in %q: %w", l, s.net.Name, err)
		}
	}
	if err := r.opts.Client.List(ctx, &rights, client.MatchingLabels{v1alpha1.LabelNetwork: s.net.Name}); err != nil {
		return fmt.Errorf("list role bindings of %q: %w", s.net.Name, err)
	}
	w.organizations, w.orderers, w.peers, w.channels = orgs.Items, orderers.Items, peers.Items, channels.Items
	w.chaincodes = chaincodes.Items
	for i := range budgets.Items {
		w.shelter = append(w.shelter, &budgets.Items[i])
	}
	for i := range policies.Items {
		w.shelter = append(w.shelter, &policies.Items[i])
	}
	w.rights = rights.Items
	return r.observeClients(ctx, s)
}

func (r *Reconciler) observeClients(ctx context.Context, s *scope) error {
	for _, name := range s.net.Spec.ClientNamespaces {
		if name == s.net.Name {
			continue
		}
		ns := &corev1.Namespace{}
		if err := r.opts.Client.Get(ctx, client.ObjectKey{Name: name}, ns); err != nil {
			if apierrors.IsNotFound(err) {
				continue
			}
			return fmt.Errorf("read namespace %q: %w", name, err)
		}
		if ns.DeletionTimestamp.IsZero() {
			s.world.clients = append(s.world.clients, name)
		}
	}
	return nil
}

// nodes are all objects of the network that have conditions, in the order in which a person would look at them.
func (w *world) nodes() []kube.Object {
	var out []kube.Object
	for i := range w.organizations {
		out = append(out, &w.organizations[i])
	}
	for i := range w.orderers {
		out = append(out, &w.orderers[i])
	}
	for i := range w.peers {
		out = append(out, &w.peers[i])
	}
	for i := range w.channels {
		out = append(out, &w.channels[i])
	}
	return out
}

// inlineOf reports whether an object was made from the Network's own spec.
func inlineOf(n *v1alpha1.Network, o client.Object) bool {
	return o.GetLabels()[v1alpha1.LabelInline] == n.Name && metav1.IsControlledBy(o, n)
}
