package specs

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs/launch"
)

func TestChaincodeGolden(t *testing.T) {
	c := Chaincode{
		Place: Place{Network: "trade", NetworkID: "id-12345"}, PackageID: "asset:0123",
		Chaincode: &v1alpha1.Chaincode{
			ObjectMeta: metav1.ObjectMeta{Namespace: "trade", Name: "asset"},
			Spec: v1alpha1.ChaincodeSpec{
				Channel: "demo", ChaincodeName: "asset", Version: "1.0", Image: "registry.local/asset:1",
				ImagePullSecrets: []v1alpha1.PullSecret{{Name: "pull"}}, Replicas: ptr.To[int32](2),
			},
		},
	}
	golden(t, "chaincode", ChaincodeService(c), ChaincodeDeployment(c))
	plain := ChaincodeDeployment(c).Spec.Template
	c.TLS = "0123"
	golden(t, "chaincode-tls", ChaincodeTLSSecret(c, "banka"), ChaincodeDeployment(c))
	before := ChaincodeDeployment(c).Spec.Template.Annotations[v1alpha1.AnnotationConfigHash]
	c.TLS = "0124"
	if after := ChaincodeDeployment(c).Spec.Template.Annotations[v1alpha1.AnnotationConfigHash]; after == before || after == plain.Annotations[v1alpha1.AnnotationConfigHash] {
		t.Error("another certificate does not roll the pods")
	}
}

func TestChaincodeSettingsGolden(t *testing.T) {
	c := Chaincode{
		Place: Place{Network: "trade", NetworkID: "id-12345"}, PackageID: "asset:0123",
		Chaincode: &v1alpha1.Chaincode{
			ObjectMeta: metav1.ObjectMeta{Namespace: "trade", Name: "asset"},
			Spec: v1alpha1.ChaincodeSpec{
				Channel: "demo", ChaincodeName: "basic", RuntimeClassName: "crun", ImagePullPolicy: corev1.PullAlways,
				ImagePullSecrets: []v1alpha1.PullSecret{{Name: "pull"}, {Name: "pull-too"}}, IdleSeconds: ptr.To[int32](60),
				Resources: &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}},
			},
		},
	}
	text, err := json.Marshal(c.Settings())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "chaincode-settings", ChaincodeSettings(c, string(text)))
	c.Chaincode.Spec = v1alpha1.ChaincodeSpec{Channel: "demo", ChaincodeName: "basic"}
	if diff := cmp.Diff(launch.Settings{Chaincode: "asset", Channel: "demo", Contract: "basic"}, c.Settings()); diff != "" {
		t.Error(diff)
	}
}

func TestChaincodeRuntime(t *testing.T) {
	for name, c := range map[string]struct {
		spec v1alpha1.ChaincodeSpec
		want v1alpha1.ChaincodeRuntime
	}{
		"by tag":            {v1alpha1.ChaincodeSpec{Image: "registry.local/asset:1"}, v1alpha1.RuntimeService},
		"by digest":         {v1alpha1.ChaincodeSpec{Image: "registry.local/asset@sha256:00"}, v1alpha1.RuntimePeer},
		"from source":       {v1alpha1.ChaincodeSpec{Build: "asset"}, v1alpha1.RuntimePeer},
		"digest as service": {v1alpha1.ChaincodeSpec{Image: "a@sha256:00", Runtime: v1alpha1.RuntimeService}, v1alpha1.RuntimeService},
		"source as service": {v1alpha1.ChaincodeSpec{Build: "asset", Runtime: v1alpha1.RuntimeService}, v1alpha1.RuntimeService},
		"asked for":         {v1alpha1.ChaincodeSpec{Image: "a:1", Runtime: v1alpha1.RuntimePeer}, v1alpha1.RuntimePeer},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ChaincodeRuntime(&v1alpha1.Chaincode{Spec: c.spec}); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestChaincodeSecure(t *testing.T) {
	for name, c := range map[string]struct {
		spec v1alpha1.ChaincodeSpec
		want bool
	}{
		"a service":        {v1alpha1.ChaincodeSpec{Image: "a:1"}, true},
		"asked for":        {v1alpha1.ChaincodeSpec{Image: "a:1", TLS: v1alpha1.TLSRequired}, true},
		"turned off":       {v1alpha1.ChaincodeSpec{Image: "a:1", TLS: v1alpha1.TLSDisabled}, false},
		"launched by peer": {v1alpha1.ChaincodeSpec{Build: "a"}, false},
	} {
		if got := ChaincodeSecure(&v1alpha1.Chaincode{Spec: c.spec}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestChaincodeSelector: the selector can never change, so it must hold nothing that the spec can.
func TestChaincodeSelector(t *testing.T) {
	c := Chaincode{Place: Place{Network: "trade"}, Chaincode: &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Name: "asset"}}}
	d := ChaincodeDeployment(c)
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			t.Errorf("the template's label %s is %q, the selector asks for %q", key, d.Spec.Template.Labels[key], value)
		}
	}
	if got := *d.Spec.Replicas; got != 1 {
		t.Errorf("%d replicas without a wish, want 1", got)
	}
}
