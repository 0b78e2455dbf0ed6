package controllertest

import (
	"testing"

	kruntime "k8s.io/apimachinery/pkg/runtime"

	"heddle.dev/heddle/test/apiserver"
)

// Another starts an API server of the test's own, for a second site or for kinds of which a cluster has one only. It
// skips the test where there is no program for it. It changes the test's environment: the test cannot run in parallel.
func Another(t *testing.T, scheme func(*kruntime.Scheme) error) *Env {
	t.Helper()
	kube := apiserver.Program("../../../out/bin")
	if kube == "" {
		t.Skip("needs the lab's program kube for an API server of its own: run `make test`, or set HEDDLE_LIBEXEC")
	}
	s, err := apiserver.Start(t.Context(), kube)
	t.Cleanup(s.Stop)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(KubeconfigVariable, s.Kubeconfig)
	return New(t, scheme)
}
