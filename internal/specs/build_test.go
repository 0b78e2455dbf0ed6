package specs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

func buildSettings() BuildSettings {
	return BuildSettings{Registry: "registry.heddle-system.svc:5000", GoImage: "build-go:1", NodeImage: "build-node:1"}
}

func build() *v1alpha1.ChaincodeBuild {
	b := &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Name: "asset-0123", Namespace: "trade", Labels: labels}}
	b.Spec.Source = v1alpha1.ChaincodeSource{Digest: "sha256:" + strings.Repeat("01", 32), SizeBytes: 1234}
	b.Spec.Language = v1alpha1.LanguageGo
	return b
}

// ownBuild is a build whose settings are all given, where there is a module proxy.
func ownBuild() (*v1alpha1.ChaincodeBuild, BuildSettings) {
	b, in := build(), buildSettings()
	b.Spec.Language, b.Spec.Path, b.Spec.TimeoutSeconds = v1alpha1.LanguageTypeScript, "contracts/token", ptr.To[int32](60)
	b.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("8Gi")}}
	in.ModuleProxy, in.ModuleProxyCIDR = "http://10.1.2.3:8000/", "10.1.2.3/32"
	return b, in
}

func TestBuildGolden(t *testing.T) {
	place := PlaceOf("trade", labels)
	open, err := BuildPolicy(place, SystemNamespace, buildSettings())
	if err != nil {
		t.Fatal(err)
	}
	own, in := ownBuild()
	proxied, err := BuildPolicy(place, SystemNamespace, in)
	if err != nil {
		t.Fatal(err)
	}
	for name, objects := range map[string][]runtime.Object{
		"build":       {BuildSecret(build(), "drawn-by-the-controller"), BuildTrustConfigMap(build(), "ca\n"), BuildCacheVolume(place), open, BuildJob(build(), buildSettings())},
		"build-proxy": {proxied, BuildJob(own, in)},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, objects...) })
	}
}

func TestBuildPolicyPorts(t *testing.T) {
	for name, c := range map[string]struct {
		registry, proxy, cidr string
		want                  []int32
		fail                  string
	}{
		"registry alone":       {registry: "r:5000", want: []int32{5000}},
		"proxy without a net":  {registry: "r:5000", proxy: "http://p:1", want: []int32{5000}},
		"proxy's port":         {registry: "r:5000", proxy: "https://p:1", cidr: "10.0.0.0/8", want: []int32{5000, 1}},
		"http":                 {registry: "r:5000", proxy: "http://p/x", cidr: "10.0.0.0/8", want: []int32{5000, 80}},
		"https":                {registry: "r:5000", proxy: "https://p", cidr: "10.0.0.0/8", want: []int32{5000, 443}},
		"https, IPv6":          {registry: "r:5000", proxy: "https://[fd00::1]", cidr: "fd00::/8", want: []int32{5000, 443}},
		"IPv6 with ports":      {registry: "[fd00::2]:5000", proxy: "https://[fd00::1]:444", cidr: "fd00::/8", want: []int32{5000, 444}},
		"no registry":          {fail: "host:port"},
		"registry, no port":    {registry: "r", fail: "host:port"},
		"registry, no number":  {registry: "r:x", fail: "host:port"},
		"registry, port 0":     {registry: "r:0", fail: "host:port"},
		"registry, no such":    {registry: "r:65536", fail: "host:port"},
		"registry, no host":    {registry: ":5000", fail: "host:port"},
		"proxy is no URL":      {registry: "r:5000", proxy: "p:1", cidr: "10.0.0.0/8", fail: "module proxy"},
		"proxy's URL is wrong": {registry: "r:5000", proxy: "http://[", cidr: "10.0.0.0/8", fail: "module proxy"},
		"proxy's port too big": {registry: "r:5000", proxy: "http://p:65536", cidr: "10.0.0.0/8", fail: "module proxy"},
		"no proxy but a net":   {registry: "r:5000", cidr: "10.0.0.0/8", fail: "module proxy"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := BuildPolicy(PlaceOf("trade", labels), SystemNamespace, BuildSettings{Registry: c.registry, ModuleProxy: c.proxy, ModuleProxyCIDR: c.cidr})
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Fatalf("got %v, want %q", err, c.fail)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []int32
			for _, rule := range p.Spec.Egress {
				got = append(got, rule.Ports[0].Port.IntVal)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBuildJobKeepsKeyFromCompiler: what runs the author's code has neither the key nor a token.
func TestBuildJobKeepsKeyFromCompiler(t *testing.T) {
	for _, language := range []v1alpha1.Language{v1alpha1.LanguageGo, v1alpha1.LanguageJavaScript, v1alpha1.LanguageBinary} {
		b := build()
		b.Spec.Language = language
		pod := BuildJob(b, buildSettings()).Spec.Template.Spec
		if *pod.AutomountServiceAccountToken {
			t.Errorf("%s: the pod has a token", language)
		}
		for _, c := range append(pod.InitContainers, pod.Containers...) {
			for _, m := range c.VolumeMounts {
				if m.Name == "key" && c.Name != "push" {
					t.Errorf("%s: container %s has the key", language, c.Name)
				}
			}
			if want := map[bool]string{false: "build-go:1", true: "build-node:1"}[language == v1alpha1.LanguageJavaScript]; c.Image != want {
				t.Errorf("%s: container %s has image %s, want %s", language, c.Name, c.Image, want)
			}
		}
	}
}
