package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// builds reads from the API server each time: an answer from a cache could let a build write after its end, and a cache
// would need the right to list.
type builds struct {
	client client.Reader
}

func newBuilds(cfg *rest.Config) (builds, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return builds{}, fmt.Errorf("add API types: %w", err)
	}
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = 50, 100
	cfg.UserAgent = "heddle-registry"
	// The one kind is known, so the API server need not be asked for what it has.
	kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{v1alpha1.GroupVersion})
	kinds.Add(v1alpha1.GroupVersion.WithKind("ChaincodeBuild"), meta.RESTScopeNamespace)
	c, err := client.New(cfg, client.Options{Scheme: scheme, Mapper: kinds})
	if err != nil {
		return builds{}, fmt.Errorf("make client: %w", err)
	}
	return builds{c}, nil
}

func (b builds) Get(ctx context.Context, namespace, name string) (*v1alpha1.ChaincodeBuild, error) {
	var found v1alpha1.ChaincodeBuild
	if err := b.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &found); err != nil {
		return nil, err
	}
	return &found, nil
}
