package specs

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

// Names of what all builds of a namespace share.
const (
	// BuildCacheName is the volume that keeps modules and compiled packages between builds.
	BuildCacheName = "build-cache"
	// PolicyBuilds opens to builds what they need.
	PolicyBuilds = "builds"
	// RegistryName is the registry's pod label and ServiceAccount, RegistryCAConfigMap its public certificate.
	RegistryName        = "heddle-registry"
	RegistryCAConfigMap = "heddle-registry-ca"
	// KeyRegistryCA is the key in that ConfigMap.
	KeyRegistryCA = "ca.crt"

	buildSource    = BuildWork + "/src"
	buildOut       = BuildWork + "/out"
	defaultTimeout = 900
	buildTTL       = 3600
)

// BuildSettings are what an installation says of builds.
type BuildSettings struct {
	// Registry is host:port of the registry; empty where builds are not installed.
	Registry string
	// GoImage and NodeImage hold the toolchains.
	GoImage, NodeImage string
	// ModuleProxy is the URL below which /go and /npm are, ModuleProxyCIDR where it stands.
	ModuleProxy, ModuleProxyCIDR string
}

// BuildName names the Job, the Secret and the ConfigMap of a build.
func BuildName(build string) string { return "build-" + build }

// BuildRepository is where a build's image goes, without the registry.
func BuildRepository(b *v1alpha1.ChaincodeBuild) string { return b.Namespace + "/" + b.Name }

func buildMeta(b *v1alpha1.ChaincodeBuild) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: BuildName(b.Name), Namespace: b.Namespace, Labels: buildLabels(b)}
}

func buildLabels(b *v1alpha1.ChaincodeBuild) map[string]string {
	return PlaceOf(b.Namespace, b.Labels).labels(v1alpha1.LabelComponent, v1alpha1.ComponentBuild, v1alpha1.LabelBuild, b.Name)
}

// BuildSecret holds the key with which a build pushes.
func BuildSecret(b *v1alpha1.ChaincodeBuild, key string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: buildMeta(b), Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthUsernameKey: []byte(BuildRepository(b)), corev1.BasicAuthPasswordKey: []byte(key)},
	}
}

// BuildTrustConfigMap holds what verifies the registry.
func BuildTrustConfigMap(b *v1alpha1.ChaincodeBuild, ca string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: buildMeta(b), Data: map[string]string{KeyRegistryCA: ca}}
}

// BuildCacheVolume is shared by the builds of a namespace and by no others.
func BuildCacheVolume(place Place) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: BuildCacheName, Namespace: place.Network, Labels: place.labels(v1alpha1.LabelComponent, v1alpha1.ComponentBuild)},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}},
		},
	}
}

// BuildPolicy lets builds reach modules and the registry. DNS they have as all pods but contracts.
func BuildPolicy(place Place, system string, in BuildSettings) (*networkingv1.NetworkPolicy, error) {
	p := policies{place: place}
	registry := networkingv1.NetworkPolicyPeer{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelNamespaceName: system}},
		PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": RegistryName}},
	}
	port, err := portOf(in.Registry)
	if err != nil {
		return nil, err
	}
	out := []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{registry}, Ports: tcp(port)}}
	if in.ModuleProxyCIDR != "" {
		port, err := proxyPort(in.ModuleProxy)
		if err != nil {
			return nil, err
		}
		out = append(out, networkingv1.NetworkPolicyEgressRule{
			To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: in.ModuleProxyCIDR}}}, Ports: tcp(port),
		})
	}
	return p.policy(PolicyBuilds, map[string]string{v1alpha1.LabelComponent: v1alpha1.ComponentBuild}, nil, out), nil
}

func portOf(address string) (int32, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return 0, fmt.Errorf("read the registry's address %q: it is not host:port", address)
	}
	port, ok := portNumber(text)
	if !ok {
		return 0, fmt.Errorf("read the registry's address %q: it is not host:port", address)
	}
	return port, nil
}

func portNumber(text string) (int32, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return int32(n), err == nil && n > 0
}

func proxyPort(raw string) (int32, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return 0, fmt.Errorf("read the module proxy's address %q: it is no URL", raw)
	}
	switch {
	case u.Port() != "":
		port, ok := portNumber(u.Port())
		if !ok {
			return 0, fmt.Errorf("read the module proxy's address %q: its port is none", raw)
		}
		return port, nil
	case u.Scheme == "https":
		return 443, nil
	}
	return 80, nil
}

// BuildJob runs a build: one container fetches the source, one compiles it, without a key, and one makes and pushes the
// image from what the second left.
func BuildJob(b *v1alpha1.ChaincodeBuild, in BuildSettings) *batchv1.Job {
	registry := "https://" + in.Registry
	fetch := buildContainer("fetch", b, in, []string{
		"fetch", "--registry", registry, "--repository", b.Namespace + "/sources", "--digest", b.Spec.Source.Digest,
		"--size", strconv.FormatInt(b.Spec.Source.SizeBytes, 10), "--into", buildSource, "--wait", "10m",
	}, mountReadOnly("trust", BuildTrust))
	compile := buildContainer("compile", b, in, []string{
		"compile", "--language", string(b.Spec.Language), "--source", buildSource, "--path", b.Spec.Path, "--out", buildOut,
	}, mount("cache", BuildCache))
	compile.Env = buildEnvironment(in)
	compile.Resources = compileResources(b)
	push := buildContainer("push", b, in, []string{
		"push", "--registry", registry, "--image", in.Registry + "/" + BuildRepository(b), "--source-digest", b.Spec.Source.Digest,
		"--language", string(b.Spec.Language), "--path", b.Spec.Path, "--out", buildOut,
	}, mountReadOnly("trust", BuildTrust), mountReadOnly("key", BuildKey))
	pod := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		EnableServiceLinks:            ptr.To(false),
		AutomountServiceAccountToken:  ptr.To(false),
		TerminationGracePeriodSeconds: ptr.To[int64](5),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(userID), RunAsGroup: ptr.To(userID), FSGroup: ptr.To(userID),
			FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		InitContainers: []corev1.Container{fetch, compile},
		Containers:     []corev1.Container{push},
		Volumes: []corev1.Volume{
			scratch("work", "", "2Gi"), scratch("tmp", "", "2Gi"), claimed("cache", BuildCacheName),
			projected("key", fromSecret(BuildName(b.Name),
				corev1.BasicAuthUsernameKey, corev1.BasicAuthUsernameKey, corev1.BasicAuthPasswordKey, corev1.BasicAuthPasswordKey)),
			projected("trust", fromConfigMap(BuildName(b.Name), []corev1.KeyToPath{{Key: KeyRegistryCA, Path: KeyRegistryCA}})),
		},
	}
	return &batchv1.Job{
		ObjectMeta: buildMeta(b),
		Spec: batchv1.JobSpec{
			BackoffLimit:            ptr.To[int32](0),
			ActiveDeadlineSeconds:   ptr.To(int64(BuildTimeout(b))),
			TTLSecondsAfterFinished: ptr.To[int32](buildTTL),
			Template:                corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: buildLabels(b)}, Spec: pod},
		},
	}
}

// BuildTimeout bounds a build, in seconds.
func BuildTimeout(b *v1alpha1.ChaincodeBuild) int32 {
	return ptr.Deref(b.Spec.TimeoutSeconds, defaultTimeout)
}

func buildContainer(name string, b *v1alpha1.ChaincodeBuild, in BuildSettings, args []string, mounts ...corev1.VolumeMount) corev1.Container {
	image := in.GoImage
	if b.Spec.Language == v1alpha1.LanguageJavaScript || b.Spec.Language == v1alpha1.LanguageTypeScript {
		image = in.NodeImage
	}
	c := corev1.Container{
		Name: name, Image: image, Args: args,
		Resources:    resources(nil, "50m", "64Mi", "1Gi"),
		VolumeMounts: append([]corev1.VolumeMount{mount("work", BuildWork), mount("tmp", "/tmp")}, mounts...),
	}
	harden(&c)
	return c
}

func buildEnvironment(in BuildSettings) []corev1.EnvVar {
	if in.ModuleProxy == "" {
		return nil
	}
	base := strings.TrimSuffix(in.ModuleProxy, "/")
	return []corev1.EnvVar{
		{Name: "GOPROXY", Value: base + "/go"},
		{Name: "npm_config_registry", Value: base + "/npm/"},
		{Name: "npm_config_replace_registry_host", Value: "always"},
	}
}

func compileResources(b *v1alpha1.ChaincodeBuild) corev1.ResourceRequirements {
	if b.Spec.Resources != nil {
		return *b.Spec.Resources
	}
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("512Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("3Gi")},
	}
}
