package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/internal/lab"
)

// labFlags are shared by all commands of "heddle lab".
type labFlags struct {
	name   string
	site   string
	output string
}

// newLabCommand is "heddle lab": real Kubernetes on this machine.
func newLabCommand() *cobra.Command {
	f := &labFlags{}
	c := &cobra.Command{
		Use:   "lab",
		Short: "Run real Kubernetes clusters on this machine",
		Long: `Run real Kubernetes clusters ("sites") on this machine, in network namespaces
of their own: the machine's network stays as it is. A lab needs root, a few
Debian packages (a missing one is named) and no access to the Internet.`,
		Example: `  heddle lab up                          one site with one node, named site1
  heddle lab up --sites 2 --nodes 2,1    two sites that reach each other
  heddle lab kubectl -- get pods -A
  export KUBECONFIG=$(heddle lab kubeconfig)
  heddle lab down`,
	}
	c.PersistentFlags().StringVar(&f.name, "name", "default", "name of the lab; several labs can be up at once")
	c.AddCommand(
		newLabUp(f), newLabDown(f), newLabStatus(f), newLabKubeconfig(f), newLabKubectl(f), newLabLoad(f),
		newLabLogs(f), newLabCut(f), newLabHeal(f), newLabPolicy(f), newLabForward(f), newLabInternal(),
	)
	return c
}

func siteFlag(c *cobra.Command, f *labFlags) {
	c.Flags().StringVar(&f.site, "site", "", "site of the lab; default: the first one")
}

func outputFlag(c *cobra.Command, f *labFlags) {
	c.Flags().StringVarP(&f.output, "output", "o", "", "output form: json or yaml; default: a table")
}

func newLabUp(f *labFlags) *cobra.Command {
	var o lab.Options
	c := &cobra.Command{
		Use:   "up",
		Short: "Bring a lab up, or repair one, and wait until it is ready",
		Long: `Bring a lab up and wait until it is ready. A lab that is up stays as it is; a
dead node of it is started again. When a new lab does not come up, or the
command is interrupted, nothing of it stays.`,
		Example: `  heddle lab up
  heddle lab up --name test --sites 2 --nodes 2,1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Name = f.name
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			start := time.Now()
			l, err := lab.Up(ctx, o, func(line string) { fmt.Fprintln(c.ErrOrStderr(), line) })
			if err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "lab %q is ready (%.1f s)\n", l.Name(), time.Since(start).Seconds())
			return printLab(c, f, l)
		},
	}
	c.Flags().IntVar(&o.Sites, "sites", 1, "number of sites (clusters)")
	c.Flags().IntSliceVar(&o.Nodes, "nodes", []int{1}, "number of nodes: one number for all sites, or one for each, as in 2,1")
	outputFlag(c, f)
	return c
}

func newLabDown(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take a lab away: processes, mounts, control groups, files",
		Long: `Take a lab away. It goes by what it finds on the machine, so it also cleans up
what a killed process left. Volumes of the lab are deleted.`,
		Example: "  heddle lab down --name test",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := lab.Down(c.Context(), f.name); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "lab %q is gone\n", f.name)
			return nil
		},
	}
}

func newLabStatus(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show sites, nodes and what runs on them",
		Example: "  heddle lab status -o json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := lab.Open(f.name)
			if err != nil {
				return err
			}
			return printLab(c, f, l)
		},
	}
	outputFlag(c, f)
	return c
}

// printLab prints a lab's status as a table, JSON or YAML.
func printLab(c *cobra.Command, f *labFlags, l *lab.Lab) error {
	status, err := l.Status(c.Context())
	if err != nil {
		return err
	}
	out := c.OutOrStdout()
	switch f.output {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(status)
	case "yaml":
		raw, err := yaml.Marshal(status)
		if err != nil {
			return err
		}
		_, err = out.Write(raw)
		return err
	case "":
		return labTable(out, status)
	default:
		return fmt.Errorf("output form %q: use json or yaml", f.output)
	}
}

func labTable(out io.Writer, status *lab.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SITE\tREADY\tENDPOINT\tKUBECONFIG")
	for _, s := range status.Sites {
		fmt.Fprintf(w, "%s\t%t\t%s\t%s\n", s.Name, s.Ready, s.Endpoint, s.Kubeconfig)
	}
	fmt.Fprintln(w, "\nNODE\tALIVE\tADDRESS\tPROCESSES")
	for _, n := range status.Nodes {
		fmt.Fprintf(w, "%s\t%t\t%s\t%s\n", n.Name, n.Alive, n.Address, daemonList(n.Daemons))
	}
	for _, pair := range status.Cuts {
		fmt.Fprintf(w, "\n%s and %s are cut off from each other\n", pair[0], pair[1])
	}
	return w.Flush()
}

// daemonList names a node's processes; one that does not run has a mark.
func daemonList(list []lab.DaemonStatus) string {
	var out []string
	for _, d := range list {
		name := d.Name
		if d.PID == 0 {
			name += " (not running)"
		}
		if d.Restarts > 0 {
			name += fmt.Sprintf(" (restarts: %d)", d.Restarts)
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

func newLabKubeconfig(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use:     "kubeconfig",
		Short:   "Print the path of a site's kubeconfig",
		Example: "  export KUBECONFIG=$(heddle lab kubeconfig --site site2)",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := openSite(f)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), s.KubeconfigPath())
			return nil
		},
	}
	siteFlag(c, f)
	return c
}

func openSite(f *labFlags) (*lab.Site, error) {
	l, err := lab.Open(f.name)
	if err != nil {
		return nil, err
	}
	return l.Site(f.site)
}

// errNoArgument is for commands that need at least one.
var errNoArgument = errors.New("say what to load: archive files, or with --pull names of images")
