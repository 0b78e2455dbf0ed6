package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/archive"
)

// devPause is how often the names and times of a source's files are looked at.
const devPause = 250 * time.Millisecond

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
	stamp, err := stampOf(ctx, args[0])
	if err != nil {
		return err
	}
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
			if err := d.swap(ctx); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				// Saving a file again tries again, if nothing but its time is new.
				deployed = ""
				d.progress.Printf("%v\nwhat runs stays as it is; waiting for the next change", err)
			} else {
				deployed = d.source.digest
				fmt.Fprintf(a.out, "contract %q runs the source as it is (%.1f s)\n", d.name, time.Since(start).Seconds())
			}
		}
		if stamp, err = awaitChange(ctx, tick.C, args[0], stamp); err != nil {
			return err
		}
		source, err := readSource(ctx, args[0], f)
		if err != nil {
			d.progress.Printf("%v", err)
			continue
		}
		d.source = source
	}
}

// awaitChange waits until files of a source were written, and have been left alone for one look.
func awaitChange(ctx context.Context, tick <-chan time.Time, name, last string) (string, error) {
	before := last
	for {
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-tick:
		}
		now, err := stampOf(ctx, name)
		switch {
		case err != nil:
			now = before // being replaced, most likely: looked at again
		case now != last && now == before:
			return now, nil
		}
		before = now
	}
}

func stampOf(ctx context.Context, name string) (string, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return "", fmt.Errorf("read source: %w", err)
	}
	defer root.Close()
	return archive.Stamp(ctx, root)
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
