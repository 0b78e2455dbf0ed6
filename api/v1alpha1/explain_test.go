package v1alpha1_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestExplainIsComplete demands a description on every field that `kubectl explain` shows, and on every kind the
// columns and the category that `kubectl get heddle -A` needs.
func TestExplainIsComplete(t *testing.T) {
	for _, crd := range definitions(t) {
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		t.Run(kind, func(t *testing.T) {
			if cats, _, _ := unstructured.NestedStringSlice(crd.Object, "spec", "names", "categories"); !slices.Contains(cats, "heddle") {
				t.Errorf("categories: got %q, want heddle among them", cats)
			}
			versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
			if len(versions) == 0 {
				t.Fatal("no versions")
			}
			for _, v := range versions {
				version, ok := v.(map[string]any)
				if !ok {
					t.Fatalf("version is a %T", v)
				}
				wantColumns(t, version, "Ready", "Age", "Message")
				schema, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
				if n := wantDescriptions(t, kind, schema); n < 10 {
					t.Errorf("only %d fields seen: the walk is broken", n)
				}
			}
		})
	}
}

func wantColumns(t *testing.T, version map[string]any, names ...string) {
	t.Helper()
	columns, _, _ := unstructured.NestedSlice(version, "additionalPrinterColumns")
	for _, name := range names {
		found := slices.ContainsFunc(columns, func(c any) bool {
			m, ok := c.(map[string]any)
			return ok && m["name"] == name
		})
		if !found {
			t.Errorf("no printer column %q", name)
		}
	}
}

// wantDescriptions walks a schema and returns the number of fields below it.
func wantDescriptions(t *testing.T, path string, schema map[string]any) int {
	t.Helper()
	if d, _ := schema["description"].(string); strings.TrimSpace(d) == "" && !strings.HasSuffix(path, ".metadata") && !strings.HasSuffix(path, "[]") {
		t.Errorf("%s has no description", path)
	}
	n := 1
	if items, ok := schema["items"].(map[string]any); ok {
		n += wantDescriptions(t, path+"[]", items)
	}
	props, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(props)) {
		sub, ok := props[name].(map[string]any)
		if !ok {
			t.Fatalf("%s.%s is a %T", path, name, props[name])
		}
		n += wantDescriptions(t, fmt.Sprintf("%s.%s", path, name), sub)
	}
	return n
}
