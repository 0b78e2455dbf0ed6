package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/lab"
)

// labFlags are shared by all commands of "heddle lab".
type labFlags struct {
	app  *app
	name string
	site string
}

// newLabCommand is "heddle lab": real Kubernetes on this machine.
func newLabCommand(a *app) *cobra.Command {
	f := &labFlags{app: a}
	c := group("lab", "Run real Kubernetes clusters on this machine",
		newLabUp(f), newLabDown(f), newLabStatus(f), newLabKubeconfig(f), newLabKubectl(f), newLabLoad(f),
		newLabLogs(f), newLabCut(f), newLabHeal(f), newLabFirewall(f), newLabPolicy(f), newLabUplink(f), newLabForward(f), newLabInternal(),
	)
	c.Long = `Run real Kubernetes clusters ("sites") on this machine, in network namespaces
of their own: the machine's network stays as it is. A lab needs root, a few
Debian packages (a missing one is named) and no access to the Internet.`
	c.Example = a.text(`  # One site with one node, named site1
  %[1]s lab up
  %[1]s lab kubectl -- get pods -A
  export KUBECONFIG=$(%[1]s lab kubeconfig)
  %[1]s lab down

  # Two sites that reach each other
  %[1]s lab up --name two --sites 2 --nodes 2,1`)
	c.PersistentFlags().StringVar(&f.name, "name", "default", "name of the lab; several labs can be up at once")
	return c
}

func siteFlag(c *cobra.Command, f *labFlags) {
	c.Flags().StringVar(&f.site, "site", "", "site of the lab; default: the first one")
}

func newLabUp(f *labFlags) *cobra.Command {
	var o lab.Options
	c := &cobra.Command{
		Use:   "up",
		Short: "Bring a lab up, or repair one, and wait until it is ready",
		Long: `Bring a lab up and wait until it is ready. A lab that is up stays as it is; a
dead node of it is started again. When a new lab does not come up, or the
command is interrupted, nothing of it stays.`,
		Example: f.app.text("  %[1]s lab up\n  %[1]s lab up --name test --sites 2 --nodes 2,1"),
		Args:    arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Sites < 1 {
				return usageErrorf("--sites %d: a lab has at least one site", o.Sites)
			}
			o.Name = f.name
			start := time.Now()
			l, err := lab.Up(c.Context(), o, f.say)
			if err != nil {
				return labError(err)
			}
			f.say(fmt.Sprintf("lab %q is ready (%.1f s)", l.Name(), time.Since(start).Seconds()))
			return f.print(c.Context(), l)
		},
	}
	c.Flags().IntVar(&o.Sites, "sites", 1, "number of sites (clusters)")
	c.Flags().IntSliceVar(&o.Nodes, "nodes", []int{1}, "number of nodes: one number for all sites, or one for each, as in 2,1")
	return c
}

func newLabDown(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take a lab away: processes, mounts, control groups, files",
		Long: `Take a lab away. It goes by what it finds on the machine, so it also cleans up
what a killed process left. Volumes of the lab are deleted.`,
		Example: f.app.text("  %[1]s lab down --name test"),
		Args:    arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := lab.Down(c.Context(), f.name); err != nil {
				return err
			}
			f.say(fmt.Sprintf("lab %q is gone", f.name))
			return nil
		},
	}
}

func newLabStatus(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show sites, nodes and what runs on them",
		Example: f.app.text("  %[1]s lab status -o json"),
		Args:    arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			return f.print(c.Context(), l)
		},
	}
	return c
}

// print prints a lab's status.
func (f *labFlags) print(ctx context.Context, l *lab.Lab) error {
	status, err := l.Status(ctx)
	if err != nil {
		return err
	}
	return f.app.print(output.Document{
		Value: status, Names: []string{status.Name},
		Table: func(w io.Writer) error { return labTable(w, status) },
	})
}

// say tells a person on standard error what goes on.
func (f *labFlags) say(line string) {
	if !f.app.quiet {
		fmt.Fprintln(f.app.err, line)
	}
}

// open finds the lab that --name means.
func (f *labFlags) open() (*lab.Lab, error) {
	l, err := lab.Open(f.name)
	return l, labError(err)
}

// labError gives errors of the lab their exit codes.
func labError(err error) error {
	switch {
	case errors.Is(err, lab.ErrNoLab):
		return withCode(ExitNotFound, err)
	case errors.Is(err, lab.ErrUsage):
		return withCode(ExitUsage, err)
	}
	return err
}

func labTable(w io.Writer, status *lab.Status) error {
	var sites, nodes [][]string
	for _, s := range status.Sites {
		sites = append(sites, []string{s.Name, strconv.FormatBool(s.Ready), s.Endpoint, s.Kubeconfig})
	}
	for _, n := range status.Nodes {
		nodes = append(nodes, []string{n.Name, strconv.FormatBool(n.Alive), n.Address, daemonList(n.Daemons)})
	}
	if err := output.Table(w, []string{"SITE", "READY", "ENDPOINT", "KUBECONFIG"}, sites); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := output.Table(w, []string{"NODE", "ALIVE", "ADDRESS", "PROCESSES"}, nodes); err != nil {
		return err
	}
	for _, pair := range status.Cuts {
		fmt.Fprintf(w, "\n%s and %s are cut off from each other\n", pair[0], pair[1])
	}
	for _, pair := range status.OneWay {
		fmt.Fprintf(w, "\nnothing passes from %s to %s\n", pair[0], pair[1])
	}
	if len(status.Firewall) > 0 {
		fmt.Fprintf(w, "\nbetween sites nothing passes but connections to TCP port %s of their nodes\n", strings.Trim(fmt.Sprint(status.Firewall), "[]"))
	}
	if status.UplinkOff {
		fmt.Fprintln(w, "\nthe uplink is off: modules come from the cache alone")
	}
	return nil
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
		Args:    arguments(0, 0),
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
	l, err := f.open()
	if err != nil {
		return nil, err
	}
	return l.Site(f.site)
}
