package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// devPause is how often a source is looked at: packing a small folder takes milliseconds.
const devPause = 500 * time.Millisecond

func (a *app) chaincodeDevCommand() *cobra.Command {
	f := &deployFlags{wait: true}
	c := &cobra.Command{
		Use:   "dev DIRECTORY",
		Short: "Put a contract on a channel and follow changes of its source",
		Long: `Deploys the source as it is, and again each time that a file changes, until it is interrupted. The definition stays as it
is: a changed source is a changed package of the same version and sequence, which every organisation approves anew. Changes
that do not compile are shown and leave what runs alone. For trying: organisations that are elsewhere keep their package.`,
		Example: a.text(`  %[1]s chaincode dev ./asset --channel demo`),
		Args:    arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.developChaincode(c.Context(), f, args)
		},
	}
	f.add(c)
	return c
}

func (a *app) developChaincode(ctx context.Context, f *deployFlags, args []string) error {
	d, err := a.newDeployment(ctx, f, args)
	if err != nil {
		return err
	}
	tick := time.NewTicker(devPause)
	defer tick.Stop()
	deployed := ""
	for {
		if d.source.digest != deployed {
			start := time.Now()
			deployed = d.source.digest
			if err := d.swap(ctx); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				d.progress.Printf("%v", err)
			} else {
				fmt.Fprintf(a.out, "contract %q runs the source as it is (%.1f s)\n", d.name, time.Since(start).Seconds())
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		source, err := readSource(ctx, args[0], f)
		if err != nil {
			d.progress.Printf("%v", err)
			continue
		}
		d.source = source
	}
}

// swap deploys the source without a new version.
func (d *deployment) swap(ctx context.Context) error {
	var have v1alpha1.Chaincode
	err := d.cluster.Get(ctx, client.ObjectKey{Namespace: d.namespace, Name: objectName(d.flags.channel, d.name)}, &have)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read chaincode: %w", err)
	}
	// Empty where there is none yet.
	d.flags.version = have.Spec.Version
	return d.run(ctx)
}
