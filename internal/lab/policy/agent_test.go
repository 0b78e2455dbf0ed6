package policy

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

// TestAgent runs the real agent against the kernel; only the API server is a fake.
func TestAgent(t *testing.T) {
	m := newMachine(t)
	w := shop()
	client := fake.NewSimpleClientset()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, ns := range w.namespaces {
		_, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{})
		must(err)
	}
	for _, p := range w.pods {
		_, err := client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
		must(err)
	}
	results := filepath.Join(t.TempDir(), "results")
	agent := &Agent{Node: "n1", Results: []string{results}}
	ended := make(chan error, 1)
	go func() { ended <- m.in("node", func() error { return agent.enforce(ctx, client) }) }()

	// The agent may be there before its node.
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDRs: []string{"10.1.1.0/24"}}}
	_, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	must(err)
	m.until("the table is there", m.hasTable)
	m.check([]try{{"teller", "tcp", webAt, true}})

	w.policy("shop", "deny", spec(&metav1.LabelSelector{}, nil, nil, nil))
	_, err = client.NetworkingV1().NetworkPolicies("shop").Create(ctx, w.policies[0], metav1.CreateOptions{})
	must(err)
	m.until("a new policy holds", func() bool { return m.try(try{"teller", "tcp", webAt, false}) != nil })

	web := w.pods[0].DeepCopy()
	web.Namespace, web.ResourceVersion = "bank", ""
	must(client.CoreV1().Pods("shop").Delete(ctx, "web", metav1.DeleteOptions{}))
	m.until("the address of a deleted pod is closed", func() bool { return m.try(try{"web", "tcp", tellerAt, false}) != nil })

	// A pod of the other namespace gets the address; only CNI knows so far.
	web.UID, web.Status = "new", corev1.PodStatus{Phase: corev1.PodPending}
	_, err = client.CoreV1().Pods("bank").Create(ctx, web, metav1.CreateOptions{})
	must(err)
	must(os.WriteFile(filepath.Join(results, "pods-1-eth0"), result(t, "new", "10.1.1.10/24"), 0o600))
	m.until("a lease opens an address", func() bool { return m.try(try{"teller", "tcp", webAt, true}) == nil })
	m.check([]try{{"teller", "tcp", dbAt, false}})

	// Deleted without grace, a pod goes on for a while: it is cut off when its sandbox goes, not before.
	open, err := m.dial("teller", "tcp", "", webAt, allowedWithin)
	must(err)
	defer open.Close()
	must(talk(open, allowedWithin))
	must(client.CoreV1().Pods("bank").Delete(ctx, "web", metav1.DeleteOptions{}))
	time.Sleep(4 * objectDelay)
	m.check([]try{{"teller", "tcp", webAt, true}})
	if err := talk(open, allowedWithin); err != nil {
		t.Errorf("a pod that is about to end was cut off: %v", err)
	}
	must(os.Remove(filepath.Join(results, "pods-1-eth0")))
	m.until("an address is closed with its sandbox", func() bool { return m.try(try{"teller", "tcp", webAt, false}) != nil })

	// Somebody else's "flush ruleset" is noticed.
	look := func() (ok bool) {
		must(m.in("node", func() error { ok = intact(ctx); return nil }))
		return ok
	}
	if !look() {
		t.Error("rules that are there are not seen")
	}
	must(m.in("node", func() error { return exec.Command("nft", "flush", "table", "inet", Table).Run() }))
	if look() {
		t.Error("flushed rules are taken to be there")
	}

	cancel()
	if err := <-ended; err != nil {
		t.Fatalf("the agent ended with %v", err)
	}
	if m.hasTable() {
		t.Error("the table outlived the agent")
	}
}

// TestLingering: a pod without an object lasts as long as its address is given out, in its last form.
func TestLingering(t *testing.T) {
	pod := func(uid, version string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p" + uid, UID: types.UID(uid), ResourceVersion: version}}
	}
	lease := func(uid string) Lease { return Lease{UID: types.UID(uid)} }
	names := func(pods []*corev1.Pod) (out []string) {
		for _, p := range pods {
			out = append(out, p.Name+"@"+p.ResourceVersion)
		}
		slices.Sort(out)
		return out
	}
	var l lingering
	for i, step := range []struct {
		pods   []*corev1.Pod
		leases []Lease
		want   []string
	}{
		{[]*corev1.Pod{pod("a", "1"), pod("b", "1")}, nil, []string{"pa@1", "pb@1"}},
		{[]*corev1.Pod{pod("b", "1")}, []Lease{lease("a")}, []string{"pb@1"}}, // never seen with an address
		{[]*corev1.Pod{pod("b", "2"), pod("c", "1")}, []Lease{lease("b"), lease("")}, []string{"pb@2", "pc@1"}},
		{[]*corev1.Pod{pod("c", "1")}, []Lease{lease("b"), lease("")}, []string{"pb@2", "pc@1"}},
		{[]*corev1.Pod{}, []Lease{lease("b")}, []string{"pb@2"}},
		{[]*corev1.Pod{}, nil, nil},
		{[]*corev1.Pod{}, []Lease{lease("b")}, nil},
	} {
		if diff := cmp.Diff(step.want, names(l.with(step.pods, step.leases))); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", i, diff)
		}
	}
}

// TestWatchResults does so with and without the kernel's help.
func TestWatchResults(t *testing.T) {
	none := func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }
	for name, open := range map[string]func() (*fsnotify.Watcher, error){"watched": nil, "polled": none} {
		t.Run(name, func(t *testing.T) {
			folders := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b", "c")}
			changes, stop, err := watchResults(t.Context(), folders, open)
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			for _, f := range folders {
				if err := os.WriteFile(filepath.Join(f, "pods-1-eth0"), result(t, "u1", "10.1.1.5/24"), 0o600); err != nil {
					t.Fatal(err)
				}
				for deadline := time.After(allowedWithin); ; {
					select {
					case <-changes:
					case <-deadline:
						t.Fatalf("no change of %s was seen", f)
					}
					leases, err := readLeases([]string{f})
					if err != nil {
						t.Fatal(err)
					}
					if len(leases) == 1 {
						break
					}
				}
			}
		})
	}
	if _, _, err := watchResults(t.Context(), []string{"/proc/none"}, nil); err == nil {
		t.Error("a folder that cannot be made was watched")
	}
}

// until polls, since the agent acts a little later.
func (m *machine) until(what string, ok func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(allowedWithin); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("not within %s: %s", allowedWithin, what)
		}
	}
}

func result(t *testing.T, uid, addr string) []byte {
	t.Helper()
	data, err := json.Marshal(map[string]any{
		"kind":     "cniCacheV1",
		"cniArgs":  [][2]string{{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "bank"}, {"K8S_POD_NAME", "web"}, {"K8S_POD_UID", uid}},
		"result":   map[string]any{"cniVersion": "0.4.0", "ips": []any{map[string]any{"version": "4", "address": addr}}},
		"ifName":   "eth0",
		"networks": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadLeases(t *testing.T) {
	folder := t.TempDir()
	files := map[string][]byte{
		"pods-1-eth0": result(t, "u1", "10.1.1.5/24"),
		"pods-1-lo":   result(t, "u1", "127.0.0.1/8"),
		"other":       []byte(`{"kind":"cniCacheV1","result":{"ips":[{"address":"10.1.1.7/24"}]}}`),
		"half":        result(t, "u2", "10.1.1.6/24")[:40],
		"odd":         result(t, "u3", "10.1.1"),
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(folder, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := readLeases([]string{folder, filepath.Join(folder, "missing")})
	if err != nil {
		t.Fatal(err)
	}
	want := []Lease{{Addr: netip.MustParseAddr("10.1.1.5"), UID: types.UID("u1"), Namespace: "bank", Name: "web"}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Lease{}, "Time"), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
	if len(got) == 1 && got[0].Time.IsZero() {
		t.Error("a lease has no time")
	}
}

func FuzzParseResult(f *testing.F) {
	f.Add([]byte(`{"cniArgs":[["K8S_POD_NAME","a"]],"result":{"ips":[{"address":"10.1.1.5/24"}]}}`))
	f.Add([]byte(`{"cniArgs":[[]],"result":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		leases, err := parseResult(data)
		if err != nil && leases != nil {
			t.Fatal("leases beside an error")
		}
		for _, l := range leases {
			if !l.Addr.IsValid() || l.UID == "" && l.Name == "" {
				t.Fatalf("lease of nobody: %+v", l)
			}
		}
	})
}

// TestTrim makes sure that what is dropped is nothing that Compile reads.
func TestTrim(t *testing.T) {
	w := goldenWorld()
	w.pods[0].Spec.InitContainers = []corev1.Container{{Name: "x", Image: "y", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8088}}}}
	want := w.compile("n1").Script()
	for i, p := range w.pods {
		p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
		p.Annotations = map[string]string{"a": "b"}
		out, err := trim(p)
		if err != nil {
			t.Fatal(err)
		}
		w.pods[i] = out.(*corev1.Pod)
		if w.pods[i].ManagedFields != nil || w.pods[i].Annotations != nil {
			t.Error("not trimmed")
		}
	}
	for i, ns := range w.namespaces {
		out, err := trim(ns)
		if err != nil {
			t.Fatal(err)
		}
		w.namespaces[i] = out.(*corev1.Namespace)
	}
	if diff := cmp.Diff(want, w.compile("n1").Script()); diff != "" {
		t.Errorf("script (-full +trimmed):\n%s", diff)
	}
}

func TestChanged(t *testing.T) {
	pod := shop().pods[0]
	same := pod.DeepCopy()
	same.ResourceVersion = "2"
	if changed(pod, same) {
		t.Error("a new resource version alone is no change")
	}
	same.Status.PodIPs = nil
	if !changed(pod, same) {
		t.Error("a lost address is a change")
	}
}
