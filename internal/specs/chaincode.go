package specs

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs/launch"
)

// Chaincode is what the objects of a contract that runs as a service are made from.
type Chaincode struct {
	// Place is the network.
	Place Place
	// Chaincode is the object.
	Chaincode *v1alpha1.Chaincode
	// PackageID that the contract serves.
	PackageID string
	// Image that runs.
	Image string
	// TLS identifies the certificates of the contract; empty means plain text.
	TLS string
}

// contractTLSPath is where a contract that runs as a service finds its certificates.
const contractTLSPath = "/etc/heddle/contract"

// ChaincodeRuntime is how a contract runs: what its spec says, or what follows from it.
func ChaincodeRuntime(c *v1alpha1.Chaincode) v1alpha1.ChaincodeRuntime {
	switch {
	case c.Spec.Runtime != "":
		return c.Spec.Runtime
	case c.Spec.Build != "" || strings.Contains(c.Spec.Image, "@sha256:"):
		return v1alpha1.RuntimePeer
	}
	return v1alpha1.RuntimeService
}

// ChaincodeSecure tells whether the connection between the peers and a contract that runs as a service is secured.
func ChaincodeSecure(c *v1alpha1.Chaincode) bool {
	return ChaincodeRuntime(c) == v1alpha1.RuntimeService && c.Spec.TLS != v1alpha1.TLSDisabled
}

// Settings are what peers are told of the contract that they launch.
func (c Chaincode) Settings() launch.Settings {
	spec := &c.Chaincode.Spec
	out := launch.Settings{
		Chaincode: c.Chaincode.Name, Channel: spec.Channel, Contract: spec.ChaincodeName, Resources: spec.Resources,
		RuntimeClassName: spec.RuntimeClassName, ImagePullPolicy: spec.ImagePullPolicy, IdleSeconds: ptr.Deref(spec.IdleSeconds, 0),
	}
	for _, s := range spec.ImagePullSecrets {
		out.ImagePullSecrets = append(out.ImagePullSecrets, s.Name)
	}
	return out
}

// ChaincodeSettings is where peers find the settings.
func ChaincodeSettings(c Chaincode, text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: launch.SettingsConfigMap(c.Chaincode.Name), Namespace: c.Place.Network, Labels: c.labels()},
		Data:       map[string]string{launch.SettingsKey: text},
	}
}

func (c Chaincode) workload() workload {
	spec := &c.Chaincode.Spec
	container := corev1.Container{
		Name: "contract", Image: c.Image, ImagePullPolicy: spec.ImagePullPolicy,
		Env: []corev1.EnvVar{
			{Name: "CHAINCODE_SERVER_ADDRESS", Value: "0.0.0.0:9999"},
			{Name: "CHAINCODE_ID", Value: c.PackageID},
			{Name: "CORE_CHAINCODE_ID_NAME", Value: c.PackageID},
			{Name: "CORE_PEER_TLS_ENABLED", Value: "false"},
		},
		Ports:        []corev1.ContainerPort{containerPort("contract", v1alpha1.PortChaincode)},
		Resources:    resources(spec.Resources, "20m", "32Mi", "256Mi"),
		VolumeMounts: []corev1.VolumeMount{mount("tmp", "/tmp")},
	}
	open := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(v1alpha1.PortChaincode)}}
	container.StartupProbe = &corev1.Probe{ProbeHandler: open, PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 120}
	container.ReadinessProbe = &corev1.Probe{ProbeHandler: open, PeriodSeconds: 5, TimeoutSeconds: 5, FailureThreshold: 3}
	w := workload{
		place: c.Place, name: ChaincodeName(c.Chaincode.Name), component: v1alpha1.ComponentChaincode,
		pullSecrets: spec.ImagePullSecrets, material: c.TLS,
	}
	if c.TLS == "" {
		container.Env = append(container.Env, corev1.EnvVar{Name: "CHAINCODE_TLS_DISABLED", Value: "true"})
	} else {
		container.Env = append(container.Env, contractTLS()...)
		container.VolumeMounts = append(container.VolumeMounts, mountReadOnly("tls", contractTLSPath))
		w.volumes = []corev1.Volume{projected("tls", fromSecret(ChaincodeTLSSecretName(c.Chaincode.Name),
			KeyNodeTLSCert, KeyNodeTLSCert, KeyNodeTLSKey, KeyNodeTLSKey, KeyNodeTLSRoots, KeyNodeTLSRoots))}
	}
	w.container = container
	return w
}

// contractTLS tells a contract where its certificates are, in the words of our samples and in those of Fabric's, which
// differ in the last.
func contractTLS() []corev1.EnvVar {
	clients := contractTLSPath + "/" + KeyNodeTLSRoots
	return []corev1.EnvVar{
		{Name: "CHAINCODE_TLS_DISABLED", Value: "false"},
		{Name: "CHAINCODE_TLS_CERT", Value: contractTLSPath + "/" + KeyNodeTLSCert},
		{Name: "CHAINCODE_TLS_KEY", Value: contractTLSPath + "/" + KeyNodeTLSKey},
		{Name: "CHAINCODE_TLS_CLIENT_CACERT", Value: clients},
		{Name: "CHAINCODE_CLIENT_CA_CERT", Value: clients},
	}
}

// ChaincodeTLSSecret holds the certificate of a contract that runs as a service, its key, and what verifies the peers
// that may call it. It names the organization that issues, so that this stays the same one: its root is in the package.
func ChaincodeTLSSecret(c Chaincode, issuer string) *corev1.Secret {
	labels := c.labels()
	labels[v1alpha1.LabelOrganization] = issuer
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: ChaincodeTLSSecretName(c.Chaincode.Name), Namespace: c.Place.Network, Labels: labels},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{},
	}
}

func (c Chaincode) labels() map[string]string {
	return merge(c.Place.Labels("", "", v1alpha1.ComponentChaincode), map[string]string{v1alpha1.LabelChaincode: c.Chaincode.Name})
}

func (c Chaincode) selects() map[string]string {
	return map[string]string{
		v1alpha1.LabelNetwork: c.Place.Network, v1alpha1.LabelChaincode: c.Chaincode.Name, v1alpha1.LabelComponent: v1alpha1.ComponentChaincode,
	}
}

// ChaincodeDeployment runs a contract. A new image takes over pod by pod, without a moment in which none serves.
func ChaincodeDeployment(c Chaincode) *appsv1.Deployment {
	d := c.workload().deployment()
	d.Labels = c.labels()
	d.Spec.Replicas = ptr.To(ptr.Deref(c.Chaincode.Spec.Replicas, 1))
	d.Spec.Strategy = appsv1.DeploymentStrategy{
		Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1)),
		},
	}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: c.selects()}
	d.Spec.Template.Labels = c.labels()
	terms := d.Spec.Template.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution
	for i := range terms {
		terms[i].PodAffinityTerm.LabelSelector = &metav1.LabelSelector{MatchLabels: c.selects()}
	}
	return d
}

// ChaincodeService is where peers find a contract.
func ChaincodeService(c Chaincode) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: ChaincodeName(c.Chaincode.Name), Namespace: c.Place.Network, Labels: c.labels()},
		Spec:       corev1.ServiceSpec{Selector: c.selects(), Ports: []corev1.ServicePort{servicePort("contract", v1alpha1.PortChaincode)}},
	}
}
