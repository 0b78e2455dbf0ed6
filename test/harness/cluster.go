package harness

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/image"
	"heddle.dev/heddle/internal/lab"
)

// KubeconfigEnv names a kubeconfig of a cluster to use instead of a lab. Heddle's and Fabric's images must be there.
const KubeconfigEnv = "HEDDLE_E2E_KUBECONFIG"

// SystemNamespace is where the operator runs.
const SystemNamespace = "heddle-system"

// ErrUnavailable says that something that this project does not make is missing, such as Fabric's images: a reason to
// skip a test, not to fail it.
var ErrUnavailable = errors.New("not available here")

// Options of a cluster.
type Options struct {
	// Name of the lab.
	Name string
	// Nodes of the lab; 1 unless given.
	Nodes int
	// Sites of the lab; 1 unless given. Open returns the first; Cluster.Others are the rest.
	Sites int
	// Progress is told what goes on; may be nil.
	Progress func(format string, args ...any)
}

// Cluster is a Kubernetes cluster with Heddle in it.
type Cluster struct {
	client.WithWatch
	// Set is the plain client, for logs, exec and evictions.
	Set kubernetes.Interface
	// Config reaches the API server with administrator's rights.
	Config *rest.Config
	// Kubeconfig is the file that Config came from.
	Kubeconfig string
	// Lab and Site are nil when the cluster is not ours.
	Lab  *lab.Lab
	Site *lab.Site
	// Others are the lab's further sites, each with Heddle in it.
	Others []*Cluster
	// Simulated says that the lab's nodes are stand-ins for Fabric's (fabsim).
	Simulated bool

	root     string
	progress func(string, ...any)
	tunnels  tunnels
	claimed  *os.File
}

// Open brings up a lab with all images (or connects to the given cluster), installs Heddle, and waits for the operator.
func Open(ctx context.Context, o Options) (*Cluster, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	c := &Cluster{root: root, progress: o.Progress, Kubeconfig: os.Getenv(KubeconfigEnv)}
	if c.progress == nil {
		c.progress = func(string, ...any) {}
	}
	if c.Kubeconfig == "" {
		if err := c.openLab(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := c.connect(); err != nil {
		return nil, err
	}
	if out, err := c.Heddle(ctx, "install"); err != nil {
		return nil, fmt.Errorf("install Heddle: %w\n%s", err, out)
	}
	c.progress("Heddle is installed")
	return c, c.openOthers(ctx)
}

// openOthers installs Heddle in the lab's further sites.
func (c *Cluster) openOthers(ctx context.Context) error {
	if c.Lab == nil {
		return nil
	}
	archives, err := c.archives()
	if err != nil {
		return err
	}
	for _, site := range c.Lab.Sites()[1:] {
		o := &Cluster{root: c.root, progress: c.progress, Lab: c.Lab, Site: site, Kubeconfig: site.KubeconfigPath(), Simulated: c.Simulated}
		if err := site.Load(ctx, archives...); err != nil {
			return fmt.Errorf("load images into %q: %w", site.Name(), err)
		}
		if err := o.connect(); err != nil {
			return err
		}
		if out, err := o.Heddle(ctx, "install"); err != nil {
			return fmt.Errorf("install Heddle in %q: %w\n%s", site.Name(), err, out)
		}
		c.progress("Heddle is installed in %s", site.Name())
		c.Others = append(c.Others, o)
	}
	return nil
}

func (c *Cluster) connect() error {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig %q: %w", c.Kubeconfig, err)
	}
	cfg.QPS, cfg.Burst = 200, 400
	if c.Lab != nil {
		cfg.Proxy = nil
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	c.Config = cfg
	if c.WithWatch, err = client.NewWithWatch(cfg, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to cluster: %w", err)
	}
	if c.Set, err = kubernetes.NewForConfig(cfg); err != nil {
		return fmt.Errorf("connect to cluster: %w", err)
	}
	return nil
}

// openLab brings up a lab of the machine's own programs and images. A lab that is there already is used as it is.
func (c *Cluster) openLab(ctx context.Context, o Options) error {
	bin := c.Path("out", "bin")
	for _, program := range []string{"heddle", "kube", "coredns", "pause"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return fmt.Errorf("find program of the lab: %w: make it with \"make build\"", err)
		}
	}
	archives, err := c.archives()
	if err != nil {
		return err
	}
	c.Lab, err = lab.Up(ctx, lab.Options{Name: o.Name, Sites: max(o.Sites, 1), Nodes: []int{max(o.Nodes, 1)}, Heddle: filepath.Join(bin, "heddle"), Libexec: bin},
		func(line string) { c.progress("%s", line) })
	if errors.Is(err, lab.ErrNeeds) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return fmt.Errorf("bring up lab %q: %w", o.Name, err)
	}
	if err := c.claimLab(); err != nil {
		return err
	}
	c.Site = c.Lab.Sites()[0]
	c.Kubeconfig = c.Site.KubeconfigPath()
	if err := c.Site.Load(ctx, archives...); err != nil {
		return fmt.Errorf("load images: %w", err)
	}
	c.progress("%d images are loaded", len(archives))
	if c.Simulated {
		c.progress("the nodes are SIMULATED (fabsim)")
	}
	return nil
}

// claimLab keeps other runs out of the lab for as long as this process lives: the first to end would take it away.
func (c *Cluster) claimLab() error {
	sum := sha256.Sum256([]byte(c.Lab.Dir()))
	path := filepath.Join(os.TempDir(), fmt.Sprintf("heddle-lab-%x.lock", sum[:4]))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("claim lab: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return fmt.Errorf("lab %q is in use by another run (%w): wait until that has ended, or give this one a folder of its own with HEDDLE_LAB_DIR", c.Lab.Name(), err)
	}
	c.claimed = f
	return nil
}

// archives lists the images of out/images that every network needs.
func (c *Cluster) archives() ([]string, error) {
	folder := c.Path("out", "images")
	index, err := image.ReadIndex(folder)
	if err != nil {
		return nil, err
	}
	required, err := index.Required()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	var files []string
	for _, e := range required {
		files = append(files, filepath.Join(folder, e.Archive))
		c.Simulated = c.Simulated || e.Simulated
	}
	return files, nil
}

// Path is a path below the module's root.
func (c *Cluster) Path(parts ...string) string {
	return filepath.Join(append([]string{c.root}, parts...)...)
}

// Heddle runs the heddle command against the cluster and returns what it printed.
func (c *Cluster) Heddle(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Path("out", "bin", "heddle"), args...) //nolint:gosec // our own program
	cmd.Env = append(slices.Clip(os.Environ()), "KUBECONFIG="+c.Kubeconfig)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("run heddle %q: %w", args, err)
	}
	return string(out), nil
}

// Kubectl runs the lab's kubectl, or the one that the path finds, and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	if c.Site != nil {
		cmd = c.Site.Kubectl(ctx, args...)
	}
	cmd.Env = append(slices.Clip(os.Environ()), "KUBECONFIG="+c.Kubeconfig)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Close takes the lab away; a cluster that is not ours stays.
func (c *Cluster) Close(ctx context.Context) error {
	c.tunnels.close()
	for _, o := range c.Others {
		o.tunnels.close()
	}
	if c.Lab == nil {
		return nil
	}
	err := c.Lab.Down(ctx)
	if c.claimed != nil {
		_ = os.Remove(c.claimed.Name())
		_ = c.claimed.Close()
	}
	return err
}

// moduleRoot is the folder with go.mod above the current one.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("find module: no go.mod above the current folder")
		}
		dir = up
	}
}
