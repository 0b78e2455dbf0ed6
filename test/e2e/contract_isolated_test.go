package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/harness"
)

// TestContractIsolated: a contract that a peer launched reaches that peer's port for contracts and nothing else, neither
// in the network nor outside, and nothing reaches the contract.
func TestContractIsolated(t *testing.T) {
	ctx, c, s := faultyLab(t, 8*time.Minute, "isolated")
	cc := deployFaulty(ctx, t, c, s, "first")
	pongs(ctx, t, c, s)
	for _, o := range s.Orgs {
		for _, port := range []string{":9999", ":5555"} {
			if out, err := evaluateAt(ctx, c, s, o.Name, "Listen", port); err != nil {
				t.Fatalf("listen: %v\n%s", err, out)
			}
		}
	}
	contracts := map[string]string{}
	for _, pod := range launched(ctx, t, c, cc) {
		contracts[pod.Labels[v1alpha1.LabelNode]] = pod.Status.PodIP
	}
	node := func(name, port string) string {
		pod, err := c.PodOf(ctx, s.Name, name)
		must(t, err)
		return net.JoinHostPort(pod.Status.PodIP, port)
	}
	if got := dialed(ctx, t, c, s, node("peer0-banka", "7052")); got != "open" {
		t.Errorf("the contract's own peer is %s", got)
	}
	var wg sync.WaitGroup
	few := make(chan struct{}, 6)
	for what, address := range map[string]string{
		"its peer's port for clients":             node("peer0-banka", "7051"),
		"its peer's operations":                   node("peer0-banka", "9443"),
		"another peer's port for contracts":       node("peer0-bankb", "7052"),
		"another peer":                            service(ctx, t, c, s.Name, "peer0-bankb", "7051"),
		"an orderer":                              service(ctx, t, c, s.Name, "orderer0-ord", "7050"),
		"an orderer's participation":              node("orderer0-ord", "7053"),
		"the same contract of another peer":       net.JoinHostPort(contracts["peer0-bankb"], "9999"),
		"the same contract at another port":       net.JoinHostPort(contracts["peer0-bankb"], "5555"),
		"a contract that is a service":            service(ctx, t, c, s.Name, "cc-"+demoChannel+"-asset", "9999"),
		"the API server":                          service(ctx, t, c, "default", "kubernetes", "443"),
		"the API server on its machine":           strings.TrimPrefix(c.Config.Host, "https://"),
		"the registry":                            service(ctx, t, c, harness.SystemNamespace, "registry", "5000"),
		"the registry's port on machines":         net.JoinHostPort(machine(ctx, t, c), "30500"),
		"the kubelet":                             net.JoinHostPort(machine(ctx, t, c), "10250"),
		"DNS":                                     service(ctx, t, c, "kube-system", "kube-dns", "53"),
		"DNS by packets":                          "udp:" + service(ctx, t, c, "kube-system", "kube-dns", "53"),
		"the proxy for modules":                   "10.200.0.1:80",
		"the world":                               "192.0.2.1:443",
		"the metadata service of cloud providers": "169.254.169.254:80",
	} {
		wg.Go(func() {
			few <- struct{}{}
			defer func() { <-few }()
			if got := dialed(ctx, t, c, s, address); !strings.HasPrefix(got, "closed") {
				t.Errorf("a contract reaches %s (%s): %s", what, address, got)
			}
		})
	}
	wg.Wait()
	// The same addresses are there for those who may: a test that dials what nobody serves would see nothing.
	for component, address := range map[string]string{
		v1alpha1.ComponentPeer: service(ctx, t, c, s.Name, "cc-"+demoChannel+"-asset", "9999"), v1alpha1.ComponentOrderer: node("orderer0-ord", "7050"),
		v1alpha1.ComponentBuild: service(ctx, t, c, harness.SystemNamespace, "registry", "5000"),
	} {
		if !connects(ctx, t, c, s.Name, component, address) {
			t.Errorf("a pod of component %s does not reach %s", component, address)
		}
	}
	space(ctx, t, c, "isolated-strangers")
	for _, from := range []struct{ namespace, component, port string }{
		{s.Name, v1alpha1.ComponentPeer, "9999"},
		{s.Name, v1alpha1.ComponentPeer, "5555"},
		{s.Name, v1alpha1.ComponentChaincode, "5555"},
		{s.Name, v1alpha1.ComponentOrderer, "5555"},
		{s.Name, "", "9999"},
		{"isolated-strangers", "", "5555"},
	} {
		if connects(ctx, t, c, from.namespace, from.component, net.JoinHostPort(contracts["peer0-banka"], from.port)) {
			t.Errorf("a pod of namespace %s and component %q reaches a contract's port %s", from.namespace, from.component, from.port)
		}
	}
	pongs(ctx, t, c, s)
}

// dialed is what the contract at the first organization's peer says of an address.
func dialed(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, address string) string {
	t.Helper()
	out, err := evaluateAt(ctx, c, s, "banka", "Dial", address)
	if err != nil {
		t.Errorf("dial %s: %v\n%s", address, err, out)
	}
	progress("contract -> %s: %s", address, strings.TrimSpace(out))
	return strings.TrimSpace(out)
}

// service is a Service's address.
func service(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, name, port string) string {
	t.Helper()
	var s corev1.Service
	must(t, c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s))
	return net.JoinHostPort(s.Spec.ClusterIP, port)
}

// machine is an address of a machine of the cluster.
func machine(ctx context.Context, t *testing.T, c *harness.Cluster) string {
	t.Helper()
	var nodes corev1.NodeList
	must(t, c.List(ctx, &nodes))
	for _, n := range nodes.Items {
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				return a.Address
			}
		}
	}
	t.Fatal(fmt.Errorf("no machine has an address"))
	return ""
}
