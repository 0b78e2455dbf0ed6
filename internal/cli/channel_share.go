package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// inNetwork reads NETWORK/NAME.
func inNetwork(arg, what string) (network, name string, err error) {
	network, name, ok := strings.Cut(arg, "/")
	if !ok || network == "" || name == "" {
		return "", "", usageErrorf("%q does not name a %s: write NETWORK/%s, such as trade/demo", arg, what, strings.ToUpper(what))
	}
	return network, name, nil
}

func (a *app) channelInviteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "invite NETWORK/CHANNEL ORGANIZATION...",
		Short: "Make organisations of partners members of a channel",
		Long: `Names organisations of other sites in the channel's spec. In a channel that has others already, that is a Proposal which
they have to sign. Their site then accepts the channel with 'channel accept'.`,
		Example:           a.text("  %[1]s channel invite trade/demo bankb"),
		Args:              arguments(2, -1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			network, name, err := inNetwork(args[0], "channel")
			if err != nil {
				return err
			}
			return a.inviteToChannel(c.Context(), network, name, args[1:])
		},
	}
}

func (a *app) inviteToChannel(ctx context.Context, network, name string, orgs []string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	ch, err := cl.getChannel(ctx, network, name)
	if err != nil {
		return err
	}
	for _, org := range orgs {
		var o v1alpha1.Organization
		if err := cl.Get(ctx, client.ObjectKey{Namespace: network, Name: org}, &o); err != nil {
			if apierrors.IsNotFound(err) {
				return notFoundErrorf(
					"organization %q is not known in network %q: its site has to join the network first ('heddle network join'); 'kubectl -n %s get org' shows who is there",
					org, network, network)
			}
			return fmt.Errorf("read organization %q: %w", org, err)
		}
	}
	members, err := cl.members(ctx, ch)
	if err != nil {
		return err
	}
	members = append(members, orgs...)
	slices.Sort(members)
	members = slices.Compact(members)
	if err := cl.setMembers(ctx, ch, members); err != nil {
		return fmt.Errorf("name %s in channel %q: %w", strings.Join(orgs, ", "), name, err)
	}
	fmt.Fprintf(a.out, "channel %s/%s is for %s; '%s proposal list' shows whether others have to agree, and the partner accepts with: heddle channel accept %s/%s --from THIS-SITE\n",
		network, name, strings.Join(members, ", "), a.program, network, name)
	return nil
}

// members that the channel has by its spec, or by default.
func (c *cluster) members(ctx context.Context, ch *v1alpha1.Channel) ([]string, error) {
	if len(ch.Spec.Organizations) > 0 {
		return slices.Clone(ch.Spec.Organizations), nil
	}
	var peers v1alpha1.PeerList
	if err := c.List(ctx, &peers, client.InNamespace(ch.Namespace)); err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	var out []string
	for i := range peers.Items {
		out = append(out, peers.Items[i].Spec.Organization)
	}
	return out, nil
}

// setMembers writes them where the channel comes from: its Network, or itself.
func (c *cluster) setMembers(ctx context.Context, ch *v1alpha1.Channel, members []string) error {
	if ch.Labels[v1alpha1.LabelInline] == "" {
		before := ch.DeepCopy()
		ch.Spec.Organizations = members
		return c.Patch(ctx, ch, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldOwner)
	}
	n, err := c.getNetwork(ctx, ch.Namespace)
	if err != nil {
		return err
	}
	before := n.DeepCopy()
	i := slices.IndexFunc(n.Spec.Channels, func(nc v1alpha1.NetworkChannel) bool { return nc.Name == ch.Name })
	if i < 0 {
		return fmt.Errorf("find channel %q in Network %q: it is not there", ch.Name, n.Name)
	}
	n.Spec.Channels[i].Organizations = members
	return c.Patch(ctx, n, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldOwner)
}

func (a *app) channelAcceptCommand() *cobra.Command {
	var (
		from    string
		wait    bool
		timeout time.Duration
	)
	c := &cobra.Command{
		Use:   "accept NETWORK/CHANNEL --from PARTNER",
		Short: "Take part in a channel that a partner invites to",
		Long: `Makes the Channel here: its first block comes from the partner's orderers and has to be the one that the invitation
names, and this site's peers and orderers join. The settings stay what the members agreed on.`,
		Example:           a.text("  %[1]s channel accept trade/demo --from bank-a"),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			network, name, err := inNetwork(args[0], "channel")
			if err != nil {
				return err
			}
			if from == "" {
				return usageErrorf("--from is required: it names the partner that invites")
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return a.acceptChannel(ctx, network, name, from, wait)
		},
	}
	c.Flags().StringVar(&from, "from", "", "partner that invites: the name of a SiteLink (required)")
	c.Flags().BoolVar(&wait, "wait", true, "wait until this site's nodes have joined")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long to wait")
	return c
}

func (a *app) acceptChannel(ctx context.Context, network, name, from string, wait bool) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	offer, err := cl.offeredChannel(ctx, network, name, from)
	if err != nil {
		return err
	}
	ch := &v1alpha1.Channel{
		ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: name},
		Spec: v1alpha1.ChannelSpec{
			Consensus: offer.Consensus, Timing: offer.Timing,
			Invitation: &v1alpha1.ChannelInvitation{Link: from, GenesisHash: offer.GenesisHash},
		},
	}
	if offer.ChannelID != name {
		ch.Spec.ChannelID = offer.ChannelID
	}
	if err := cl.Create(ctx, ch, fieldOwner); err != nil {
		if apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("channel %q exists in network %q already", name, network)
		}
		return fmt.Errorf("accept channel %q: %w", name, err)
	}
	if wait {
		err := a.progress().Step(ctx, "channel "+name, func(ctx context.Context, note func(string)) error {
			return cl.waitReady(ctx, ch, &v1alpha1.ChannelList{}, note)
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "channel %s/%s is accepted from %q\n", network, name, from)
	return nil
}

// offeredChannel finds a partner's invitation, of the very network that is here.
func (c *cluster) offeredChannel(ctx context.Context, network, name, from string) (*v1alpha1.OfferedChannel, error) {
	n, err := c.getNetwork(ctx, network)
	if err != nil {
		return nil, err
	}
	var offer *v1alpha1.OfferedChannel
	var other string
	_, err = c.awaitNews(ctx, from, func(l *v1alpha1.SiteLink) bool {
		offer, other = channelIn(l, n, name)
		return offer != nil || other != ""
	})
	switch {
	case err != nil:
		return nil, err
	case other != "":
		return nil, fmt.Errorf("network %q of %q has networkID %s and the one here %s: they are two networks", network, from, other, n.Spec.NetworkID)
	case offer != nil:
		return offer, nil
	}
	return nil, notFoundErrorf("partner %q does not invite to channel %q of network %q: there, 'heddle channel invite %s/%s ORGANIZATION' does", from, name, network, network, name)
}

// channelIn is a partner's invitation to a channel of the network; other is the networkID if it has another one of that name.
func channelIn(link *v1alpha1.SiteLink, n *v1alpha1.Network, name string) (offer *v1alpha1.OfferedChannel, other string) {
	for i := range link.Status.Networks {
		o := &link.Status.Networks[i]
		if o.Name != n.Name {
			continue
		}
		if o.NetworkID != n.Spec.NetworkID {
			return nil, o.NetworkID
		}
		for j := range o.Channels {
			if o.Channels[j].Name == name {
				return &o.Channels[j], ""
			}
		}
	}
	return nil, ""
}
