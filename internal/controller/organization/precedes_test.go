package organization

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
)

func TestPrecedes(t *testing.T) {
	at := func(name string, second int64, hash string) *v1alpha1.Organization {
		o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(second, 0))}}
		o.Status.MSPHash = hash
		return o
	}
	for name, c := range map[string]struct{ first, second *v1alpha1.Organization }{
		"made before":             {at("b", 1, ""), at("a", 2, "")},
		"of the same second":      {at("a", 1, ""), at("b", 1, "")},
		"only one is published":   {at("b", 2, "hash"), at("a", 1, "")},
		"both are, one is before": {at("b", 1, "hash"), at("a", 2, "other")},
	} {
		t.Run(name, func(t *testing.T) {
			if !precedes(c.first, c.second) || precedes(c.second, c.first) {
				t.Errorf("%t and %t, want true and false", precedes(c.first, c.second), precedes(c.second, c.first))
			}
		})
	}
}
