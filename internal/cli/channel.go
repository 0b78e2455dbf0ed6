package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

func (a *app) channelCommand() *cobra.Command {
	c := group("channel", "Share channels with partners, accept what others changed",
		a.channelInviteCommand(), a.channelAcceptCommand(), a.channelAdoptCommand())
	c.Aliases = []string{"channels", "ch"}
	return c
}

func (a *app) channelAdoptCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "adopt NETWORK/CHANNEL",
		Short: "Accept the ledger's configuration as it stands",
		Long: `A change of a channel's configuration that somebody made elsewhere is never undone: the Channel says Diverged and what
differs. This command accepts the ledger's configuration as it stands, and waits until the Channel no longer says so.
Later changes of the Channel's spec are compared with it from there.`,
		Example:           a.text("  %[1]s channel adopt trade/demo"),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			network, name, ok := strings.Cut(args[0], "/")
			if !ok || network == "" || name == "" {
				return usageErrorf("%q does not name a channel: write NETWORK/CHANNEL, such as trade/demo", args[0])
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return a.adopt(ctx, network, name)
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait")
	return c
}

func (a *app) adopt(ctx context.Context, network, name string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	ch := &v1alpha1.Channel{}
	key := client.ObjectKey{Namespace: network, Name: name}
	if err := cl.Get(ctx, key, ch); err != nil {
		if apierrors.IsNotFound(err) {
			return notFoundErrorf("find channel %q of network %q: there is none: '%s status' lists what there is", name, network, a.program)
		}
		return fmt.Errorf("read channel %q of network %q: %w", name, network, err)
	}
	if !diverged(ch) {
		fmt.Fprintf(a.out, "channel %s/%s has not diverged: nothing to adopt\n", network, name)
		return nil
	}
	before := ch.DeepCopy()
	if ch.Annotations == nil {
		ch.Annotations = map[string]string{}
	}
	ch.Annotations[v1alpha1.AnnotationAdopt] = "true"
	if err := cl.Patch(ctx, ch, client.MergeFrom(before), fieldOwner); err != nil {
		return fmt.Errorf("mark channel %q of network %q for adoption: %w", name, network, err)
	}
	err = cl.until(ctx, &v1alpha1.ChannelList{}, []client.ListOption{client.InNamespace(network)}, func(ctx context.Context) (bool, error) {
		if err := cl.Get(ctx, key, ch); err != nil {
			return false, err
		}
		_, marked := ch.Annotations[v1alpha1.AnnotationAdopt]
		return !marked && !diverged(ch), nil
	})
	if err != nil {
		return notReadyErrorf("wait until channel %q of network %q is adopted: %w", name, network, err)
	}
	fmt.Fprintf(a.out, "channel %s/%s goes on from the ledger's configuration\n", network, name)
	return nil
}

func diverged(ch *v1alpha1.Channel) bool {
	return meta.IsStatusConditionTrue(ch.Status.Conditions, v1alpha1.ConditionDiverged)
}
