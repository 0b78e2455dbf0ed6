// Package launch makes the objects of a contract that a peer launches: one Secret
// and one bare Pod for each launch, owned by the peer's own Pod. It is apart from
// the other specs because heddle-builder, of which one runs in the peer's pod for
// each contract, is to stay small.
package launch

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

const (
	// AnnotationPackageID on a contract's pod is the package that it serves.
	AnnotationPackageID = "heddle.dev/package-id"
	// Container is the contract's container.
	Container = "contract"

	userID   int64 = 1000
	tlsPath        = "/etc/heddle/contract"
	prefix         = "cc-"
	maxName        = 63
	hashSize       = 10
)

// Keys of the Secret. The certificate and key of the second pair are base64 of PEM, as Fabric's shim for Node reads them.
const (
	keyCert       = "client.crt"
	keyKey        = "client.key"
	keyCertBase64 = "client.crt.b64"
	keyKeyBase64  = "client.key.b64"
	keyRoot       = "peer.crt"
)

// Peer is who launches.
type Peer struct {
	// Node is the peer's name, Network its namespace, NetworkID the network's identity.
	Node, Network, NetworkID string
	// PodName, PodUID and PodIP are those of the peer's own pod.
	PodName, PodUID, PodIP string
}

// Contract is what the peer tells of the contract that it wants launched, and the image from its package.
type Contract struct {
	// PackageID is the label and the hash.
	PackageID string
	// Image by digest.
	Image string
	// Address of the peer for contracts, host:port.
	Address string
	// MSPID of the peer.
	MSPID string
	// Cert, Key and Root are PEM; all empty without TLS.
	Cert, Key, Root string
}

// Label is the package's label.
func (c Contract) Label() string {
	label, _, _ := strings.Cut(c.PackageID, ":")
	return label
}

const (
	// MinIdleSeconds is Fabric's execution time-out (chaincode.executetimeout): a contract that has been quiet for less may have a
	// call under way.
	MinIdleSeconds = 30
	// IdleGraceSeconds is the grace with which a pod that nobody calls is deleted, and the sign of it: other deletions have
	// another one.
	IdleGraceSeconds = 3
)

// Settings are what the operator says of a contract; all have defaults.
type Settings struct {
	// Chaincode, Channel and Contract name the object, its channel and the contract's name there; empty for packages
	// that no object stands for.
	Chaincode string `json:"chaincode,omitempty"`
	Channel   string `json:"channel,omitempty"`
	Contract  string `json:"contract,omitempty"`
	// Resources of the container.
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// RuntimeClassName of the pod.
	RuntimeClassName string `json:"runtimeClassName,omitempty"`
	// ImagePullPolicy of the container.
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// ImagePullSecrets by name.
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`
	// IdleSeconds without a call after which the pod goes, at least MinIdleSeconds; 0 keeps it.
	IdleSeconds int32 `json:"idleSeconds,omitempty"`
}

// SettingsConfigMap names the ConfigMap with the settings for packages of a label, and SettingsKey its key.
func SettingsConfigMap(label string) string { return prefix + label }

// SettingsKey is the key of the settings.
const SettingsKey = "launch.json"

// HopelessReasons are the states of a container that do not pass by themselves while a caller waits.
func HopelessReasons() []string {
	return []string{
		"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
		"RegistryUnavailable", "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
	}
}

// Name of a launch's Pod and Secret: another launch has another one, since the peer makes a certificate for each.
func Name(p Peer, c Contract) string {
	sum := sha256.Sum256([]byte(c.PackageID + "\n" + c.Cert))
	head, tail := prefix+p.Node, "-"+hex.EncodeToString(sum[:])[:hashSize]
	label := strings.Trim(strings.Map(dns, strings.ToLower(c.Label())), "-")
	if room := maxName - len(head) - len(tail) - 1; room > 0 && label != "" {
		return head + "-" + strings.TrimRight(label[:min(len(label), room)], "-") + tail
	}
	return head + tail
}

func dns(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

// Selects are the labels by which a peer finds the pods and Secrets that it made.
func Selects(node string) map[string]string {
	return map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentChaincode, v1alpha1.LabelNode: node}
}

func meta(p Peer, c Contract, s Settings) metav1.ObjectMeta {
	labels := Selects(p.Node)
	labels[v1alpha1.LabelNetwork] = p.Network
	labels["app.kubernetes.io/managed-by"] = "heddle"
	if p.NetworkID != "" {
		labels[v1alpha1.LabelNetworkID] = p.NetworkID
	}
	if s.Chaincode != "" {
		labels[v1alpha1.LabelChaincode] = s.Chaincode
	}
	return metav1.ObjectMeta{
		Name: Name(p, c), Namespace: p.Network, Labels: labels,
		Annotations: map[string]string{AnnotationPackageID: c.PackageID},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "Pod", Name: p.PodName, UID: types.UID(p.PodUID),
		}},
	}
}

// Secret holds the certificate by which the peer knows the contract.
func Secret(p Peer, c Contract, s Settings) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: meta(p, c, s),
		Type:       corev1.SecretTypeOpaque,
		Immutable:  ptr.To(true),
		Data: map[string][]byte{
			keyCert: []byte(c.Cert), keyKey: []byte(c.Key), keyRoot: []byte(c.Root),
			keyCertBase64: []byte(base64.StdEncoding.EncodeToString([]byte(c.Cert))),
			keyKeyBase64:  []byte(base64.StdEncoding.EncodeToString([]byte(c.Key))),
		},
	}
}

// Pod runs the contract once. A dead one is launched anew by the peer, at the next call.
func Pod(p Peer, c Contract, s Settings) *corev1.Pod {
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: meta(p, c, s),
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			EnableServiceLinks:            ptr.To(false),
			AutomountServiceAccountToken:  ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To[int64](2),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(userID), RunAsGroup: ptr.To(userID), FSGroup: ptr.To(userID),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			HostAliases: hostAliases(p, c),
			// No name server may be reached. Asking this one fails at once, where silence would hold a start up for half a
			// minute: gRPC looks for a record of its own beside the address.
			DNSPolicy:  corev1.DNSNone,
			DNSConfig:  &corev1.PodDNSConfig{Nameservers: []string{"127.0.0.1"}},
			Containers: []corev1.Container{container(c, s)},
			Volumes: []corev1.Volume{
				{Name: "tls", VolumeSource: corev1.VolumeSource{
					Secret: &corev1.SecretVolumeSource{SecretName: Name(p, c), DefaultMode: ptr.To[int32](0o440)},
				}},
				{Name: "tmp", VolumeSource: corev1.VolumeSource{
					EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr.To(resource.MustParse("64Mi"))},
				}},
			},
		},
	}
	if s.RuntimeClassName != "" {
		pod.Spec.RuntimeClassName = ptr.To(s.RuntimeClassName)
	}
	for _, name := range s.ImagePullSecrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return pod
}

// hostAliases let the contract find its peer without DNS, which it may not reach.
func hostAliases(p Peer, c Contract) []corev1.HostAlias {
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil || p.PodIP == "" || net.ParseIP(host) != nil {
		return nil
	}
	return []corev1.HostAlias{{IP: p.PodIP, Hostnames: []string{host}}}
}

func container(c Contract, s Settings) corev1.Container {
	env := func(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: value} }
	secure := "false"
	if c.Cert != "" {
		secure = "true"
	}
	return corev1.Container{
		Name: Container, Image: c.Image, ImagePullPolicy: s.ImagePullPolicy,
		// The shims for Go and for Node both take this form.
		Args: []string{"--peer.address=" + c.Address},
		Env: []corev1.EnvVar{
			env("CORE_CHAINCODE_ID_NAME", c.PackageID),
			env("CORE_PEER_ADDRESS", c.Address),
			env("CORE_PEER_LOCALMSPID", c.MSPID),
			env("CORE_PEER_TLS_ENABLED", secure),
			env("CORE_PEER_TLS_ROOTCERT_FILE", tlsPath+"/"+keyRoot),
			env("CORE_TLS_CLIENT_CERT_FILE", tlsPath+"/"+keyCert),
			env("CORE_TLS_CLIENT_KEY_FILE", tlsPath+"/"+keyKey),
			env("CORE_TLS_CLIENT_CERT_PATH", tlsPath+"/"+keyCertBase64),
			env("CORE_TLS_CLIENT_KEY_PATH", tlsPath+"/"+keyKeyBase64),
			env("HOME", "/tmp"),
		},
		Resources: resources(s.Resources),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			ReadOnlyRootFilesystem:   ptr.To(true),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		VolumeMounts: []corev1.VolumeMount{
			{Name: "tls", MountPath: tlsPath, ReadOnly: true},
			{Name: "tmp", MountPath: "/tmp"},
		},
	}
}

// resources are the ones given, or some that suit a small contract. A memory limit is always set: the admission policy
// asks for one.
func resources(given *corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := corev1.ResourceRequirements{}
	if given != nil {
		out = *given.DeepCopy()
	} else {
		out.Requests = corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("32Mi"),
		}
	}
	if _, ok := out.Limits[corev1.ResourceMemory]; !ok {
		if out.Limits == nil {
			out.Limits = corev1.ResourceList{}
		}
		out.Limits[corev1.ResourceMemory] = resource.MustParse("256Mi")
	}
	return out
}
