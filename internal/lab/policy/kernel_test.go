package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// deniedAfter is how long an attempt that must fail is given.
	deniedAfter = 250 * time.Millisecond
	// allowedWithin is how long one that must succeed is given.
	allowedWithin = 10 * time.Second
)

// machine is a node n1 with a CNI-like bridge and three pods, and behind its uplink one
// namespace that plays everything else: node n2 with its pod, and a host outside.
type machine struct {
	t      *testing.T
	prefix string
}

const makeMachine = `
set -e
for n in node web db teller out; do ip netns add $P$n; ip -n $P$n link set lo up; done
inside() { n=$1; shift; nsenter --net=/run/netns/$P$n "$@"; }
ip -n ${P}node link add cni0 type bridge
ip -n ${P}node addr add 10.1.1.1/24 dev cni0
ip -n ${P}node link set cni0 up
inside node sysctl -qw net.ipv4.ip_forward=1
i=10
for n in web db teller; do
  ip -n $P$n link add eth0 type veth peer name v-$n netns ${P}node
  ip -n ${P}node link set v-$n master cni0 up
  ip -n ${P}node link set v-$n type bridge_slave hairpin on
  ip -n $P$n addr add 10.1.1.$i/24 dev eth0
  ip -n $P$n link set eth0 up
  ip -n $P$n route add default via 10.1.1.1
  i=$((i+1))
done
ip -n ${P}node link add eth0 type veth peer name eth0 netns ${P}out
ip -n ${P}node addr add 10.200.1.11/16 dev eth0; ip -n ${P}node link set eth0 up
ip -n ${P}out addr add 10.200.1.12/16 dev eth0; ip -n ${P}out link set eth0 up
ip -n ${P}out addr add 10.1.2.10/32 dev lo
ip -n ${P}out addr add 192.0.2.7/32 dev lo
ip -n ${P}out route add 10.1.1.0/24 via 10.200.1.11
ip -n ${P}node route add 10.1.2.0/24 via 10.200.1.12
ip -n ${P}node route add default via 10.200.1.12
inside node nft -f - <<N
table ip services {
  chain pre { type nat hook prerouting priority dstnat; jump svc; }
  chain out { type nat hook output priority -100; jump svc; }
  chain svc {
    ip daddr 10.2.0.10 tcp dport 80 dnat to 10.1.1.10:80
    ip daddr 10.2.0.12 tcp dport 80 dnat to 10.1.2.10:8080
    ip daddr 10.2.0.1 tcp dport 443 dnat to 10.200.1.11:6443
  }
  chain post { type nat hook postrouting priority srcnat; ip saddr 10.1.1.10 ip daddr 10.1.1.10 masquerade; }
}
N
`

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	for _, tool := range []string{"ip", "nft", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s (apt-get install iproute2 nftables util-linux)", tool)
		}
	}
	if _, err := os.Stat(bridgeSysctl + "iptables"); err != nil {
		t.Skip("needs br_netfilter (modprobe br_netfilter)")
	}
	m := &machine{t: t, prefix: fmt.Sprintf("hp%d-", os.Getpid())}
	t.Cleanup(func() {
		for _, n := range []string{"node", "web", "db", "teller", "out"} {
			if out, err := exec.Command("ip", "netns", "del", m.prefix+n).CombinedOutput(); err != nil {
				t.Errorf("delete namespace %s: %v: %s", n, err, out)
			}
		}
	})
	cmd := exec.Command("bash", "-c", makeMachine)
	cmd.Env = append(os.Environ(), "P="+m.prefix)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make the machine: %v: %s", err, out)
	}
	m.serve("web", "10.1.1.10", 80, 81, 8000, 8001)
	m.serve("db", "10.1.1.11", 80, 81)
	m.serve("teller", "10.1.1.12", 80)
	m.serve("node", "10.200.1.11", 6443)
	m.serve("node", "10.1.1.1", 10250)
	m.serve("out", "10.1.2.10", 8080, 8081)
	m.serve("out", "192.0.2.7", 80)
	return m
}

// in runs fn on a thread that is inside the named network namespace.
func (m *machine) in(name string, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		h, err := netns.GetFromName(m.prefix + name)
		if err != nil {
			done <- err
			return
		}
		defer h.Close()
		if err := netns.Set(h); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// serve answers on TCP and UDP until the test ends.
func (m *machine) serve(name, addr string, ports ...int) {
	m.t.Helper()
	for _, p := range ports {
		at := net.JoinHostPort(addr, strconv.Itoa(p))
		err := m.in(name, func() error {
			l, err := net.Listen("tcp4", at)
			if err != nil {
				return err
			}
			m.t.Cleanup(func() { l.Close() })
			u, err := net.ListenPacket("udp4", at)
			if err != nil {
				return err
			}
			m.t.Cleanup(func() { u.Close() })
			go echoStreams(l)
			go echoPackets(u)
			return nil
		})
		if err != nil {
			m.t.Fatalf("serve %s in %s: %v", at, name, err)
		}
	}
}

func echoStreams(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 64)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

func echoPackets(u net.PacketConn) {
	buf := make([]byte, 64)
	for {
		n, from, err := u.ReadFrom(buf)
		if err != nil {
			return
		}
		if _, err := u.WriteTo(buf[:n], from); err != nil {
			return
		}
	}
}

// dial opens a connection in a namespace, from the given local address if there is one.
func (m *machine) dial(name, network, local, remote string, within time.Duration) (net.Conn, error) {
	var conn net.Conn
	err := m.in(name, func() error {
		d := net.Dialer{Timeout: within}
		if local != "" {
			d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(local)}
			if strings.HasPrefix(network, "udp") {
				d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(local)}
			}
		}
		var err error
		conn, err = d.Dial(network, remote)
		return err
	})
	return conn, err
}

// talk says whether a message comes back over conn.
func talk(conn net.Conn, within time.Duration) error {
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 16))
	return err
}

// try is one exchange, seen from outside.
type try struct {
	from, network, to string
	want              bool
}

// sources are where tries start: namespace and, in "out", the address to use.
var sources = map[string][2]string{
	"web": {"web"}, "db": {"db"}, "teller": {"teller"}, "node": {"node"},
	"far": {"out", "10.1.2.10"}, "node2": {"out", "10.200.1.12"}, "outside": {"out", "192.0.2.7"},
}

func (m *machine) try(tr try) error {
	src := sources[tr.from]
	within := deniedAfter
	if tr.want {
		within = allowedWithin
	}
	conn, err := m.dial(src[0], tr.network+"4", src[1], tr.to, within)
	if err != nil {
		return err
	}
	defer conn.Close()
	return talk(conn, within)
}

func (m *machine) check(tries []try) {
	m.t.Helper()
	var wg sync.WaitGroup
	for _, tr := range tries {
		wg.Go(func() {
			if err := m.try(tr); (err == nil) != tr.want {
				m.t.Errorf("%s -> %s %s: got %v, want allowed=%v", tr.from, tr.network, tr.to, err, tr.want)
			}
		})
	}
	wg.Wait()
}

func (m *machine) apply(rs Ruleset) {
	m.t.Helper()
	if err := m.in("node", func() error { return rs.Apply(context.Background()) }); err != nil {
		m.t.Fatal(err)
	}
}

const (
	webAt, dbAt, tellerAt, farAt = "10.1.1.10:80", "10.1.1.11:80", "10.1.1.12:80", "10.1.2.10:8080"
	webService, farService       = "10.2.0.10:80", "10.2.0.12:80"
	apiService, apiAt            = "10.2.0.1:443", "10.200.1.11:6443"
	kubeletAt, outsideAt         = "10.1.1.1:10250", "192.0.2.7:80"
)

func pods(s *metav1.LabelSelector) networkingv1.NetworkPolicyPeer {
	return networkingv1.NetworkPolicyPeer{PodSelector: s}
}

func TestKernel(t *testing.T) {
	m := newMachine(t)
	if err := m.in("node", filterBridges); err != nil {
		t.Fatal(err)
	}
	everything := &metav1.LabelSelector{}
	in, out, both := []networkingv1.PolicyType{ingress}, []networkingv1.PolicyType{egress}, []networkingv1.PolicyType{ingress, egress}
	type policies map[string]networkingv1.NetworkPolicySpec
	tests := map[string]struct {
		policies policies // in namespace shop; web, db and far are there, teller is in bank
		tries    []try
	}{
		"no policy": {nil, []try{
			{"db", "tcp", webAt, true},
			{"teller", "tcp", webAt, true},
			{"teller", "udp", webAt, true},
			{"far", "tcp", webAt, true},
			{"outside", "tcp", webAt, true},
			{"web", "tcp", farAt, true},
			{"db", "tcp", webService, true},
			{"web", "tcp", webService, true},
			{"web", "tcp", outsideAt, true},
			{"db", "tcp", apiService, true},
		}},
		"default deny ingress": {policies{"p": spec(everything, in, nil, nil)}, []try{
			{"db", "tcp", webAt, false},
			{"db", "udp", webAt, false},
			{"teller", "tcp", webAt, false},
			{"far", "tcp", webAt, false},
			{"outside", "tcp", webAt, false},
			{"db", "tcp", webService, false},
			{"node2", "tcp", webAt, false},
			{"db", "tcp", tellerAt, true},
			{"web", "tcp", farAt, true},
			{"node", "tcp", webAt, true},
			{"node", "udp", webAt, true},
			{"node", "tcp", webService, true},
			{"web", "tcp", webAt, true},
			{"web", "tcp", webService, true},
		}},
		"default deny egress": {policies{"p": spec(everything, out, nil, nil)}, []try{
			{"web", "tcp", dbAt, false},
			{"web", "tcp", farAt, false},
			{"web", "tcp", outsideAt, false},
			{"web", "tcp", farService, false},
			{"web", "tcp", kubeletAt, false},
			{"web", "tcp", apiService, false},
			{"web", "udp", tellerAt, false},
			{"teller", "tcp", webAt, true},
			{"teller", "udp", webAt, true},
			{"node", "tcp", webAt, true},
			{"far", "tcp", webAt, true},
			{"web", "tcp", webService, true},
		}},
		"own namespace only": {policies{"p": spec(everything, in, []networkingv1.NetworkPolicyIngressRule{from(pods(everything))}, nil)}, []try{
			{"db", "tcp", webAt, true},
			{"db", "udp", webAt, true},
			{"far", "tcp", webAt, true},
			{"db", "tcp", webService, true},
			{"teller", "tcp", webAt, false},
			{"teller", "tcp", webService, false},
			{"outside", "tcp", webAt, false},
		}},
		"pod selector": {policies{"p": spec(labelled("app", "db"), in, []networkingv1.NetworkPolicyIngressRule{from(pods(labelled("app", "web")))}, nil)}, []try{
			{"web", "tcp", dbAt, true}, {"far", "tcp", dbAt, true}, {"teller", "tcp", dbAt, false}, {"teller", "tcp", webAt, true},
		}},
		"namespace selector": {policies{"p": spec(everything, in, []networkingv1.NetworkPolicyIngressRule{from(
			networkingv1.NetworkPolicyPeer{NamespaceSelector: labelled("tenant", "two")})}, nil)}, []try{
			{"teller", "tcp", webAt, true}, {"db", "tcp", webAt, false},
		}},
		"both selectors: neither alone suffices": {policies{"p": spec(everything, in, []networkingv1.NetworkPolicyIngressRule{from(
			networkingv1.NetworkPolicyPeer{NamespaceSelector: labelled("tenant", "one"), PodSelector: labelled("app", "web")})}, nil)}, []try{
			{"web", "tcp", dbAt, true}, {"far", "tcp", dbAt, true}, {"db", "tcp", webAt, false}, {"teller", "tcp", webAt, false},
		}},
		"empty namespace selector: all pods, but no others": {policies{"p": spec(everything, in, []networkingv1.NetworkPolicyIngressRule{from(
			networkingv1.NetworkPolicyPeer{NamespaceSelector: everything})}, nil)}, []try{
			{"teller", "tcp", webAt, true}, {"far", "tcp", webAt, true}, {"outside", "tcp", webAt, false}, {"node2", "tcp", webAt, false},
		}},
		"ip block with a hole": {policies{"p": spec(everything, in, []networkingv1.NetworkPolicyIngressRule{from(
			networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.1.0.0/16", "10.1.1.0/24"}}})}, nil)}, []try{
			{"outside", "tcp", webAt, true}, {"node2", "tcp", webAt, true}, {"far", "tcp", webAt, false}, {"db", "tcp", webAt, false},
		}},
		"egress ip block": {policies{"p": spec(everything, out, nil, []networkingv1.NetworkPolicyEgressRule{to(
			networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}})})}, []try{
			{"web", "tcp", outsideAt, true}, {"web", "udp", outsideAt, true}, {"web", "tcp", farAt, false}, {"web", "tcp", dbAt, false},
		}},
		"egress to the API server, after service translation": {policies{"p": spec(everything, out, nil, []networkingv1.NetworkPolicyEgressRule{{
			To:    []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.200.1.11/32"}}},
			Ports: []networkingv1.NetworkPolicyPort{port("TCP", 6443)},
		}})}, []try{
			{"web", "tcp", apiService, true}, {"web", "tcp", apiAt, true}, {"web", "udp", apiAt, false}, {"web", "tcp", kubeletAt, false},
		}},
		"egress to a service: the pod behind it counts": {policies{"p": spec(labelled("app", "db"), out, nil, []networkingv1.NetworkPolicyEgressRule{to(pods(labelled("app", "web")))})}, []try{
			{"db", "tcp", webService, true}, {"db", "tcp", farService, true}, {"db", "tcp", tellerAt, false}, {"db", "tcp", apiService, false},
		}},
		"egress to a service address alone opens nothing": {policies{"p": spec(labelled("app", "db"), out, nil, []networkingv1.NetworkPolicyEgressRule{to(
			networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.2.0.10/32"}})})}, []try{
			{"db", "tcp", webService, false},
		}},
		"ports": {policies{"p": spec(labelled("app", "web"), in, []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{port("TCP", 80)}}}, nil)}, []try{
			{"db", "tcp", webAt, true}, {"db", "tcp", "10.1.1.10:81", false}, {"db", "udp", webAt, false}, {"outside", "tcp", webAt, true},
		}},
		"end port": {policies{"p": spec(labelled("app", "web"), in, []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{port("TCP", 7990, 8000), port("TCP", 81)}}}, nil)}, []try{
			{"db", "tcp", "10.1.1.10:8000", true}, {"db", "tcp", "10.1.1.10:8001", false}, {"db", "tcp", "10.1.1.10:81", true}, {"db", "tcp", webAt, false},
		}},
		"protocol without a port": {policies{"p": spec(labelled("app", "web"), in, []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{port("UDP", nil)}}}, nil)}, []try{
			{"db", "udp", webAt, true}, {"db", "udp", "10.1.1.10:81", true}, {"db", "tcp", webAt, false},
		}},
		"named port, ingress": {policies{"p": spec(everything, in, []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{port("TCP", "http")}}}, nil)}, []try{
			{"db", "tcp", webAt, true}, {"db", "tcp", "10.1.1.10:81", false}, {"web", "tcp", dbAt, false},
		}},
		"named port, egress: 80 at web, 8080 at far": {policies{"p": spec(labelled("app", "db"), out, nil, []networkingv1.NetworkPolicyEgressRule{{
			To: []networkingv1.NetworkPolicyPeer{pods(everything)}, Ports: []networkingv1.NetworkPolicyPort{port("TCP", "http")},
		}})}, []try{
			{"db", "tcp", webAt, true}, {"db", "tcp", farAt, true}, {"db", "tcp", "10.1.1.10:8000", false}, {"db", "tcp", "10.1.2.10:8081", false}, {"db", "tcp", tellerAt, false},
		}},
		"selectors and ports of one rule hold together": {policies{"p": spec(everything, in, []networkingv1.NetworkPolicyIngressRule{
			{From: []networkingv1.NetworkPolicyPeer{pods(labelled("app", "db"))}, Ports: []networkingv1.NetworkPolicyPort{port("TCP", 80)}},
			{From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: labelled("tenant", "two")}}, Ports: []networkingv1.NetworkPolicyPort{port("TCP", 81)}},
		}, nil)}, []try{
			{"db", "tcp", webAt, true}, {"db", "tcp", "10.1.1.10:81", false}, {"teller", "tcp", "10.1.1.10:81", true}, {"teller", "tcp", webAt, false},
		}},
		"policies add up": {policies{
			"a": spec(everything, both, nil, nil),
			"b": spec(labelled("app", "web"), in, []networkingv1.NetworkPolicyIngressRule{from(pods(labelled("app", "db")))}, nil),
			"c": spec(labelled("app", "db"), out, nil, []networkingv1.NetworkPolicyEgressRule{to(pods(labelled("app", "web")))}),
		}, []try{
			{"db", "tcp", webAt, true}, {"db", "tcp", farAt, true}, {"web", "tcp", dbAt, false}, {"teller", "tcp", webAt, false}, {"db", "tcp", tellerAt, false},
		}},
		"both ends must agree": {policies{
			"in":  spec(labelled("app", "web"), in, []networkingv1.NetworkPolicyIngressRule{from()}, nil),
			"out": spec(labelled("app", "db"), out, nil, nil),
		}, []try{{"db", "tcp", webAt, false}, {"teller", "tcp", webAt, true}}},
		"allow all": {policies{"a": spec(everything, both, []networkingv1.NetworkPolicyIngressRule{{}}, []networkingv1.NetworkPolicyEgressRule{{}}), "b": spec(everything, both, nil, nil)}, []try{
			{"teller", "tcp", webAt, true}, {"outside", "udp", webAt, true}, {"web", "tcp", outsideAt, true},
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			sub := &machine{t: t, prefix: m.prefix}
			w := shop()
			for name, s := range tc.policies {
				w.policy("shop", name, s)
			}
			sub.apply(Compile(w.policies, w.pods, w.namespaces, Node{Name: "n1", Bridge: DefaultBridge, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}}))
			sub.check(tc.tries)
		})
	}
	t.Run("change ends what it forbids", func(t *testing.T) { (&machine{t, m.prefix}).testChange() })
	t.Run("unknown pods are closed", func(t *testing.T) { (&machine{t, m.prefix}).testUnknown() })
	t.Run("ipv6 leads around nothing", func(t *testing.T) { (&machine{t, m.prefix}).testLinkLocal() })
	t.Run("clear", func(t *testing.T) { (&machine{t, m.prefix}).testClear() })
}

func shopNode() Node {
	return Node{Name: "n1", Bridge: DefaultBridge, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}}
}

// testChange keeps connections open while policies change.
func (m *machine) testChange() {
	w := shop()
	m.apply(Compile(w.policies, w.pods, w.namespaces, shopNode()))
	for _, network := range []string{"tcp", "udp"} {
		conn, err := m.dial("db", network, "", webAt, allowedWithin)
		if err != nil {
			m.t.Fatal(err)
		}
		defer conn.Close()
		if err := talk(conn, allowedWithin); err != nil {
			m.t.Fatalf("%s before: %v", network, err)
		}
		w.policies = nil
		w.policy("shop", "unrelated", spec(labelled("app", "db"), nil, nil, nil))
		m.apply(Compile(w.policies, w.pods, w.namespaces, shopNode()))
		if err := talk(conn, allowedWithin); err != nil {
			m.t.Errorf("%s: a policy about the opening side must let replies in: %v", network, err)
		}
		w.policy("shop", "deny", spec(labelled("app", "web"), nil, nil, nil))
		m.apply(Compile(w.policies, w.pods, w.namespaces, shopNode()))
		if err := talk(conn, deniedAfter); err == nil {
			m.t.Errorf("%s: the connection outlived its permission", network)
		}
		w.policies = nil
		m.apply(Compile(w.policies, w.pods, w.namespaces, shopNode()))
	}
}

// testUnknown takes a pod away from the API, then gives it back by a CNI lease alone.
func (m *machine) testUnknown() {
	w := shop()
	w.pods[0].Status = corev1.PodStatus{Phase: corev1.PodPending}
	m.apply(Compile(w.policies, w.pods, w.namespaces, shopNode()))
	m.check([]try{{"db", "tcp", webAt, false}, {"web", "tcp", dbAt, false}, {"outside", "tcp", webAt, false}, {"web", "tcp", kubeletAt, false}, {"node", "tcp", webAt, true}, {"db", "tcp", tellerAt, true}})
	if _, err := m.dial("db", "tcp", "", webAt, allowedWithin); !errors.Is(err, syscall.EHOSTUNREACH) {
		m.t.Errorf("call an address without a pod: got %v, want an answer at once: %v", err, syscall.EHOSTUNREACH)
	}
	node := shopNode()
	node.Leases = []Lease{{Addr: netip.MustParseAddr("10.1.1.10"), UID: w.pods[0].UID}}
	m.apply(Compile(w.policies, w.pods, w.namespaces, node))
	m.check([]try{{"db", "tcp", webAt, true}, {"web", "tcp", dbAt, true}, {"outside", "tcp", webAt, true}, {"web", "tcp", kubeletAt, true}})
}

// testLinkLocal talks over the addresses that every interface of the bridge makes itself.
func (m *machine) testLinkLocal() {
	addr := func(name, dev string) string {
		m.t.Helper()
		out, err := exec.Command("ip", "-n", m.prefix+name, "-6", "-o", "addr", "show", "dev", dev, "scope", "link").Output()
		fields := strings.Fields(string(out))
		if err != nil || len(fields) < 4 {
			m.t.Skipf("no link-local address on %s of %s: the kernel has IPv6 off", dev, name)
		}
		ip, _, _ := strings.Cut(fields[3], "/")
		return ip
	}
	try := func(from, dev, name, at string, want bool) {
		m.t.Helper()
		err := m.in(name, func() error {
			l, err := net.Listen("tcp6", "[::]:9")
			if err != nil {
				return err
			}
			m.t.Cleanup(func() { l.Close() })
			go echoStreams(l)
			return nil
		})
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			m.t.Fatal(err)
		}
		within := deniedAfter
		if want {
			within = allowedWithin
		}
		conn, err := m.dial(from, "tcp6", "", net.JoinHostPort(at+"%eth0", "9"), within)
		if err == nil {
			conn.Close()
		}
		if (err == nil) != want {
			m.t.Errorf("%s -> %s over IPv6 (%s): got %v, want allowed=%v", from, name, dev, err, want)
		}
	}
	db, node := addr("db", "eth0"), addr("node", "cni0")
	if err := m.in("node", func() error { return Clear(context.Background()) }); err != nil {
		m.t.Fatal(err)
	}
	try("web", "eth0", "db", db, true)
	try("web", "cni0", "node", node, true)
	w := shop()
	m.apply(Compile(w.policies, w.pods, w.namespaces, shopNode()))
	try("web", "eth0", "db", db, false)
	try("web", "cni0", "node", node, false)
}

func (m *machine) testClear() {
	w := shop()
	w.policy("shop", "deny", spec(&metav1.LabelSelector{}, nil, nil, nil))
	m.apply(Compile(w.policies, w.pods, w.namespaces, shopNode()))
	m.check([]try{{"teller", "tcp", webAt, false}})
	for range 2 {
		if err := m.in("node", func() error { return Clear(context.Background()) }); err != nil {
			m.t.Fatal(err)
		}
	}
	m.check([]try{{"teller", "tcp", webAt, true}})
	if m.hasTable() {
		m.t.Error("the table is still there")
	}
}

func (m *machine) hasTable() bool {
	m.t.Helper()
	var out []byte
	err := m.in("node", func() (err error) {
		out, err = exec.Command("nft", "list", "tables").CombinedOutput()
		return err
	})
	if err != nil {
		m.t.Fatalf("list tables: %v: %s", err, out)
	}
	return bytes.Contains(out, []byte(Table))
}
