package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/specs/launch"
)

type logFlags struct {
	channel string
	follow  bool
	since   time.Duration
	build   bool
}

func (a *app) chaincodeLogsCommand() *cobra.Command {
	f := &logFlags{}
	c := &cobra.Command{
		Use:   "logs CONTRACT",
		Short: "Print what a contract said, or the log of its build",
		Long: `Prints what a contract's pods said at every peer, those that are gone too: peers keep it in their own logs. Of a contract that
runs as a service it is what its pods said, and the last container before a restart. With --follow, pods that come later
are taken in. With --build, CONTRACT may also be the name of a ChaincodeBuild, and the log of the build is printed.`,
		Example: a.text(`  %[1]s chaincode logs asset --channel demo -f
  %[1]s chaincode logs asset --channel demo --build
  %[1]s chaincode logs asset-0f1e2d3c4b5a --build -n demo`),
		Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.chaincodeLogs(c.Context(), f, args[0])
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.channel, "channel", "", "channel that the contract is on, if its name is not enough")
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on with what is said from now on")
	fl.DurationVar(&f.since, "since", 0, "only what was said in this time; everything that is kept unless given")
	fl.BoolVar(&f.build, "build", false, "the log of the build")
	return c
}

func (a *app) chaincodeLogs(ctx context.Context, f *logFlags, name string) error {
	cl, err := a.connect()
	if err != nil {
		return err
	}
	cc, err := cl.findChaincode(ctx, *a.kube.Namespace, f.channel, name)
	if err != nil {
		return err
	}
	if f.build {
		key := client.ObjectKey{Namespace: *a.kube.Namespace, Name: name}
		if cc != nil {
			key = client.ObjectKey{Namespace: cc.Namespace, Name: cc.Spec.Build}
		}
		switch {
		case key.Name == "":
			return notFoundErrorf("contract %q has no build: it runs image %s", name, cc.Spec.Image)
		case key.Namespace == "":
			return notFoundErrorf("there is no contract %q: name the network of a build with --namespace", name)
		}
		return a.buildLog(ctx, cl, key, f.follow)
	}
	if cc == nil {
		return notFoundErrorf("there is no contract %q: 'kubectl get chaincodes -A' lists them", name)
	}
	l := &contractLogs{
		app: a, cluster: cl, flags: f, namespace: cc.Namespace, label: cc.Name, seen: map[string]bool{},
		labels: client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentPeer},
	}
	if specs.ChaincodeRuntime(cc) == v1alpha1.RuntimeService {
		l.labels, l.label = client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentChaincode, v1alpha1.LabelChaincode: cc.Name}, ""
	}
	return l.copy(ctx)
}

// findChaincode finds a contract by its name on a channel or by the name of its object; nil if there is none.
func (c *cluster) findChaincode(ctx context.Context, namespace, channel, name string) (*v1alpha1.Chaincode, error) {
	var list v1alpha1.ChaincodeList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list chaincodes: %w", err)
	}
	var found []*v1alpha1.Chaincode
	for i := range list.Items {
		cc := &list.Items[i]
		if (cc.Name == name || cc.Spec.ChaincodeName == name) && (channel == "" || cc.Spec.Channel == channel) {
			found = append(found, cc)
		}
	}
	switch len(found) {
	case 0:
		return nil, nil //nolint:nilnil // none is an answer, not an error
	case 1:
		return found[0], nil
	}
	return nil, usageErrorf("contract %q is on several channels: choose one with --channel, and the network with --namespace", name)
}

// colours are what Fabric's nodes put around words of their logs.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// contractLogs copies what the pods of a contract said, or, with a label, what their peers keep of it.
type contractLogs struct {
	app       *app
	cluster   *cluster
	flags     *logFlags
	namespace string
	labels    client.MatchingLabels
	// label of the contract's lines in the logs of peers; empty where the pods are the contract's own.
	label string
	// seen are the containers whose logs are being copied or were.
	seen map[string]bool
	// mu keeps lines whole.
	mu sync.Mutex
}

// copy copies all logs to their ends, or, to follow, those of all pods that come until ctx ends.
func (l *contractLogs) copy(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	look := func(ctx context.Context) error {
		var pods corev1.PodList
		if err := l.cluster.List(ctx, &pods, client.InNamespace(l.namespace), l.labels); err != nil {
			return fmt.Errorf("list pods: %w", err)
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if logs := l.unseen(pod); len(logs) > 0 {
				group.Go(func() error { return l.copyPod(ctx, pod, logs) })
			}
		}
		return nil
	}
	if l.flags.follow {
		group.Go(func() error {
			return l.cluster.until(ctx, &corev1.PodList{}, []client.ListOption{client.InNamespace(l.namespace), l.labels},
				func(ctx context.Context) (bool, error) { return false, look(ctx) })
		})
	} else if err := look(ctx); err != nil {
		return err
	}
	return group.Wait()
}

// unseen are the logs of a pod that nobody copies yet, the older first; true stands for that of the container before.
func (l *contractLogs) unseen(pod *corev1.Pod) []bool {
	var out []bool
	for i := range pod.Status.ContainerStatuses {
		c := &pod.Status.ContainerStatuses[i]
		if c.Name != pod.Spec.Containers[0].Name {
			continue
		}
		if t := c.LastTerminationState.Terminated; t != nil && l.first(t.ContainerID) {
			out = append(out, true)
		}
		if (c.State.Running != nil || c.State.Terminated != nil) && l.first(c.ContainerID) {
			out = append(out, false)
		}
	}
	return out
}

// first tells whether a container is seen for the first time.
func (l *contractLogs) first(id string) bool {
	fresh := id != "" && !l.seen[id]
	l.seen[id] = true
	return fresh
}

func (l *contractLogs) copyPod(ctx context.Context, pod *corev1.Pod, logs []bool) error {
	for _, previous := range logs {
		opts := &corev1.PodLogOptions{Container: pod.Spec.Containers[0].Name, Previous: previous, Follow: l.flags.follow && !previous}
		if l.flags.since > 0 {
			opts.SinceSeconds = ptr.To(int64(l.flags.since / time.Second))
		}
		err := l.copyLog(ctx, pod, opts)
		// A pod that has just gone took its log along, and so may a container before the last.
		if gone := previous || apierrors.IsNotFound(err); err != nil && !gone && ctx.Err() == nil {
			return fmt.Errorf("read log of pod %q: %w", pod.Name, err)
		}
	}
	return nil
}

// copyLog prints the lines of one log. With a label it is a peer's, and other lines are left out.
func (l *contractLogs) copyLog(ctx context.Context, pod *corev1.Pod, opts *corev1.PodLogOptions) error {
	stream, err := l.cluster.clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, opts).Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	who := pod.Labels[v1alpha1.LabelNode]
	if who == "" {
		who = pod.Name
	}
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		text := lines.Text()
		if l.label != "" {
			var ok bool
			if text, ok = contractLine(text, l.label); !ok {
				continue
			}
		}
		l.mu.Lock()
		fmt.Fprintf(l.app.out, "%s  %s\n", who, text)
		l.mu.Unlock()
	}
	return lines.Err()
}

// contractLine is what a contract said in a line of its peer's log.
func contractLine(line, label string) (string, bool) {
	_, text, ok := strings.Cut(line, launch.LogMark+label+" ")
	if !ok {
		return "", false
	}
	return strings.TrimSuffix(colours.ReplaceAllString(text, ""), " command=run"), true
}

// buildLog prints the log of a build: from its pod while there is one, else what the registry keeps.
func (a *app) buildLog(ctx context.Context, cl *cluster, key client.ObjectKey, follow bool) error {
	b := &v1alpha1.ChaincodeBuild{}
	if err := cl.Get(ctx, key, b); err != nil {
		return fmt.Errorf("read build %q: %w", key.Name, err)
	}
	pod, err := cl.buildPod(ctx, key.Namespace, key.Name)
	if err != nil {
		return err
	}
	if follow && b.Status.FinishedAt == nil {
		if pod, err = cl.compiling(ctx, key.Namespace, key.Name); err != nil {
			return err
		}
	}
	var stream io.ReadCloser
	switch {
	case compileStarted(pod):
		opts := &corev1.PodLogOptions{Container: "compile", Follow: follow}
		stream, err = cl.clientset.CoreV1().Pods(key.Namespace).GetLogs(pod.Name, opts).Stream(ctx)
	case b.Status.Image != nil && b.Status.Image.Log != "":
		path := fmt.Sprintf("/api/v1/namespaces/%s/services/%s/proxy/v2/%s/%s/blobs/%s", specs.SystemNamespace, registryService, key.Namespace, key.Name, b.Status.Image.Log)
		stream, err = cl.clientset.CoreV1().RESTClient().Get().AbsPath(path).Stream(ctx)
	case b.Status.FinishedAt == nil:
		return notReadyErrorf("build %q does not compile yet: --follow waits for it", key.Name)
	default:
		fmt.Fprintln(a.out, b.Status.Failure)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read log of build %q: %w", key.Name, err)
	}
	defer stream.Close()
	_, err = io.Copy(a.out, stream)
	return err
}
