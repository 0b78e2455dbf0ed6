package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/lab"
	"heddle.dev/heddle/internal/specs"
)

func (a *app) downCommand() *cobra.Command {
	f := &upFlags{}
	c := &cobra.Command{
		Use:   "down",
		Short: "Take away what 'up' made, data included",
		Long: `Takes away what 'up' made: the lab where it made one, else the network "demo" with its data and the installation.
What was there before 'up' stays.`,
		Example:           a.text("  %[1]s down"),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.down(c.Context(), f)
		},
	}
	c.Flags().StringVar(&f.lab, "lab", "default", "name of the lab")
	c.Flags().DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long everything may take")
	return c
}

func (a *app) down(ctx context.Context, f *upFlags) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if a.clusterNamed() {
		return a.downCluster(ctx, f)
	}
	l, err := lab.Open(f.lab)
	if errors.Is(err, lab.ErrNoLab) {
		fmt.Fprintln(a.out, "there is nothing to take down")
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(l.Dir(), madeByUp)); err != nil {
		// The lab was there before: only what up put into it goes.
		*a.kube.KubeConfig = l.Sites()[0].KubeconfigPath()
		return a.downCluster(ctx, f)
	}
	err = a.steps().Step(ctx, "lab "+f.lab, func(ctx context.Context, _ func(string)) error {
		return labError(l.Down(ctx))
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out, "everything is gone")
	return nil
}

// downCluster takes the demo network and the installation out of a cluster that stays.
func (a *app) downCluster(ctx context.Context, f *upFlags) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	if err := a.downNetwork(ctx, cl, f); err != nil {
		return err
	}
	var ns corev1.Namespace
	err = cl.Get(ctx, client.ObjectKey{Name: specs.SystemNamespace}, &ns)
	if err := client.IgnoreNotFound(err); err != nil {
		return fmt.Errorf("read namespace %q: %w", specs.SystemNamespace, err)
	}
	// A namespace that is not there has no annotation.
	if ns.Annotations[annotationMadeBy] == "" {
		fmt.Fprintln(a.out, "the demo network is gone; the installation was not made by 'up' and stays")
		return nil
	}
	return a.uninstall(ctx, &uninstallFlags{purge: registryName, timeout: f.timeout})
}

// downNetwork deletes the demo network with its data, where up made it.
func (a *app) downNetwork(ctx context.Context, cl *cluster, f *upFlags) error {
	var n v1alpha1.Network
	err := cl.Get(ctx, client.ObjectKey{Name: demoNetwork}, &n)
	gone := apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
	if gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read network %q: %w", demoNetwork, err)
	}
	if n.Annotations[annotationMadeBy] == "" {
		return fmt.Errorf("network %q was not made by 'up': nothing was deleted", demoNetwork)
	}
	if err := cl.deleteUsers(ctx, demoNetwork); err != nil {
		return err
	}
	return a.deleteNetwork(ctx, &deleteFlags{purge: demoNetwork, wait: true, timeout: f.timeout}, demoNetwork)
}

// deleteUsers deletes the network's users in namespaces of clients: the namespace of the network goes, theirs stay.
func (c *cluster) deleteUsers(ctx context.Context, network string) error {
	var list v1alpha1.IdentityList
	if err := c.List(ctx, &list); err != nil {
		return fmt.Errorf("list identities: %w", err)
	}
	for i := range list.Items {
		id := &list.Items[i]
		if identityNetwork(id) != network || id.Namespace == network {
			continue
		}
		if err := c.Delete(ctx, id); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete identity %s/%s: %w", id.Namespace, id.Name, err)
		}
	}
	return nil
}
