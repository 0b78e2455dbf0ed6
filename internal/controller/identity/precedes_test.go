package identity

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"heddle.dev/heddle/api/v1alpha1"
)

func TestPrecedes(t *testing.T) {
	id := func(uid types.UID, second int64, issued bool) *v1alpha1.Identity {
		out := &v1alpha1.Identity{ObjectMeta: metav1.ObjectMeta{UID: uid, CreationTimestamp: metav1.NewTime(time.Unix(second, 0))}}
		if issued {
			out.Status.Certificate = &v1alpha1.CertificateStatus{Name: "sign"}
		}
		return out
	}
	cases := map[string]struct {
		first, second *v1alpha1.Identity
	}{
		"made before":                               {id("b", 1, false), id("a", 2, false)},
		"same second, told apart by UID":            {id("a", 1, false), id("b", 1, false)},
		"same second, the one with a certificate":   {id("b", 1, true), id("a", 1, false)},
		"made later but with a certificate":         {id("b", 2, true), id("a", 1, false)},
		"both with certificates, the one of before": {id("b", 1, true), id("a", 2, true)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if !precedes(tc.first, tc.second) || precedes(tc.second, tc.first) {
				t.Errorf("precedes is %v and %v, want true and false", precedes(tc.first, tc.second), precedes(tc.second, tc.first))
			}
		})
	}
}
