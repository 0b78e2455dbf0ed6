package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/export"
	"heddle.dev/heddle/internal/specs"
)

// exportFlags are the flags of export.
type exportFlags struct {
	orgs    []string
	out     string
	layout  string
	domain  string
	enroll  []string
	forward bool
	force   bool
	timeout time.Duration
}

// Values of --layout.
const (
	layoutProfile     = "profile"
	layoutTestNetwork = "test-network"
)

func (a *app) exportCommand() *cobra.Command {
	f := &exportFlags{}
	c := &cobra.Command{
		Use:   "export NETWORK",
		Short: "Write connection profiles, or the folders of fabric-samples' test-network",
		Long: `Writes what existing applications read. --layout profile: one connection profile for each organisation, without keys.
--layout test-network: the folder organizations/ as fabric-samples' test-network leaves it, with the administrators and
the users of the network's namespace (keys with mode 0600), so that its applications run.

Addresses are those inside the cluster. With --forward they are ports of this machine, which the command keeps open until
it is interrupted; they are those of test-network (7051, 9051, …) where these are free.`,
		Example: a.text(`  %[1]s export demo --out ./profiles
  %[1]s export demo --org org1 --out -                 # the profile on standard output
  %[1]s export demo --layout test-network --out ./test-network --forward`),
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeNetworks(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("enroll") && f.layout == layoutTestNetwork {
				f.enroll = []string{"User1"}
			}
			return a.export(c.Context(), f, args[0])
		},
	}
	fl := c.Flags()
	fl.StringSliceVar(&f.orgs, "org", nil, "organisation to export; repeat for each (all unless given)")
	fl.StringVar(&f.out, "out", "", "folder to write to (required); '-' prints the profile of one organisation")
	fl.StringVar(&f.layout, "layout", layoutProfile, "profile or test-network")
	fl.StringVar(&f.domain, "domain", "example.com", "domain in the names of --layout test-network")
	fl.StringSliceVar(&f.enroll, "enroll", nil,
		"users to enrol for each organisation first; --layout test-network enrols User1 unless given (--enroll '' for none)")
	fl.BoolVar(&f.forward, "forward", false, "write ports of this machine as addresses, and keep them open")
	fl.BoolVar(&f.force, "force", false, "replace files in --out")
	fl.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for users that are enrolled")
	complete(c, "layout", []string{layoutProfile, layoutTestNetwork})
	// The only error is a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("org", a.completeOrganizations(func(args []string) string {
		if len(args) == 0 {
			return ""
		}
		return args[0]
	}))
	return c
}

func (f *exportFlags) check() error {
	switch {
	case f.out == "":
		return usageErrorf("--out is required: a folder, or '-' for the profile of one organisation on standard output")
	case f.layout != layoutProfile && f.layout != layoutTestNetwork:
		return usageErrorf("--layout %q: use %s or %s", f.layout, layoutProfile, layoutTestNetwork)
	case f.out == "-" && (f.layout != layoutProfile || len(f.orgs) != 1):
		return usageErrorf("--out - prints one profile: add --org ORGANIZATION, and leave --layout at %s", layoutProfile)
	}
	f.enroll = slices.DeleteFunc(f.enroll, func(s string) bool { return s == "" })
	for _, u := range f.enroll {
		if !orgName.MatchString(strings.ToLower(u)) {
			return usageErrorf("--enroll %q: a user's name here is of letters, digits and '-'", u)
		}
	}
	return nil
}

func (a *app) export(ctx context.Context, f *exportFlags, name string) error {
	if err := f.check(); err != nil {
		return err
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	if _, err := cl.getNetwork(ctx, name); err != nil {
		return err
	}
	objects, err := cl.objectsOf(ctx, name)
	if err != nil {
		return err
	}
	for _, org := range f.orgs {
		if _, err := cl.getOrganization(ctx, name, org); err != nil {
			return err
		}
	}
	if err := a.enrollForExport(ctx, cl, f, name, objects); err != nil {
		return err
	}
	n, err := cl.exported(ctx, name, objects, f)
	if err != nil {
		return err
	}
	var closers []func()
	defer func() {
		for _, c := range closers {
			c()
		}
	}()
	if f.forward {
		closers, err = a.forwardAll(ctx, cl, f, &n)
		if err != nil {
			return err
		}
	}
	if err := a.writeExport(ctx, f, n); err != nil {
		return err
	}
	if !f.forward {
		return nil
	}
	fmt.Fprintln(a.err, "ports are open; interrupt (Ctrl-C) to close them")
	<-ctx.Done()
	return withCode(ExitOK, errSilent)
}

// enrollForExport makes the users that --enroll names, one for each organisation with peers and a namespace of its own.
func (a *app) enrollForExport(ctx context.Context, cl *cluster, f *exportFlags, network string, o *networkObjects) error {
	for _, user := range f.enroll {
		for i := range o.organizations.Items {
			org := o.organizations.Items[i].Name
			if !wanted(f.orgs, org) || !hasPeers(o, org) {
				continue
			}
			want, err := (&enrollFlags{network: network, org: org, kind: string(v1alpha1.IdentityClient)}).identity(strings.ToLower(user)+"-"+org, network)
			if err != nil {
				return err
			}
			id, err := cl.ensureIdentity(ctx, want)
			if err != nil {
				return err
			}
			if err := a.waitIdentity(ctx, cl, id, f.timeout); err != nil {
				return err
			}
		}
	}
	if len(f.enroll) == 0 {
		return nil
	}
	return cl.List(ctx, &o.identities, inNamespace(network))
}

func wanted(orgs []string, org string) bool { return len(orgs) == 0 || slices.Contains(orgs, org) }

func hasPeers(o *networkObjects, org string) bool {
	return slices.ContainsFunc(o.peers.Items, func(p v1alpha1.Peer) bool { return p.Spec.Organization == org })
}

// writeExport makes the files and writes them, or prints the one profile.
func (a *app) writeExport(ctx context.Context, f *exportFlags, n export.Network) error {
	if f.out == "-" {
		return a.printProfile(n, f.orgs[0])
	}
	var files map[string]export.File
	var err error
	if f.layout == layoutTestNetwork {
		files, err = export.TestNetwork(n, f.domain)
	} else {
		files, err = export.Profiles(n, f.orgs)
	}
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return notFoundErrorf("there is nothing to export: the chosen organisations have no peers")
	}
	if err := export.Write(ctx, f.out, files, f.force); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%d files are in %s\n", len(files), f.out)
	if f.layout == layoutTestNetwork {
		a.tellApplications(n, f)
	}
	return nil
}

// printProfile prints JSON, or YAML with -o yaml.
func (a *app) printProfile(n export.Network, org string) error {
	profile, err := export.Profile(n, org)
	if err != nil {
		return err
	}
	if a.output == "yaml" {
		if profile, err = export.ToYAML(profile); err != nil {
			return err
		}
	}
	_, err = a.out.Write(profile)
	return err
}

// tellApplications prints the environment of fabric-samples' applications for the first peer of each organisation.
func (a *app) tellApplications(n export.Network, f *exportFlags) {
	for _, o := range n.Organizations {
		if len(o.Peers) == 0 {
			continue
		}
		p := o.Peers[0]
		alias := export.PeerAlias(p.Name, o.Name, f.domain)
		host := export.ServerName(p, alias)
		if host == "" {
			host = specs.Host(p.Name, n.Name)
		}
		fmt.Fprintf(a.out, `
%[1]s: applications of fabric-samples run with
  CRYPTO_PATH=%[2]s/organizations/peerOrganizations/%[1]s.%[3]s MSP_ID=%[4]s PEER_ENDPOINT=%[5]s PEER_HOST_ALIAS=%[6]s
`, o.Name, strings.TrimSuffix(f.out, "/"), f.domain, o.MSPID, p.Address, host)
		if host != alias {
			fmt.Fprintf(a.out, "  those with %[1]s written into them need it in the peers' certificates: organizations[].peers.template.extraSANs: [%[1]s]\n", alias)
		}
	}
}
