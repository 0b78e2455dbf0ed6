package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/api/v1alpha1"
)

// TestUninstallLooksAtEveryKind: an object of a kind that was forgotten would go with its custom resource, unasked.
func TestUninstallLooksAtEveryKind(t *testing.T) {
	in, err := manifestsFor(installSettings{})
	if err != nil {
		t.Fatal(err)
	}
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for kind := range scheme.KnownTypes(v1alpha1.GroupVersion) {
		if name, ok := strings.CutSuffix(kind, "List"); ok {
			want = append(want, name)
		}
	}
	got := in.kinds()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
