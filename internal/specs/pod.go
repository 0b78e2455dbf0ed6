package specs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

// userID is the user and group that every pod runs as: the stock images name none.
const userID int64 = 1000

// workload is what the pods of orderers, peers and CAs have in common.
type workload struct {
	place Place
	// name of Deployment, Service and volume.
	name string
	// node that the pod serves, as in v1alpha1.LabelNode.
	node         string
	organization string
	component    string
	pullSecrets  []v1alpha1.PullSecret
	// serviceAccount of the pod; the namespace's default one, without a token, unless given.
	serviceAccount string
	// material identifies what the pod reads from Secrets and ConfigMaps; another value replaces the pod.
	material  string
	init      []corev1.Container
	container corev1.Container
	volumes   []corev1.Volume
}

func (w workload) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: w.name, Namespace: w.place.Network, Labels: w.place.Labels(w.organization, w.node, w.component),
	}
}

// deployment runs one pod and never two at once: they would share a volume.
func (w workload) deployment() *appsv1.Deployment {
	labels := w.place.Labels(w.organization, w.node, w.component)
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: w.pod()}
	template.Annotations = map[string]string{v1alpha1.AnnotationConfigHash: templateHash(template, w.material)}
	return &appsv1.Deployment{
		ObjectMeta: w.meta(),
		Spec: appsv1.DeploymentSpec{
			Replicas:             ptr.To[int32](1),
			RevisionHistoryLimit: ptr.To[int32](2),
			Strategy:             appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector:             &metav1.LabelSelector{MatchLabels: w.place.selects(w.node, w.component)},
			Template:             template,
		},
	}
}

func (w workload) pod() corev1.PodSpec {
	for i := range w.init {
		harden(&w.init[i])
	}
	harden(&w.container)
	spec := corev1.PodSpec{
		EnableServiceLinks:            ptr.To(false),
		AutomountServiceAccountToken:  ptr.To(false),
		ServiceAccountName:            w.serviceAccount,
		TerminationGracePeriodSeconds: ptr.To[int64](30),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(userID), RunAsGroup: ptr.To(userID), FSGroup: ptr.To(userID),
			// Without this, every start would walk the whole ledger to set its group.
			FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Affinity:       w.spread(),
		InitContainers: w.init,
		Containers:     []corev1.Container{w.container},
		Volumes:        append(w.volumes, scratch("tmp", "", "256Mi")),
	}
	for _, s := range w.pullSecrets {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s.Name})
	}
	return spec
}

// spread prefers machines without a pod of the same component of the same network.
func (w workload) spread() *corev1.Affinity {
	return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 100,
			PodAffinityTerm: corev1.PodAffinityTerm{
				TopologyKey: corev1.LabelHostname,
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{
					v1alpha1.LabelNetwork: w.place.Network, v1alpha1.LabelComponent: w.component,
				}},
			},
		}},
	}}
}

// service publishes pods that are not ready too: nodes find one another while they start.
func (w workload) service(ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: w.meta(),
		Spec: corev1.ServiceSpec{
			Selector: w.place.selects(w.node, w.component), Ports: ports, PublishNotReadyAddresses: true,
		},
	}
}

// volume has no owner: it outlives the object it was made for.
func (w workload) volume(storage v1alpha1.NodeStorage, fallback string) *corev1.PersistentVolumeClaim {
	size := resource.MustParse(fallback)
	if storage.Size != nil {
		size = *storage.Size
	}
	pvc := &corev1.PersistentVolumeClaim{
		ObjectMeta: w.meta(),
		Spec: corev1.PersistentVolumeClaimSpec{
			// One pod, not one machine: the successor of an evicted pod starts while that still ends, and two
			// writers would ruin a ledger.
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: size}},
		},
	}
	if storage.StorageClassName != "" {
		pvc.Spec.StorageClassName = ptr.To(storage.StorageClassName)
	}
	return pvc
}

// templateHash tells templates apart, as they are wanted and not as the API server completes them.
func templateHash(template corev1.PodTemplateSpec, material string) string {
	raw, err := json.Marshal(template)
	if err != nil {
		// Plain data always marshals; a constant would hide changes, so the text of the error takes its place.
		raw = []byte(err.Error())
	}
	sum := sha256.Sum256(fmt.Appendf(raw, "\n%s", material))
	return hex.EncodeToString(sum[:16])
}

// harden restricts a container, whatever user it names, and has the end of its log told where it fails.
func harden(c *corev1.Container) {
	named := c.SecurityContext
	c.SecurityContext = restricted()
	if named != nil {
		c.SecurityContext.RunAsUser, c.SecurityContext.RunAsGroup = named.RunAsUser, named.RunAsGroup
	}
	c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
}

// restricted is what Pod Security asks of every container, and a root file system that cannot be written.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false),
		ReadOnlyRootFilesystem:   ptr.To(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// probes look at the operations endpoint: often while it matters to be quick, seldom and patiently afterwards. A
// container is restarted only when it does not even accept connections, since a restart heals nothing else.
func probes(c *corev1.Container) {
	operations := intstr.FromInt32(v1alpha1.PortOperations)
	open := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: operations}}
	c.StartupProbe = &corev1.Probe{ProbeHandler: open, PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 300}
	c.ReadinessProbe = &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: operations}},
		PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 3,
	}
	c.LivenessProbe = &corev1.Probe{ProbeHandler: open, PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6}
}

// resources are the ones given, or requests and a memory limit that suit a small network.
func resources(given *corev1.ResourceRequirements, cpu, memory, limit string) corev1.ResourceRequirements {
	if given != nil {
		return *given
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)},
	}
}

func scratch(name string, medium corev1.StorageMedium, limit string) corev1.Volume {
	size := resource.MustParse(limit)
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: medium, SizeLimit: &size},
	}}
}

func claimed(name, claim string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}}
}

func projected(name string, sources ...corev1.VolumeProjection) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{DefaultMode: ptr.To[int32](0o440), Sources: sources},
	}}
}

// apiAccess is a token of the pod's ServiceAccount and what verifies the API server, for the containers that mount it.
func apiAccess(name string) corev1.Volume {
	return projected(name,
		corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](3600)}},
		fromConfigMap("kube-root-ca.crt", []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}))
}

// fromSecret projects pairs of key and path.
func fromSecret(secret string, pairs ...string) corev1.VolumeProjection {
	return corev1.VolumeProjection{Secret: &corev1.SecretProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Items: items(pairs),
	}}
}

func fromConfigMap(name string, paths []corev1.KeyToPath) corev1.VolumeProjection {
	return corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: paths,
	}}
}

func items(pairs []string) []corev1.KeyToPath {
	var out []corev1.KeyToPath
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, corev1.KeyToPath{Key: pairs[i], Path: pairs[i+1]})
	}
	return out
}

func mount(name, path string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: name, MountPath: path}
}

func mountReadOnly(name, path string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: true}
}

func containerPort(name string, port int32) corev1.ContainerPort {
	return corev1.ContainerPort{Name: name, ContainerPort: port}
}

func servicePort(name string, port int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: port, TargetPort: intstr.FromInt32(port)}
}
