package cli_test

import (
	"context"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/apiserver"
)

// server is an API server of this package alone: the scripts install and uninstall Heddle, which would pull the rug
// from under the tests of other packages.
type server struct {
	once   sync.Once
	err    error
	api    *apiserver.Server
	client client.WithWatch
}

var shared server

// apiServer starts the server once for all tests, or skips the test where its program is not built.
func apiServer(t *testing.T) *server {
	t.Helper()
	kube := apiserver.Program("../../out/bin")
	if kube == "" {
		t.Skip("needs an API server: build the program kube ('make images') or name its folder in HEDDLE_LIBEXEC")
	}
	shared.once.Do(func() { shared.err = shared.start(kube) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return &shared
}

func (s *server) start(kube string) error {
	// The server outlives the test that happens to come first.
	var err error
	if s.api, err = apiserver.Start(context.Background(), kube); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	s.client, err = client.NewWithWatch(s.api.Config, client.Options{Scheme: scheme})
	return err
}

func (s *server) stop() {
	if s.api != nil {
		s.api.Stop()
	}
}
