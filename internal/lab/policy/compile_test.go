package policy

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

var update = flag.Bool("update", false, "rewrite golden files")

const (
	ingress = networkingv1.PolicyTypeIngress
	egress  = networkingv1.PolicyTypeEgress
)

func labelled(kv ...string) *metav1.LabelSelector {
	out := &metav1.LabelSelector{}
	for i := 0; i < len(kv); i += 2 {
		metav1.AddLabelToSelector(out, kv[i], kv[i+1])
	}
	return out
}

func port(proto corev1.Protocol, p any, end ...int32) networkingv1.NetworkPolicyPort {
	out := networkingv1.NetworkPolicyPort{Protocol: &proto}
	switch v := p.(type) {
	case int:
		out.Port = ptr.To(intstr.FromInt32(int32(v)))
	case string:
		out.Port = ptr.To(intstr.FromString(v))
	}
	if len(end) > 0 {
		out.EndPort = &end[0]
	}
	return out
}

func from(peers ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicyIngressRule {
	return networkingv1.NetworkPolicyIngressRule{From: peers}
}

func to(peers ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicyEgressRule {
	return networkingv1.NetworkPolicyEgressRule{To: peers}
}

func spec(pods *metav1.LabelSelector, types []networkingv1.PolicyType, in []networkingv1.NetworkPolicyIngressRule, out []networkingv1.NetworkPolicyEgressRule) networkingv1.NetworkPolicySpec {
	return networkingv1.NetworkPolicySpec{PodSelector: *pods, PolicyTypes: types, Ingress: in, Egress: out}
}

// shop is the cluster most tests use: two networks on two nodes.
func shop() *world {
	w := &world{}
	w.namespace("shop", map[string]string{"kubernetes.io/metadata.name": "shop", "tenant": "one"})
	w.namespace("bank", map[string]string{"kubernetes.io/metadata.name": "bank", "tenant": "two"})
	w.pod("shop", "web", "n1", "10.1.1.10", map[string]string{"app": "web"},
		corev1.ContainerPort{Name: "http", ContainerPort: 80, Protocol: corev1.ProtocolTCP})
	w.pod("shop", "db", "n1", "10.1.1.11", map[string]string{"app": "db"})
	w.pod("shop", "far", "n2", "10.1.2.10", map[string]string{"app": "web"},
		corev1.ContainerPort{Name: "http", ContainerPort: 8080})
	w.pod("bank", "teller", "n1", "10.1.1.12", map[string]string{"app": "web"})
	return w
}

func TestCompile(t *testing.T) {
	web, db := netip.MustParseAddr("10.1.1.10"), netip.MustParseAddr("10.1.1.11")
	all := &metav1.LabelSelector{}
	far := netip.MustParseAddr("10.1.2.10")
	tests := map[string]struct {
		spec            networkingv1.NetworkPolicySpec
		ingress, egress map[netip.Addr][]Allow
	}{
		"no types, no rules: ingress only": {
			spec:    spec(labelled("app", "web"), nil, nil, nil),
			ingress: map[netip.Addr][]Allow{web: nil},
		},
		"no types, egress rules: both": {
			spec:    spec(labelled("app", "web"), nil, nil, []networkingv1.NetworkPolicyEgressRule{to()}),
			ingress: map[netip.Addr][]Allow{web: nil},
			egress:  map[netip.Addr][]Allow{web: {{Policy: "shop/p", Peer: Peer{Any: true}}}},
		},
		"egress type only": {
			spec:   spec(labelled("app", "web"), []networkingv1.PolicyType{egress}, nil, nil),
			egress: map[netip.Addr][]Allow{web: nil},
		},
		"selector of nobody": {
			spec: spec(labelled("app", "none"), nil, nil, nil),
		},
		"own namespace, all pods": {
			spec: spec(all, nil, []networkingv1.NetworkPolicyIngressRule{from(networkingv1.NetworkPolicyPeer{PodSelector: all})}, nil),
			ingress: map[netip.Addr][]Allow{
				web: {{Policy: "shop/p", Peer: Peer{Addrs: []netip.Addr{web, db, far}}}},
				db:  {{Policy: "shop/p", Peer: Peer{Addrs: []netip.Addr{web, db, far}}}},
			},
		},
		"peers that match nobody allow nobody": {
			spec:    spec(labelled("app", "db"), nil, []networkingv1.NetworkPolicyIngressRule{from(networkingv1.NetworkPolicyPeer{PodSelector: labelled("app", "none")})}, nil),
			ingress: map[netip.Addr][]Allow{db: nil},
		},
		"a block of another family allows nobody": {
			spec:    spec(labelled("app", "db"), nil, []networkingv1.NetworkPolicyIngressRule{from(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "::/0"}})}, nil),
			ingress: map[netip.Addr][]Allow{db: nil},
		},
		"a hole that cannot be read closes the block": {
			spec:    spec(labelled("app", "db"), nil, []networkingv1.NetworkPolicyIngressRule{from(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"x"}}})}, nil),
			ingress: map[netip.Addr][]Allow{db: nil},
		},
		"overlapping holes are merged": {
			spec: spec(labelled("app", "db"), nil, []networkingv1.NetworkPolicyIngressRule{from(networkingv1.NetworkPolicyPeer{
				IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/24", "10.1.0.0/16", "10.3.0.0/24"}},
			})}, nil),
			ingress: map[netip.Addr][]Allow{db: {{Policy: "shop/p", Peer: Peer{
				Block:  netip.MustParsePrefix("10.0.0.0/8"),
				Except: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("10.3.0.0/24")},
			}}}},
		},
		"overlapping ports are merged": {
			spec: spec(labelled("app", "db"), nil, []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{
				port("TCP", 90, 95), port("UDP", nil), port("TCP", 80), port("TCP", 92), port("UDP", 53), port("TCP", 96, 99),
			}}}, nil),
			ingress: map[netip.Addr][]Allow{db: {{Policy: "shop/p", Peer: Peer{Any: true}, Ports: []Ports{{"TCP", 80, 80}, {"TCP", 90, 99}, {"UDP", 0, 0}}}}},
		},
		"a name the pod does not have opens nothing": {
			spec:    spec(labelled("app", "db"), nil, []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{port("TCP", "http")}}}, nil),
			ingress: map[netip.Addr][]Allow{db: nil},
		},
		"egress by name: the port of each pod reached": {
			spec: spec(labelled("app", "db"), []networkingv1.PolicyType{egress}, nil, []networkingv1.NetworkPolicyEgressRule{{Ports: []networkingv1.NetworkPolicyPort{port("TCP", "http")}}}),
			egress: map[netip.Addr][]Allow{db: {
				{Policy: "shop/p", Peer: Peer{Addrs: []netip.Addr{web}}, Ports: []Ports{{"TCP", 80, 80}}},
				{Policy: "shop/p", Peer: Peer{Addrs: []netip.Addr{far}}, Ports: []Ports{{"TCP", 8080, 8080}}},
			}},
		},
		"selector that cannot be read selects nobody": {
			spec: spec(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}, nil, nil, nil),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := shop()
			w.policy("shop", "p", tc.spec)
			rs := w.compile("n1")
			if diff := cmp.Diff(tc.ingress, rs.Ingress, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Errorf("ingress (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.egress, rs.Egress, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Errorf("egress (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompileDoesNotDependOnOrder(t *testing.T) {
	w := shop()
	for _, name := range []string{"a", "b"} {
		w.policy("shop", name, spec(&metav1.LabelSelector{}, nil, []networkingv1.NetworkPolicyIngressRule{from(
			networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}, networkingv1.NetworkPolicyPeer{NamespaceSelector: labelled("tenant", "two")})}, nil))
	}
	want := w.compile("n1").Script()
	w.pods[0], w.pods[3] = w.pods[3], w.pods[0]
	w.namespaces[0], w.namespaces[1] = w.namespaces[1], w.namespaces[0]
	w.policies[0], w.policies[1] = w.policies[1], w.policies[0]
	if diff := cmp.Diff(want, w.compile("n1").Script()); diff != "" {
		t.Errorf("script (-want +got):\n%s", diff)
	}
}

func TestHolders(t *testing.T) {
	addr := netip.MustParseAddr("10.1.1.10")
	old, young := metav1.NewTime(time.Unix(100, 0)), metav1.NewTime(time.Unix(200, 0))
	tests := map[string]struct {
		change func(w *world, web, other *corev1.Pod)
		leases []Lease
		want   string
	}{
		"status":                      {want: "web"},
		"succeeded pods hold nothing": {change: func(_ *world, web, _ *corev1.Pod) { web.Status.Phase = corev1.PodSucceeded }},
		"failed pods hold nothing":    {change: func(_ *world, web, _ *corev1.Pod) { web.Status.Phase = corev1.PodFailed }},
		"terminating pods still hold": {change: func(_ *world, web, _ *corev1.Pod) { web.DeletionTimestamp = &young }, want: "web"},
		"host network is the node's":  {change: func(_ *world, web, _ *corev1.Pod) { web.Spec.HostNetwork = true }},
		"used again: the younger pod": {change: func(_ *world, web, other *corev1.Pod) {
			web.CreationTimestamp, other.CreationTimestamp = old, young
			other.Status.PodIPs = web.Status.PodIPs
		}, want: "other"},
		"a lease wins over status": {leases: []Lease{{Addr: addr, UID: "shop/other"}}, want: "other"},
		"a lease without uid":      {leases: []Lease{{Addr: addr, Namespace: "shop", Name: "other"}}, want: "other"},
		"a lease of an unknown pod": {
			leases: []Lease{{Addr: addr, UID: "gone", Namespace: "shop", Name: "other"}},
			want:   "web",
		},
		"the later lease": {
			leases: []Lease{{Addr: addr, UID: "shop/web", Time: young.Time}, {Addr: addr, UID: "shop/other", Time: old.Time}},
			want:   "web",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			w := &world{}
			web := w.pod("shop", "web", "n1", "10.1.1.10", nil)
			other := w.pod("shop", "other", "n1", "", nil)
			if tc.change != nil {
				tc.change(w, web, other)
			}
			got := ""
			if pod := holders(w.pods, tc.leases)[addr]; pod != nil {
				got = pod.Name
			}
			if got != tc.want {
				t.Errorf("holder of %s: got %q, want %q", addr, got, tc.want)
			}
		})
	}
}

// goldenWorld has every kind of match in it.
func goldenWorld() *world {
	w := shop()
	w.policy("shop", "deny-all", spec(&metav1.LabelSelector{}, []networkingv1.PolicyType{ingress, egress}, nil, nil))
	w.policy("shop", "own", spec(&metav1.LabelSelector{}, []networkingv1.PolicyType{ingress, egress},
		[]networkingv1.NetworkPolicyIngressRule{from(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}})},
		[]networkingv1.NetworkPolicyEgressRule{to(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}})}))
	w.policy("shop", "web", spec(labelled("app", "web"), nil, []networkingv1.NetworkPolicyIngressRule{
		{From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: labelled("tenant", "two")}}, Ports: []networkingv1.NetworkPolicyPort{port("TCP", "http"), port("UDP", nil), port("SCTP", 5, 9)}},
		{From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0", Except: []string{"10.0.0.0/8", "192.168.0.0/16"}}}}, Ports: []networkingv1.NetworkPolicyPort{port("TCP", 443), port("TCP", 8443)}},
		from(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "10.9.0.0/16"}}),
	}, nil))
	return w
}

func TestScriptGolden(t *testing.T) {
	w := goldenWorld()
	got := Compile(w.policies, w.pods, w.namespaces, Node{Name: "n1", Bridge: "cni0", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}}).Script()
	path := filepath.Join("testdata", "script.nft")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("script (-want +got):\n%s", diff)
	}
}
