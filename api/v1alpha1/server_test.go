package v1alpha1_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/api/v1alpha1"
)

// kubeconfigEnv names a kubeconfig of a real API server that tests may write to.
const kubeconfigEnv = "HEDDLE_TEST_KUBECONFIG"

// crdFolder holds the generated definitions.
const crdFolder = "../../config/crd"

// server connects to the API server of the tests with the definitions of config/crd in place.
func server(t *testing.T) client.Client {
	t.Helper()
	path := os.Getenv(kubeconfigEnv)
	if path == "" {
		t.Skipf("%s is not set: this test needs a real API server (heddle lab up; heddle lab kubeconfig)", kubeconfigEnv)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatalf("read kubeconfig: %v", err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	for _, crd := range definitions(t) {
		applyDefinition(t, c, crd)
	}
	return c
}

// definitions reads config/crd.
func definitions(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(crdFolder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("find definitions in %s: %v, %d files", crdFolder, err, len(files))
	}
	var all []*unstructured.Unstructured
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, parse(t, string(raw)))
	}
	return all
}

// applyDefinition applies a definition and waits until the API server serves it.
func applyDefinition(t *testing.T, c client.Client, crd *unstructured.Unstructured) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd.DeepCopy()), client.FieldOwner("heddle-test"), client.ForceOwnership)
	if err != nil {
		t.Fatalf("apply definition %q: %v", crd.GetName(), err)
	}
	for {
		var got apiextensionsv1.CustomResourceDefinition
		if err := c.Get(ctx, client.ObjectKeyFromObject(crd), &got); err != nil {
			t.Fatalf("read definition %q: %v", crd.GetName(), err)
		}
		for _, cond := range got.Status.Conditions {
			if cond.Type == apiextensionsv1.NonStructuralSchema && cond.Status == apiextensionsv1.ConditionTrue {
				t.Fatalf("definition %q is not structural: %s", crd.GetName(), cond.Message)
			}
			if cond.Type == apiextensionsv1.Established && cond.Status == apiextensionsv1.ConditionTrue {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// namespace makes a namespace of its own for a test and removes it afterwards.
func namespace(t *testing.T, c client.Client) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "t-" + random(t)}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatalf("create namespace: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Delete(context.WithoutCancel(t.Context()), ns); err != nil {
			t.Errorf("delete namespace %q: %v", ns.Name, err)
		}
	})
	return ns.Name
}

func random(t *testing.T) string {
	t.Helper()
	b := make([]byte, 6)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// parse reads one manifest.
func parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(manifest), &u.Object); err != nil {
		t.Fatalf("parse manifest: %v\n%s", err, manifest)
	}
	return u
}

// patched is base with patch merged into it: objects field by field, null removes, lists as a whole.
func patched(t *testing.T, base, patch string) *unstructured.Unstructured {
	t.Helper()
	u := parse(t, base)
	if patch == "" {
		return u
	}
	var p map[string]any
	if err := yaml.UnmarshalStrict([]byte(patch), &p); err != nil {
		t.Fatalf("parse patch: %v\n%s", err, patch)
	}
	merge(u.Object, p)
	return u
}

func merge(dst, patch map[string]any) {
	for k, v := range patch {
		sub, isMap := v.(map[string]any)
		old, hasMap := dst[k].(map[string]any)
		switch {
		case v == nil:
			delete(dst, k)
		case isMap && hasMap:
			merge(old, sub)
		default:
			dst[k] = v
		}
	}
}
