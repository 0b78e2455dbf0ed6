// Package controllertest runs controllers against a real API server within a
// test: it applies the CRDs, starts a manager in this process, makes a namespace
// for the test, and plays the parts of Kubernetes that a bare API server lacks
// (a Deployment that becomes available). The server is the one of the kubeconfig
// in HEDDLE_TEST_KUBECONFIG; without it tests are skipped, and say so.
package controllertest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"os"
	"path"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/api/v1alpha1"
	manifests "heddle.dev/heddle/config"
	"heddle.dev/heddle/internal/controller"
)

// Variable names the kubeconfig of the API server that tests may use.
const Variable = "HEDDLE_TEST_KUBECONFIG"

const (
	patience = 30 * time.Second
	beat     = 50 * time.Millisecond
)

// Registrar is a controller that can be added to a manager.
type Registrar interface {
	Register(mgr ctrl.Manager) error
}

// Env is an API server and one namespace of it for one test.
type Env struct {
	client.Client
	// Config reaches the API server.
	Config *rest.Config
	// Namespace of the test; it bears a network's label.
	Namespace string
}

// New connects to the API server, applies the CRDs and makes a namespace.
func New(t testing.TB) *Env {
	t.Helper()
	file := os.Getenv(Variable)
	if file == "" {
		t.Skipf("%s is not set: no API server to test against", Variable)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	scheme := runtime.NewScheme()
	if err := controller.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	e := &Env{Client: c, Config: cfg, Namespace: Name(t)}
	e.applyCRDs(t)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: e.Namespace, Labels: map[string]string{v1alpha1.LabelNetwork: e.Namespace, "heddle.dev/test": "true"},
	}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: e.Namespace}}
	if err := c.Create(t.Context(), account); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	return e
}

// Name draws a name that no other test has.
func Name(t testing.TB) string {
	t.Helper()
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return "t" + hex.EncodeToString(b)
}

func (e *Env) applyCRDs(t testing.TB) {
	t.Helper()
	files, err := manifests.Files.ReadDir("crd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := manifests.Files.ReadFile(path.Join("crd", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(raw, &u.Object); err != nil {
			t.Fatal(err)
		}
		if err := e.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.ForceOwnership, client.FieldOwner("test")); err != nil {
			t.Fatal(err)
		}
		e.Eventually(t, "CRD "+u.GetName(), func() bool {
			var crd apiextensionsv1.CustomResourceDefinition
			if err := e.Get(t.Context(), client.ObjectKey{Name: u.GetName()}, &crd); err != nil {
				return false
			}
			for _, c := range crd.Status.Conditions {
				if c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue {
					return true
				}
			}
			return false
		})
	}
}

// Start runs controllers for the given namespaces (for the whole cluster if there are none) until the test ends.
func (e *Env) Start(t testing.TB, namespaces []string, controllers ...Registrar) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := controller.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	log := logger()
	ctrl.SetLogger(log)
	ctx, stop := context.WithCancel(ctrl.LoggerInto(context.WithoutCancel(t.Context()), log))
	mgr, err := ctrl.NewManager(e.Config, ctrl.Options{
		Scheme: scheme, Cache: controller.CacheOptions(namespaces), Client: controller.ClientOptions(), Logger: log,
		BaseContext: func() context.Context { return ctx },
		Metrics:     metricsserver.Options{BindAddress: "0"},
		Controller:  config.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range controllers {
		if err := c.Register(mgr); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("run manager: %v", err)
		}
	})
}

// logger drops what the manager logs, since tests look at the state of the world, unless HEDDLE_TEST_LOG is set.
func logger() logr.Logger {
	if os.Getenv("HEDDLE_TEST_LOG") == "" {
		return logr.Discard()
	}
	return logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil))
}

// Eventually polls until the condition holds, and fails the test when it does not in time.
func (e *Env) Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(beat) {
		if holds() {
			return
		}
	}
	t.Fatalf("%s: not after %s", what, patience)
}

// Never looks for a while and fails the test when the condition holds.
func (e *Env) Never(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(beat) {
		if holds() {
			t.Fatalf("%s: it happened", what)
		}
	}
}
