package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
)

// createFlags are the flags of network create.
type createFlags struct {
	orgs       []string
	orderers   int32
	consensus  string
	timing     string
	channels   []string
	version    string
	clients    []string
	deletion   string
	tenant     string
	file       string
	dryRun     string
	wait       bool
	timeout    time.Duration
	networkID  string
	changedSet map[string]bool
}

func (a *app) networkCreateCommand() *cobra.Command {
	f := &createFlags{}
	c := &cobra.Command{
		Use:   "create NETWORK",
		Short: "Create a network",
		Long: `Creates a Network object: the operator makes the namespace of the same name, organisations, nodes and channels.
Where no --org runs orderers, an organisation named "ordering" is added that runs them.`,
		Example: a.text(`  # Two organisations with a peer each, three Raft orderers, one channel
  %[1]s network create trade --org banka --org bankb --channel deals --wait

  # Four BFT orderers, run by the members themselves
  %[1]s network create trade --consensus BFT --org banka:BankAMSP:peers=2:orderers=2 --org bankb:orderers=2 --channel deals

  # See the object first, or keep it in a file
  %[1]s network create trade --org banka --dry-run > trade.yaml
  %[1]s network create --from-file trade.yaml`),
		Args:              arguments(0, 1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, args []string) error {
			f.changedSet = map[string]bool{}
			for _, name := range specFlags() {
				f.changedSet[name] = c.Flags().Changed(name)
			}
			return a.createNetwork(c.Context(), f, args)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.orgs, "org", nil, "organisation as name[:mspID][:peers=N][:orderers=N]; repeat for each (peers=1, orderers=0 unless given)")
	fl.Int32Var(&f.orderers, "orderers", 3, "number of orderers where no --org says orderers=N (4 with BFT)")
	fl.StringVar(&f.consensus, "consensus", string(v1alpha1.ConsensusRaft), "Raft or BFT")
	fl.StringVar(&f.timing, "timing", string(v1alpha1.TimingLAN), "time-outs of the ordering service: lan or wan")
	fl.StringArrayVar(&f.channels, "channel", nil, "channel of all organisations that have peers; repeat for each")
	fl.StringVar(&f.version, "fabric-version", "", "version of peers and orderers (the operator's default unless given)")
	fl.StringSliceVar(&f.clients, "client-namespaces", nil, "namespaces whose pods may call the nodes")
	fl.StringVar(&f.deletion, "deletion-policy", string(v1alpha1.DeletionRetain), "Retain or Delete ledgers and keys with the network")
	fl.StringVar(&f.tenant, "tenant", "", "tenant that the network belongs to")
	fl.StringVar(&f.networkID, "network-id", "", "identity of the network (made at random unless given; needed to take up retained data)")
	fl.StringVarP(&f.file, "from-file", "f", "", "read the Network from a file ('-' is standard input) instead of flags")
	fl.StringVar(&f.dryRun, "dry-run", "none", "client prints the object without a cluster, server lets the cluster check it and keeps nothing")
	fl.Lookup("dry-run").NoOptDefVal = "client"
	fl.BoolVar(&f.wait, "wait", false, "wait until the network is Ready")
	fl.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long --wait waits")
	complete(c, "consensus", []string{"Raft", "BFT"})
	complete(c, "timing", []string{"lan", "wan"})
	complete(c, "deletion-policy", []string{"Retain", "Delete"})
	complete(c, "dry-run", []string{"none", "client", "server"})
	return c
}

// specFlags are the flags that describe a network; with --from-file the file does.
func specFlags() []string {
	return []string{
		"org", "orderers", "consensus", "timing", "channel", "fabric-version",
		"client-namespaces", "deletion-policy", "tenant", "network-id",
	}
}

func (a *app) createNetwork(ctx context.Context, f *createFlags, args []string) error {
	n, err := a.networkFrom(f, args)
	if err != nil {
		return err
	}
	switch f.dryRun {
	case "client":
		return a.printNetwork(n, "")
	case "server", "none":
	default:
		return usageErrorf("--dry-run %q: use none, client or server", f.dryRun)
	}
	cl, err := a.connect()
	if err != nil {
		return err
	}
	opts := []client.CreateOption{fieldOwner}
	if f.dryRun == "server" {
		opts = append(opts, client.DryRunAll)
	}
	err = cl.Create(ctx, n, opts...)
	if apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("network %q exists already: change it with 'kubectl edit network %s', or choose another name", n.Name, n.Name)
	}
	if err != nil {
		return fmt.Errorf("create network %q: %w", n.Name, err)
	}
	if f.dryRun == "server" {
		return a.printNetwork(n, fmt.Sprintf("network %q would be created", n.Name))
	}
	if f.wait {
		if err := a.waitForNetwork(ctx, cl, n, f.timeout); err != nil {
			return err
		}
		return a.printNetwork(n, fmt.Sprintf("network %q is ready (networkID %s)", n.Name, n.Spec.NetworkID))
	}
	return a.printNetwork(n, fmt.Sprintf("network %q created (networkID %s); '%s status %s' shows how far it is", n.Name, n.Spec.NetworkID, a.program, n.Name))
}

// waitForNetwork waits until the network is Ready. An interrupted wait leaves the network to the operator and says so.
func (a *app) waitForNetwork(ctx context.Context, cl *cluster, n *v1alpha1.Network, timeout time.Duration) error {
	waitCtx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := a.progress().Step(waitCtx, "network "+n.Name, func(ctx context.Context, note func(string)) error {
		return cl.waitReady(ctx, n, &v1alpha1.NetworkList{}, note)
	})
	if ctx.Err() != nil {
		fmt.Fprintf(a.err, "network %q is still being made; '%s network delete %s' takes it down\n", n.Name, a.program, n.Name)
	}
	var coded *codedError
	if errors.As(err, &coded) && coded.code == ExitNotReady {
		return notReadyErrorf("%w; '%s doctor %s' looks for the cause", err, a.program, n.Name)
	}
	return err
}

// printNetwork prints the object, or one sentence for people where there is one.
func (a *app) printNetwork(n *v1alpha1.Network, sentence string) error {
	n.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Network"))
	n.SetManagedFields(nil)
	d := output.Document{Value: n, Names: []string{"network." + v1alpha1.GroupVersion.Group + "/" + n.Name}}
	d.Table = func(w io.Writer) error {
		if sentence != "" {
			_, err := fmt.Fprintln(w, sentence)
			return err
		}
		return output.Print(w, output.FormatYAML, output.Document{Value: manifest(n)})
	}
	return a.print(d)
}

// manifest leaves out what a person would not write.
func manifest(n *v1alpha1.Network) any {
	return map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       "Network",
		"metadata":   map[string]any{"name": n.Name},
		"spec":       n.Spec,
	}
}

// networkFrom makes the object from the file or the flags.
func (a *app) networkFrom(f *createFlags, args []string) (*v1alpha1.Network, error) {
	n := &v1alpha1.Network{}
	if f.file != "" {
		for _, name := range specFlags() {
			if f.changedSet[name] {
				return nil, usageErrorf("--%s and --from-file do not go together: the file describes the whole network", name)
			}
		}
		if err := a.readManifest(f.file, n); err != nil {
			return nil, err
		}
		if len(args) == 1 && n.Name != "" && n.Name != args[0] {
			return nil, usageErrorf("the file describes network %q, the argument says %q", n.Name, args[0])
		}
	} else if err := f.fill(n); err != nil {
		return nil, err
	}
	if len(args) == 1 {
		n.Name = args[0]
	}
	if n.Name == "" {
		return nil, usageErrorf("the network needs a name: network create NETWORK …")
	}
	if n.Spec.NetworkID == "" {
		n.Spec.NetworkID = strings.ToLower(rand.Text())
	}
	return n, nil
}

// fill writes the flags into the spec.
func (f *createFlags) fill(n *v1alpha1.Network) error {
	if len(f.orgs) == 0 {
		return usageErrorf("name at least one organisation: --org NAME")
	}
	orderers := f.orderers
	if v1alpha1.Consensus(f.consensus) == v1alpha1.ConsensusBFT && !f.changedSet["orderers"] {
		orderers = 4
	}
	orgs, err := organizationsOf(f.orgs, orderers)
	if err != nil {
		return err
	}
	n.Spec = v1alpha1.NetworkSpec{
		NetworkID:        f.networkID,
		Tenant:           f.tenant,
		DeletionPolicy:   v1alpha1.DeletionPolicy(f.deletion),
		Fabric:           v1alpha1.FabricSoftware{Version: f.version},
		Ordering:         v1alpha1.NetworkOrdering{Consensus: v1alpha1.Consensus(f.consensus), Timing: v1alpha1.TimingProfile(f.timing)},
		Organizations:    orgs,
		ClientNamespaces: f.clients,
	}
	for _, name := range f.channels {
		n.Spec.Channels = append(n.Spec.Channels, v1alpha1.NetworkChannel{Name: name})
	}
	return nil
}

// maxManifest bounds what is read from a manifest file; etcd would refuse more.
const maxManifest = 2 << 20

// readManifest reads one Network; a field that the API does not know is an error, not lost in silence.
func (a *app) readManifest(file string, n *v1alpha1.Network) error {
	r := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("open manifest: %w", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return fmt.Errorf("read manifest %s: %w", file, err)
	}
	var t metav1.TypeMeta
	if err := yaml.Unmarshal(b, &t); err != nil {
		return usageErrorf("parse manifest %s: %w", file, err)
	}
	if want := v1alpha1.GroupVersion.WithKind("Network"); t.GroupVersionKind() != want {
		return usageErrorf("manifest %s holds apiVersion %q, kind %q: want %s, Network (use 'kubectl apply' for other kinds)",
			file, t.APIVersion, t.Kind, want.GroupVersion())
	}
	if err := yaml.UnmarshalStrict(b, n); err != nil {
		return usageErrorf("parse manifest %s: %w", file, err)
	}
	return nil
}
