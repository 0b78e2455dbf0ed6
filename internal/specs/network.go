package specs

import (
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"heddle.dev/heddle/api/v1alpha1"
)

// Operator says who the operator is, for bindings and network policies.
type Operator struct {
	// Namespace of the operator's pod.
	Namespace string
	// ServiceAccount of the operator's pod, in the same namespace.
	ServiceAccount string
}

func (o Operator) subject() rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: o.ServiceAccount, Namespace: o.Namespace}
}

// Namespace is the namespace of a network. It has no owner: it outlives the Network that made it.
func Namespace(n *v1alpha1.Network) *corev1.Namespace {
	labels := placeOfNetwork(n).labels(v1alpha1.LabelTenant, n.Spec.Tenant)
	for _, mode := range []string{"enforce", "warn", "audit"} {
		labels["pod-security.kubernetes.io/"+mode] = "restricted"
	}
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels}}
}

// placeOfNetwork is the place that a network makes.
func placeOfNetwork(n *v1alpha1.Network) Place {
	return Place{Network: n.Name, NetworkID: n.Spec.NetworkID}
}

// OperatorRoleBinding gives the operator its rights in a network's namespace.
func OperatorRoleBinding(n *v1alpha1.Network, operator Operator) *rbacv1.RoleBinding {
	return roleBinding(metav1.ObjectMeta{
		Name: RoleBindingOperator, Namespace: n.Name, Labels: placeOfNetwork(n).labels(),
	}, ClusterRoleNetwork, operator)
}

// ClientNamespaceRoleBinding lets the operator keep Identities of the network in a namespace of clients.
func ClientNamespaceRoleBinding(n *v1alpha1.Network, namespace string, operator Operator) *rbacv1.RoleBinding {
	return roleBinding(metav1.ObjectMeta{
		Name: ClientRoleBinding(n.Name), Namespace: namespace, Labels: placeOfNetwork(n).labels(),
	}, ClusterRoleClient, operator)
}

func roleBinding(meta metav1.ObjectMeta, role string, operator Operator) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{operator.subject()},
	}
}

// Tolerance is how many of n orderers may be down or lie while the others go on.
func Tolerance(consensus v1alpha1.Consensus, n int) int {
	if consensus == v1alpha1.ConsensusBFT {
		return max(0, (n-1)/3)
	}
	return max(0, (n-1)/2)
}

// OrderersBudget keeps a quorum of the ordering service through drains of nodes. Where none may be missing, one still
// may be moved: a budget of nought would block every drain for ever.
func OrderersBudget(n *v1alpha1.Network) *policyv1.PodDisruptionBudget {
	orderers := 0
	for _, o := range n.Spec.Organizations {
		orderers += Orderers(o)
	}
	allowed := max(1, Tolerance(n.Spec.Ordering.Consensus, orderers))
	return budget(placeOfNetwork(n), OrderersPDB, allowed, map[string]string{
		v1alpha1.LabelNetwork: n.Name, v1alpha1.LabelComponent: v1alpha1.ComponentOrderer,
	})
}

// PeersBudget keeps all but one of an organization's peers through drains of nodes.
func PeersBudget(n *v1alpha1.Network, organization string) *policyv1.PodDisruptionBudget {
	return budget(placeOfNetwork(n), PeersPDB(organization), 1, map[string]string{
		v1alpha1.LabelNetwork: n.Name, v1alpha1.LabelComponent: v1alpha1.ComponentPeer, v1alpha1.LabelOrganization: organization,
	})
}

func budget(place Place, name string, allowed int, pods map[string]string) *policyv1.PodDisruptionBudget {
	unavailable := intstr.FromInt(allowed)
	// A pod that does not serve anyhow must not hold up a drain.
	evict := policyv1.AlwaysAllow
	return &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: place.Network,
			Labels: place.Labels(pods[v1alpha1.LabelOrganization], "", pods[v1alpha1.LabelComponent]),
		},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable:             &unavailable,
			Selector:                   &metav1.LabelSelector{MatchLabels: pods},
			UnhealthyPodEvictionPolicy: &evict,
		},
	}
}

// Orderers counts the orderers that an organization of a network asks for.
func Orderers(o v1alpha1.NetworkOrganization) int {
	if o.Orderers == nil || o.Orderers.Count == nil {
		return 0
	}
	return int(*o.Orderers.Count)
}

// Peers counts the peers that an organization of a network asks for.
func Peers(o v1alpha1.NetworkOrganization) int {
	if o.Peers == nil || o.Peers.Count == nil {
		return 0
	}
	return int(*o.Peers.Count)
}
