package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/internal/image"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/version"
)

// What config/registry calls its objects.
const (
	registryName      = specs.RegistryName
	registryTLSSecret = "heddle-registry-tls" //nolint:gosec // the name of a Secret
	registryCAName    = specs.RegistryCAConfigMap
	registryHost      = "registry." + specs.SystemNamespace + ".svc:5000"
)

// Variables of the operator's Deployment.
const (
	envBuilder         = "HEDDLE_BUILDER_IMAGE"
	envNginx           = "HEDDLE_NGINX_IMAGE"
	envRegistry        = "HEDDLE_REGISTRY"
	envBuildGo         = "HEDDLE_BUILD_GO_IMAGE"
	envBuildNode       = "HEDDLE_BUILD_NODE_IMAGE"
	envModuleProxy     = "HEDDLE_MODULE_PROXY"
	envModuleProxyCIDR = "HEDDLE_MODULE_PROXY_CIDR"
)

// buildSettings are those of the part of an installation that builds contracts. What is empty is what a live
// installation has, or else the default.
type buildSettings struct {
	builds          bool
	registryImage   string
	buildGoImage    string
	buildNodeImage  string
	moduleProxy     string
	moduleProxyCIDR string
	registrySize    string
	machineCIDRs    []string
}

// flags are the same for install and up.
func (b *buildSettings) flags(fl *pflag.FlagSet) {
	fl.BoolVar(&b.builds, "builds", false, "install what builds contracts from source: a registry, and the operator's settings for builds")
	fl.StringVar(&b.registryImage, "registry-image", "", "image of the registry (that of this version unless given)")
	fl.StringVar(&b.buildGoImage, "build-go-image", "", "image that contracts in Go are built in (that of this version unless given)")
	fl.StringVar(&b.buildNodeImage, "build-node-image", "", "image that contracts for Node.js are built in (that of this version unless given)")
	fl.StringVar(&b.moduleProxy, "module-proxy", "", "URL of a proxy for modules, with Go's below /go and npm's below /npm; builds reach no other")
	fl.StringVar(&b.moduleProxyCIDR, "module-proxy-cidr", "", "addresses of that proxy, for network policies, such as 10.1.2.3/32")
	fl.StringVar(&b.registrySize, "registry-size", "", "room for sources and images (20Gi unless given)")
	fl.StringSliceVar(&b.machineCIDRs, "machine-cidr", nil,
		"addresses of the cluster's machines, which pull from the registry (any unless given)")
}

// check refuses settings that would have no effect.
func (s *installSettings) check() error {
	if s.builds && len(s.namespaces) > 0 {
		return usageErrorf("--builds and --namespaces do not go together: the registry has to read builds in the whole cluster")
	}
	named := s.registryImage + s.buildGoImage + s.buildNodeImage + s.moduleProxy + s.moduleProxyCIDR + s.registrySize
	if !s.builds && (named != "" || len(s.machineCIDRs) > 0) {
		return usageErrorf("settings of builds need --builds")
	}
	return nil
}

// withDefaults fills in the images of this version.
func (b buildSettings) withDefaults() buildSettings {
	for setting, repository := range map[*string]string{
		&b.registryImage: image.RegistryRepository, &b.buildGoImage: image.BuildGoRepository, &b.buildNodeImage: image.BuildNodeRepository,
	} {
		if *setting == "" {
			*setting = repository + ":" + version.Version
		}
	}
	return b
}

// env are the operator's variables; all empty where there are no builds.
func (b buildSettings) env() map[string]string {
	if !b.builds {
		return nil
	}
	return map[string]string{
		envRegistry: registryHost, envBuildGo: b.buildGoImage, envBuildNode: b.buildNodeImage,
		envModuleProxy: b.moduleProxy, envModuleProxyCIDR: b.moduleProxyCIDR,
	}
}

// fillRegistry writes the settings into the registry's objects.
func (b buildSettings) fillRegistry(objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		var err error
		switch o.GetKind() {
		case "Deployment":
			err = editContainer(o, func(c map[string]any) { c["image"] = b.registryImage })
		case "PersistentVolumeClaim":
			if b.registrySize != "" {
				err = unstructured.SetNestedField(o.Object, b.registrySize, "spec", "resources", "requests", "storage")
			}
		case "NetworkPolicy":
			err = fillMachines(o, b.machineCIDRs)
		}
		if err != nil {
			return fmt.Errorf("fill in %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// fillMachines names the machines' addresses in the first rule.
func fillMachines(policy *unstructured.Unstructured, cidrs []string) error {
	if len(cidrs) == 0 {
		return nil
	}
	rules, _, err := unstructured.NestedSlice(policy.Object, "spec", "ingress")
	if err != nil {
		return err
	}
	rule, ok := rules[0].(map[string]any)
	if !ok {
		return fmt.Errorf("its first rule is a %T", rules[0])
	}
	from := make([]any, 0, len(cidrs))
	for _, cidr := range cidrs {
		from = append(from, map[string]any{"ipBlock": map[string]any{"cidr": cidr}})
	}
	rule["from"] = from
	return unstructured.SetNestedSlice(policy.Object, rules, "spec", "ingress")
}

// keepBuilds adds the settings of an installation that has builds to those that were not given.
func (c *cluster) keepBuilds(ctx context.Context, s *installSettings) error {
	var registry appsv1.Deployment
	err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: registryName}, &registry)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the registry's Deployment: %w", err)
	}
	s.builds = true
	if err := s.check(); err != nil {
		return err
	}
	var operator appsv1.Deployment
	err = c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: specs.OperatorName}, &operator)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read the operator's Deployment: %w", err)
	}
	env := map[string]string{}
	for _, container := range operator.Spec.Template.Spec.Containers {
		for _, v := range container.Env {
			env[v.Name] = v.Value
		}
	}
	keep(&s.registryImage, own(registry.Spec.Template.Spec.Containers[0].Image, image.RegistryRepository))
	keep(&s.buildGoImage, own(env[envBuildGo], image.BuildGoRepository))
	keep(&s.buildNodeImage, own(env[envBuildNode], image.BuildNodeRepository))
	keep(&s.moduleProxy, env[envModuleProxy])
	keep(&s.moduleProxyCIDR, env[envModuleProxyCIDR])
	if err := c.keepSize(ctx, s); err != nil {
		return err
	}
	return c.keepMachines(ctx, s)
}

func (c *cluster) keepSize(ctx context.Context, s *installSettings) error {
	var claim corev1.PersistentVolumeClaim
	err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: registryName}, &claim)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read the registry's volume claim: %w", err)
	}
	if size, ok := claim.Spec.Resources.Requests[corev1.ResourceStorage]; ok {
		keep(&s.registrySize, size.String())
	}
	return nil
}

func (c *cluster) keepMachines(ctx context.Context, s *installSettings) error {
	if len(s.machineCIDRs) > 0 {
		return nil
	}
	var policy networkingv1.NetworkPolicy
	err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: registryName}, &policy)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read the registry's network policy: %w", err)
	}
	for _, rule := range policy.Spec.Ingress {
		for _, peer := range rule.From {
			if peer.IPBlock != nil {
				s.machineCIDRs = append(s.machineCIDRs, peer.IPBlock.CIDR)
			}
		}
	}
	return nil
}

func keep(setting *string, live string) {
	if *setting == "" {
		*setting = live
	}
}

// own is an image that somebody chose; one of ours follows the version of this program.
func own(ref, repository string) string {
	if strings.HasPrefix(ref, repository+":") {
		return ""
	}
	return ref
}

// withoutRegistryData leaves the volume claim out, and the namespace that it is in.
func (in *installation) withoutRegistryData() {
	keepsData := func(o *unstructured.Unstructured) bool {
		return o.GetKind() == "Namespace" || o.GetKind() == "PersistentVolumeClaim"
	}
	in.namespace = slices.DeleteFunc(in.namespace, keepsData)
	in.registry = slices.DeleteFunc(in.registry, keepsData)
}
