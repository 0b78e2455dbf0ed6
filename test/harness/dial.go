package harness

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/tunnel"
)

// tunnels are the port forwards that are open.
type tunnels struct {
	mu   sync.Mutex
	open map[string]*tunnel.Tunnel
}

func (t *tunnels) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range t.open {
		o.Close()
	}
	t.open = nil
}

// Dial connects to a node by its address as it stands in the channel configuration, such as peer0-banka.trade:7051.
// In a lab it goes from inside the lab's first node to the node's Service; elsewhere it is a port forward.
func (c *Cluster) Dial(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	node, network, ok := strings.Cut(host, ".")
	if !ok {
		return nil, fmt.Errorf("dial %q: the host is not NODE.NETWORK", address)
	}
	if c.Site == nil || len(c.Site.NodeNames()) > 1 {
		// From one machine of several, a network policy sees traffic to a pod on another one as a stranger's.
		return c.dialTunnel(ctx, node, network, port)
	}
	var svc corev1.Service
	if err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: node}, &svc); err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	return c.Site.DialContext(ctx, "tcp", net.JoinHostPort(svc.Spec.ClusterIP, port))
}

func (c *Cluster) dialTunnel(ctx context.Context, node, network, port string) (net.Conn, error) {
	t, err := c.tunnel(ctx, node, network, port)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", t.Address())
}

func (c *Cluster) tunnel(ctx context.Context, node, network, port string) (*tunnel.Tunnel, error) {
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("dial node %q: port %q is no number", node, port)
	}
	key := node + "." + network + ":" + port
	c.tunnels.mu.Lock()
	defer c.tunnels.mu.Unlock()
	if t, ok := c.tunnels.open[key]; ok {
		return t, nil
	}
	// The tunnel outlives this call: others use it too.
	t, err := tunnel.Open(context.WithoutCancel(ctx), tunnel.Options{
		Config: c.Config, Namespace: network, Remote: int32(number),
		Pod: func(ctx context.Context) (string, error) {
			pod, err := c.PodOf(ctx, network, node)
			if err != nil {
				return "", err
			}
			return pod.Name, nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("dial node %q: %w", node, err)
	}
	if c.tunnels.open == nil {
		c.tunnels.open = map[string]*tunnel.Tunnel{}
	}
	c.tunnels.open[key] = t
	return t, nil
}

// PodOf finds the running pod of an orderer, a peer or an organization's CA.
func (c *Cluster) PodOf(ctx context.Context, network, node string) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(network), client.MatchingLabels{v1alpha1.LabelNode: node}); err != nil {
		return nil, fmt.Errorf("list pods of node %q: %w", node, err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		// The contracts that a peer launched have its name too.
		if p.Labels[v1alpha1.LabelComponent] != v1alpha1.ComponentChaincode && p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			return p, nil
		}
	}
	return nil, fmt.Errorf("node %q of network %q has no running pod", node, network)
}
