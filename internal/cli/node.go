package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
)

func (a *app) nodeCommand() *cobra.Command {
	c := group("node", "Offer nodes to partners, and use theirs", a.nodeExportCommand(), a.nodeImportCommand(), a.nodeListCommand())
	c.Aliases = []string{"nodes"}
	return c
}

// linkedNetwork finds the network that is meant: that of --namespace, or the only one that there is.
func (c *cluster) linkedNetwork(ctx context.Context, namespace string) (string, error) {
	if namespace != "" {
		return namespace, nil
	}
	var list corev1.NamespaceList
	if err := c.List(ctx, &list, client.HasLabels{v1alpha1.LabelNetwork}); err != nil {
		return "", fmt.Errorf("list networks: %w", err)
	}
	switch len(list.Items) {
	case 1:
		return list.Items[0].Name, nil
	case 0:
		return "", notFoundErrorf("there is no network here: '%s' makes one", "heddle network create")
	}
	return "", usageErrorf("there are %d networks: choose one with --namespace", len(list.Items))
}

func (a *app) nodeExportCommand() *cobra.Command {
	var to string
	var stop bool
	c := &cobra.Command{
		Use:   "export NODE... --to PARTNER",
		Short: "Let a partner reach nodes of this site",
		Long: `Adds the nodes to the NodeExport of the partner in the network's namespace, which makes them reachable for this partner
and nobody else: peers on port 7051, orderers on 7050. --stop takes them back; connections that exist last up to two hours.`,
		Example:           a.text("  %[1]s node export peer0-banka orderer0-ord --to bank-b -n trade\n  %[1]s node export orderer0-ord --to bank-b --stop"),
		Args:              arguments(1, -1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if to == "" {
				return usageErrorf("--to is required: it names the partner")
			}
			return a.exportNodes(c.Context(), args, to, stop)
		},
	}
	c.Flags().StringVar(&to, "to", "", "partner: the name of a SiteLink (required)")
	c.Flags().BoolVar(&stop, "stop", false, "offer the nodes no more")
	return c
}

// exportName is the NodeExport that the command keeps for a partner.
func exportName(partner string) string { return "to-" + partner }

func (a *app) exportNodes(ctx context.Context, nodes []string, partner string, stop bool) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	if _, err := cl.getSiteLink(ctx, partner); err != nil {
		return err
	}
	network, err := cl.linkedNetwork(ctx, *a.kube.Namespace)
	if err != nil {
		return err
	}
	if !stop {
		if err := cl.checkNodes(ctx, network, nodes); err != nil {
			return err
		}
	}
	e := &v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Name: exportName(partner), Namespace: network}}
	err = cl.Get(ctx, client.ObjectKeyFromObject(e), e)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read NodeExport %q: %w", e.Name, err)
	}
	fresh := apierrors.IsNotFound(err)
	err = nil
	before := e.DeepCopy()
	e.Spec.Links = []string{partner}
	if e.Spec.Selector != nil {
		return usageErrorf("NodeExport %q chooses nodes by a selector: change that with kubectl", e.Name)
	}
	e.Spec.Nodes = changed(e.Spec.Nodes, nodes, stop)
	switch {
	case len(e.Spec.Nodes) == 0 && fresh:
	case len(e.Spec.Nodes) == 0:
		err = client.IgnoreNotFound(cl.Delete(ctx, e))
	case fresh:
		err = cl.Create(ctx, e, fieldOwner)
	default:
		err = cl.Patch(ctx, e, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldOwner)
	}
	if err != nil {
		return fmt.Errorf("write NodeExport %q: %w", e.Name, err)
	}
	return a.print(output.Document{Value: cl.object(e), Names: namesOf(cl.Scheme(), e), Table: func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "partner %q may reach of network %q: %s\n", partner, network, dash(strings.Join(e.Spec.Nodes, ", ")))
		return err
	}})
}

// changed adds names to a list, or takes them out.
func changed(have, names []string, out bool) []string {
	list := slices.Clone(have)
	for _, n := range names {
		list = slices.DeleteFunc(list, func(h string) bool { return h == n })
		if !out {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list
}

// checkNodes refuses names that stand for no node here: a typing error would wait for ever.
func (c *cluster) checkNodes(ctx context.Context, network string, names []string) error {
	for _, name := range names {
		key := client.ObjectKey{Namespace: network, Name: name}
		err := c.Get(ctx, key, &v1alpha1.Peer{})
		if apierrors.IsNotFound(err) {
			err = c.Get(ctx, key, &v1alpha1.Orderer{})
		}
		if apierrors.IsNotFound(err) {
			return notFoundErrorf("network %q has neither a peer nor an orderer named %q here", network, name)
		}
		if err != nil {
			return fmt.Errorf("read node %q: %w", name, err)
		}
	}
	return nil
}

// importFlags are the flags of node import.
type importFlags struct {
	from    string
	all     bool
	wait    bool
	timeout time.Duration
}

func (a *app) nodeImportCommand() *cobra.Command {
	f := &importFlags{}
	c := &cobra.Command{
		Use:   "import [NODE...] --from PARTNER",
		Short: "Let partners' nodes appear here",
		Long: `Makes a NodeImport for each node that the partner offers: a Service with the node's name and port, which leads to it
through the link. Names, ports and organizations come from what the partner offers; 'node list' shows it.`,
		Example:           a.text("  %[1]s node import peer0-bankb --from bank-b -n trade\n  %[1]s node import --all --from bank-b"),
		Args:              arguments(0, -1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			if f.from == "" {
				return usageErrorf("--from is required: it names the partner")
			}
			if (len(args) > 0) == f.all {
				return usageErrorf("name the nodes, or give --all")
			}
			return a.importNodes(c.Context(), f, args)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.from, "from", "", "partner: the name of a SiteLink (required)")
	fl.BoolVar(&f.all, "all", false, "every node that the partner offers in the network")
	fl.BoolVar(&f.wait, "wait", true, "wait until the nodes answer")
	fl.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait")
	return c
}

func (a *app) importNodes(ctx context.Context, f *importFlags, names []string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	link, err := cl.getSiteLink(ctx, f.from)
	if err != nil {
		return err
	}
	network, err := cl.linkedNetwork(ctx, *a.kube.Namespace)
	if err != nil {
		return err
	}
	wanted, err := chosen(link, network, names)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	var objects []client.Object
	p := a.progress()
	for _, i := range wanted {
		if err := cl.Create(ctx, i, fieldOwner); client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("make NodeImport %q: %w", i.Name, err)
		}
		if f.wait {
			err := p.Step(ctx, "import "+i.Name, func(ctx context.Context, note func(string)) error {
				return cl.waitReady(ctx, i, &v1alpha1.NodeImportList{}, note)
			})
			if err != nil {
				return err
			}
		}
		objects = append(objects, cl.object(i))
	}
	return a.print(output.Document{Value: objects, Names: namesOf(cl.Scheme(), objects...), Table: func(w io.Writer) error {
		for _, i := range wanted {
			fmt.Fprintf(w, "node %s of partner %q is reached at %s.%s:%d\n", i.Name, f.from, i.Name, network, i.Spec.Port)
		}
		return nil
	}})
}

// chosen makes imports of the nodes that a partner offers in a network; of all where no names are given.
func chosen(link *v1alpha1.SiteLink, network string, names []string) ([]*v1alpha1.NodeImport, error) {
	var out []*v1alpha1.NodeImport
	for _, o := range link.Status.Offered {
		if o.Network != network || len(names) > 0 && !slices.Contains(names, o.Name) {
			continue
		}
		i := &v1alpha1.NodeImport{ObjectMeta: metav1.ObjectMeta{Name: o.Name, Namespace: network}}
		i.Spec.Link, i.Spec.Port, i.Spec.MSPID = link.Name, o.Port, o.MSPID
		out = append(out, i)
	}
	for _, name := range names {
		if !slices.ContainsFunc(out, func(i *v1alpha1.NodeImport) bool { return i.Name == name }) {
			return nil, notFoundErrorf("partner %q does not offer %q in network %q: its site does so with 'heddle node export %s'", link.Name, name, network, name)
		}
	}
	if len(out) == 0 {
		return nil, notFoundErrorf("partner %q offers no node in network %q", link.Name, network)
	}
	return out, nil
}

func (a *app) nodeListCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "list",
		Short:             "List what is exported, imported and offered",
		Example:           a.text("  %[1]s node list\n  %[1]s node list -n trade -o json"),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := a.connect()
			if err != nil {
				return err
			}
			g, err := cl.linkGraph(c.Context())
			if err != nil {
				return err
			}
			nodes := g.nodes(*a.kube.Namespace)
			var rows [][]string
			for _, n := range nodes {
				rows = append(rows, []string{n.Network, n.Node, n.Direction, n.Partner, dash(n.State)})
			}
			return a.print(output.Document{Value: nodes, Table: func(w io.Writer) error {
				return output.Table(w, []string{"NETWORK", "NODE", "WHAT", "PARTNER", "STATE"}, rows)
			}})
		},
	}
}

// linkedNode is a node that goes over a link, or could.
type linkedNode struct {
	Network string `json:"network"`
	Node    string `json:"node"`
	// Direction is exported, imported or offered.
	Direction string `json:"direction"`
	Partner   string `json:"partner"`
	State     string `json:"state,omitempty"`
}

// nodes lists the graph by node, of one network or of all.
func (g *linkGraph) nodes(network string) []linkedNode {
	out := []linkedNode{}
	for _, p := range g.Partners {
		for _, n := range p.Networks {
			if network != "" && n.Name != network {
				continue
			}
			for _, e := range n.Exports {
				out = append(out, linkedNode{n.Name, e, "exported", p.Name, p.State})
			}
			for _, i := range n.Imports {
				state := "Ready"
				if i.Ready != "True" {
					state = i.Message
				}
				out = append(out, linkedNode{n.Name, i.Node, "imported", p.Name, state})
			}
			for _, o := range n.Offered {
				out = append(out, linkedNode{n.Name, o, "offered", p.Name, p.State})
			}
		}
	}
	return out
}
