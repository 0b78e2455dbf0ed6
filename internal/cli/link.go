package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/specs"
)

func (a *app) linkCommand() *cobra.Command {
	c := group("link", "Look at the links to other sites", a.linkCheckCommand(), a.linkGraphCommand())
	c.Aliases = []string{"links"}
	return c
}

// getSiteLink reads a partner.
func (c *cluster) getSiteLink(ctx context.Context, name string) (*v1alpha1.SiteLink, error) {
	link := &v1alpha1.SiteLink{}
	err := c.Get(ctx, client.ObjectKey{Name: name}, link)
	if apierrors.IsNotFound(err) {
		return nil, notFoundErrorf("there is no partner %q: 'kubectl get sitelinks' lists them", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read SiteLink %q: %w", name, err)
	}
	return link, nil
}

// linkGraph is this site with its partners.
type linkGraph struct {
	SiteID   string         `json:"siteID,omitempty"`
	Name     string         `json:"displayName,omitempty"`
	Endpoint string         `json:"endpoint,omitempty"`
	Partners []graphPartner `json:"partners"`
}

type graphPartner struct {
	Name     string         `json:"name"`
	SiteID   string         `json:"siteID"`
	State    string         `json:"state"`
	Endpoint string         `json:"endpoint"`
	Networks []graphNetwork `json:"networks,omitempty"`
}

type graphNetwork struct {
	Name string `json:"name"`
	// Exports and Imports are nodes with their ports; Offered are those that could be imported and are not.
	Exports []string      `json:"exports,omitempty"`
	Imports []graphImport `json:"imports,omitempty"`
	Offered []string      `json:"offered,omitempty"`
}

type graphImport struct {
	Node    string `json:"node"`
	Ready   string `json:"ready"`
	Message string `json:"message,omitempty"`
}

func (a *app) linkGraphCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "graph",
		Short: "Draw this site, its partners, and what goes which way",
		Long: `Shows for each partner and network which nodes of this site the partner may reach (->), which of its nodes stand here as
Services (<-), and which it offers besides.`,
		Example:           a.text("  %[1]s link graph\n  %[1]s link graph -o json"),
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
			var names []string
			for _, p := range g.Partners {
				names = append(names, "sitelink.heddle.dev/"+p.Name)
			}
			return a.print(output.Document{Value: g, Names: names, Table: g.draw})
		},
	}
}

func (c *cluster) linkGraph(ctx context.Context) (*linkGraph, error) {
	g := &linkGraph{Partners: []graphPartner{}}
	var site v1alpha1.Site
	err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.SiteName}, &site)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read Site: %w", err)
	}
	if err == nil {
		g.SiteID, g.Name = site.Status.SiteID, site.Spec.DisplayName
		g.Endpoint = strings.Join(site.Spec.Endpoints, ", ")
	}
	var links v1alpha1.SiteLinkList
	var exports v1alpha1.NodeExportList
	var imports v1alpha1.NodeImportList
	for _, list := range []client.ObjectList{&links, &exports, &imports} {
		if err := c.List(ctx, list); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	for i := range links.Items {
		l := &links.Items[i]
		g.Partners = append(g.Partners, graphPartner{
			Name: l.Name, SiteID: l.Spec.SiteID, State: string(l.Status.State), Endpoint: strings.Join(l.Spec.Endpoints, ", "),
			Networks: networksOf(l, exports.Items, imports.Items),
		})
	}
	return g, nil
}

// networksOf sorts what goes over a link by network.
func networksOf(l *v1alpha1.SiteLink, exports []v1alpha1.NodeExport, imports []v1alpha1.NodeImport) []graphNetwork {
	found := map[string]*graphNetwork{}
	of := func(name string) *graphNetwork {
		if found[name] == nil {
			found[name] = &graphNetwork{Name: name}
		}
		return found[name]
	}
	for i := range exports {
		if !slices.Contains(exports[i].Spec.Links, l.Name) {
			continue
		}
		n := of(exports[i].Namespace)
		for _, node := range exports[i].Status.Nodes {
			n.Exports = append(n.Exports, fmt.Sprintf("%s:%d", node.Name, node.Port))
		}
	}
	here := map[string]bool{}
	for i := range imports {
		if imports[i].Spec.Link != l.Name {
			continue
		}
		r := readinessOf(&imports[i])
		here[specs.Host(imports[i].Name, imports[i].Namespace)] = true
		n := of(imports[i].Namespace)
		n.Imports = append(n.Imports, graphImport{Node: fmt.Sprintf("%s:%d", imports[i].Name, imports[i].Spec.Port), Ready: r.Ready, Message: r.Message})
	}
	for _, o := range l.Status.Offered {
		if !here[specs.Host(o.Name, o.Network)] {
			n := of(o.Network)
			n.Offered = append(n.Offered, fmt.Sprintf("%s:%d", o.Name, o.Port))
		}
	}
	var out []graphNetwork
	for _, n := range found {
		slices.Sort(n.Exports)
		n.Exports = slices.Compact(n.Exports)
		slices.Sort(n.Offered)
		slices.SortFunc(n.Imports, func(a, b graphImport) int { return strings.Compare(a.Node, b.Node) })
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b graphNetwork) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// draw writes the graph as an indented text.
func (g *linkGraph) draw(w io.Writer) error {
	if g.SiteID == "" {
		fmt.Fprintln(w, "this site has no name yet: 'heddle site init' gives it one")
	} else {
		fmt.Fprintf(w, "%s %s at %s\n", g.SiteID, quoted(g.Name), dash(g.Endpoint))
	}
	for i, p := range g.Partners {
		branch, trunk := "├─", "│ "
		if i == len(g.Partners)-1 {
			branch, trunk = "└─", "  "
		}
		fmt.Fprintf(w, "%s %s (%s) %s at %s\n", branch, p.Name, p.SiteID, dash(p.State), p.Endpoint)
		for _, n := range p.Networks {
			fmt.Fprintf(w, "%s   %s\n", trunk, n.Name)
			for _, e := range n.Exports {
				fmt.Fprintf(w, "%s     -> %s\n", trunk, e)
			}
			for _, i := range n.Imports {
				fmt.Fprintf(w, "%s     <- %s%s\n", trunk, i.Node, unready(i))
			}
			if len(n.Offered) > 0 {
				fmt.Fprintf(w, "%s     offered: %s\n", trunk, strings.Join(n.Offered, ", "))
			}
		}
	}
	if len(g.Partners) == 0 {
		fmt.Fprintln(w, "no partners")
	}
	return nil
}

func quoted(name string) string {
	if name == "" {
		return "(this site)"
	}
	return fmt.Sprintf("%q", name)
}

func unready(i graphImport) string {
	if i.Ready == "True" {
		return ""
	}
	return " not ready: " + i.Message
}
