package specs

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"heddle.dev/heddle/api/v1alpha1"
)

// Where things are in the pod of a fabric-ca.
const (
	// caHome holds the configuration with the registrar's password and the key store: it is in memory.
	caHome     = "/run/fabric-ca"
	caPath     = "/etc/heddle/ca"
	caDataPath = "/var/hyperledger/fabric-ca"
)

// CA is the fabric-ca of an organization.
type CA struct {
	organization *v1alpha1.Organization
}

// CAOf describes the fabric-ca of an organization.
func CAOf(o *v1alpha1.Organization) CA { return CA{organization: o} }

// Address is where applications and the operator reach the CA.
func (c CA) Address() string {
	return Address(CAName(c.organization.Name), c.organization.Namespace, v1alpha1.PortCA)
}

// Image of the CA: the one given, or the stock image of the version.
func (c CA) Image() string {
	ca := c.organization.Spec.CA
	if ca.Image != "" {
		return ca.Image
	}
	version := ca.Version
	if version == "" {
		version = "1.5.15"
	}
	return "docker.io/hyperledger/fabric-ca:" + version
}

// Service of the CA.
func (c CA) Service() *corev1.Service {
	return c.workload().service(servicePort("https", v1alpha1.PortCA), servicePort("operations", v1alpha1.PortOperations))
}

// Volume of the CA's list of users and certificates.
func (c CA) Volume() *corev1.PersistentVolumeClaim {
	return c.workload().volume(c.organization.Spec.CA.Storage, "1Gi")
}

// Deployment of the CA. It signs with the organization's app intermediates and gets nothing of the others. It is
// configured by environment: at its start it writes a default configuration into memory, for which it needs the
// registrar's name and password, and the environment goes before that. material identifies its certificates.
func (c CA) Deployment(material string) *appsv1.Deployment {
	org := c.organization
	w := c.workload()
	w.material = material
	w.volumes = []corev1.Volume{
		claimed("data", w.name),
		scratch("home", corev1.StorageMediumMemory, "16Mi"),
		projected("ca",
			fromSecret(AppSecret(org.Name), KeySignCert, KeySignCert, KeySignKey, KeySignKey),
			fromConfigMap(MSPConfigMap(org.Name), items([]string{KeyCAChain, KeyCAChain})),
			fromSecret(CATLSSecret(org.Name), KeyNodeTLSCert, KeyNodeTLSCert, KeyNodeTLSKey, KeyNodeTLSKey)),
	}
	w.container = corev1.Container{
		Name: "ca", Image: c.Image(), ImagePullPolicy: org.Spec.CA.ImagePullPolicy,
		Command:   []string{"fabric-ca-server", "start"},
		Env:       c.environment(),
		Ports:     []corev1.ContainerPort{containerPort("https", v1alpha1.PortCA), containerPort("operations", v1alpha1.PortOperations)},
		Resources: resources(org.Spec.CA.Resources, "20m", "48Mi", "512Mi"),
		VolumeMounts: []corev1.VolumeMount{
			mount("data", caDataPath), mount("home", caHome), mount("tmp", "/tmp"), mountReadOnly("ca", caPath),
		},
	}
	probes(&w.container)
	return w.deployment()
}

func (c CA) workload() workload {
	org := c.organization
	return workload{
		place: PlaceOf(org.Namespace, org.Labels), name: CAName(org.Name), node: org.Name, organization: org.Name,
		component: v1alpha1.ComponentCA, pullSecrets: org.Spec.CA.ImagePullSecrets,
	}
}

func (c CA) environment() []corev1.EnvVar {
	secret := CAAdminSecret(c.organization.Name)
	const prefix = "FABRIC_CA_SERVER_"
	return []corev1.EnvVar{
		secretVar("CA_USERNAME", secret, KeyUsername),
		secretVar("CA_PASSWORD", secret, KeyPassword),
		{Name: prefix + "BOOT", Value: "$(CA_USERNAME):$(CA_PASSWORD)"},
		{Name: prefix + "HOME", Value: caHome},
		{Name: prefix + "PORT", Value: port(v1alpha1.PortCA)},
		{Name: prefix + "CA_NAME", Value: CAName(c.organization.Name)},
		{Name: prefix + "CA_CERTFILE", Value: caPath + "/" + KeySignCert},
		{Name: prefix + "CA_KEYFILE", Value: caPath + "/" + KeySignKey},
		{Name: prefix + "CA_CHAINFILE", Value: caPath + "/" + KeyCAChain},
		{Name: prefix + "TLS_ENABLED", Value: "true"},
		{Name: prefix + "TLS_CERTFILE", Value: caPath + "/" + KeyNodeTLSCert},
		{Name: prefix + "TLS_KEYFILE", Value: caPath + "/" + KeyNodeTLSKey},
		{Name: prefix + "DB_TYPE", Value: "sqlite3"},
		{Name: prefix + "DB_DATASOURCE", Value: caDataPath + "/fabric-ca-server.db"},
		{Name: prefix + "OPERATIONS_LISTENADDRESS", Value: listen(v1alpha1.PortOperations)},
		{Name: prefix + "METRICS_PROVIDER", Value: "prometheus"},
	}
}

func secretVar(name, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key,
	}}}
}
