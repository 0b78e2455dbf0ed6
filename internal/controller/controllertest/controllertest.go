// Package controllertest runs controllers in the test's own process against a real API server: the one that
// HEDDLE_TEST_KUBECONFIG names, which `make test` starts. Nothing is faked but what a test itself writes into
// statuses; tests assert the state of the world, not the calls that led to it.
package controllertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// KubeconfigVariable names the environment variable with the kubeconfig of the API server for tests.
const KubeconfigVariable = "HEDDLE_TEST_KUBECONFIG"

// patience is how long Eventually waits; far longer than anything takes, so that a noisy machine fails no test.
const patience = 60 * time.Second

// Env is an API server with Heddle's kinds.
type Env struct {
	// Rest reaches the API server with all rights.
	Rest *rest.Config
	// Client reads and writes without a cache.
	Client client.Client
}

// New connects to the API server for tests and installs the CRDs, or skips the test where there is none.
func New(t *testing.T, scheme func(*kruntime.Scheme) error) *Env {
	t.Helper()
	path := os.Getenv(KubeconfigVariable)
	if path == "" {
		t.Skipf("needs an API server: set %s, or run `make test`, which starts one", KubeconfigVariable)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatalf("read %s=%s: %v", KubeconfigVariable, path, err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	s := kruntime.NewScheme()
	if err := errors.Join(scheme(s), apiextensionsv1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	ctrllog.SetLogger(logr.Discard())
	e := &Env{Rest: cfg, Client: c}
	e.installCRDs(t)
	return e
}

func (e *Env) installCRDs(t *testing.T) {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(here), "../../../config/crd/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("find CRDs in config/crd: %v, %d files", err, len(files))
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range Decode(t, string(raw)) {
			if err := e.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.ForceOwnership, client.FieldOwner("test")); err != nil {
				t.Fatalf("install %s: %v", filepath.Base(f), err)
			}
			e.Eventually(t, u.GetName()+" is served", func(ctx context.Context) error {
				return e.established(ctx, u.GetName())
			})
		}
	}
}

func (e *Env) established(ctx context.Context, name string) error {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := e.Client.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
		return err
	}
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
			return nil
		}
	}
	return errors.New("not established")
}

// Run runs f, such as a manager's Start, until the test ends, and fails the test if f returns an error.
func (e *Env) Run(t *testing.T, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("controllers ended with: %v", err)
		}
	})
}

// Name makes a name that no other test uses, valid as a network's name.
func Name(prefix string) string { return prefix + "-" + rand.String(6) }

// Apply makes objects from YAML by server-side apply, as a user would.
func (e *Env) Apply(t *testing.T, manifests string) {
	t.Helper()
	for _, u := range Decode(t, manifests) {
		if err := e.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.ForceOwnership, client.FieldOwner("user")); err != nil {
			t.Fatalf("apply %s %q: %v", u.GetKind(), u.GetName(), err)
		}
	}
}

// Decode reads a stream of YAML documents.
func Decode(t *testing.T, manifests string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(manifests)), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("decode manifest: %v\n%s", err, manifests)
		}
		if len(u.Object) > 0 {
			out = append(out, u)
		}
	}
}

// Eventually polls check until it returns nil, and fails the test with its last error if that takes too long.
func (e *Env) Eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-tick.C:
		}
	}
}

// Get reads an object into obj, whose namespace and name are set, or fails the test.
func (e *Env) Get(t *testing.T, obj client.Object) {
	t.Helper()
	if err := e.Client.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		t.Fatalf("get %T %q: %v", obj, obj.GetName(), err)
	}
}

// Gone returns an error unless the object is gone.
func (e *Env) Gone(ctx context.Context, obj client.Object) error {
	err := e.Client.Get(ctx, client.ObjectKeyFromObject(obj), obj)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%T %q is still there", obj, obj.GetName())
}

// Contains returns an error unless text holds every one of the parts: for messages, of which only parts are promised.
func Contains(text string, parts ...string) error {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return fmt.Errorf("%q does not say %q", text, p)
		}
	}
	return nil
}
