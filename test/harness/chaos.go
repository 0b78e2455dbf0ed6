package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// Kill sends SIGKILL to every process of a container; see Signal.
func (c *Cluster) Kill(pod *corev1.Pod, container string) error {
	return c.Signal(pod, container, syscall.SIGKILL)
}

// processesOf finds the processes in a container's control group.
func processesOf(containerID string) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil { // a process that has ended meanwhile
			continue
		}
		if !strings.Contains(string(raw), containerID) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// KillNode kills the main container of an orderer, a peer or a CA.
func (c *Cluster) KillNode(ctx context.Context, network, node string) error {
	pod, err := c.PodOf(ctx, network, node)
	if err != nil {
		return err
	}
	return c.Kill(pod, pod.Spec.Containers[0].Name)
}

// Operator finds the running pod of the operator.
func (c *Cluster) Operator(ctx context.Context) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(SystemNamespace)); err != nil {
		return nil, fmt.Errorf("list pods of the operator: %w", err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && strings.HasPrefix(p.Name, "heddle-operator-") {
			return p, nil
		}
	}
	return nil, errors.New("find the operator: it has no running pod")
}

// KillOperator kills the operator's process; the kubelet starts it again.
func (c *Cluster) KillOperator(ctx context.Context) error {
	pod, err := c.Operator(ctx)
	if err != nil {
		return err
	}
	return c.Kill(pod, pod.Spec.Containers[0].Name)
}

// EvictAll drains a cluster node as kubectl drain does: no new pods there, and every pod of a workload is evicted;
// disruption budgets are kept, so it may take several rounds.
func (c *Cluster) EvictAll(ctx context.Context, node string) error {
	var n corev1.Node
	if err := c.Get(ctx, client.ObjectKey{Name: node}, &n); err != nil {
		return err
	}
	patch := client.MergeFrom(n.DeepCopy())
	n.Spec.Unschedulable = true
	if err := c.Patch(ctx, &n, patch); err != nil {
		return fmt.Errorf("cordon %q: %w", node, err)
	}
	return Poll(ctx, func(ctx context.Context) error { return c.evictRound(ctx, node) })
}

// metricOf reads one gauge of a node with the given label; absent is 0.
func (c *Cluster) metricOf(ctx context.Context, network, node, metric, label string) (float64, error) {
	httpClient := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return c.dialPod(ctx, network, node, address)
		},
	}}
	url := fmt.Sprintf("http://%s.%s:%d/metrics", node, network, v1alpha1.PortOperations)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("read metrics of %q: %w", node, err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if ok && strings.HasPrefix(name, metric+"{") && strings.Contains(name, label) {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, lines.Err()
}

// dialPod goes to the pod itself: a node's Service may leave the operations port out.
func (c *Cluster) dialPod(ctx context.Context, network, node, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if c.Site == nil || len(c.Site.NodeNames()) > 1 {
		return c.dialTunnel(ctx, node, network, port)
	}
	pod, err := c.PodOf(ctx, network, node)
	if err != nil {
		return nil, err
	}
	return c.Site.DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, port))
}

func (c *Cluster) evictRound(ctx context.Context, node string) error {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.MatchingFields{"spec.nodeName": node}); err != nil {
		return err
	}
	left := 0
	for i := range pods.Items {
		p := &pods.Items[i]
		owner := metav1.GetControllerOf(p)
		if owner == nil || owner.Kind == "DaemonSet" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		left++
		if p.DeletionTimestamp == nil {
			_ = c.evict(ctx, p) // refused while a disruption budget is used up: the next round asks again
		}
	}
	if left > 0 {
		return fmt.Errorf("drain %q: %d pods are left", node, left)
	}
	return nil
}

func (c *Cluster) evict(ctx context.Context, pod *corev1.Pod) error {
	return c.Set.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
	})
}

// Uncordon lets pods onto a cluster node again.
func (c *Cluster) Uncordon(ctx context.Context, node string) error {
	var n corev1.Node
	if err := c.Get(ctx, client.ObjectKey{Name: node}, &n); err != nil {
		return err
	}
	patch := client.MergeFrom(n.DeepCopy())
	n.Spec.Unschedulable = false
	return c.Patch(ctx, &n, patch)
}

// Signal sends a signal to every process of a container, such as SIGSTOP and SIGCONT. It needs a lab.
func (c *Cluster) Signal(pod *corev1.Pod, container string, sig syscall.Signal) error {
	if c.Lab == nil {
		return fmt.Errorf("%w: signalling processes needs a lab", ErrUnavailable)
	}
	id := containerID(pod, container)
	if id == "" {
		return fmt.Errorf("signal container %q of pod %q: it does not run", container, pod.Name)
	}
	pids, err := processesOf(id)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return fmt.Errorf("signal container %q of pod %q: no process is in its control group", container, pod.Name)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal container %q of pod %q: %w", container, pod.Name, err)
		}
	}
	return nil
}

// WaitEnded waits until no process of a container is left. It needs a lab.
func (c *Cluster) WaitEnded(ctx context.Context, pod *corev1.Pod, container string) error {
	if c.Lab == nil {
		return fmt.Errorf("%w: seeing processes needs a lab", ErrUnavailable)
	}
	id := containerID(pod, container)
	if id == "" {
		return nil
	}
	return Poll(ctx, func(context.Context) error {
		pids, err := processesOf(id)
		if err == nil && len(pids) > 0 {
			err = fmt.Errorf("container %q of pod %q has %d processes left", container, pod.Name, len(pids))
		}
		return err
	})
}

// containerID is the runtime's name of a container, empty where it has not been started.
func containerID(pod *corev1.Pod, container string) string {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.Name == container {
			_, id, _ := strings.Cut(s.ContainerID, "://")
			return id
		}
	}
	return ""
}
