package specs

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

// PeerServiceAccount is what a peer launches contracts as.
func PeerServiceAccount(p *v1alpha1.Peer) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: peerAccess(p), AutomountServiceAccountToken: ptr.To(false)}
}

// PeerRoleBinding lets a peer launch contracts; an admission policy keeps it to its own.
func PeerRoleBinding(p *v1alpha1.Peer) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: peerAccess(p),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ClusterRolePeer},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: PeerServiceAccountName(p.Name), Namespace: p.Namespace}},
	}
}

func peerAccess(p *v1alpha1.Peer) metav1.ObjectMeta {
	n := NodeOfPeer(p)
	return metav1.ObjectMeta{Name: PeerServiceAccountName(p.Name), Namespace: p.Namespace, Labels: n.Labels()}
}
