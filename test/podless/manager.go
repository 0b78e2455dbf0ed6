package podless

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Manager makes a manager for the controllers under test alone: the test plays the part of all others. It sees the
// given namespaces only, or the whole cluster.
func Manager(tb testing.TB, api *rest.Config, scheme *runtime.Scheme, namespaces ...string) ctrl.Manager {
	tb.Helper()
	opts := ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	}
	if len(namespaces) > 0 {
		opts.Cache.DefaultNamespaces = map[string]cache.Config{}
	}
	for _, n := range namespaces {
		opts.Cache.DefaultNamespaces[n] = cache.Config{}
	}
	mgr, err := ctrl.NewManager(api, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return mgr
}
