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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// shareFlags are the flags of network invite and join.
type shareFlags struct {
	proposals string
	keep      bool
	from      string
	orgs      []string
	version   string
	timeout   time.Duration
}

func (f *shareFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.proposals, "proposals", string(v1alpha1.ProposalAsk),
		"what becomes of the partner's proposals to change channels: Ask leaves each to a person, Sign signs all unseen")
	c.Flags().BoolVar(&f.keep, "keep-nodes", false, "offer none of this site's nodes: 'node export' does that later")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait")
	complete(c, "proposals", []string{"Ask", "Sign"})
}

func (a *app) networkInviteCommand() *cobra.Command {
	f := &shareFlags{}
	c := &cobra.Command{
		Use:   "invite NETWORK PARTNER",
		Short: "Stretch a network to a partner's site",
		Long: `Offers the network to a partner: its site sees the network's name and networkID, the certificates of this site's
organisations, and this site's nodes of the network, and can run a part of its own. Nothing is given but that; channels
are shared one by one ('channel invite').`,
		Example:           a.text("  %[1]s network invite trade bank-b"),
		Args:              arguments(2, 2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			return a.inviteToNetwork(c.Context(), f, args[0], args[1])
		},
	}
	f.register(c)
	return c
}

func (f *shareFlags) partner(link string) (v1alpha1.NetworkPartner, error) {
	p := v1alpha1.NetworkPartner{Link: link, Proposals: v1alpha1.ProposalPolicy(f.proposals)}
	if p.Proposals != v1alpha1.ProposalAsk && p.Proposals != v1alpha1.ProposalSign {
		return p, usageErrorf("--proposals %q: use Ask or Sign", f.proposals)
	}
	return p, nil
}

func (a *app) inviteToNetwork(ctx context.Context, f *shareFlags, network, name string) error {
	partner, err := f.partner(name)
	if err != nil {
		return err
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if _, err := cl.getSiteLink(ctx, name); err != nil {
		return err
	}
	n, err := cl.getNetwork(ctx, network)
	if err != nil {
		return err
	}
	before := n.DeepCopy()
	if i := slices.IndexFunc(n.Spec.Partners, func(p v1alpha1.NetworkPartner) bool { return p.Link == name }); i >= 0 {
		n.Spec.Partners[i].Proposals = partner.Proposals
	} else {
		n.Spec.Partners = append(n.Spec.Partners, partner)
	}
	if err := cl.Patch(ctx, n, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldOwner); err != nil {
		return fmt.Errorf("stretch network %q to %q: %w", network, name, err)
	}
	if !f.keep {
		if err := cl.exportAll(ctx, network, name); err != nil {
			return err
		}
	}
	fmt.Fprintf(a.out, "network %q (networkID %s) is offered to %q; there: heddle network join %s --from THIS-SITE --org NAME\n", network, n.Spec.NetworkID, name, network)
	return nil
}

// exportAll offers all nodes of a network to a partner.
func (c *cluster) exportAll(ctx context.Context, network, link string) error {
	e := &v1alpha1.NodeExport{
		ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "to-" + link},
		Spec:       v1alpha1.NodeExportSpec{Links: []string{link}, Selector: &metav1.LabelSelector{}},
	}
	if err := c.Create(ctx, e, fieldOwner); client.IgnoreAlreadyExists(err) != nil {
		return fmt.Errorf("offer the nodes of network %q to %q: %w", network, link, err)
	}
	return nil
}

func (a *app) networkJoinCommand() *cobra.Command {
	f := &shareFlags{}
	c := &cobra.Command{
		Use:   "join NETWORK --from PARTNER --org NAME",
		Short: "Run this site's part of a partner's network",
		Long: `Makes a Network of the same name and networkID with this site's own organisations and nodes, and offers the nodes to all
sites of the network. It needs no orderers of its own. Every site of the network has to be a partner of every other one:
there is no way through a third site.`,
		Example: a.text(`  %[1]s network join trade --from bank-a --org bankb
  %[1]s network join trade --from bank-a --org bankb:BankBMSP:peers=2:orderers=1`),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, args []string) error { return a.joinNetwork(c.Context(), f, args[0]) },
	}
	f.register(c)
	c.Flags().StringVar(&f.from, "from", "", "partner that offers the network: the name of a SiteLink (required)")
	c.Flags().StringArrayVar(&f.orgs, "org", nil, "organisation of this site as name[:mspID][:peers=N][:orderers=N]; repeat for each (required)")
	c.Flags().StringVar(&f.version, "fabric-version", "", "version of peers and orderers (the partner's unless given)")
	return c
}

func (a *app) joinNetwork(ctx context.Context, f *shareFlags, network string) error {
	if f.from == "" || len(f.orgs) == 0 {
		return usageErrorf("--from and --org are required: who offers the network, and which organisation takes part")
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	n, err := cl.sharedNetwork(ctx, f, network)
	if err != nil {
		return err
	}
	err = cl.Create(ctx, n, fieldOwner)
	if apierrors.IsAlreadyExists(err) {
		have, err := cl.getNetwork(ctx, network)
		if err != nil {
			return err
		}
		if have.Spec.NetworkID != n.Spec.NetworkID {
			return fmt.Errorf("network %q exists here with networkID %s, and the partner's has %s: it is another network, and nothing was made",
				network, have.Spec.NetworkID, n.Spec.NetworkID)
		}
		return fmt.Errorf("network %q has been joined already: change it with 'kubectl edit network %s'", network, network)
	}
	if err != nil {
		return fmt.Errorf("create network %q: %w", network, err)
	}
	if !f.keep {
		if err := cl.awaitNamespace(ctx, network); err != nil {
			return err
		}
		for _, p := range n.Spec.Partners {
			if err := cl.exportAll(ctx, network, p.Link); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(a.out, "network %q is joined (networkID %s); '%s status %s' shows how far it is\n", network, n.Spec.NetworkID, a.program, network)
	return nil
}

// newsTime is how long commands wait for what a partner has perhaps just been made to offer: it comes over the link.
const newsTime = 10 * time.Second

// awaitNews reads a partner, when it has told what is asked for or newsTime is over: the caller says what is missing then.
func (c *cluster) awaitNews(ctx context.Context, name string, told func(*v1alpha1.SiteLink) bool) (*v1alpha1.SiteLink, error) {
	waiting, cancel := context.WithTimeout(ctx, newsTime)
	defer cancel()
	var link *v1alpha1.SiteLink
	err := c.until(waiting, &v1alpha1.SiteLinkList{}, []client.ListOption{client.MatchingFields{"metadata.name": name}}, func(ctx context.Context) (bool, error) {
		l, err := c.getSiteLink(ctx, name)
		if err != nil {
			return false, err
		}
		link = l
		return told(l), nil
	})
	if link != nil && waiting.Err() != nil && ctx.Err() == nil {
		return link, nil
	}
	return link, err
}

// sharedNetwork is this site's part of a network that a partner offers. Sites that are not partners are found out
// before anything is made.
func (c *cluster) sharedNetwork(ctx context.Context, f *shareFlags, network string) (*v1alpha1.Network, error) {
	from, err := f.partner(f.from)
	if err != nil {
		return nil, err
	}
	offered := func(o v1alpha1.OfferedNetwork) bool { return o.Name == network }
	link, err := c.awaitNews(ctx, f.from, func(l *v1alpha1.SiteLink) bool { return slices.ContainsFunc(l.Status.Networks, offered) })
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(link.Status.Networks, offered)
	if i < 0 {
		return nil, notFoundErrorf("partner %q does not offer network %q: there, 'heddle network invite %s THIS-SITE' does", f.from, network, network)
	}
	offer := link.Status.Networks[i]
	orgs, err := organizationsOf(f.orgs, 0)
	if err != nil {
		return nil, err
	}
	orgs = slices.DeleteFunc(orgs, func(o v1alpha1.NetworkOrganization) bool { return !named(f.orgs, o.Name) })
	n := &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: network}, Spec: v1alpha1.NetworkSpec{
		NetworkID: offer.NetworkID, Fabric: v1alpha1.FabricSoftware{Version: offer.Version},
		Ordering: v1alpha1.NetworkOrdering{Consensus: offer.Consensus}, Organizations: orgs, Partners: []v1alpha1.NetworkPartner{from},
	}}
	if f.version != "" {
		n.Spec.Fabric.Version = f.version
	}
	var links v1alpha1.SiteLinkList
	if err := c.List(ctx, &links); err != nil {
		return nil, fmt.Errorf("list partners: %w", err)
	}
	var missing []string
	for _, id := range offer.Sites {
		at := slices.IndexFunc(links.Items, func(l v1alpha1.SiteLink) bool { return l.Spec.SiteID == id && !l.IsRevoked() })
		if at < 0 {
			missing = append(missing, id)
			continue
		}
		n.Spec.Partners = append(n.Spec.Partners, v1alpha1.NetworkPartner{Link: links.Items[at].Name, Proposals: from.Proposals})
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf(
			"network %q is shared with sites that are no partners of this one: %s; become partners first ('heddle site invite'): there is no way through a third site",
			network, strings.Join(missing, ", "))
	}
	return n, nil
}

// named tells whether an organisation was asked for: others are not added for the sake of orderers.
func named(orgs []string, name string) bool {
	return slices.ContainsFunc(orgs, func(s string) bool { return s == name || strings.HasPrefix(s, name+":") })
}

// awaitNamespace waits until the operator has made the network's namespace.
func (c *cluster) awaitNamespace(ctx context.Context, network string) error {
	err := c.until(ctx, &corev1.NamespaceList{}, []client.ListOption{client.MatchingFields{"metadata.name": network}}, func(ctx context.Context) (bool, error) {
		var ns corev1.Namespace
		err := c.Get(ctx, client.ObjectKey{Name: network}, &ns)
		return err == nil, client.IgnoreNotFound(err)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("the operator has not made namespace %q yet: the nodes are not offered; 'heddle node export' does that later", network)
	}
	return err
}
