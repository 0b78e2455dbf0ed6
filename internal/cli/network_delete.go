package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// deleteFlags are the flags of network delete.
type deleteFlags struct {
	purge   string
	wait    bool
	timeout time.Duration
}

func (a *app) networkDeleteCommand() *cobra.Command {
	f := &deleteFlags{}
	c := &cobra.Command{
		Use:   "delete NETWORK",
		Short: "Delete a network; its data stays unless it is named for purging",
		Long: `Deletes a Network. With its deletionPolicy Retain (the default) the nodes go, while the namespace, the volumes
with the ledgers, the key Secrets and the genesis blocks stay, labelled heddle.dev/retained: applying a Network of the same
name and networkID goes on at the same height.

--purge-data NETWORK deletes ledgers and keys as well, for ever. It also takes away what an earlier delete retained.`,
		Example: a.text(`  # Stop the nodes, keep ledgers and keys
  %[1]s network delete trade

  # Delete everything, for ever: the name is given twice
  %[1]s network delete trade --purge-data trade`),
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeNetworks(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.deleteNetwork(c.Context(), f, args[0])
		},
	}
	c.Flags().StringVar(&f.purge, "purge-data", "", "delete ledgers and keys as well; the network's name as confirmation")
	c.Flags().BoolVar(&f.wait, "wait", true, "wait until the network is gone")
	c.Flags().DurationVar(&f.timeout, "timeout", 3*time.Minute, "how long to wait")
	return c
}

func (a *app) deleteNetwork(ctx context.Context, f *deleteFlags, name string) error {
	if f.purge != "" && f.purge != name {
		return usageErrorf("--purge-data %q is not the network %q: nothing was deleted", f.purge, name)
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	n, err := cl.getNetwork(ctx, name)
	if err != nil {
		if f.purge != "" && exitCode(ctx, err) == ExitNotFound {
			return a.purgeRetained(ctx, cl, f, name)
		}
		return err
	}
	if f.purge != "" && n.Spec.DeletionPolicy != v1alpha1.DeletionDelete {
		patch := client.MergeFrom(n.DeepCopy())
		n.Spec.DeletionPolicy = v1alpha1.DeletionDelete
		if err := cl.Patch(ctx, n, patch, fieldOwner); err != nil {
			return fmt.Errorf("set deletionPolicy of network %q to Delete: %w", name, err)
		}
	}
	if err := cl.Delete(ctx, n); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete network %q: %w", name, err)
	}
	if !f.wait {
		fmt.Fprintf(a.out, "network %q is being deleted\n", name)
		return nil
	}
	if err := a.waitGone(ctx, cl, n, &v1alpha1.NetworkList{}, f.timeout); err != nil {
		return err
	}
	if n.Spec.DeletionPolicy == v1alpha1.DeletionDelete {
		fmt.Fprintf(a.out, "network %q and its data are deleted\n", name)
		return nil
	}
	fmt.Fprintf(a.out, `network %[1]q is deleted; its ledgers and keys are retained in namespace %[1]q (networkID %[2]s)
  to go on:        apply a Network of the same name with networkID: %[2]s
  to delete them:  %[3]s network delete %[1]s --purge-data %[1]s
`, name, networkID(n), a.program)
	return nil
}

func networkID(n *v1alpha1.Network) string {
	if n.Spec.NetworkID != "" {
		return n.Spec.NetworkID
	}
	return n.Status.NetworkID
}

// purgeRetained deletes the namespace that an earlier delete left behind.
func (a *app) purgeRetained(ctx context.Context, cl *cluster, f *deleteFlags, name string) error {
	var ns corev1.Namespace
	err := cl.Get(ctx, client.ObjectKey{Name: name}, &ns)
	if apierrors.IsNotFound(err) {
		return notFoundErrorf("network %q does not exist, and no data of it is retained", name)
	}
	if err != nil {
		return fmt.Errorf("read namespace %q: %w", name, err)
	}
	if ns.Labels[v1alpha1.LabelNetworkID] == "" {
		return fmt.Errorf("namespace %q holds no network's data (it has no label %s): nothing was deleted", name, v1alpha1.LabelNetworkID)
	}
	if err := cl.Delete(ctx, &ns); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete namespace %q: %w", name, err)
	}
	if f.wait {
		if err := a.waitGone(ctx, cl, &ns, &corev1.NamespaceList{}, f.timeout); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "the retained data of network %q is deleted\n", name)
	return nil
}

// waitGone waits until an object does not exist any more.
func (a *app) waitGone(ctx context.Context, cl *cluster, o client.Object, list client.ObjectList, timeout time.Duration) error {
	kind, key := kindOf(cl.Scheme(), o), client.ObjectKeyFromObject(o)
	waitCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	opts := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name}}
	last := ""
	err := a.progress().Step(waitCtx, "deleting "+kind+" "+key.Name, func(ctx context.Context, note func(string)) error {
		return cl.until(ctx, list, opts, func(ctx context.Context) (bool, error) {
			seen, ok := o.DeepCopyObject().(client.Object)
			if !ok {
				return false, fmt.Errorf("copy %s %q", kind, key.Name)
			}
			err := cl.Get(ctx, key, seen)
			if apierrors.IsNotFound(err) || (err == nil && seen.GetUID() != o.GetUID()) {
				return true, nil
			}
			if c, ok := seen.(conditioned); ok && err == nil {
				last = readinessOf(c).Message
				note(last)
			}
			return false, err
		})
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("%s %q is not gone after %s: %s", kind, key.Name, timeout, dash(last))
	}
	return err
}
