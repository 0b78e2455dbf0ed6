// Package cli is the heddle command: its sub-commands, their flags and what they print.
// It talks to the API server only; lab clusters are internal/lab's, protocols of Fabric are internal/fabric's.
// Above it stands only cmd/heddle. Every command is a method of app that returns a cobra command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/version"
)

// Options are what a main hands to Run.
type Options struct {
	// Program is the name that the command was called by; kubectl-heddle makes help speak of "kubectl heddle".
	Program string
	// Args are the arguments without the program's name.
	Args []string
	// In, Out and Err are the standard streams.
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// app is what all commands share.
type app struct {
	in      io.Reader
	out     io.Writer
	err     io.Writer
	program string
	version string
	kube    *genericclioptions.ConfigFlags
	output  string
	quiet   bool
}

// Run executes one command line and returns the process's exit code.
func Run(ctx context.Context, o Options) int {
	// client-go and controller-runtime log on their own; what matters comes back as an error.
	klog.SetLogger(logr.Discard())
	ctrllog.SetLogger(logr.Discard())
	a := newApp(o)
	root := a.rootCommand() //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(o.Args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	return a.report(ctx, err)
}

func newApp(o Options) *app {
	a := &app{in: o.In, out: o.Out, err: o.Err, program: "heddle", version: version.Version, kube: kubeFlags()}
	if strings.HasPrefix(strings.TrimSuffix(filepath.Base(o.Program), ".exe"), "kubectl-") {
		a.program = "kubectl heddle"
	}
	return a
}

// report prints an error once, with a hint, and returns the exit code.
func (a *app) report(ctx context.Context, err error) int {
	code := exitCode(ctx, err)
	if strings.HasPrefix(err.Error(), "unknown command") {
		code = ExitUsage
	}
	switch {
	case errors.Is(err, errSilent):
	case code == ExitInterrupted:
		fmt.Fprintln(a.err, "interrupted")
	default:
		fmt.Fprintf(a.err, "error: %s\n", explain(err, a.program))
	}
	return code
}

// kubeFlags are kubectl's flags, without impersonation: --as names an organisation here.
func kubeFlags() *genericclioptions.ConfigFlags {
	f := genericclioptions.NewConfigFlags(true)
	f.Impersonate, f.ImpersonateUID, f.ImpersonateGroup, f.ImpersonateUserExtra = nil, nil, nil, nil
	f.CacheDir, f.Username, f.Password, f.DisableCompression = nil, nil, nil, nil
	return f
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "heddle",
		Short: "Run Hyperledger Fabric networks on Kubernetes",
		Long: a.text(`Heddle builds, runs and watches Hyperledger Fabric networks on Kubernetes.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not ready or timed out, 4 not found,
5 cluster not reachable or not permitted, 130 interrupted.`),
		Example: a.text(`  # From nothing to a committed transaction, on this machine or on the current cluster
  %[1]s up

  # A network of your own
  %[1]s install
  %[1]s network create trade --org banka --org bankb --channel deals --wait
  %[1]s status trade`),
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: a.program},
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageErrorf("%w (see '%s --help')", err, c.CommandPath())
	})
	flags := root.PersistentFlags()
	a.kube.AddFlags(flags)
	flags.StringVarP(&a.output, "output", "o", "table", "what to print: "+strings.Join(output.Formats(), ", "))
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no progress on standard error")
	complete(root, "output", output.Formats())
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if err := output.Format(a.output).Validate(); err != nil {
			return withCode(ExitUsage, err)
		}
		return nil
	}
	root.AddCommand(a.commands()...)
	return root
}

// commands are the top level of the command tree.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.upCommand(),
		a.downCommand(),
		a.installCommand(),
		a.uninstallCommand(),
		newLabCommand(a),
		a.networkCommand(),
		a.channelCommand(),
		a.chaincodeCommand(),
		a.statusCommand(),
		a.doctorCommand(),
		a.txCommand(),
		a.linkCommand(),
		a.nodeCommand(),
		a.identityCommand(),
		a.exportCommand(),
		a.siteCommand(),
		a.versionCommand(),
	}
}

// text fills the program's name into a help text.
func (a *app) text(s string) string {
	if !strings.Contains(s, "%[1]s") {
		return s
	}
	return fmt.Sprintf(s, a.program)
}

// group is a command that only holds others.
func group(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageErrorf("unknown command %q for %q (see '%s --help')", args[0], c.CommandPath(), c.CommandPath())
			}
			return c.Help()
		},
	}
	c.AddCommand(children...)
	return c
}

// arguments checks the number of positional arguments against their names in the usage line.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return usageErrorf("wrong number of arguments (%d): the usage is '%s'", len(args), c.UseLine())
	}
}

// complete offers fixed values for a flag.
func complete(c *cobra.Command, flag string, values []string) {
	// The only error is a flag that does not exist, which the tests of the command tree would show.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}
