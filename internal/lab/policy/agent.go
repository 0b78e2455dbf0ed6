package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// objectDelay gathers changes of objects, which come in bursts.
	objectDelay = 50 * time.Millisecond
	// leaseDelay is shorter: a container starts some 50 ms after its address is given out.
	leaseDelay = 5 * time.Millisecond
	// retryDelay follows a ruleset that could not be applied.
	retryDelay = time.Second
	// healDelay is how long rules that somebody else removed may be missing.
	healDelay = 30 * time.Second
	// nodeDelay is the pause between two looks for the node's object.
	nodeDelay = 200 * time.Millisecond
)

// Agent keeps the rules of one node current. It must run as root in the node's network namespace.
type Agent struct {
	// Config reaches the API server; the agent lists and watches pods, namespaces and
	// policies, and gets its node.
	Config *rest.Config
	// Node is the node's Kubernetes name.
	Node string
	// Bridge is the interface pods hang on; default DefaultBridge.
	Bridge string
	// Results are folders with CNI results (one per node; those of other nodes of the site
	// make their new pods known at once, too); default DefaultResults. The node's own
	// folder is among them, else its pods would be cut off until status.podIPs is set.
	Results []string
}

// loop is a running agent.
type loop struct {
	node       Node
	results    []string
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   networkinglisters.NetworkPolicyLister
	dirty      chan struct{}
	applied    string
	lingering  lingering
}

// Run enforces policies until ctx ends, then removes the rules and returns nil. An error
// means that enforcement could not start; later trouble is logged and tried again.
func (a *Agent) Run(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(protobuf(a.Config))
	if err != nil {
		return fmt.Errorf("make a client for the policy agent: %w", err)
	}
	return a.enforce(ctx, client)
}

// enforce stays on the goroutine it is called on wherever it touches the network namespace.
func (a *Agent) enforce(ctx context.Context, client kubernetes.Interface) (err error) {
	results := a.Results
	if len(results) == 0 {
		results = []string{DefaultResults}
	}
	if err := filterBridges(); err != nil {
		return err
	}
	leases, stop, err := watchResults(ctx, results, nil)
	if err != nil {
		return err
	}
	defer stop()
	l := &loop{results: results, dirty: make(chan struct{}, 1)}
	if l.node, err = waitNode(ctx, client, a.Node); err != nil {
		return endedOr(ctx, err)
	}
	l.node.Bridge = cmp.Or(a.Bridge, DefaultBridge)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(trim))
	if err := l.watch(factory); err != nil {
		return err
	}
	defer factory.Shutdown()
	factory.StartWithContext(ctx)
	if res := factory.WaitForCacheSyncWithContext(ctx); res.Err != nil {
		return endedOr(ctx, fmt.Errorf("read pods, namespaces and policies: %w", res.Err))
	}
	defer func() {
		clearCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTimeout)
		defer cancel()
		if clearErr := Clear(clearCtx); err == nil {
			err = clearErr
		}
	}()
	l.run(ctx, leases)
	return nil
}

func endedOr(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// protobuf asks for the compact encoding; policies and pods are watched cluster-wide.
func protobuf(cfg *rest.Config) *rest.Config {
	out := rest.CopyConfig(cfg)
	out.ContentType = runtime.ContentTypeProtobuf
	out.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return rest.AddUserAgent(out, "heddle-policy")
}

// waitNode waits until the node has its pod range: at start the agent may be there first.
func waitNode(ctx context.Context, client kubernetes.Interface, name string) (Node, error) {
	out := Node{Name: name}
	var last error
	err := wait.PollUntilContextCancel(ctx, nodeDelay, true, func(ctx context.Context) (bool, error) {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if last = err; err != nil {
			if apierrors.IsForbidden(err) {
				return false, err
			}
			return false, nil
		}
		out.PodCIDRs = nil
		for _, s := range node.Spec.PodCIDRs {
			cidr, err := netip.ParsePrefix(s)
			if err != nil {
				return false, fmt.Errorf("read pod range %q of node %q: %w", s, name, err)
			}
			if cidr.Addr().Is4() {
				out.PodCIDRs = append(out.PodCIDRs, cidr)
			}
		}
		return len(out.PodCIDRs) > 0, nil
	})
	if err != nil {
		return out, fmt.Errorf("get node %q: %w", name, errors.Join(err, last))
	}
	return out, nil
}

// trim keeps what Compile reads and drops the rest before it is stored.
func trim(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		out := &corev1.Pod{ObjectMeta: trimMeta(o.ObjectMeta)}
		out.Labels, out.CreationTimestamp = o.Labels, o.CreationTimestamp
		out.Spec.NodeName, out.Spec.HostNetwork = o.Spec.NodeName, o.Spec.HostNetwork
		out.Spec.Containers = trimContainers(o.Spec.Containers)
		out.Spec.InitContainers = trimContainers(o.Spec.InitContainers)
		out.Status.Phase, out.Status.PodIPs = o.Status.Phase, o.Status.PodIPs
		return out, nil
	case *corev1.Namespace:
		out := &corev1.Namespace{ObjectMeta: trimMeta(o.ObjectMeta)}
		out.Labels = o.Labels
		return out, nil
	case *networkingv1.NetworkPolicy:
		return &networkingv1.NetworkPolicy{ObjectMeta: trimMeta(o.ObjectMeta), Spec: o.Spec}, nil
	}
	return obj, nil
}

func trimMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion}
}

func trimContainers(in []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for _, c := range in {
		if len(c.Ports) > 0 {
			out = append(out, corev1.Container{Ports: c.Ports})
		}
	}
	return out
}

// run applies rules whenever something they depend on has changed, soon after it did.
func (l *loop) run(ctx context.Context, leases <-chan struct{}) {
	logger := log.FromContext(ctx)
	heal := time.NewTicker(healDelay)
	defer heal.Stop()
	next := time.NewTimer(0)
	defer next.Stop()
	var due time.Time // of next, if it runs
	soon := func(d time.Duration) {
		at := time.Now().Add(d)
		if due.IsZero() || at.Before(due) {
			due = at
			next.Reset(d)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.dirty:
			soon(objectDelay)
		case <-leases:
			soon(leaseDelay)
		case <-heal.C:
			if !intact(ctx) {
				l.applied = ""
				soon(0)
			}
		case <-next.C:
			due = time.Time{}
			if err := l.apply(ctx); err != nil && ctx.Err() == nil {
				logger.Error(err, "Apply network policies")
				soon(retryDelay)
			}
		}
	}
}

// apply compiles what the caches hold now, and loads it if it is news.
func (l *loop) apply(ctx context.Context) error {
	node := l.node
	var err error
	if node.Leases, err = readLeases(l.results); err != nil {
		return err
	}
	policies, err := l.policies.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list policies: %w", err)
	}
	pods, err := l.pods.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	namespaces, err := l.namespaces.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	rules := Compile(policies, l.lingering.with(pods, node.Leases), namespaces, node)
	script := rules.Script()
	if script == l.applied {
		return nil
	}
	if err := nft(ctx, script); err != nil {
		return err
	}
	l.applied = script
	log.FromContext(ctx).V(1).Info("Applied network policies", "pods", len(rules.Known), "ingress", len(rules.Ingress), "egress", len(rules.Egress))
	return nil
}
