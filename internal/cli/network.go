package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
)

func (a *app) networkCommand() *cobra.Command {
	c := group("network", "Create, list, show, share and delete networks",
		a.networkCreateCommand(),
		a.networkInviteCommand(),
		a.networkJoinCommand(),
		a.networkListCommand(),
		a.networkStatusCommand(),
		a.networkDeleteCommand(),
	)
	c.Aliases = []string{"networks", "net"}
	return c
}

func (a *app) networkListCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls"},
		Short:             "List the cluster's networks",
		Example:           a.text("  %[1]s network list\n  %[1]s network list -o name"),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			var list v1alpha1.NetworkList
			if err := cl.List(c.Context(), &list); err != nil {
				return fmt.Errorf("list networks: %w", err)
			}
			return a.print(networkListDocument(cl, &list, time.Now()))
		},
	}
}

func networkListDocument(cl *cluster, list *v1alpha1.NetworkList, now time.Time) output.Document {
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("NetworkList"))
	rows := make([][]string, 0, len(list.Items))
	objects := make([]client.Object, 0, len(list.Items))
	for i := range list.Items {
		n := &list.Items[i]
		objects = append(objects, cl.object(n))
		r := readinessOf(n)
		rows = append(rows, []string{
			n.Name, r.Ready, dash(n.Status.Orderers), dash(n.Status.Peers), dash(n.Status.Channels),
			dash(n.Spec.Fabric.Version), age(n.CreationTimestamp, now), notReadyMessage(r),
		})
	}
	return output.Document{Value: list, Names: namesOf(cl.Scheme(), objects...), Table: func(w io.Writer) error {
		if len(rows) == 0 {
			_, err := fmt.Fprintln(w, "no networks")
			return err
		}
		return output.Table(w, []string{"NAME", "READY", "ORDERERS", "PEERS", "CHANNELS", "VERSION", "AGE", "MESSAGE"}, rows)
	}}
}

// notReadyMessage is empty for what is Ready: there the message says nothing new.
func notReadyMessage(r readiness) string {
	if r.IsReady() {
		return ""
	}
	return r.Message
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (a *app) networkStatusCommand() *cobra.Command {
	c := a.statusCommand()
	c.Use = "status NETWORK"
	c.Args = arguments(1, 1)
	c.Example = a.text("  %[1]s network status trade")
	return c
}

// getNetwork reads a Network; the error says how to find the right name.
func (c *cluster) getNetwork(ctx context.Context, name string) (*v1alpha1.Network, error) {
	var n v1alpha1.Network
	err := c.Get(ctx, client.ObjectKey{Name: name}, &n)
	if client.IgnoreNotFound(err) == nil && err != nil {
		return nil, notFoundErrorf("network %q does not exist: 'network list' shows which do", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read network %q: %w", name, err)
	}
	return &n, nil
}
