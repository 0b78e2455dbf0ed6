package lab

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	systemNamespace = metav1.NamespaceSystem
	dnsName         = "coredns"
	dnsRole         = "system:coredns"
	nodesRole       = "heddle-lab:nodes"
)

// corefile answers names of the cluster only: a lab has no way out.
const corefile = `.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
    prometheus :9153
    cache 5
    reload
    loadbalance
}
`

// siteObjects is what a site's API server gets first: the nodes (so that pod
// ranges are known before any kubelet speaks), then DNS.
func siteObjects(s *SitePlan) []client.Object {
	var out []client.Object
	for i := range s.Nodes {
		out = append(out, nodeObject(&s.Nodes[i]))
	}
	return slices.Concat(out, nodeRights(), dnsObjects(s), modulesObjects())
}

// nodeRights let nodes read volumes and pods that the Node authorizer does not know yet: it hears of a pod later than
// the node does, and a kubelet that was refused tries again after ten seconds. Secrets stay with the authorizer.
func nodeRights() []client.Object {
	rbac := rbacv1.SchemeGroupVersion.String()
	return []client.Object{
		&rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbac, Kind: "ClusterRole"},
			ObjectMeta: metav1.ObjectMeta{Name: nodesRole},
			Rules: []rbacv1.PolicyRule{{
				APIGroups: []string{""}, Resources: []string{"pods", "persistentvolumes", "persistentvolumeclaims"}, Verbs: []string{"get"},
			}},
		},
		&rbacv1.ClusterRoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbac, Kind: "ClusterRoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: nodesRole},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: nodesRole},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:nodes"}},
		},
	}
}

func nodeObject(n *NodePlan) client.Object {
	return &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: n.Name},
		Spec:       corev1.NodeSpec{PodCIDR: n.podRange().String(), PodCIDRs: []string{n.podRange().String()}},
	}
}

func dnsObjects(s *SitePlan) []client.Object {
	meta := metav1.ObjectMeta{Name: dnsName, Namespace: systemNamespace}
	labels := map[string]string{"k8s-app": "kube-dns"}
	read := []string{"list", "watch"}
	rbac := rbacv1.SchemeGroupVersion.String()
	return []client.Object{
		&corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: meta},
		&rbacv1.ClusterRole{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbac, Kind: "ClusterRole"},
			ObjectMeta: metav1.ObjectMeta{Name: dnsRole},
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"endpoints", "services", "pods", "namespaces"}, Verbs: read},
				{APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}, Verbs: read},
			},
		},
		&rbacv1.ClusterRoleBinding{
			TypeMeta:   metav1.TypeMeta{APIVersion: rbac, Kind: "ClusterRoleBinding"},
			ObjectMeta: metav1.ObjectMeta{Name: dnsRole},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: dnsRole},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: dnsName, Namespace: systemNamespace}},
		},
		&corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: meta,
			Data:       map[string]string{"Corefile": corefile},
		},
		dnsDeployment(meta, labels),
		&corev1.Service{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
			ObjectMeta: metav1.ObjectMeta{Name: "kube-dns", Namespace: systemNamespace, Labels: labels},
			Spec: corev1.ServiceSpec{
				ClusterIP: s.dnsService().String(),
				Selector:  labels,
				Ports: []corev1.ServicePort{
					{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
					{Name: "dns-tcp", Port: 53, Protocol: corev1.ProtocolTCP},
				},
			},
		},
	}
}

func dnsDeployment(meta metav1.ObjectMeta, labels map[string]string) *appsv1.Deployment {
	meta.Labels = labels
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment"},
		ObjectMeta: meta,
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					ServiceAccountName: dnsName,
					PriorityClassName:  "system-cluster-critical",
					DNSPolicy:          corev1.DNSDefault,
					Containers:         []corev1.Container{dnsContainer()},
					Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{
						ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: dnsName}},
					}}},
				},
			},
		},
	}
}

func dnsContainer() corev1.Container {
	probe := func(path string, port int32) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port)}}
	}
	return corev1.Container{
		Name:            dnsName,
		Image:           corednsRef,
		ImagePullPolicy: corev1.PullNever,
		Args:            []string{"-conf", "/etc/coredns/Corefile"},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("40Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("170Mi")},
		},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities: &corev1.Capabilities{
				Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_BIND_SERVICE"},
			},
		},
		ReadinessProbe: &corev1.Probe{ProbeHandler: probe("/ready", 8181), PeriodSeconds: 1},
		LivenessProbe:  &corev1.Probe{ProbeHandler: probe("/health", 8080), InitialDelaySeconds: 20},
		Ports: []corev1.ContainerPort{
			{ContainerPort: 53, Protocol: corev1.ProtocolUDP, Name: "dns"},
			{ContainerPort: 53, Protocol: corev1.ProtocolTCP, Name: "dns-tcp"},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/coredns", ReadOnly: true}},
	}
}
