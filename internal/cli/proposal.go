package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
)

func (a *app) proposalCommand() *cobra.Command {
	c := group("proposal", "See, sign and reject changes of channels that need several sites",
		a.proposalListCommand(), a.proposalShowCommand(),
		a.decideCommand(v1alpha1.DecisionSign), a.decideCommand(v1alpha1.DecisionReject))
	c.Aliases = []string{"proposals", "prop"}
	return c
}

func (a *app) proposalListCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls"},
		Short:             "List proposals, the open ones unless --all is given",
		Example:           a.text("  %[1]s proposal list\n  %[1]s proposal list -n trade --all"),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(c *cobra.Command, _ []string) error { return a.listProposals(c.Context(), all) },
	}
	c.Flags().BoolVar(&all, "all", false, "those that are over, too")
	return c
}

func (a *app) listProposals(ctx context.Context, all bool) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	var list v1alpha1.ProposalList
	var opts []client.ListOption
	if n := *a.kube.Namespace; n != "" {
		opts = append(opts, client.InNamespace(n))
	}
	if err := cl.List(ctx, &list, opts...); err != nil {
		return fmt.Errorf("list proposals: %w", err)
	}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ProposalList"))
	list.Items = slices.DeleteFunc(list.Items, func(p v1alpha1.Proposal) bool { return !all && isOver(p.Status.State) })
	rows := make([][]string, 0, len(list.Items))
	objects := make([]client.Object, 0, len(list.Items))
	for i := range list.Items {
		p := &list.Items[i]
		objects = append(objects, cl.object(p))
		rows = append(rows, []string{
			p.Namespace + "/" + p.Name, p.Spec.Channel, maker(p), dash(string(p.Status.State)), dash(string(p.Spec.Decision)),
			age(p.CreationTimestamp, time.Now()), strings.Join(p.Status.Changes, "; "),
		})
	}
	return a.print(output.Document{Value: &list, Names: namesOf(cl.Scheme(), objects...), Table: func(w io.Writer) error {
		if len(rows) == 0 {
			_, err := fmt.Fprintln(w, "no proposals")
			return err
		}
		return output.Table(w, []string{"PROPOSAL", "CHANNEL", "FROM", "STATE", "DECISION", "AGE", "CHANGES"}, rows)
	}})
}

func isOver(s v1alpha1.ProposalState) bool {
	return s == v1alpha1.ProposalSubmitted || s == v1alpha1.ProposalSuperseded || s == v1alpha1.ProposalRejected || s == v1alpha1.ProposalExpired
}

func maker(p *v1alpha1.Proposal) string {
	if p.Spec.Link == "" {
		return "this site"
	}
	return p.Spec.Link
}

func (a *app) proposalShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "show NETWORK/PROPOSAL",
		Short:             "Say in words what a proposal changes, and who has signed",
		Example:           a.text("  %[1]s proposal show trade/demo-3-0a1b2c3d4e5f"),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			p, err := cl.getProposal(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(output.Document{Value: cl.object(p), Names: namesOf(cl.Scheme(), p), Table: func(w io.Writer) error { return describeProposal(w, p) }})
		},
	}
}

func describeProposal(w io.Writer, p *v1alpha1.Proposal) error {
	r := readinessOf(p)
	fmt.Fprintf(w, "proposal %s/%s of %s for channel %s, open until %s\n", p.Namespace, p.Name, maker(p), p.Spec.ChannelID, p.Spec.ExpiresAt.UTC().Format(time.RFC3339))
	fmt.Fprintf(w, "state: %s; %s\n", dash(string(p.Status.State)), r.Message)
	if len(p.Status.Changes) == 0 {
		fmt.Fprintln(w, "what it changes is not worked out yet")
	}
	for _, c := range p.Status.Changes {
		fmt.Fprintf(w, "  - %s\n", c)
	}
	for _, m := range p.Status.Members {
		site := "this site"
		if m.Link != "" {
			site = m.Link
		}
		fmt.Fprintf(w, "%s (%s): %s\n", m.MSPID, site, m.Decision)
	}
	for _, m := range p.Status.Missing {
		fmt.Fprintf(w, "not satisfied: %s\n", m)
	}
	return nil
}

func (c *cluster) getProposal(ctx context.Context, arg string) (*v1alpha1.Proposal, error) {
	network, name, err := inNetwork(arg, "proposal")
	if err != nil {
		return nil, err
	}
	p := &v1alpha1.Proposal{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: name}, p); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, notFoundErrorf("find proposal %q of network %q: there is none; 'heddle proposal list --all' shows which there are", name, network)
		}
		return nil, fmt.Errorf("read proposal %q of network %q: %w", name, network, err)
	}
	return p, nil
}

func (a *app) decideCommand(d v1alpha1.Decision) *cobra.Command {
	verb, short := "sign", "Sign a partner's proposal with this site's organisations"
	if d == v1alpha1.DecisionReject {
		verb, short = "reject", "Turn a proposal down, or withdraw one of this site"
	}
	var reason string
	c := &cobra.Command{
		Use:               verb + " NETWORK/PROPOSAL",
		Short:             short,
		Long:              short + ". A signature cannot be taken back.",
		Example:           a.text("  %[1]s proposal " + verb + " trade/demo-3-0a1b2c3d4e5f"),
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			p, err := cl.getProposal(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.decide(c.Context(), cl, p, d, reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the others to see")
	return c
}

// decide writes the decision. What is signed has been shown: a proposal whose changes are not worked out is not signed.
func (a *app) decide(ctx context.Context, cl *cluster, p *v1alpha1.Proposal, d v1alpha1.Decision, reason string) error {
	if isOver(p.Status.State) && p.Spec.Decision != d {
		return fmt.Errorf("decide on proposal %q: it is over (%s)", p.Name, p.Status.State)
	}
	if d == v1alpha1.DecisionSign && len(p.Status.Changes) == 0 {
		return notReadyErrorf("proposal %q cannot be signed yet: what it changes is not worked out (%s)", p.Name, readinessOf(p).Message)
	}
	before := p.DeepCopy()
	p.Spec.Decision = d
	if reason != "" {
		p.Spec.Reason = reason
	}
	if err := cl.Patch(ctx, p, client.MergeFrom(before), fieldOwner); err != nil {
		return fmt.Errorf("decide on proposal %q: %w", p.Name, err)
	}
	if d == v1alpha1.DecisionReject {
		fmt.Fprintf(a.out, "proposal %s/%s is rejected\n", p.Namespace, p.Name)
		return nil
	}
	fmt.Fprintf(a.out, "proposal %s/%s is signed:\n", p.Namespace, p.Name)
	for _, c := range p.Status.Changes {
		fmt.Fprintf(a.out, "  - %s\n", c)
	}
	return nil
}
