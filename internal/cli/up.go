package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"heddle.dev/heddle/internal/cli/output"
	"heddle.dev/heddle/internal/image"
	"heddle.dev/heddle/internal/lab"
)

// upFlags are the flags of up and down.
type upFlags struct {
	installSettings
	images        string
	contractImage string
	lab           string
	timeout       time.Duration
}

func (a *app) upCommand() *cobra.Command {
	f := &upFlags{}
	c := &cobra.Command{
		Use:   "up",
		Short: "From nothing to a committed transaction",
		Long: `Brings up a lab (real Kubernetes on this machine) unless KUBECONFIG, --kubeconfig or --context name a cluster, installs
Heddle, makes the network "demo" with the sample contract, and submits one transaction. Running it again takes up where the
last run ended. 'down' takes everything away again.`,
		Example: a.text(`  %[1]s up
  %[1]s up --builds   # and what builds contracts from source
  %[1]s up --context kind-dev --operator-image registry.example/heddle-operator:v1 \
      --builder-image registry.example/heddle-builder:v1 --contract-image registry.example/asset-go:v1
  %[1]s down`),
		Args:              arguments(0, 0),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.up(c.Context(), f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.images, "images", os.Getenv("HEDDLE_IMAGES"),
		"folder with image archives for the lab (default: HEDDLE_IMAGES, else the folder images beside this program)")
	fl.StringVar(&f.operatorImage, "operator-image", "", "image of the operator (that of this version unless given)")
	fl.StringVar(&f.builderImage, "builder-image", "", "image with the peers' external builder (that of this version unless given)")
	fl.StringVar(&f.nginxImage, "nginx-image", "", "image of gateways and links between sites (that of this version unless given)")
	fl.StringVar(&f.contractImage, "contract-image", "", "image of the sample contract (that of this version unless given)")
	f.flags(fl)
	fl.StringVar(&f.lab, "lab", "default", "name of the lab")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long everything may take")
	return c
}

// phase is a step of up with the time it took.
type phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// upRun is one run of up.
type upRun struct {
	app     *app
	flags   *upFlags
	steps   *output.Progress
	start   time.Time
	phases  []phase
	cluster *cluster
	// lab is set where the cluster is one of ours.
	lab *lab.Lab
	// madeLab says that this run made it.
	madeLab bool
	// simulated says that stand-ins for Fabric's nodes were loaded.
	simulated bool
	receipt   *upReceipt
}

// upReceipt is what up prints in the end.
type upReceipt struct {
	Network       string  `json:"network"`
	Channel       string  `json:"channel"`
	Contract      string  `json:"contract"`
	Asset         string  `json:"asset"`
	TransactionID string  `json:"transactionID"`
	BlockNumber   uint64  `json:"blockNumber"`
	Seconds       float64 `json:"seconds"`
	Phases        []phase `json:"phases"`
	// Simulated says that stand-ins for Fabric's nodes were loaded into the lab.
	Simulated bool `json:"simulated,omitempty"`
}

func (a *app) up(ctx context.Context, f *upFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	r := &upRun{app: a, flags: f, steps: a.steps(), start: time.Now()}
	runCtx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	err := r.run(runCtx)
	if err == nil {
		return r.print()
	}
	if ctx.Err() != nil && r.madeLab {
		r.steps.Printf("interrupted: taking the lab down again")
		return errors.Join(err, lab.Down(context.WithoutCancel(ctx), f.lab))
	}
	if len(r.phases) > 0 {
		r.steps.Printf("what stands so far stays: '%[1]s doctor %[2]s' looks for the cause, '%[1]s up' goes on, '%[1]s down' takes it away", a.program, demoNetwork)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return notReadyErrorf("not done after %s: %w", f.timeout, err)
	}
	return err
}

// run goes through the phases.
func (r *upRun) run(ctx context.Context) error {
	if !r.app.clusterNamed() {
		if err := r.phase(ctx, "lab", r.bringUpLab); err != nil {
			return err
		}
		if err := r.phase(ctx, "images", r.loadImages); err != nil {
			return err
		}
	}
	var err error
	if r.cluster, err = r.app.connect(); err != nil {
		return err
	}
	for _, p := range []struct {
		name string
		run  func(context.Context, func(string)) error
	}{
		{"install", r.install},
		{"network", r.network},
		{"contract", r.contract},
		{"transaction", r.transaction},
	} {
		if err := r.phase(ctx, p.name, p.run); err != nil {
			return err
		}
	}
	return nil
}

// phase runs one step and keeps its time.
func (r *upRun) phase(ctx context.Context, name string, run func(context.Context, func(string)) error) error {
	start := time.Now()
	err := r.steps.Step(ctx, name, run)
	if err == nil {
		r.phases = append(r.phases, phase{Name: name, Seconds: time.Since(start).Round(time.Millisecond).Seconds()})
	}
	return err
}

// clusterNamed says that the user means a cluster of their own. The kubeconfig in the home folder does not count: a demo
// must not end up in whatever cluster was used last.
func (a *app) clusterNamed() bool {
	return *a.kube.KubeConfig != "" || *a.kube.Context != "" || *a.kube.APIServer != "" || os.Getenv("KUBECONFIG") != ""
}

// madeByUp is a file in the folder of a lab that up made, and so may take away.
const madeByUp = "made-by-up"

func (r *upRun) bringUpLab(ctx context.Context, note func(string)) error {
	_, err := lab.Open(r.flags.lab)
	r.madeLab = errors.Is(err, lab.ErrNoLab)
	if err != nil && !r.madeLab {
		return err
	}
	r.lab, err = lab.Up(ctx, lab.Options{Name: r.flags.lab}, note)
	if err != nil {
		r.madeLab = false // lab.Up takes its own half-made labs away
		return labError(err)
	}
	if r.madeLab {
		if err := os.WriteFile(filepath.Join(r.lab.Dir(), madeByUp), nil, 0o600); err != nil {
			return fmt.Errorf("mark lab %q: %w", r.flags.lab, err)
		}
	}
	*r.app.kube.KubeConfig = r.lab.Sites()[0].KubeconfigPath()
	return nil
}

// loadImages puts the archives on the lab's nodes.
func (r *upRun) loadImages(ctx context.Context, note func(string)) error {
	dir, err := imagesDir(r.flags.images)
	if err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		return fmt.Errorf("list image archives: %w", err)
	}
	if len(archives) == 0 {
		return fmt.Errorf("there is no image archive (*.tar) in %s: make them with 'make images', or name their folder with --images or HEDDLE_IMAGES", dir)
	}
	// A folder of archives without a list is fine: then nobody knows what is simulated until the nodes say so.
	index, err := image.ReadIndex(dir)
	if err == nil {
		r.simulated = slices.ContainsFunc(index.Images, func(e image.Entry) bool { return e.Simulated })
		archives = needed(archives, index)
	}
	if r.flags.builds {
		more, err := buildArchives(dir, index, r.flags.buildSettings)
		if err != nil {
			return err
		}
		archives = append(archives, more...)
	}
	note(fmt.Sprintf("%d archives from %s", len(archives), dir))
	for _, s := range r.lab.Sites() {
		if err := s.Load(ctx, archives...); err != nil {
			return fmt.Errorf("load images: %w", err)
		}
	}
	return nil
}

// needed leaves out what the demo does without: CouchDB's image is as big as all others together.
func needed(archives []string, index *image.Index) []string {
	return slices.DeleteFunc(archives, func(file string) bool {
		return slices.ContainsFunc(index.Images, func(e image.Entry) bool { return e.OnDemand && e.Archive == filepath.Base(file) })
	})
}

// buildArchives are the images that builds need and that are not given by other names.
func buildArchives(dir string, index *image.Index, s buildSettings) ([]string, error) {
	const hint = "make them with 'make build-images'"
	if index == nil {
		return nil, fmt.Errorf("there is no list of images in %s, so that nobody knows which builds need: %s", dir, hint)
	}
	var names []string
	for name, given := range map[string]string{
		"heddle-registry": s.registryImage, "heddle-build-go": s.buildGoImage, "heddle-build-node": s.buildNodeImage,
	} {
		if given == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	entries, err := index.Find(names...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, hint)
	}
	var out []string
	for _, e := range entries {
		if e.OnDemand { // others are loaded anyway
			out = append(out, filepath.Join(dir, e.Archive))
		}
	}
	return out, nil
}

// imagesDir is the folder that is named, or the one beside this program or beside its folder.
func imagesDir(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if target, err := filepath.EvalSymlinks(exe); err == nil {
		exe = target
	}
	for _, dir := range []string{filepath.Join(filepath.Dir(exe), "images"), filepath.Join(filepath.Dir(exe), "..", "images")} {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir, nil
		}
	}
	return "", fmt.Errorf("there is no folder of images beside %s: make it with 'make images', or name one with --images or HEDDLE_IMAGES", exe)
}

// print tells the outcome and what to try next.
func (r *upRun) print() error {
	rec := r.receipt
	rec.Simulated = r.simulated
	rec.Phases, rec.Seconds = r.phases, time.Since(r.start).Round(time.Millisecond).Seconds()
	return r.app.print(output.Document{Value: rec, Names: []string{rec.TransactionID}, Table: func(w io.Writer) error {
		if rec.Simulated {
			fmt.Fprint(w, "\nThe network's nodes are SIMULATED (fabsim): this machine has no images and no programs of Fabric.\n")
		}
		_, err := fmt.Fprintf(w, `
Block %d of channel %s holds transaction %s
after %.1f s.

Try next:
%[9]s  %[5]s status %[6]s
  %[5]s tx evaluate %[6]s/%[2]s/%[7]s Read %[8]s
  %[5]s tx submit %[6]s/%[2]s/%[7]s Transfer %[8]s bob --as org2 --events
  %[5]s identity enroll cashier --network %[6]s --org org1
  %[5]s export %[6]s --layout test-network --out ./test-network
  %[5]s down
`, rec.BlockNumber, rec.Channel, rec.TransactionID, rec.Seconds, r.app.program, rec.Network, rec.Contract, rec.Asset, r.exportLine())
		return err
	}})
}

// exportLine tells other programs where the lab's cluster is.
func (r *upRun) exportLine() string {
	if r.lab == nil {
		return ""
	}
	return "  export KUBECONFIG=" + r.lab.Sites()[0].KubeconfigPath() + "\n"
}
