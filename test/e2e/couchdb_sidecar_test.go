package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/harness"
	"heddle.dev/heddle/test/load"
)

// queryImage is the differential suite's contract: it has a function for each of the shim's.
const queryImage = "heddle.dev/e2e-query:dev"

// bySize is an index of CouchDB on one field.
var bySize = ccpackage.File{
	Path: "META-INF/statedb/couchdb/indexes/bySize.json",
	Data: []byte(`{"index": {"fields": ["size"]}, "ddoc": "bySize", "name": "bySize", "type": "json"}`),
}

// TestCouchDBSidecar: a peer with CouchDB and one with LevelDB are on one channel. The one with CouchDB answers rich
// queries, with an index and without, page by page; nobody outside of its pod reaches its CouchDB; whichever of the pod's
// containers is killed under load, or when CouchDB alone is changed, both peers have the same ledger and the same state
// afterwards.
func TestCouchDBSidecar(t *testing.T) {
	ctx, c := start(t, 15*time.Minute)
	if err := c.LoadImage(ctx, "couchdb"); errors.Is(err, harness.ErrUnavailable) {
		t.Skipf("skipped, not passed: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := c.LoadProgram(ctx, "test/differential/contract", queryImage); err != nil {
		t.Fatal(err)
	}
	s := raft3("couchdb")
	s.Orderers, s.Orgs[0].Template = 1, "stateDatabase: CouchDB"
	up(ctx, t, c, s)
	for name, meta := range map[string][]ccpackage.File{"plain": nil, "indexed": {bySize}} {
		if err := c.DeployContract(ctx, harness.Contract{Network: s.Name, Channel: "demo", Name: name, Image: queryImage, Meta: meta}); err != nil {
			t.Fatal(err)
		}
		progress("contract %q is committed", name)
	}
	saysItsStateDatabase(ctx, t, c, s.Name)
	onLocalhostOnly(ctx, t, c, s.Name)
	richQueries(ctx, t, c, s.Name)
	killedApart(ctx, t, c, s.Name)
	changedApart(ctx, t, c, s)
	sameState(ctx, t, c, s.Name)
}

// saysItsStateDatabase looks for the state databases where people look.
func saysItsStateDatabase(ctx context.Context, t *testing.T, c *harness.Cluster, network string) {
	t.Helper()
	out, err := c.Heddle(ctx, "status", network)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	progress("heddle status\n%s", out)
	for _, word := range []string{"CouchDB", "LevelDB"} {
		if !strings.Contains(out, word) {
			t.Errorf("heddle status does not say %s", word)
		}
	}
}

// onLocalhostOnly tries CouchDB's port from other pods, and from the machine under the pod, where no policy is in the way.
func onLocalhostOnly(ctx context.Context, t *testing.T, c *harness.Cluster, network string) {
	t.Helper()
	pod, err := c.PodOf(ctx, network, "peer0-banka")
	if err != nil {
		t.Fatal(err)
	}
	couch, peer := net.JoinHostPort(pod.Status.PodIP, "5984"), net.JoinHostPort(pod.Status.PodIP, "7051")
	space(ctx, t, c, "couchdb-others")
	for namespace, component := range map[string]string{network: v1alpha1.ComponentPeer, "couchdb-others": ""} {
		if connects(ctx, t, c, namespace, component, couch) {
			t.Errorf("a pod in namespace %s reaches CouchDB", namespace)
		}
	}
	if !connects(ctx, t, c, network, v1alpha1.ComponentPeer, peer) {
		t.Error("a pod that may reach the peer does not: the tries before say nothing")
	}
	if c.Site == nil {
		return
	}
	for address, want := range map[string]bool{couch: false, peer: true} {
		conn, err := c.Site.DialContext(ctx, "tcp", address)
		if (err == nil) != want {
			t.Errorf("from the machine under the pod, %s: %v", address, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// asset is what the contract of the queries stores, with its fields in the order of CouchDB.
type asset struct {
	Owner string `json:"owner"`
	Size  int    `json:"size"`
}

// found is one result of a query.
type found struct {
	Key, Value string
}

// richQueries fills both contracts and asks.
func richQueries(ctx context.Context, t *testing.T, c *harness.Cluster, network string) {
	t.Helper()
	for _, name := range []string{"plain", "indexed"} {
		cl := queryClient(ctx, t, c, network, "peer0-banka", "banka", name)
		for i, owner := range []string{"alice", "bob", "alice", "carol", "alice"} {
			value, err := json.Marshal(asset{owner, i})
			if err != nil {
				t.Fatal(err)
			}
			mustSubmit(ctx, t, cl, "put", fmt.Sprintf("a%d", i), string(value))
		}
		want := []string{"a0", "a2", "a4"}
		for what, query := range map[string]string{
			"by owner":   `{"selector":{"owner":"alice"}}`,
			"by two":     `{"selector":{"owner":"alice","size":{"$gte":0}}}`,
			"one of two": `{"selector":{"$or":[{"size":0},{"size":2},{"size":4}]}}`,
			"by pattern": `{"selector":{"owner":{"$regex":"^al"}}}`,
		} {
			keys, err := ask(ctx, cl, query)
			slices.Sort(keys)
			if diff := cmp.Diff(want, keys); err != nil || diff != "" {
				t.Errorf("%s, %s: %v\n%s", name, what, err, diff)
			}
		}
		keys, err := ask(ctx, cl, `{"selector":{"size":{"$gte":1}},"sort":[{"size":"desc"}]}`)
		if name == "plain" && err == nil {
			t.Error("without an index CouchDB has sorted")
		}
		if name == "indexed" && (err != nil || !slices.Equal(keys, []string{"a4", "a3", "a2", "a1"})) {
			t.Errorf("sorted by the index: %v %v", keys, err)
		}
		pages(ctx, t, cl)
		level := queryClient(ctx, t, c, network, "peer0-bankb", "bankb", name)
		if keys, err := ask(ctx, level, `{"selector":{"owner":"alice"}}`); err == nil {
			t.Errorf("the peer with LevelDB answers a rich query: %v", keys)
		}
	}
	cl := queryClient(ctx, t, c, network, "peer0-banka", "banka", "indexed")
	keys, err := ask(ctx, cl, `{"selector":{"size":{"$gt":2}},"use_index":["_design/bySize","bySize"]}`)
	if err != nil || !slices.Equal(keys, []string{"a3", "a4"}) {
		t.Errorf("by the index that the query names: %v %v", keys, err)
	}
}

func queryClient(ctx context.Context, t *testing.T, c *harness.Cluster, network, peer, organization, contract string) *load.Client {
	t.Helper()
	cl, err := c.Client(ctx, network, peer, organization, "demo", contract)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// mustSubmit submits what may be submitted twice: peers may not know one another yet.
func mustSubmit(ctx context.Context, t *testing.T, cl *load.Client, function string, args ...string) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		_, err := cl.Submit(ctx, function, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ask sends a rich query to the client's own peer and returns the keys of what it finds.
func ask(ctx context.Context, cl *load.Client, query string) ([]string, error) {
	raw, err := cl.Read(ctx, "query", query)
	if err != nil {
		return nil, err
	}
	var results []found
	if err := json.Unmarshal(raw, &results); err != nil {
		return nil, err
	}
	return keysOf(results), nil
}

func keysOf(results []found) []string {
	var keys []string
	for _, r := range results {
		keys = append(keys, r.Key)
	}
	return keys
}

// pages asks for all assets of alice in pages of two.
func pages(ctx context.Context, t *testing.T, cl *load.Client) {
	t.Helper()
	var got [][]string
	bookmark := ""
	for range 3 {
		raw, err := cl.Read(ctx, "pageQuery", `{"selector":{"owner":"alice"}}`, "2", bookmark)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Entries  []found
			Bookmark string
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatalf("%v: %s", err, raw)
		}
		got = append(got, keysOf(page.Entries))
		bookmark = page.Bookmark
	}
	if diff := cmp.Diff([][]string{{"a0", "a2"}, {"a4"}, nil}, got); diff != "" {
		t.Errorf("pages of two (-want +got):\n%s", diff)
	}
}

// killedApart kills each container of the peer's pod under load; under compares the ledgers afterwards.
func killedApart(ctx context.Context, t *testing.T, c *harness.Cluster, network string) {
	t.Helper()
	peers := clients(ctx, t, c, network, "demo")
	pod, err := c.PodOf(ctx, network, "peer0-banka")
	if err != nil {
		t.Fatal(err)
	}
	under(ctx, t, peers, func(run *load.Run) {
		for _, container := range []string{specs.CouchDBContainer, v1alpha1.ComponentPeer} {
			flowing(ctx, t, run)
			began := time.Now()
			if err := c.Kill(pod, container); err != nil {
				t.Fatal(err)
			}
			restarted(ctx, t, c, pod, container)
			ack, err := run.AckAfter(ctx, time.Now())
			if err != nil {
				t.Fatalf("after container %q was killed: %v", container, err)
			}
			progress("%s killed: ready and committing after %.1f s; restarts: %v", container, ack.At.Sub(began).Seconds(), restartsOf(pod))
		}
	})
	sameState(ctx, t, c, network)
}

// changedApart gives CouchDB another memory limit: the pod is replaced, and the peer's own container is as it was.
func changedApart(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	t.Helper()
	before, err := c.PodOf(ctx, s.Name, "peer0-banka")
	if err != nil {
		t.Fatal(err)
	}
	s.Orgs[0].Template = "stateDatabase: CouchDB, couchDB: {resources: {limits: {memory: 1Gi}}}"
	apply(ctx, t, c, s.yaml(t))
	var pod *corev1.Pod
	err = harness.Poll(ctx, func(ctx context.Context) error {
		if pod, err = c.PodOf(ctx, s.Name, "peer0-banka"); err == nil && pod.UID == before.UID {
			err = errors.New("the pod of peer0-banka is still the old one")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ready(ctx, t, c, network(s.Name))
	if diff := cmp.Diff(before.Spec.Containers[0], pod.Spec.Containers[0]); diff != "" {
		t.Errorf("the peer's own container changed:\n%s", diff)
	}
	for _, container := range pod.Spec.InitContainers {
		if container.Name == specs.CouchDBContainer && container.Resources.Limits.Memory().String() != "1Gi" {
			t.Errorf("CouchDB's memory limit is %s, want 1Gi", container.Resources.Limits.Memory())
		}
	}
	submit(ctx, t, clients(ctx, t, c, s.Name, "demo"), "changed")
}

// sameState demands the same state of every contract of both peers.
func sameState(ctx context.Context, t *testing.T, c *harness.Cluster, network string) {
	t.Helper()
	sameLedgers(ctx, t, clients(ctx, t, c, network, "demo"))
	for _, contract := range []string{"asset", "plain", "indexed"} {
		couch := queryClient(ctx, t, c, network, "peer0-banka", "banka", contract)
		level := queryClient(ctx, t, c, network, "peer0-bankb", "bankb", contract)
		if diff := cmp.Diff(stateOf(ctx, t, level, contract), stateOf(ctx, t, couch, contract)); diff != "" {
			t.Errorf("state of contract %s (-LevelDB +CouchDB):\n%s", contract, diff)
		}
	}
}

// stateOf reads the whole state of a contract from the client's own peer.
func stateOf(ctx context.Context, t *testing.T, cl *load.Client, contract string) []string {
	t.Helper()
	var out []string
	if contract != "asset" {
		raw, err := cl.Read(ctx, "range", "", "")
		if err != nil {
			t.Fatal(err)
		}
		return append(out, string(raw))
	}
	for bookmark, more := "", true; more; more = bookmark != "" {
		raw, err := cl.Read(ctx, "List", "1000", bookmark)
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Assets   []json.RawMessage `json:"assets"`
			Bookmark string            `json:"bookmark"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			t.Fatal(err)
		}
		for _, a := range page.Assets {
			out = append(out, string(a))
		}
		bookmark = page.Bookmark
	}
	progress("%s: %d assets", cl.Name(), len(out))
	return out
}

// restarted waits until a container was started once more and the pod is ready.
func restarted(ctx context.Context, t *testing.T, c *harness.Cluster, pod *corev1.Pod, container string) {
	t.Helper()
	before := restartsOf(pod)[container]
	err := harness.Poll(ctx, func(ctx context.Context) error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		ready := slices.ContainsFunc(pod.Status.Conditions, func(s corev1.PodCondition) bool {
			return s.Type == corev1.PodReady && s.Status == corev1.ConditionTrue
		})
		if restartsOf(pod)[container] == before || !ready {
			return fmt.Errorf("pod %q: restarts of its containers %v, ready %t", pod.Name, restartsOf(pod), ready)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// restartsOf counts how often each container of a pod was started again.
func restartsOf(pod *corev1.Pod) map[string]int32 {
	out := map[string]int32{}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		out[s.Name] = s.RestartCount
	}
	return out
}
