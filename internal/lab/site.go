package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// readyTime bounds the wait for a site; a cold disk on a slow machine counts.
const readyTime = 5 * time.Minute

// Site is one cluster of a lab.
type Site struct {
	lab  *Lab
	plan *SitePlan
}

// Name is the site's name in the lab.
func (s *Site) Name() string { return s.plan.Name }

// KubeconfigPath is the file that kubectl and clients use.
func (s *Site) KubeconfigPath() string { return s.plan.kubeconfig() }

// NodeRange are the addresses of the site's nodes.
func (s *Site) NodeRange() string { return s.plan.nodeRange().String() }

// NodeNames lists the site's nodes; the first one has the control plane.
func (s *Site) NodeNames() []string {
	var out []string
	for _, n := range s.plan.Nodes {
		out = append(out, n.Name)
	}
	return out
}

// NodeAddress is the address that other nodes and sites reach a node by.
func (s *Site) NodeAddress(node string) (string, error) {
	_, n, err := s.lab.plan.node(node)
	if err != nil {
		return "", err
	}
	return n.addr().String(), nil
}

// Endpoint is the API server's address on this machine, empty before the
// first start.
func (s *Site) Endpoint() string {
	config, err := clientcmd.LoadFromFile(s.KubeconfigPath())
	if err != nil {
		return ""
	}
	for _, c := range config.Clusters {
		return c.Server
	}
	return ""
}

// RESTConfig is a client configuration with administrator rights.
func (s *Site) RESTConfig() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.KubeconfigPath())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig of %q: %w", s.Name(), err)
	}
	// On localhost a proxy setting of the machine must not count.
	config.Proxy = nil
	config.QPS, config.Burst = 200, 400
	return config, nil
}

// Kubectl is a kubectl command against the site, not yet started.
func (s *Site) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.lab.plan.Libexec, "kube"), append([]string{"kubectl"}, args...)...)
	cmd.Env = append(slices.Clip(os.Environ()), "KUBECONFIG="+s.KubeconfigPath())
	return cmd
}

// ExitCode is the code that a command such as Kubectl's ended with; 0 when err
// is something else.
func ExitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 0)
	}
	return 0
}

// DialContext connects to address (IP and port) from inside the site's first
// node: pods, Services and other sites can be reached by it.
func (s *Site) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	ns, err := s.netns(ctx)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	return dialIn(ctx, ns, network, address)
}

func (s *Site) netns(ctx context.Context) (*os.File, error) {
	status, err := s.lab.control(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range status.Nodes {
		if n.Name == s.plan.Nodes[0].Name && n.Alive {
			return processNetns(n.PID)
		}
	}
	return nil, fmt.Errorf("node %q does not run", s.plan.Nodes[0].Name)
}

// Forward listens on a port of localhost (0: any free one) and joins each
// connection to target, an IP and port inside the lab, until ctx ends. It
// returns the port.
func (s *Site) Forward(ctx context.Context, localPort int, target string) (int, error) {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return 0, fmt.Errorf("forward to %q: %w", target, err)
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", localPort))
	if err != nil {
		return 0, fmt.Errorf("forward port %d: %w", localPort, err)
	}
	go relay(ctx, l, func(ctx context.Context) (net.Conn, error) { return s.DialContext(ctx, "tcp", target) })
	return portOf(l), nil
}

func (s *Site) client() (*kubernetes.Clientset, error) {
	config, err := s.RESTConfig()
	if err != nil {
		return nil, err
	}
	config.Timeout = 5 * time.Second
	return kubernetes.NewForConfig(config)
}

func (s *Site) apiReady(ctx context.Context) bool {
	client, err := s.client()
	if err != nil {
		return false
	}
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
}

// awaitReady waits for all sites at once.
func (l *Lab) awaitReady(ctx context.Context, start time.Time, progress func(string)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("it was not ready within %s", readyTime))
	defer cancel()
	lines := make(chan string)
	results := make(chan error)
	for _, s := range l.Sites() {
		go func() {
			results <- s.awaitReady(ctx, func(what string) {
				lines <- fmt.Sprintf("%s: %s (%.1f s)", s.Name(), what, time.Since(start).Seconds())
			})
		}()
	}
	var errs []error
	for open := len(l.plan.Sites); open > 0; {
		select {
		case line := <-lines:
			progress(line)
		case err := <-results:
			open--
			if err != nil {
				errs = append(errs, err)
				cancel()
			}
		}
	}
	return errors.Join(errs...)
}

// awaitReady waits for the API server, the nodes and the cluster's DNS.
func (s *Site) awaitReady(ctx context.Context, tell func(string)) error {
	client, err := s.client()
	if err != nil {
		return err
	}
	stages := []struct {
		name  string
		check func(context.Context) (bool, error)
	}{
		{"API server ready", func(ctx context.Context) (bool, error) { return s.apiReady(ctx), nil }},
		{"nodes ready", func(ctx context.Context) (bool, error) { return s.nodesReady(ctx, client) }},
		{"DNS ready", s.dnsReady},
	}
	for _, stage := range stages {
		var last error
		err := poll(ctx, 100*time.Millisecond, func() (bool, error) {
			if err := s.alive(ctx); err != nil {
				return false, err
			}
			// A node that dies meanwhile must be noticed soon.
			checkCtx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			ok, err := stage.check(checkCtx)
			last = err
			return ok, nil
		})
		if err != nil {
			return fmt.Errorf("wait for %q, stage %q: %w", s.Name(), stage.name, errors.Join(err, last, s.trouble(ctx)))
		}
		tell(stage.name)
	}
	return nil
}

// trouble says which processes of the site do not stay up, and their last words.
func (s *Site) trouble(ctx context.Context) error {
	var errs []error
	for i := range s.plan.Nodes {
		n := &s.plan.Nodes[i]
		var daemons []DaemonStatus
		if err := ask(context.WithoutCancel(ctx), n.socket(), "GET", "/daemons", &daemons); err != nil {
			continue
		}
		for _, d := range daemons {
			if d.Restarts > 0 {
				errs = append(errs, fmt.Errorf("%s of node %q was started %d times: %s", d.Name, n.Name, d.Restarts+1, lastLine(n.log(d.Name))))
			}
		}
	}
	return errors.Join(errs...)
}

// alive fails when a node of the site has died meanwhile.
func (s *Site) alive(ctx context.Context) error {
	status, err := s.lab.control(ctx)
	if err != nil {
		return err
	}
	for _, n := range status.Nodes {
		if n.Site == s.Name() && !n.Alive {
			_, plan, err := s.lab.plan.node(n.Name)
			if err != nil {
				return err
			}
			return fmt.Errorf("node %q ended: %s", n.Name, lastLine(plan.log("init")))
		}
	}
	return nil
}

// nodesReady goes by what the kubelets said since their nodes were started: what
// they said before is still there after a repair.
func (s *Site) nodesReady(ctx context.Context, client kubernetes.Interface) (bool, error) {
	status, err := s.lab.control(ctx)
	if err != nil {
		return false, err
	}
	since := map[string]time.Time{}
	for _, n := range status.Nodes {
		since[n.Name] = n.Since
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	ready := 0
	for _, n := range nodes.Items {
		if nodeReady(&n, since[n.Name]) {
			ready++
		}
	}
	return ready == len(s.plan.Nodes), nil
}

func nodeReady(n *corev1.Node, since time.Time) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue &&
			!c.LastHeartbeatTime.Time.Before(since.Truncate(time.Second))
	})
}

// dnsReady asks the cluster's DNS, by way of its Service, for a name.
func (s *Site) dnsReady(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return s.DialContext(ctx, network, net.JoinHostPort(s.plan.dnsService().String(), "53"))
	}}
	// A dot at the end: the machine's own search list must not be tried.
	_, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
	return err == nil, err
}
