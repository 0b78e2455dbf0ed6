package specs

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
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
