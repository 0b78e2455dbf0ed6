package harness

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// logTail is how many lines of a log a report has.
const logTail = 40

// Report tells the state of a network for the log of a failed test: conditions, pods, and the ends of their logs and of
// the operator's.
func (c *Cluster) Report(ctx context.Context, network string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "state of network %q\n", network)
	for _, list := range []client.ObjectList{
		&v1alpha1.NetworkList{}, &v1alpha1.OrganizationList{}, &v1alpha1.OrdererList{}, &v1alpha1.PeerList{},
		&v1alpha1.ChannelList{}, &v1alpha1.ChaincodeList{}, &v1alpha1.IdentityList{},
	} {
		c.reportList(ctx, &b, network, list)
	}
	c.reportPods(ctx, &b, network)
	if pod, err := c.Operator(ctx); err != nil {
		fmt.Fprintf(&b, "%v\n", err)
	} else {
		c.reportLog(ctx, &b, pod, "")
	}
	return b.String()
}

func (c *Cluster) reportList(ctx context.Context, out io.Writer, network string, list client.ObjectList) {
	if err := c.List(ctx, list, client.InNamespace(network)); err != nil {
		fmt.Fprintf(out, "%v\n", err)
		return
	}
	_ = eachItem(list, func(o Object) {
		if o.GetNamespace() == "" && o.GetName() != network {
			return
		}
		fmt.Fprintf(out, "  %-28T %-24s %s\n", o, o.GetName(), Describe(o))
	})
}

func (c *Cluster) reportPods(ctx context.Context, out io.Writer, network string) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(network)); err != nil {
		fmt.Fprintf(out, "%v\n", err)
		return
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		fmt.Fprintf(out, "  pod %s: %s", p.Name, p.Status.Phase)
		states := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
		for _, s := range states {
			fmt.Fprintf(out, ", %s ready=%v restarts=%d", s.Name, s.Ready, s.RestartCount)
			if w := s.State.Waiting; w != nil {
				fmt.Fprintf(out, " (%s: %s)", w.Reason, w.Message)
			}
		}
		fmt.Fprintln(out)
		for _, s := range states {
			fmt.Fprintf(out, "    log of %s\n", s.Name)
			c.reportLog(ctx, out, p, s.Name)
		}
	}
}

func (c *Cluster) reportLog(ctx context.Context, out io.Writer, pod *corev1.Pod, container string) {
	tail := int64(logTail)
	raw, err := c.Set.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, TailLines: &tail}).DoRaw(ctx)
	if err != nil {
		fmt.Fprintf(out, "    no log of pod %s: %v\n", pod.Name, err)
		return
	}
	for line := range strings.Lines(string(raw)) {
		fmt.Fprintf(out, "    %s", line)
	}
	fmt.Fprintln(out)
}

// eachItem calls f for each object of a list.
func eachItem(list client.ObjectList, f func(Object)) error {
	return meta.EachListItem(list, func(o runtime.Object) error {
		if obj, ok := o.(Object); ok {
			f(obj)
		}
		return nil
	})
}

// Log is what a container has printed, for messages.
func (c *Cluster) Log(ctx context.Context, pod *corev1.Pod, container string) string {
	raw, err := c.Set.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container}).DoRaw(ctx)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(raw))
}

// Key is the namespace and name of an object.
func Key(obj client.Object) client.ObjectKey { return client.ObjectKeyFromObject(obj) }
