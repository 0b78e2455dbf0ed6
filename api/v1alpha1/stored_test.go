package v1alpha1_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// stored holds one object of every kind as a released version wrote it, with every field set. A folder is added for
// each release whose fields grew; none is ever changed or removed.
var stored = []string{"v0"}

// TestStoredObjectsAreRead puts objects of earlier releases into the API server and reads them back in today's types.
func TestStoredObjectsAreRead(t *testing.T) {
	c := server(t)
	for _, release := range stored {
		files, err := filepath.Glob(filepath.Join("testdata", release, "*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("find objects of %s: %v, %d files", release, err, len(files))
		}
		for _, f := range files {
			t.Run(release+"/"+filepath.Base(f), func(t *testing.T) {
				t.Parallel()
				u := parse(t, read(t, f))
				if u.GetKind() == "Site" {
					u.SetName(v1alpha1.SiteName)
				} else if clusterWide(u) {
					u.SetName("t-" + random(t))
				} else {
					u.SetNamespace(namespace(t, c))
				}
				u.SetAnnotations(map[string]string{v1alpha1.AnnotationPaused: "test"})
				want := u.DeepCopy()
				if err := c.Create(t.Context(), u, client.FieldValidation("Strict")); err != nil {
					t.Fatalf("store: %v", err)
				}
				t.Cleanup(func() { _ = c.Delete(context.WithoutCancel(t.Context()), u) })
				obj := typed(t, c.Scheme(), u)
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(u), obj); err != nil {
					t.Fatalf("read: %v", err)
				}
				wantContained(t, asMap(t, obj)["spec"], want.Object["spec"])
			})
		}
	}
}

// TestStoredObjectsFitTheTypes needs no server: every field of the stored objects must have a place in today's types.
func TestStoredObjectsFitTheTypes(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	seen := map[string]bool{}
	for _, release := range stored {
		files, err := filepath.Glob(filepath.Join("testdata", release, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			raw := read(t, f)
			obj, gvk, err := decoder.Decode([]byte(raw), nil, nil)
			if err != nil {
				t.Errorf("decode %s: %v", f, err)
				continue
			}
			seen[gvk.Kind] = true
			wantContained(t, asMap(t, obj)["spec"], parse(t, raw).Object["spec"])
		}
	}
	for _, crd := range definitions(t) {
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		if !seen[kind] {
			t.Errorf("no stored object of kind %q", kind)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// typed makes an empty object of the Go type of u.
func typed(t *testing.T, scheme *runtime.Scheme, u *unstructured.Unstructured) client.Object {
	t.Helper()
	o, err := scheme.New(u.GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}
	obj, ok := o.(client.Object)
	if !ok {
		t.Fatalf("%T is no object", o)
	}
	return obj
}

func asMap(t *testing.T, obj runtime.Object) map[string]any {
	t.Helper()
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wantContained demands that got has all that want has; it may have more, such as defaults.
func wantContained(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, common(got, want)); diff != "" {
		t.Errorf("lost or changed (-stored +read):\n%s", diff)
	}
}

// common is the part of got that want speaks of.
func common(got, want any) any {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return got
		}
		out := map[string]any{}
		for k, v := range w {
			if have, ok := g[k]; ok {
				out[k] = common(have, v)
			}
		}
		return out
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return got
		}
		out := make([]any, len(w))
		for i := range w {
			out[i] = common(g[i], w[i])
		}
		return out
	case float64: // YAML's numbers are floats, the converter's are integers
		if n, ok := got.(int64); ok {
			return float64(n)
		}
	}
	return got
}
