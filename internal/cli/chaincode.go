package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/output"
)

func (a *app) chaincodeCommand() *cobra.Command {
	c := group("chaincode", "Build, deploy and follow contracts", a.chaincodeDeployCommand(), a.chaincodeDevCommand(), a.chaincodeLogsCommand())
	c.Aliases = []string{"cc"}
	return c
}

// deployFlags are the flags of chaincode deploy.
type deployFlags struct {
	channel     string
	name        string
	version     string
	policy      string
	collections string
	init        bool
	path        string
	language    string
	runtime     string
	tls         string
	image       string
	idle        time.Duration
	wait        bool
	timeout     time.Duration
	// given tells whether a flag was set; nil where there is no command line.
	given func(name string) bool
}

// emptied tells whether a flag was given to take back what it set once.
func (f *deployFlags) emptied(name string) bool { return f.given != nil && f.given(name) }

func (a *app) chaincodeDeployCommand() *cobra.Command {
	f := &deployFlags{}
	c := &cobra.Command{
		Use:   "deploy [DIRECTORY|ARCHIVE|GIT-BUNDLE]",
		Short: "Build a contract from its source and put it on a channel",
		Long: `Uploads the source, has it built in the cluster, installs the package on every peer of the channel, approves and commits
it, and waits until it can be called. The same source is built once; changed source makes the next version, unless --version
names one. What a .heddleignore file names stays behind.`,
		Example: a.text(`  %[1]s chaincode deploy ./asset --channel demo
  %[1]s chaincode deploy ./asset --channel demo --policy "AND('BankAMSP.peer', 'BankBMSP.peer')" --collections collections.json
  %[1]s chaincode deploy repo.bundle --channel deals --name token --path contracts/token
  %[1]s chaincode deploy --image registry.example/asset@sha256:... --channel demo --name asset`),
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.deployChaincode(c.Context(), f, args)
		},
	}
	f.add(c)
	fl := c.Flags()
	fl.StringVar(&f.version, "version", "", `version of the definition; "1.0", and one more for each changed source, unless given`)
	fl.StringVar(&f.image, "image", "", "image by digest (name@sha256:...) instead of a source")
	fl.BoolVar(&f.wait, "wait", true, "wait until the contract can be called")
	fl.DurationVar(&f.timeout, "timeout", 15*time.Minute, "how long to wait")
	return c
}

// add adds what deploy and dev have in common.
func (f *deployFlags) add(c *cobra.Command) {
	fl := c.Flags()
	f.given = fl.Changed
	fl.StringVar(&f.channel, "channel", "", "Channel object that the contract is put on (needed)")
	fl.StringVar(&f.name, "name", "", "name of the contract on the channel; that of the directory unless given")
	fl.StringVar(&f.policy, "policy", "", "endorsement policy in Fabric's syntax; the channel's unless given, and again with an empty one")
	fl.StringVar(&f.collections, "collections", "", "JSON file with collections of private data; collections.json of the source unless given, none with an empty one")
	fl.BoolVar(&f.init, "init", false, "the contract has to be initialised by its first transaction")
	fl.StringVar(&f.path, "path", "", "folder of the source that is built")
	fl.StringVar(&f.language, "language", "", "Go, JavaScript, TypeScript, Java or Binary; found out unless given")
	fl.StringVar(&f.runtime, "runtime", "", "Peer (launched by the peer, the default) or Service")
	fl.StringVar(&f.tls, "tls", "", "Required (the default) or Disabled, for an image of the runtime Service that speaks plain text only")
	fl.DurationVar(&f.idle, "idle", 0, "time without a call after which the contract's pods go until the next one; 0 keeps them")
	complete(c, "language", []string{"Go", "JavaScript", "TypeScript", "Java", "Binary"})
	complete(c, "runtime", []string{"Peer", "Service"})
	complete(c, "tls", []string{"Required", "Disabled"})
}

// deployment is one run of deploy.
type deployment struct {
	app       *app
	flags     *deployFlags
	cluster   *cluster
	progress  *output.Progress
	namespace string
	name      string
	source    *contractSource
	build     *v1alpha1.ChaincodeBuild
	chaincode *v1alpha1.Chaincode
}

func (a *app) deployChaincode(ctx context.Context, f *deployFlags, args []string) error {
	if (len(args) == 1) == (f.image != "") {
		return usageErrorf("give either a source or --image")
	}
	d, err := a.newDeployment(ctx, f, args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := d.run(ctx); err != nil {
		return err
	}
	cc := d.chaincode
	return a.print(output.Document{Value: d.cluster.object(cc), Names: []string{"chaincode/" + cc.Name}, Table: func(w io.Writer) error {
		if !f.wait {
			fmt.Fprintf(w, "contract %q is being put on channel %q; '%s status %s' shows how far it is\n", d.name, f.channel, a.program, d.namespace)
			return nil
		}
		sequence := int64(0)
		if cc.Status.Sequence != nil {
			sequence = *cc.Status.Sequence
		}
		fmt.Fprintf(w, "contract %q, version %s, sequence %d, is on channel %q of network %q\ntry: %s tx submit %s/%s/%s FUNCTION ARGUMENT...\n",
			d.name, cc.Spec.Version, sequence, f.channel, d.namespace, a.program, d.namespace, f.channel, d.name)
		return nil
	}})
}

func (a *app) newDeployment(ctx context.Context, f *deployFlags, args []string) (*deployment, error) {
	if f.channel == "" {
		return nil, usageErrorf("--channel is required: name the Channel object that the contract is put on")
	}
	d := &deployment{app: a, flags: f, progress: a.steps(), name: f.name}
	if f.path = filepath.ToSlash(filepath.Clean(f.path)); f.path == "." {
		f.path = ""
	}
	if len(args) == 1 {
		var err error
		if d.source, err = readSource(ctx, args[0], f); err != nil {
			return nil, err
		}
		if d.name == "" {
			d.name = contractName(args[0], f.path)
		}
	}
	if d.name == "" {
		return nil, usageErrorf("--name is needed: name the contract on the channel")
	}
	var err error
	if d.cluster, err = a.connect(); err != nil {
		return nil, err
	}
	d.namespace, err = d.cluster.networkOf(ctx, f.channel, *a.kube.Namespace)
	return d, err
}

func (d *deployment) run(ctx context.Context) error {
	if d.source != nil {
		if err := d.buildSource(ctx); err != nil {
			return err
		}
	}
	if err := d.apply(ctx); err != nil {
		return err
	}
	if !d.flags.wait {
		return nil
	}
	wanted := d.chaincode.Spec
	err := d.progress.Step(ctx, "deploy", func(ctx context.Context, note func(string)) error {
		return d.cluster.waitReady(ctx, d.chaincode, &v1alpha1.ChaincodeList{}, note)
	})
	if now := &d.chaincode.Spec; err == nil && (now.Build != wanted.Build || now.Image != wanted.Image) {
		return d.overtaken()
	}
	return err
}

var oddLetters = regexp.MustCompile(`[^A-Za-z0-9]+`)

// contractName makes a name that Fabric takes out of the source's.
func contractName(source, path string) string {
	base := filepath.Base(filepath.Join(source, path))
	if abs, err := filepath.Abs(source); err == nil && path == "" {
		base = filepath.Base(abs)
	}
	for _, suffix := range []string{".gz", ".tgz", ".tar", ".zip", ".bundle"} {
		base = strings.TrimSuffix(base, suffix)
	}
	return strings.Trim(oddLetters.ReplaceAllString(base, "-"), "-")
}

// objectName is that of the Chaincode of a contract on a channel.
func objectName(channel, contract string) string {
	name := strings.ToLower(channel + "-" + oddLetters.ReplaceAllString(contract, "-"))
	return strings.Trim(name[:min(len(name), 52)], "-")
}

// networkOf finds the network that a channel is in; a given namespace decides.
func (c *cluster) networkOf(ctx context.Context, channel, namespace string) (string, error) {
	var list v1alpha1.ChannelList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return "", fmt.Errorf("list channels: %w", err)
	}
	var found []string
	for i := range list.Items {
		if list.Items[i].Name == channel {
			found = append(found, list.Items[i].Namespace)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", notFoundErrorf("there is no Channel %q: 'kubectl get channels -A' lists them", channel)
	}
	return "", usageErrorf("channel %q is in several networks (%s): choose one with --namespace", channel, strings.Join(found, ", "))
}

// apply makes the Chaincode, or changes it to the new build or image.
func (d *deployment) apply(ctx context.Context) error {
	cc := &v1alpha1.Chaincode{}
	cc.Namespace, cc.Name = d.namespace, objectName(d.flags.channel, d.name)
	err := d.cluster.Get(ctx, client.ObjectKeyFromObject(cc), cc)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read chaincode %q: %w", cc.Name, err)
	}
	fresh := apierrors.IsNotFound(err)
	before := cc.DeepCopy()
	if !fresh && (cc.Spec.ChaincodeName != d.name || cc.Spec.Channel != d.flags.channel) {
		return usageErrorf("chaincode %q stands for contract %q already: choose another --name", cc.Name, cc.Spec.ChaincodeName)
	}
	if err := d.fill(&cc.Spec); err != nil {
		return err
	}
	d.chaincode = cc
	if fresh {
		if err := d.cluster.Create(ctx, cc, fieldOwner); apierrors.IsAlreadyExists(err) {
			return d.join(ctx)
		} else if err != nil {
			return fmt.Errorf("create chaincode %q: %w", cc.Name, err)
		}
		return nil
	}
	if err := d.cluster.Patch(ctx, cc, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldOwner); err != nil {
		if apierrors.IsConflict(err) {
			return d.join(ctx)
		}
		return fmt.Errorf("change chaincode %q: %w", cc.Name, err)
	}
	return nil
}

// join goes on with what somebody else has just written, if that is what was to be written here.
func (d *deployment) join(ctx context.Context) error {
	cc := d.chaincode
	if err := d.cluster.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
		return fmt.Errorf("read chaincode %q: %w", cc.Name, err)
	}
	found := cc.Spec.DeepCopy()
	if err := d.fill(&cc.Spec); err != nil {
		return err
	}
	if !equality.Semantic.DeepEqual(found, &cc.Spec) {
		return d.overtaken()
	}
	return nil
}

func (d *deployment) overtaken() error {
	return fmt.Errorf("chaincode %q was changed by somebody else at the same time: look at it and deploy again", d.chaincode.Name)
}

// fill writes what was asked for into the spec; what was not stays.
func (d *deployment) fill(spec *v1alpha1.ChaincodeSpec) error {
	f := d.flags
	var changed bool
	spec.Channel, spec.ChaincodeName = f.channel, d.name
	if d.build != nil {
		changed = spec.Build != "" && spec.Build != d.build.Name || spec.Image != ""
		spec.Build, spec.Image = d.build.Name, ""
	} else {
		changed = spec.Image != "" && spec.Image != f.image || spec.Build != ""
		spec.Build, spec.Image = "", f.image
	}
	if f.policy != "" || f.emptied("policy") {
		spec.EndorsementPolicy = f.policy
	}
	switch {
	case f.init:
		spec.Init = v1alpha1.InitRequired
	case f.emptied("init"):
		spec.Init = v1alpha1.InitNotRequired
	}
	if f.runtime != "" {
		spec.Runtime = v1alpha1.ChaincodeRuntime(f.runtime)
	}
	if f.tls != "" {
		spec.TLS = v1alpha1.ChaincodeTLS(f.tls)
	}
	if f.idle > 0 || f.emptied("idle") {
		seconds := int32(f.idle / time.Second) //nolint:gosec // G115: the API server bounds it
		spec.IdleSeconds = &seconds
	}
	if err := d.fillCollections(spec); err != nil {
		return err
	}
	switch {
	case f.version != "":
		spec.Version = f.version
	case spec.Version == "":
		spec.Version = "1.0"
	case changed:
		spec.Version = nextVersion(spec.Version)
	}
	return nil
}

func (d *deployment) fillCollections(spec *v1alpha1.ChaincodeSpec) error {
	file := d.flags.collections
	if file == "" && d.flags.emptied("collections") {
		spec.Collections = ""
		return nil
	}
	if file == "" && d.source != nil {
		file = d.source.collections
	}
	if file == "" {
		return nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && d.flags.collections == "" {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read collections: %w", err)
	}
	spec.Collections = string(text)
	return nil
}

var lastNumber = regexp.MustCompile(`[0-9]+$`)

// nextVersion counts the last number of a version up.
func nextVersion(version string) string {
	at := lastNumber.FindStringIndex(version)
	if at == nil {
		return version + ".1"
	}
	n, err := strconv.ParseUint(version[at[0]:], 10, 32)
	if err != nil {
		return version + ".1"
	}
	return version[:at[0]] + strconv.FormatUint(n+1, 10)
}
