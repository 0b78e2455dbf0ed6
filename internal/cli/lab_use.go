package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"heddle.dev/heddle/internal/lab"
)

func newLabKubectl(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "kubectl [--site SITE] -- ARGUMENTS",
		Short: "Run kubectl against a site",
		Example: f.app.text(`  %[1]s lab kubectl -- get pods -A
  %[1]s lab kubectl --site site2 -- apply -f app.yaml`),
		Args: arguments(1, -1),
		RunE: func(c *cobra.Command, args []string) error {
			s, err := openSite(f)
			if err != nil {
				return err
			}
			cmd := s.Kubectl(c.Context(), args...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr()
			err = cmd.Run()
			// kubectl has said itself what is wrong.
			if code := lab.ExitCode(err); code > 0 {
				return withCode(code, errSilent)
			}
			return err
		},
	}
	siteFlag(c, f)
	return c
}

func newLabLoad(f *labFlags) *cobra.Command {
	var pull, all bool
	c := &cobra.Command{
		Use:   "load ARCHIVE...",
		Short: "Put images on the nodes of a site",
		Long: `Put images on the nodes of a site, from archive files (OCI or docker, gzipped
or not) or, with --pull, from their registries by this machine's network. An
image that is there with the same digest is skipped. The names by digest that
are printed can be given to "chaincode deploy --image".`,
		Example: f.app.text(`  %[1]s lab load out/images/heddle.tar
  %[1]s lab load --pull docker.io/library/couchdb:3.4.3 --all`),
		Args: arguments(1, -1),
		RunE: func(c *cobra.Command, args []string) error {
			sites, err := chosenSites(f, all)
			if err != nil {
				return err
			}
			for _, s := range sites {
				start := time.Now()
				load := s.Load
				if pull {
					load = s.Pull
				}
				if err := load(c.Context(), args...); err != nil {
					return err
				}
				f.say(fmt.Sprintf("%s: images: %d (%.1f s)", s.Name(), len(args), time.Since(start).Seconds()))
			}
			return printImages(c, sites[0], pull, args)
		},
	}
	siteFlag(c, f)
	c.Flags().BoolVar(&pull, "pull", false, "the arguments are names of images: pull them")
	c.Flags().BoolVar(&all, "all", false, "all sites of the lab")
	return c
}

// printImages prints the names by digest of what was loaded.
func printImages(c *cobra.Command, s *lab.Site, pulled bool, args []string) error {
	refs := args
	if !pulled {
		var err error
		if refs, err = lab.ArchiveRefs(args...); err != nil {
			return err
		}
	}
	names, err := s.ByDigest(c.Context(), refs...)
	for _, name := range names {
		fmt.Fprintln(c.OutOrStdout(), name)
	}
	return err
}

func chosenSites(f *labFlags, all bool) ([]*lab.Site, error) {
	l, err := f.open()
	if err != nil {
		return nil, err
	}
	if all {
		return l.Sites(), nil
	}
	s, err := l.Site(f.site)
	return []*lab.Site{s}, err
}

func newLabLogs(f *labFlags) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "logs NODE COMPONENT",
		Short: "Print the log of one of a node's processes",
		Long:  "Print the log of one of a node's processes; without a component, list the logs.",
		Example: f.app.text(`  %[1]s lab logs site1-n1 kubelet -f
  %[1]s lab logs site1-n1`),
		Args: arguments(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				names, err := l.LogNames(args[0])
				for _, n := range names {
					fmt.Fprintln(c.OutOrStdout(), n)
				}
				return err
			}
			path, err := l.LogPath(args[0], args[1])
			if err != nil {
				return err
			}
			return printFile(c.Context(), c.OutOrStdout(), path, follow)
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on printing what is added")
	return c
}

// printFile copies a file, and with follow what is added to it until ctx ends.
func printFile(ctx context.Context, out io.Writer, path string, follow bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.Copy(out, file); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func newLabCut(f *labFlags) *cobra.Command {
	oneWay := false
	cmd := &cobra.Command{
		Use:     "cut SITE SITE",
		Short:   "Drop all packets between two sites, or those from one to the other",
		Example: f.app.text("  %[1]s lab cut site1 site2\n  %[1]s lab cut site1 site2 --one-way"),
		Args:    arguments(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			if oneWay {
				return l.CutOneWay(c.Context(), args[0], args[1])
			}
			return l.Cut(c.Context(), args[0], args[1])
		},
	}
	cmd.Flags().BoolVar(&oneWay, "one-way", false, "drop only what goes from the first site to the second")
	return cmd
}

func newLabHeal(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "heal",
		Short:   "End all cuts between sites",
		Example: f.app.text("  %[1]s lab heal"),
		Args:    arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			return l.Heal(c.Context())
		},
	}
}

func newLabFirewall(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "firewall PORT|off",
		Short: "Let only one TCP port pass between sites",
		Long: `Drop everything between sites but connections to one TCP port of their nodes,
as the firewalls of two organizations would: with the port of the sites' gateways
it shows that a link needs nothing else. "off" lets everything pass again.`,
		Example: f.app.text("  %[1]s lab firewall 30443\n  %[1]s lab firewall off"),
		Args:    arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			port, err := strconv.ParseUint(args[0], 10, 16)
			if args[0] != "off" && (err != nil || port == 0) {
				return usageErrorf("%q is neither a port nor off", args[0])
			}
			l, err := f.open()
			if err != nil {
				return err
			}
			if port == 0 {
				return l.Firewall(c.Context())
			}
			return l.Firewall(c.Context(), uint16(port))
		},
	}
}

func newLabPolicy(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "policy on|off",
		Short: "Start or stop the enforcement of NetworkPolicies",
		Long: `Start or stop the agents that enforce NetworkPolicies, on all nodes. Without
them every pod can reach every pod: only tests want that.`,
		Example:   f.app.text("  %[1]s lab policy off"),
		Args:      onOrOff,
		ValidArgs: []string{"on", "off"},
		RunE: func(c *cobra.Command, args []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			return l.SetPolicy(c.Context(), args[0] == "on")
		},
	}
}

func newLabUplink(f *labFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "uplink on|off",
		Short: "Let builds have new Go modules and npm packages, or cached ones only",
		Long: `Say whether the lab's module proxy may fetch what it does not have. While the
uplink is off, builds get what the cache has, however old it is, and nothing
else: so a build can be tried as it will run where there is no network.`,
		Example:   f.app.text("  %[1]s lab uplink off"),
		Args:      onOrOff,
		ValidArgs: []string{"on", "off"},
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := f.open()
			if err != nil {
				return err
			}
			return l.SetUplink(args[0] == "on")
		},
	}
}

func onOrOff(c *cobra.Command, args []string) error {
	if len(args) == 1 && (args[0] == "on" || args[0] == "off") {
		return nil
	}
	return usageErrorf("%s: say on or off", c.Name())
}

func newLabForward(f *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "forward PORT TARGET",
		Short: "Forward a port of localhost into a site until interrupted",
		Long: `Forward a port of localhost (0: any free one) to an IP address and port inside
the lab, seen from the site's first node: a pod's, a Service's, a node's.`,
		Example: f.app.text("  %[1]s lab forward 8080 10.103.0.10:53"),
		Args:    arguments(2, 2),
		RunE: func(c *cobra.Command, args []string) error {
			local, err := strconv.ParseUint(args[0], 10, 16)
			if err != nil {
				return usageErrorf("port %q: use a number between 0 and 65535", args[0])
			}
			s, err := openSite(f)
			if err != nil {
				return err
			}
			port, err := s.Forward(c.Context(), int(local), args[1])
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "127.0.0.1:%d\n", port)
			<-c.Context().Done()
			return nil
		},
	}
	siteFlag(c, f)
	return c
}

// newLabInternal is how the lab starts its own processes; it is not for people.
func newLabInternal() *cobra.Command {
	var r lab.Role
	c := &cobra.Command{
		Use:    "internal ROLE",
		Short:  "Be one of a lab's own processes",
		Hidden: true,
		Args:   arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			r.Name = args[0]
			err := r.Run(c.Context(), c.ErrOrStderr())
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	c.Flags().StringVar(&r.LabID, "lab-id", "", "id of the lab")
	c.Flags().StringVar(&r.Dir, "dir", "", "folder of the lab")
	c.Flags().StringVar(&r.Node, "node", "", "node of the lab")
	return c
}
