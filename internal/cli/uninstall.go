package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
)

// uninstallFlags are the flags of uninstall.
type uninstallFlags struct {
	leave    bool
	keepCRDs bool
	purge    string
	timeout  time.Duration
}

// flagLeave says in its name what it does.
const flagLeave = "force-leave-networks-unmanaged"

func (a *app) uninstallCommand() *cobra.Command {
	f := &uninstallFlags{}
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove Heddle from the cluster; never any data",
		Long: `Removes operator, rights, admission policies and custom resources. It refuses while Networks or other objects of Heddle
exist. Data that deleted networks left (namespaces labelled heddle.dev/retained) is never touched. The sources and images of
contracts that were built stay in their volume claim, and the namespace that it is in, unless --purge names the claim.

--` + flagLeave + ` removes the operator, its rights and policies, and leaves the networks running as they are with
their objects and custom resources: nobody looks after them until the next install.`,
		Example: a.text(`  %[1]s uninstall
  %[1]s uninstall --purge ` + registryName + `   # sources and images of contracts as well
  %[1]s uninstall --` + flagLeave),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.uninstall(c.Context(), f)
		},
	}
	c.Flags().BoolVar(&f.leave, flagLeave, false, "remove the operator although networks exist, and leave them running unmanaged")
	c.Flags().BoolVar(&f.keepCRDs, "keep-crds", false, "leave the custom resource definitions in the cluster")
	c.Flags().StringVar(&f.purge, "purge", "", "the name "+registryName+", to delete the sources and images of contracts too")
	c.Flags().DurationVar(&f.timeout, "timeout", 3*time.Minute, "how long to wait")
	return c
}

func (a *app) uninstall(ctx context.Context, f *uninstallFlags) error {
	if f.purge != "" && f.purge != registryName {
		return usageErrorf("--purge %q: there is nothing else to purge than %s", f.purge, registryName)
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	in, err := manifestsFor(installSettings{buildSettings: buildSettings{builds: true}})
	if err != nil {
		return err
	}
	left, err := cl.heddleObjects(ctx, in.kinds())
	if err != nil {
		return err
	}
	if len(left) > 0 && !f.leave {
		return fmt.Errorf("there are objects of Heddle in the cluster (%s): delete them first ('%s network delete', whose data is retained; 'kubectl delete' for sites), or use --%s",
			strings.Join(left, ", "), a.program, flagLeave)
	}
	if len(left) > 0 || f.keepCRDs {
		in.crds = nil
	}
	kept, err := cl.keepRegistryData(ctx, f, in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := a.removeAll(ctx, cl, in); err != nil {
		return err
	}
	if kept {
		fmt.Fprintf(a.out, "sources and images of contracts stay in volume claim %s/%s\n", specs.SystemNamespace, registryName)
	}
	if len(left) > 0 {
		fmt.Fprintf(a.out, "the operator is removed; left as they are, without care: %s\n", strings.Join(left, ", "))
		return nil
	}
	fmt.Fprintln(a.out, "heddle is uninstalled")
	return a.tellRetained(ctx, cl)
}

// keepRegistryData takes the registry's data out of what is deleted, unless it is to be purged.
func (c *cluster) keepRegistryData(ctx context.Context, f *uninstallFlags, in *installation) (bool, error) {
	if f.purge == registryName {
		return false, nil
	}
	var claim corev1.PersistentVolumeClaim
	err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: registryName}, &claim)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the registry's volume claim: %w", err)
	}
	in.withoutRegistryData()
	return true, nil
}

// heddleObjects names every object of Heddle's kinds.
func (c *cluster) heddleObjects(ctx context.Context, kinds []string) ([]string, error) {
	var out []string
	for _, kind := range kinds {
		var list metav1.PartialObjectMetadataList
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
		err := c.List(ctx, &list)
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list objects of kind %s: %w", kind, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			// What a Network made goes with it.
			if o.Labels[v1alpha1.LabelInline] == "" {
				out = append(out, told(kind, o.Namespace, o.Name))
			}
		}
	}
	return out, nil
}

// told is how an object is named to people; networks need no kind.
func told(kind, namespace, name string) string {
	switch {
	case kind == "Network":
		return name
	case namespace == "":
		return strings.ToLower(kind) + " " + name
	}
	return strings.ToLower(kind) + " " + namespace + "/" + name
}

// removeAll deletes in the reverse order of install.
func (a *app) removeAll(ctx context.Context, cl *cluster, in *installation) error {
	last := ""
	err := a.progress().Step(ctx, "uninstall", func(ctx context.Context, note func(string)) error {
		bindings, err := cl.namespacedBindings(ctx)
		if err != nil {
			return err
		}
		objects := slices.Concat(in.all(), bindings)
		for _, o := range slices.Backward(objects) {
			note("deleting " + o.GetKind() + " " + o.GetName())
			err := cl.Delete(ctx, o)
			if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
				return fmt.Errorf("delete %s %q: %w", o.GetKind(), o.GetName(), err)
			}
		}
		return cl.waitDeleted(ctx, objects, func(s string) {
			last = s
			note(s)
		})
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("uninstall is not done in time: %s", last)
	}
	return err
}

// namespacedBindings are the RoleBindings that install --namespaces made.
func (c *cluster) namespacedBindings(ctx context.Context) ([]*unstructured.Unstructured, error) {
	var list unstructured.UnstructuredList
	list.SetAPIVersion("rbac.authorization.k8s.io/v1")
	list.SetKind("RoleBindingList")
	if err := c.List(ctx, &list, client.MatchingLabels{labelPartOf: partOf}); err != nil {
		return nil, fmt.Errorf("list RoleBindings: %w", err)
	}
	var out []*unstructured.Unstructured
	for i := range list.Items {
		if list.Items[i].GetNamespace() != specs.SystemNamespace {
			out = append(out, &list.Items[i])
		}
	}
	return out, nil
}

// waitDeleted waits until the system namespace and the custom resources are gone: a next install needs them to be.
func (c *cluster) waitDeleted(ctx context.Context, objects []*unstructured.Unstructured, note func(string)) error {
	return c.until(ctx, &corev1.NamespaceList{}, nil, func(ctx context.Context) (bool, error) {
		for _, o := range objects {
			if k := o.GetKind(); k != "Namespace" && k != "CustomResourceDefinition" {
				continue
			}
			seen := o.DeepCopy()
			err := c.Get(ctx, client.ObjectKeyFromObject(o), seen)
			if err == nil {
				note(fmt.Sprintf("waiting until %s %s is gone", o.GetKind(), o.GetName()))
				return false, nil
			}
			if !apierrors.IsNotFound(err) {
				return false, fmt.Errorf("read %s %q: %w", o.GetKind(), o.GetName(), err)
			}
		}
		return true, nil
	})
}

// tellRetained names the namespaces with data of deleted networks.
func (a *app) tellRetained(ctx context.Context, cl *cluster) error {
	names, err := cl.retained(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	fmt.Fprintf(a.out, "data of deleted networks stays in the namespaces %s\n", strings.Join(names, ", "))
	return nil
}

// retained lists the namespaces with data of deleted networks.
func (c *cluster) retained(ctx context.Context) ([]string, error) {
	var list corev1.NamespaceList
	if err := c.List(ctx, &list, client.HasLabels{v1alpha1.LabelNetworkID}); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, nil
}
