package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
)

// treeNode is one object in the view of a network.
type treeNode struct {
	Kind string `json:"kind,omitempty"`
	Name string `json:"name"`
	readiness
	// Details are the facts of the kind: heights, versions, days left.
	Details  string     `json:"details,omitempty"`
	Children []treeNode `json:"children,omitempty"`
}

func (a *app) statusCommand() *cobra.Command {
	check := false
	c := &cobra.Command{
		Use:   "status [NETWORK]",
		Short: "Show networks with all their objects, heights and certificates",
		Example: a.text(`  %[1]s status
  %[1]s status trade
  %[1]s status trade --check -o json   # exit code 3 unless Ready`),
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeNetworks(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.showStatus(c.Context(), args, check)
		},
	}
	c.Flags().BoolVar(&check, "check", false, "end with exit code 3 unless everything shown is Ready")
	return c
}

func (a *app) showStatus(ctx context.Context, args []string, check bool) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	networks, err := cl.networks(ctx, args)
	if err != nil {
		return err
	}
	trees := make([]treeNode, 0, len(networks))
	var names []string
	ready := true
	for i := range networks {
		objects, err := cl.objectsOf(ctx, networks[i].Name)
		if err != nil {
			return err
		}
		t := networkTree(&networks[i], objects)
		trees = append(trees, t)
		names = append(names, t.names("")...)
		ready = ready && t.allReady()
	}
	err = a.print(output.Document{Value: trees, Names: names, Table: func(w io.Writer) error { return printTrees(w, trees) }})
	if err == nil && check && !ready {
		return withCode(ExitNotReady, errSilent)
	}
	return err
}

// networks are those that are named, or all.
func (c *cluster) networks(ctx context.Context, names []string) ([]v1alpha1.Network, error) {
	if len(names) == 0 {
		var list v1alpha1.NetworkList
		if err := c.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("list networks: %w", err)
		}
		return list.Items, nil
	}
	n, err := c.getNetwork(ctx, names[0])
	if err != nil {
		return nil, err
	}
	return []v1alpha1.Network{*n}, nil
}

// networkObjects are the objects of the platform in one network's namespace.
type networkObjects struct {
	organizations v1alpha1.OrganizationList
	orderers      v1alpha1.OrdererList
	peers         v1alpha1.PeerList
	channels      v1alpha1.ChannelList
	chaincodes    v1alpha1.ChaincodeList
	identities    v1alpha1.IdentityList
}

func (c *cluster) objectsOf(ctx context.Context, network string) (*networkObjects, error) {
	o := &networkObjects{}
	for _, list := range []client.ObjectList{&o.organizations, &o.orderers, &o.peers, &o.channels, &o.chaincodes, &o.identities} {
		if err := c.List(ctx, list, client.InNamespace(network)); err != nil {
			return nil, fmt.Errorf("list objects of network %q: %w", network, err)
		}
	}
	return o, nil
}

// names lists the objects as kind/name.
func (t treeNode) names(prefix string) []string {
	out := []string{prefix + t.Kind + "/" + t.Name}
	for _, c := range t.Children {
		if c.Kind != "" {
			out = append(out, c.names(prefix)...)
		}
	}
	return out
}

func (t treeNode) allReady() bool {
	if t.Ready != "" && !t.IsReady() {
		return false
	}
	for _, c := range t.Children {
		if !c.allReady() {
			return false
		}
	}
	return true
}

// printTrees writes the trees as one table.
func printTrees(w io.Writer, trees []treeNode) error {
	if len(trees) == 0 {
		_, err := fmt.Fprintln(w, "no networks")
		return err
	}
	var rows [][]string
	for _, t := range trees {
		rows = append(rows, t.rows("", "")...)
	}
	return output.Table(w, []string{"OBJECT", "READY", "DETAILS", "MESSAGE"}, rows)
}

// rows are the lines of a tree: first is the branch before the node itself, rest the one before its children.
func (t treeNode) rows(first, rest string) [][]string {
	name := t.Name
	if t.Kind != "" {
		name = t.Kind + "/" + t.Name
	}
	message := ""
	if t.Ready != "" && !t.IsReady() {
		message = t.Reason + ": " + t.Message
	}
	rows := [][]string{{first + name, dash(t.Ready), t.Details, message}}
	for i, c := range t.Children {
		branch, below := "├─ ", "│  "
		if i == len(t.Children)-1 {
			branch, below = "└─ ", "   "
		}
		rows = append(rows, c.rows(rest+branch, rest+below)...)
	}
	return rows
}
