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
		Long: `Prints what a contract's pods said at every peer, those that are gone too: peers keep it in their own logs. With --build,
CONTRACT may also be the name of a ChaincodeBuild, and the log of the build is printed.`,
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
		return a.buildLog(ctx, cl, key)
	}
	if cc == nil {
		return notFoundErrorf("there is no contract %q: 'kubectl get chaincodes -A' lists them", name)
	}
	var pods corev1.PodList
	labels := client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentPeer}
	label := cc.Name
	if specs.ChaincodeRuntime(cc) == v1alpha1.RuntimeService {
		labels, label = client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentChaincode, v1alpha1.LabelChaincode: cc.Name}, ""
	}
	if err := cl.List(ctx, &pods, client.InNamespace(cc.Namespace), labels); err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for i := range pods.Items {
		pod := &pods.Items[i]
		group.Go(func() error { return a.copyContractLog(ctx, cl, f, pod, label, &mu) })
	}
	return group.Wait()
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

// copyContractLog prints the lines of a contract from a pod's log. With a label the pod is a peer's, and other lines are
// left out.
func (a *app) copyContractLog(ctx context.Context, cl *cluster, f *logFlags, pod *corev1.Pod, label string, mu *sync.Mutex) error {
	opts := &corev1.PodLogOptions{Container: pod.Spec.Containers[0].Name, Follow: f.follow}
	if f.since > 0 {
		opts.SinceSeconds = ptr.To(int64(f.since / time.Second))
	}
	stream, err := cl.clientset.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, opts).Stream(ctx)
	if err != nil {
		return fmt.Errorf("read log of pod %q: %w", pod.Name, err)
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
		if label != "" {
			var ok bool
			if text, ok = contractLine(text, label); !ok {
				continue
			}
		}
		mu.Lock()
		fmt.Fprintf(a.out, "%s  %s\n", who, text)
		mu.Unlock()
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("read log of pod %q: %w", pod.Name, err)
	}
	return nil
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
func (a *app) buildLog(ctx context.Context, cl *cluster, key client.ObjectKey) error {
	b := &v1alpha1.ChaincodeBuild{}
	if err := cl.Get(ctx, key, b); err != nil {
		return fmt.Errorf("read build %q: %w", key.Name, err)
	}
	pod, err := cl.buildPod(ctx, key.Namespace, key.Name)
	if err != nil {
		return err
	}
	var stream io.ReadCloser
	switch {
	case pod != nil:
		stream, err = cl.clientset.CoreV1().Pods(key.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: "compile"}).Stream(ctx)
	case b.Status.Image != nil && b.Status.Image.Log != "":
		path := fmt.Sprintf("/api/v1/namespaces/%s/services/%s/proxy/v2/%s/%s/blobs/%s", specs.SystemNamespace, registryService, key.Namespace, key.Name, b.Status.Image.Log)
		stream, err = cl.clientset.CoreV1().RESTClient().Get().AbsPath(path).Stream(ctx)
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
