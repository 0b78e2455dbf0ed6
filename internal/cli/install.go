package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/specs"
)

// installFlags are the flags of install.
type installFlags struct {
	installSettings
	wait    bool
	timeout time.Duration
	dryRun  bool
}

func (a *app) installCommand() *cobra.Command {
	f := &installFlags{}
	c := &cobra.Command{
		Use:   "install",
		Short: "Install Heddle in the cluster, or bring it to this version",
		Long: `Applies the custom resources, the operator's rights, the admission policies and the operator, in this order, and waits
until the operator is ready. Running it again changes nothing; a newer heddle brings the installation to its version.

--builds adds what builds contracts from source: a registry, its certificate, and the operator's settings for builds. A later
install keeps them, with the settings they have, and renews a certificate that ends within 60 days.`,
		Example: a.text(`  %[1]s install
  %[1]s install --operator-image registry.example/heddle-operator:v1 --builder-image registry.example/heddle-builder:v1
  %[1]s install --namespaces trade,deals   # no rights in the rest of the cluster
  %[1]s install --builds --module-proxy http://modules.example --module-proxy-cidr 10.1.2.3/32
  %[1]s install --dry-run > heddle.yaml    # for kubectl apply --server-side -f`),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.install(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.operatorImage, "operator-image", "", "image of the operator (that of this version unless given)")
	fl.StringVar(&f.builderImage, "builder-image", "", "image with the peers' external builder (that of this version unless given)")
	fl.StringVar(&f.nginxImage, "nginx-image", "", "image of gateways and links between sites (that of this version unless given)")
	fl.StringSliceVar(&f.namespaces, "namespaces", nil,
		"work in these namespaces only, without any right in the rest of the cluster; Network objects are left alone then")
	f.flags(fl)
	fl.BoolVar(&f.wait, "wait", true, "wait until the operator is ready")
	fl.DurationVar(&f.timeout, "timeout", 3*time.Minute, "how long to wait")
	fl.BoolVar(&f.dryRun, "dry-run", false, "print the manifests and apply nothing")
	return c
}

func (a *app) install(ctx context.Context, f *installFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.dryRun {
		in, err := manifestsFor(f.installSettings)
		if err != nil {
			return err
		}
		return a.printManifests(in)
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := cl.keepBuilds(ctx, &f.installSettings); err != nil {
		return err
	}
	in, err := manifestsFor(f.installSettings)
	if err != nil {
		return err
	}
	p := a.progress()
	err = p.Step(ctx, "install", func(ctx context.Context, note func(string)) error {
		return cl.install(ctx, in, f, note)
	})
	if err != nil {
		return err
	}
	operator, _ := f.images()
	fmt.Fprintf(a.out, "heddle is installed (operator %s in namespace %s)\n", operator, specs.SystemNamespace)
	if f.builds {
		fmt.Fprintf(a.out, "contracts are built here (registry %s)\n", registryHost)
	}
	return nil
}

// install applies everything and waits.
func (c *cluster) install(ctx context.Context, in *installation, f *installFlags, note func(string)) error {
	if err := c.checkNamespaces(ctx, f.namespaces); err != nil {
		return err
	}
	note("applying custom resources")
	if err := c.applyAll(ctx, in.crds); err != nil {
		return err
	}
	if err := c.waitEstablished(ctx, in.crds, note); err != nil {
		return err
	}
	note("applying rights and the operator")
	if err := c.applyAll(ctx, in.namespace); err != nil {
		return err
	}
	if len(in.registry) > 0 {
		if err := c.ensureRegistryTLS(ctx, time.Now()); err != nil {
			return fmt.Errorf("make the registry's certificate: %w", err)
		}
	}
	if err := c.applyAll(ctx, in.all()[len(in.crds)+len(in.namespace):]); err != nil {
		return err
	}
	for _, o := range in.unwanted {
		if err := c.Delete(ctx, o); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	if !f.wait {
		return nil
	}
	if err := c.waitDeployment(ctx, "operator", specs.OperatorName, note); err != nil || len(in.registry) == 0 {
		return err
	}
	return c.waitDeployment(ctx, "registry", registryName, note)
}

// checkNamespaces refuses the namespaced mode for namespaces that do not exist: the operator may not make them.
func (c *cluster) checkNamespaces(ctx context.Context, names []string) error {
	for _, name := range names {
		var ns corev1.Namespace
		err := c.Get(ctx, client.ObjectKey{Name: name}, &ns)
		if apierrors.IsNotFound(err) {
			return notFoundErrorf("namespace %q does not exist: make it first ('kubectl create namespace %s')", name, name)
		}
		if err != nil {
			return fmt.Errorf("read namespace %q: %w", name, err)
		}
	}
	return nil
}

func (c *cluster) applyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o.DeepCopy()), fieldOwner, client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply %s %q: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// waitEstablished waits until the API server serves the custom resources.
func (c *cluster) waitEstablished(ctx context.Context, crds []*unstructured.Unstructured, note func(string)) error {
	err := c.until(ctx, &apiextensionsv1.CustomResourceDefinitionList{}, nil, func(ctx context.Context) (bool, error) {
		for _, crd := range crds {
			var have apiextensionsv1.CustomResourceDefinition
			if err := c.Get(ctx, client.ObjectKeyFromObject(crd), &have); err != nil {
				return false, fmt.Errorf("read custom resource %q: %w", crd.GetName(), err)
			}
			if !established(&have) {
				note("waiting for custom resource " + crd.GetName())
				return false, nil
			}
		}
		return true, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("the API server does not serve the custom resources in time")
	}
	return err
}

func established(crd *apiextensionsv1.CustomResourceDefinition) bool {
	for _, cond := range crd.Status.Conditions {
		if cond.Type == apiextensionsv1.Established {
			return cond.Status == apiextensionsv1.ConditionTrue
		}
	}
	return false
}

// waitDeployment waits until the operator or the registry of the applied version runs and is ready.
func (c *cluster) waitDeployment(ctx context.Context, who, name string, note func(string)) error {
	last := fmt.Sprintf("the %s has not started", who)
	err := c.until(ctx, &appsv1.DeploymentList{}, []client.ListOption{client.InNamespace(specs.SystemNamespace)}, func(ctx context.Context) (bool, error) {
		var d appsv1.Deployment
		if err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: name}, &d); err != nil {
			return false, fmt.Errorf("read the %s's Deployment: %w", who, err)
		}
		if rolledOut(&d) {
			steady, err := c.steady(ctx, &d)
			if err != nil || steady {
				return steady, err
			}
		}
		last = fmt.Sprintf("the %s is starting", who)
		if cause := c.podTrouble(ctx, specs.SystemNamespace, d.Spec.Selector.MatchLabels); cause != "" {
			last = cause
		}
		note(last)
		return false, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("the %s is not ready in time: %s", who, last)
	}
	return err
}

// steadyAfter is how long a container that was restarted has to run to count as well.
const steadyAfter = 10 * time.Second

// steady says that no pod of the Deployment was restarted just now: one that crashes is ready for a moment each time.
func (c *cluster) steady(ctx context.Context, d *appsv1.Deployment) (bool, error) {
	var pods corev1.PodList
	err := c.List(ctx, &pods, client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels))
	if err != nil {
		return false, fmt.Errorf("list pods of Deployment %q: %w", d.Name, err)
	}
	for i := range pods.Items {
		for _, s := range pods.Items[i].Status.ContainerStatuses {
			if s.RestartCount > 0 && s.State.Running != nil && time.Since(s.State.Running.StartedAt.Time) < steadyAfter {
				return false, nil
			}
		}
	}
	return true, nil
}

func rolledOut(d *appsv1.Deployment) bool {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= want &&
		d.Status.AvailableReplicas >= want && d.Status.Replicas == d.Status.UpdatedReplicas
}

// podTrouble says what keeps pods from running; empty where nothing does. It is asked while waiting, so an error of
// its own is no news: the wait itself ends on a broken connection.
func (c *cluster) podTrouble(ctx context.Context, namespace string, labels map[string]string) string {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels(labels)); err != nil {
		return ""
	}
	for i := range pods.Items {
		if t := troubleOf(&pods.Items[i]); t != nil {
			return t.String()
		}
	}
	return ""
}

// printManifests prints what install would apply, as one stream.
func (a *app) printManifests(in *installation) error {
	objects := in.all()
	names := make([]string, 0, len(objects))
	for _, o := range objects {
		names = append(names, o.GetKind()+"/"+o.GetName())
	}
	list := map[string]any{"apiVersion": "v1", "kind": "List", "items": objects}
	return a.print(output.Document{Value: list, Names: names, Table: func(w io.Writer) error {
		for i, o := range objects {
			b, err := yaml.Marshal(o.Object)
			if err != nil {
				return fmt.Errorf("print %s %q: %w", o.GetKind(), o.GetName(), err)
			}
			if i > 0 {
				fmt.Fprintln(w, "---")
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	}})
}
