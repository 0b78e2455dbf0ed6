package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

const (
	contractNetwork = "contract"
	// measured is the contract whose launches and throughput are measured.
	measured = "noop"
	idle     = 30
)

// contracts measures the way from source to the first committed transaction with an empty cache, with one that another
// contract of the same dependencies has filled, and after a line was edited; how long an image takes, and a launch, by
// a call after the pod was deleted and by one after it went idle; and the throughput of a contract that does nothing.
func contracts(ctx context.Context, b *bench) error {
	if err := b.InstallBuilds(ctx); err != nil {
		return err
	}
	if err := b.Apply(ctx, fmt.Sprintf(manifests, contractNetwork, orderers, 1)); err != nil {
		return err
	}
	if err := b.WaitReady(ctx, &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: contractNetwork}}); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "heddle-contract-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	w := &workshop{bench: b, dir: dir}
	for _, part := range []func(context.Context) error{w.sources, w.launches, w.throughput} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return b.RemoveNetwork(ctx, contractNetwork)
}

// workshop is where contracts are written and deployed.
type workshop struct {
	*bench
	dir string
}

// sources measures builds; the baseline is the compiler alone, on this machine, with a cache in the same state.
func (w *workshop) sources(ctx context.Context) error {
	cold := series{metric: "cold_seconds", unit: "s"}
	warm := series{metric: "warm_seconds", unit: "s"}
	edit := series{metric: "edit_seconds", unit: "s"}
	assemble := series{metric: "assemble_seconds", unit: "s"}
	for i := range w.rounds {
		cache := filepath.Join(w.dir, "cache"+strconv.Itoa(i))
		if err := w.emptyCache(ctx); err != nil {
			return err
		}
		if err := w.deployAll(ctx, "cold"+strconv.Itoa(i), cache, []*series{&cold}, &assemble); err != nil {
			return err
		}
		if err := w.deployAll(ctx, "warm"+strconv.Itoa(i), cache, []*series{&warm, &edit}, &assemble); err != nil {
			return err
		}
		progress("round %d: cold %.1f s, warm %.1f s, edit %.1f s; the compiler alone: %.1f, %.1f and %.1f s",
			i+1, cold.values[i], warm.values[i], edit.values[i], cold.baseline[i], warm.baseline[i], edit.baseline[i])
	}
	for _, s := range []*series{&cold, &warm, &edit, &assemble} {
		if err := w.book.write(*s); err != nil {
			return err
		}
	}
	return nil
}

// emptyCache removes the builds' cache. A volume stays as long as there are pods that had it, ended ones too. Contracts
// of former rounds go as well: what they ask for would be missed by builds.
func (w *workshop) emptyCache(ctx context.Context) error {
	for _, labels := range []client.ListOption{
		client.HasLabels{batchv1.JobNameLabel}, client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentChaincode},
	} {
		var pods corev1.PodList
		if err := w.List(ctx, &pods, client.InNamespace(contractNetwork), labels); err != nil {
			return err
		}
		for i := range pods.Items {
			if err := w.Delete(ctx, &pods.Items[i]); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
	}
	return w.Remove(ctx, specs.BuildCacheVolume(specs.Place{Network: contractNetwork}))
}

// deployAll writes a project and deploys it once for each series, each time with another line changed.
func (w *workshop) deployAll(ctx context.Context, name, cache string, steps []*series, assemble *series) error {
	source := filepath.Join(w.dir, name)
	for edition, s := range steps {
		if err := w.write(source, name, edition); err != nil {
			return err
		}
		start := time.Now()
		if err := compile(ctx, source, filepath.Join(w.dir, "program"), cache); err != nil {
			return err
		}
		s.baseline = append(s.baseline, time.Since(start).Seconds())
		start = time.Now()
		if err := w.deploy(ctx, source); err != nil {
			return err
		}
		s.values = append(s.values, time.Since(start).Seconds())
		seconds, err := w.assembled(ctx, name)
		if err != nil {
			return err
		}
		assemble.values = append(assemble.values, seconds)
	}
	return nil
}

// deploy does what a developer does: one command, and a transaction.
func (w *workshop) deploy(ctx context.Context, source string) error {
	name := filepath.Base(source)
	if out, err := w.Heddle(ctx, "chaincode", "deploy", source, "--channel", channelName, "-n", contractNetwork); err != nil {
		return fmt.Errorf("deploy %s: %w\n%s", name, err, out)
	}
	ref := contractNetwork + "/" + channelName + "/" + name
	if out, err := w.Heddle(ctx, "tx", "submit", ref, "Create", "a", "b", "1"); err != nil {
		return fmt.Errorf("call %s: %w\n%s", name, err, out)
	}
	return nil
}

var assembled = regexp.MustCompile(`assembled the image in ([0-9.]+) s`)

// assembled reads how long the newest build of a contract took to make its image.
func (w *workshop) assembled(ctx context.Context, name string) (float64, error) {
	var cc v1alpha1.Chaincode
	if err := w.Get(ctx, client.ObjectKey{Namespace: contractNetwork, Name: channelName + "-" + name}, &cc); err != nil {
		return 0, err
	}
	out, err := w.Kubectl(ctx, "-n", contractNetwork, "logs", "job/"+specs.BuildName(cc.Spec.Build), "-c", "push")
	if err != nil {
		return 0, fmt.Errorf("read log of %s: %w\n%s", cc.Spec.Build, err, out)
	}
	found := assembled.FindStringSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("read log of %s: it does not say how long the image took:\n%s", cc.Spec.Build, out)
	}
	return strconv.ParseFloat(found[1], 64)
}

// launches measures the first call to a contract whose image is on the machine. The baseline is what Kubernetes takes
// for a bare pod of that image, from its creation until its container runs.
func (w *workshop) launches(ctx context.Context) error {
	source := filepath.Join(w.dir, measured)
	if err := w.write(source, measured, 0); err != nil {
		return err
	}
	if err := w.deploy(ctx, source); err != nil {
		return err
	}
	clients, done, err := w.Clients(ctx, contractNetwork, channelName, measured)
	if err != nil {
		return err
	}
	defer done()
	launch := series{metric: "launch_seconds", unit: "s"}
	wake := series{metric: "wake_seconds", unit: "s"}
	for range w.rounds {
		if err := w.stopContract(ctx, true); err != nil {
			return err
		}
		if err := measureCall(ctx, clients[0], &launch); err != nil {
			return err
		}
		seconds, err := w.barePod(ctx)
		if err != nil {
			return err
		}
		launch.baseline = append(launch.baseline, seconds)
	}
	if err := w.rest(ctx, idle); err != nil {
		return err
	}
	for i := range w.rounds {
		if err := w.stopContract(ctx, false); err != nil {
			return err
		}
		if err := measureCall(ctx, clients[0], &wake); err != nil {
			return err
		}
		wake.baseline = append(wake.baseline, launch.baseline[i])
	}
	if err := w.rest(ctx, 0); err != nil {
		return err
	}
	if err := w.book.write(launch); err != nil {
		return err
	}
	return w.book.write(wake)
}

func measureCall(ctx context.Context, c *load.Client, s *series) error {
	start := time.Now()
	if _, err := c.Evaluate(ctx, "Read", "a"); err != nil {
		return err
	}
	s.values = append(s.values, time.Since(start).Seconds())
	return nil
}

// rest sets after how many seconds the contract is idle.
func (w *workshop) rest(ctx context.Context, seconds int32) error {
	var cc v1alpha1.Chaincode
	if err := w.Get(ctx, client.ObjectKey{Namespace: contractNetwork, Name: channelName + "-" + measured}, &cc); err != nil {
		return err
	}
	before := cc.DeepCopy()
	cc.Spec.IdleSeconds = &seconds
	return w.Patch(ctx, &cc, client.MergeFrom(before))
}

// stopContract waits until no pod runs the contract, and deletes them before if it is told to.
func (w *workshop) stopContract(ctx context.Context, remove bool) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	ours := []client.ListOption{client.InNamespace(contractNetwork), client.MatchingLabels{
		v1alpha1.LabelComponent: v1alpha1.ComponentChaincode, v1alpha1.LabelChaincode: channelName + "-" + measured,
	}}
	return harness.Poll(ctx, func(ctx context.Context) error {
		var pods corev1.PodList
		if err := w.List(ctx, &pods, ours...); err != nil {
			return err
		}
		for i := range pods.Items {
			if !remove {
				break
			}
			if err := w.Delete(ctx, &pods.Items[i]); client.IgnoreNotFound(err) != nil {
				return err
			}
		}
		if n := len(pods.Items); n > 0 {
			return fmt.Errorf("%d pods of the contract are there", n)
		}
		return nil
	})
}

// barePod runs the contract's image without a peer, in another namespace.
func (w *workshop) barePod(ctx context.Context) (float64, error) {
	var cc v1alpha1.Chaincode
	if err := w.Get(ctx, client.ObjectKey{Namespace: contractNetwork, Name: channelName + "-" + measured}, &cc); err != nil {
		return 0, err
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bare"},
		Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
			Name: "contract", Image: cc.Status.Image,
		}}},
	}
	began := time.Now()
	if err := w.Create(ctx, pod); err != nil {
		return 0, err
	}
	err := retry(ctx, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if s := pod.Status.ContainerStatuses; len(s) == 0 || s[0].State.Running == nil && s[0].State.Terminated == nil {
			return fmt.Errorf("pod %q does not run yet", pod.Name)
		}
		return nil
	})
	took := time.Since(began).Seconds()
	if err != nil {
		return 0, err
	}
	return took, w.Remove(ctx, pod, client.GracePeriodSeconds(0))
}

// throughput drives the contract that does nothing as the peers launched it, and the same program as a process of the
// machine that the peers run on, without pod, sandbox and TLS.
func (w *workshop) throughput(ctx context.Context) error {
	stop, err := w.serveBare(ctx)
	if err != nil {
		return err
	}
	defer stop()
	tps := series{metric: "tps", unit: "1/s"}
	sides := []struct {
		contract string
		values   *[]float64
		clients  []*load.Client
	}{{contract: bareContract, values: &tps.baseline}, {contract: measured, values: &tps.values}}
	for i := range sides {
		side := &sides[i]
		var done func()
		if side.clients, done, err = w.Clients(ctx, contractNetwork, channelName, side.contract); err != nil {
			return err
		}
		defer done()
		if err := firstTx(ctx, side.clients[0]); err != nil {
			return err
		}
	}
	if tps.settings, err = w.settings(ctx, &platform{name: contractNetwork, clients: sides[1].clients}); err != nil {
		return err
	}
	tps.baselineSettings = tps.settings
	for i := range w.rounds {
		for _, side := range sides {
			got, err := w.drive(ctx, side.clients)
			if err != nil {
				return err
			}
			*side.values = append(*side.values, got.TPS())
			progress("round %d, %s: %s", i+1, side.contract, got)
		}
	}
	return w.book.write(tps)
}

// bareContract is the contract as a bare process.
const bareContract = "bare"

// serveBare runs the program in the network of the lab's first node and takes a package with its address through the
// life cycle. It listens where peers may go: at a port of API servers.
func (w *workshop) serveBare(ctx context.Context) (stop func(), err error) {
	program := filepath.Join(w.dir, "program")
	if err := compile(ctx, filepath.Join(w.dir, measured), program, filepath.Join(w.dir, "cache0")); err != nil {
		return nil, err
	}
	status, err := w.Lab.Status(ctx)
	if err != nil {
		return nil, err
	}
	var nodes corev1.NodeList
	if err := w.List(ctx, &nodes); err != nil {
		return nil, err
	}
	if len(status.Nodes) != 1 || len(nodes.Items) != 1 || len(nodes.Items[0].Status.Addresses) == 0 {
		return nil, fmt.Errorf("run a bare contract: the lab has %d nodes, and one is wanted", len(nodes.Items))
	}
	address := net.JoinHostPort(nodes.Items[0].Status.Addresses[0].Address, "8443")
	pkg, err := ccpackage.CCAAS(bareContract, ccpackage.Connection{Address: address, DialTimeout: "2s"})
	if err != nil {
		return nil, err
	}
	id, err := ccpackage.ID(pkg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "nsenter", "--net=/proc/"+strconv.Itoa(status.Nodes[0].PID)+"/ns/net", program)
	cmd.Env = []string{"CHAINCODE_SERVER_ADDRESS=" + address, "CHAINCODE_ID=" + id}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("run a bare contract: %w", err)
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}
	if err := w.DeployPackage(ctx, contractNetwork, pkg, admin.Definition{Channel: channelName, Name: bareContract, Version: "1", Sequence: 1}); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
