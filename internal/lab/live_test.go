package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const testboxRef = "localhost/heddle-lab/testbox:v1"

// live is a lab under test.
type live struct {
	*testing.T
	lab *Lab
}

// upOptions make the test's own program be the lab's processes; where coverage
// is counted, it is the heddle that was built for that.
func upOptions(t *testing.T, name string, sites int, nodes ...int) Options {
	t.Helper()
	program, err := os.Executable()
	if os.Getenv(coverEnv) != "" {
		program, err = findHeddle()
	}
	if err != nil {
		t.Fatal(err)
	}
	return Options{Name: name, Sites: sites, Nodes: nodes, Heddle: program}
}

func bringUp(t *testing.T, o Options) *live {
	t.Helper()
	start := time.Now()
	l, err := Up(t.Context(), o, func(line string) { t.Log(line) })
	if errors.Is(err, ErrNeeds) {
		t.Skipf("skipped: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("up in %.1f s", time.Since(start).Seconds())
	t.Cleanup(func() {
		if err := l.Down(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return &live{t, l}
}

func (l *live) site(name string) *Site {
	l.Helper()
	s, err := l.lab.Site(name)
	if err != nil {
		l.Fatal(err)
	}
	return s
}

// kubectl runs kubectl and returns what it printed.
func (l *live) kubectl(site string, args ...string) (string, error) {
	cmd := l.site(site).Kubectl(l.Context(), args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, problems.String())
	}
	return out.String(), nil
}

func (l *live) must(site string, args ...string) string {
	l.Helper()
	out, err := l.kubectl(site, args...)
	if err != nil {
		l.Fatal(err)
	}
	return out
}

// client runs testbox in the client pod until it says what is wanted.
func (l *live) client(site, want string, args ...string) {
	l.Helper()
	eventually(l.T, time.Minute, strings.Join(args, " "), func() error {
		out, err := l.kubectl(site, append([]string{"exec", "client", "--", "/testbox"}, args...)...)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("it says %q, not %q", out, want)
		}
		return err
	})
}

// refused waits until testbox in the client pod does not get through.
func (l *live) refused(site string, args ...string) {
	l.Helper()
	eventually(l.T, time.Minute, "refusal of "+strings.Join(args, " "), func() error {
		if out, err := l.kubectl(site, append([]string{"exec", "client", "--", "/testbox"}, args...)...); err == nil {
			return fmt.Errorf("it got through: %s", out)
		}
		return nil
	})
}

func (l *live) jsonpath(site, object, path string) string {
	l.Helper()
	return l.must(site, append(strings.Fields("get "+object), "-o", "jsonpath="+path)...)
}

// testboxArchive makes the archive of the pods' image.
func (l *live) testboxArchive() string {
	l.Helper()
	img, err := programImage(filepath.Join(l.lab.plan.Libexec, "testbox"), "/testbox")
	if err != nil {
		l.Fatal(err)
	}
	file := filepath.Join(l.TempDir(), "testbox.tar")
	var raw bytes.Buffer
	if err := writeArchive(&raw, namedImage{ref: testboxRef, img: img}); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(file, raw.Bytes(), 0o600); err != nil {
		l.Fatal(err)
	}
	return file
}

// TestLive brings up two sites and goes through what a lab promises.
func TestLive(t *testing.T) {
	needLab(t)
	t.Setenv("HEDDLE_LAB_DIR", t.TempDir())
	l := bringUp(t, upOptions(t, "live", 2, 2, 1))
	archive := l.testboxArchive()
	for _, s := range l.lab.Sites() {
		if err := s.Load(t.Context(), archive); err != nil {
			t.Fatal(err)
		}
		l.must(s.Name(), "apply", "-f", "testdata/live/app.yaml")
	}
	for _, s := range l.lab.Sites() {
		l.must(s.Name(), "rollout", "status", "deployment/web", "--timeout=180s")
		l.must(s.Name(), "wait", "--for=condition=Ready", "pod/client", "--timeout=180s")
	}
	steps := []struct {
		name string
		run  func(*live)
	}{
		{"loading again is skipped", (*live).testLoadAgain},
		{"pulling", (*live).testPull},
		{"DNS, Services, nodes", (*live).testNetwork},
		{"volumes", (*live).testVolume},
		{"cut and heal", (*live).testCut},
		{"policies are enforced", (*live).testPolicy},
		{"dial and forward", (*live).testDial},
		{"logs", (*live).testLogs},
		{"up again", (*live).testUpAgain},
		{"a container that ends", (*live).testRestart},
		{"a dead node", (*live).testDeadNode},
		{"a dead supervisor", (*live).testDeadSupervisor},
		{"down", (*live).testDown},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) { s.run(&live{t, l.lab}) })
	}
}

// testLoadAgain offers an archive without layers: to import it would fail.
func (l *live) testLoadAgain() {
	file := filepath.Join(l.TempDir(), "hollow.tar")
	full, err := os.ReadFile(l.testboxArchive())
	if err != nil {
		l.Fatal(err)
	}
	hollow, err := withoutLayers(full)
	if err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(file, hollow, 0o600); err != nil {
		l.Fatal(err)
	}
	s := l.site("site1")
	if err := s.Load(l.Context(), file); err != nil {
		l.Errorf("load of what is there: %v", err)
	}
	other, _ := testImage(l.T)
	var raw bytes.Buffer
	if err := writeArchive(&raw, namedImage{ref: "localhost/other:v1", img: other}); err != nil {
		l.Fatal(err)
	}
	cut, err := withoutLayers(raw.Bytes())
	if err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(file, cut, 0o600); err != nil {
		l.Fatal(err)
	}
	if err := s.Load(l.Context(), file); err == nil {
		l.Error("load of a broken archive that is not there passes")
	}
}

// testPull pulls from a registry on this machine, which the nodes cannot reach.
func (l *live) testPull() {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/random:v1"
	img, config := testImage(l.T)
	tag, err := name.NewTag(ref)
	if err != nil {
		l.Fatal(err)
	}
	if err := remote.Write(tag, img, remote.WithContext(l.Context())); err != nil {
		l.Fatal(err)
	}
	s := l.site("site1")
	for range 2 {
		if err := s.Pull(l.Context(), ref); err != nil {
			l.Fatal(err)
		}
	}
	err = s.eachNode(l.Context(), func(ctx context.Context, n *nodeHandle) error {
		have, err := n.images(ctx)
		if err == nil && !have.has(archived{ref: ref, config: config}) {
			err = fmt.Errorf("it has only %v", have)
		}
		return err
	})
	if err != nil {
		l.Error(err)
	}
	if err := s.Pull(l.Context(), strings.TrimSuffix(ref, ":v1")+":v2"); err == nil || !strings.Contains(err.Error(), "random:v2") {
		l.Errorf("pull of what is not there: %v", err)
	}
}

func (l *live) testLogs() {
	path, err := l.lab.LogPath("site1-n2", "kubelet")
	if err != nil {
		l.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || len(raw) == 0 {
		l.Errorf("log of the kubelet: %d bytes, %v", len(raw), err)
	}
	if _, err := l.lab.LogPath("site1-n2", "etcd"); err == nil || !strings.Contains(err.Error(), "kube-proxy") {
		l.Errorf("log of what is not there: %v", err)
	}
	addr, err := l.site("site1").NodeAddress("site1-n2")
	if err != nil || addr != "10.200.1.12" {
		l.Errorf("address of a node: %s, %v", addr, err)
	}
	names, err := List()
	if diff := cmp.Diff([]string{"live"}, names); diff != "" || err != nil {
		l.Errorf("labs: %s %v", diff, err)
	}
	err = l.site("site1").Kubectl(l.Context(), "get", "nonsense").Run()
	if code := ExitCode(err); code != 1 {
		l.Errorf("code of a failed kubectl: %d (%v)", code, err)
	}
}

func (l *live) testNetwork() {
	l.client("site1", l.jsonpath("site1", "service web", "{.spec.clusterIP}"), "resolve", "web.default.svc.cluster.local")
	for _, ip := range strings.Fields(l.jsonpath("site1", "pod -l app=web", "{.items[*].status.podIP}")) {
		l.client("site1", "hello from web", "get", "http://"+ip+":8080/")
	}
	nodes := map[string]bool{}
	for _, n := range strings.Fields(l.jsonpath("site1", "pod -l app=web", "{.items[*].spec.nodeName}")) {
		nodes[n] = true
	}
	if diff := cmp.Diff(map[string]bool{"site1-n1": true, "site1-n2": true}, nodes); diff != "" {
		l.Errorf("nodes of the pods: %s", diff)
	}
	l.client("site1", "hello from web", "get", "http://web/")
	l.client("site1", "hello from web", "get", "http://"+l.otherPod()+":8080/")
	l.client("site1", "ok", "get", ModulesURL+"/healthz")
	l.client("site2", "ok", "get", ModulesURL+"/healthz")
	l.client("site1", "hello from web", "get", "http://"+l.jsonpath("site2", "service web", "{.spec.clusterIP}")+"/")
}

// otherPod is the address of a pod in the other site.
func (l *live) otherPod() string {
	l.Helper()
	return l.jsonpath("site2", "pod -l app=web", "{.items[0].status.podIP}")
}

func (l *live) testVolume() {
	class := l.jsonpath("site1", "pvc data", "{.spec.storageClassName}")
	if class != "heddle-lab" {
		l.Errorf("default class is %q", class)
	}
	l.client("site1", "", "write", "/data/f", "kept")
	l.must("site1", "delete", "pod", "client", "--now")
	l.must("site1", "apply", "-f", "testdata/live/app.yaml")
	l.must("site1", "wait", "--for=condition=Ready", "pod/client", "--timeout=180s")
	l.client("site1", "kept", "cat", "/data/f")
}

func (l *live) testCut() {
	addr := l.otherPod() + ":8080"
	l.client("site1", "connected", "connect", addr)
	if err := l.lab.Cut(l.Context(), "site1", "site2"); err != nil {
		l.Fatal(err)
	}
	l.refused("site1", "connect", addr)
	l.client("site1", "hello", "get", "http://web/")
	status, err := l.lab.Status(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	if diff := cmp.Diff([][2]string{{"site1", "site2"}}, status.Cuts); diff != "" {
		l.Error(diff)
	}
	if err := l.lab.Heal(l.Context()); err != nil {
		l.Fatal(err)
	}
	l.client("site1", "connected", "connect", addr)
	l.cutOneWay(addr)
	if err := l.lab.Cut(l.Context(), "site1", "site1"); err == nil {
		l.Error("a site was cut from itself")
	}
	if err := l.lab.Cut(l.Context(), "site1", "nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		l.Errorf("cut from an unknown site: %v", err)
	}
}

// cutOneWay: with either direction gone no connection comes about, whoever opens it, and Status tells which it is.
func (l *live) cutOneWay(addr string) {
	for _, way := range [][2]string{{"site1", "site2"}, {"site2", "site1"}} {
		if err := l.lab.CutOneWay(l.Context(), way[0], way[1]); err != nil {
			l.Fatal(err)
		}
		l.refused("site1", "connect", addr)
		status, err := l.lab.Status(l.Context())
		if err != nil {
			l.Fatal(err)
		}
		if diff := cmp.Diff([][2]string{way}, status.OneWay); diff != "" || len(status.Cuts) != 0 {
			l.Error(diff, status.Cuts)
		}
		if err := l.lab.Heal(l.Context()); err != nil {
			l.Fatal(err)
		}
		l.client("site1", "connected", "connect", addr)
	}
}

func (l *live) testPolicy() {
	web := "http://web/"
	l.client("site1", "hello", "get", web)
	l.must("site1", "apply", "-f", "testdata/live/deny.yaml")
	l.refused("site1", "get", web)
	if err := l.lab.SetPolicy(l.Context(), false); err != nil {
		l.Fatal(err)
	}
	l.client("site1", "hello", "get", web)
	if err := l.lab.SetPolicy(l.Context(), true); err != nil {
		l.Fatal(err)
	}
	l.refused("site1", "get", web)
	l.must("site1", "delete", "-f", "testdata/live/deny.yaml")
	l.client("site1", "hello", "get", web)
}

func (l *live) testDial() {
	s := l.site("site1")
	target := l.jsonpath("site1", "service web", "{.spec.clusterIP}") + ":80"
	get := func(c *http.Client, url string) {
		l.Helper()
		resp, err := c.Get(url)
		if err != nil {
			l.Error(err)
			return
		}
		defer resp.Body.Close()
		if raw, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(raw), "hello from web") {
			l.Errorf("%s: %q %v", url, raw, err)
		}
	}
	get(&http.Client{Transport: &http.Transport{DialContext: s.DialContext}}, "http://"+target)
	ctx, cancel := context.WithCancel(l.Context())
	port, err := s.Forward(ctx, 0, target)
	if err != nil {
		l.Fatal(err)
	}
	get(http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d", port))
	cancel()
	eventually(l.T, 20*time.Second, "end of the forwarding", func() error {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
			return errors.New("the port is still open")
		}
		return nil
	})
	if _, err := s.DialContext(l.Context(), "tcp", "web:80"); err == nil {
		l.Error("a name was dialled")
	}
	if strings.HasPrefix(s.Endpoint(), "https://127.0.0.1:") == false {
		l.Errorf("endpoint is %s", s.Endpoint())
	}
}

// pids maps every process of the lab's nodes to its number, once all run.
func (l *live) pids() map[string]int {
	l.Helper()
	var out map[string]int
	eventually(l.T, time.Minute, "all processes", func() error {
		status, err := l.lab.Status(l.Context())
		if err != nil {
			return err
		}
		out = map[string]int{}
		for _, n := range status.Nodes {
			out[n.Name] = n.PID
			for _, d := range n.Daemons {
				out[n.Name+" "+d.Name] = d.PID
			}
		}
		for name, pid := range out {
			if pid == 0 {
				return fmt.Errorf("%s does not run", name)
			}
		}
		return nil
	})
	return out
}

func (l *live) testUpAgain() {
	before := l.pids()
	if len(before) < 20 {
		l.Errorf("only these processes: %v", before)
	}
	start := time.Now()
	if _, err := Up(l.Context(), upOptions(l.T, "live", 2, 2, 1), nil); err != nil {
		l.Fatal(err)
	}
	l.Logf("up again in %s", time.Since(start))
	if diff := cmp.Diff(before, l.pids()); diff != "" {
		l.Errorf("up changed processes: %s", diff)
	}
	if _, err := Up(l.Context(), upOptions(l.T, "live", 1, 1), nil); err == nil || !strings.Contains(err.Error(), "site2") {
		l.Errorf("up with another shape: %v", err)
	}
}

func (l *live) testRestart() {
	const count = "{.items[*].status.containerStatuses[0].restartCount}"
	before := l.jsonpath("site2", "pod -l app=web", count)
	_, _ = l.kubectl("site2", "exec", "client", "--", "/testbox", "get", "http://web/exit")
	eventually(l.T, time.Minute, "restart", func() error {
		if got := l.jsonpath("site2", "pod -l app=web", count); got == before {
			return fmt.Errorf("restarts are %q", got)
		}
		return nil
	})
}

// repaired calls up and waits until the client pod gets an answer again.
func (l *live) repaired() {
	l.Helper()
	if _, err := Up(l.Context(), upOptions(l.T, "live", 2, 2, 1), func(line string) { l.Log(line) }); err != nil {
		l.Fatal(err)
	}
	l.client("site1", "hello from web", "get", "http://web/")
	l.client("site2", "hello from web", "get", "http://web/")
	l.client("site1", "kept", "cat", "/data/f")
}

func (l *live) testDeadNode() {
	before := l.pids()
	if err := unix.Kill(before["site2-n1"], unix.SIGKILL); err != nil {
		l.Fatal(err)
	}
	l.repaired()
	after := l.pids()
	if after["site2-n1"] == before["site2-n1"] || after["site1-n1"] != before["site1-n1"] {
		l.Errorf("before: %v; after: %v", before, after)
	}
}

func (l *live) testDeadSupervisor() {
	endpoint := l.site("site1").Endpoint()
	control, err := l.lab.control(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	if err := unix.Kill(control.PID, unix.SIGKILL); err != nil {
		l.Fatal(err)
	}
	eventually(l.T, time.Minute, "end of all nodes", func() error {
		for _, n := range control.Nodes {
			if !dying(n.PID) {
				return fmt.Errorf("%s lives", n.Name)
			}
		}
		return nil
	})
	if err := l.lab.Heal(l.Context()); !errors.Is(err, ErrDown) {
		l.Errorf("heal without a supervisor: %v", err)
	}
	l.repaired()
	if got := l.site("site1").Endpoint(); got != endpoint {
		l.Errorf("endpoint was %s, is %s", endpoint, got)
	}
}

func (l *live) testDown() {
	spaces := l.namespaces()
	if len(spaces) < 3 {
		l.Fatalf("only these network namespaces: %v", spaces)
	}
	if err := l.lab.Down(l.Context()); err != nil {
		l.Fatal(err)
	}
	nothingLeft(l.T, l.lab.plan, spaces)
	if err := l.lab.Down(l.Context()); err != nil {
		l.Errorf("down of what is gone: %v", err)
	}
}

// namespaces collects the network namespaces of all processes of the lab.
func (l *live) namespaces() map[string]bool {
	l.Helper()
	return labNamespaces(l.T, l.lab.plan)
}

func labNamespaces(t *testing.T, p *Plan) map[string]bool {
	t.Helper()
	hs, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	pids, err := remains(hs, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, pid := range pids {
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && ns != own {
			out[ns] = true
		}
	}
	return out
}

// nothingLeft looks for processes, groups, mounts, namespaces and files.
func nothingLeft(t *testing.T, p *Plan, spaces map[string]bool) {
	t.Helper()
	hs, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	if pids, err := remains(hs, p.ID); err != nil || len(pids) > 0 {
		t.Errorf("processes left: %v, %v", pids, err)
	}
	for _, h := range hs {
		if dir := filepath.Join(h.root, p.cgroup()); exists(dir) {
			t.Errorf("control group left: %s", dir)
		}
	}
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), p.Dir) {
		t.Errorf("mounts left:\n%s", raw)
	}
	if exists(p.Dir) || exists(p.lockFile()) {
		t.Errorf("files left in %s", filepath.Dir(p.Dir))
	}
	all, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range all {
		if ns, err := os.Readlink(link); err == nil && spaces[ns] {
			t.Errorf("network namespace left: %s, seen at %s", ns, link)
		}
	}
	for ns := range spaces {
		if strings.Contains(string(raw), ns) {
			t.Errorf("network namespace left: %s is mounted", ns)
		}
	}
}

// TestKills ends "up" and the lab's processes at many moments.
func TestKills(t *testing.T) {
	needLab(t)
	t.Setenv("HEDDLE_LAB_DIR", t.TempDir())
	// Another lab, which must not notice anything.
	other := bringUp(t, upOptions(t, "other", 1, 1))
	before, err := other.lab.control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	victim, err := planFor(upOptions(t, "victim", 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []int{0, 10, 30, 60, 100, 200, 400, 800, 1500, 3000} {
		t.Run(fmt.Sprintf("up killed after %d ms", after), func(t *testing.T) {
			cmd := startUp(t)
			time.Sleep(time.Duration(after) * time.Millisecond)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			downLeavesNothing(t, victim)
		})
	}
	for _, after := range []int{50, 500, 2500} {
		t.Run(fmt.Sprintf("up interrupted after %d ms", after), func(t *testing.T) {
			cmd := startUp(t)
			time.Sleep(time.Duration(after) * time.Millisecond)
			_ = cmd.Process.Signal(os.Interrupt)
			if err := cmd.Wait(); err == nil {
				t.Error("an interrupted up passes")
			}
			nothingLeft(t, victim, nil)
		})
	}
	for _, role := range []string{"supervisor", "node"} {
		for _, after := range []int{100, 1000, 2500} {
			t.Run(fmt.Sprintf("%s killed after %d ms", role, after), func(t *testing.T) {
				cmd := startUp(t)
				time.Sleep(time.Duration(after) * time.Millisecond)
				killRole(t, victim, role)
				if err := cmd.Wait(); err == nil {
					t.Error("up passes although its processes died")
				}
				downLeavesNothing(t, victim)
			})
		}
	}
	after, err := other.lab.control(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the other lab changed: %s", diff)
	}
	other.must("", "get", "--raw", "/readyz")
}

func startUp(t *testing.T) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "LAB_TEST_UP=victim", "LAB_TEST_HEDDLE="+upOptions(t, "victim", 1).Heddle)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// killRole kills the lab's processes of one role, as soon as there is one.
func killRole(t *testing.T, p *Plan, role string) {
	t.Helper()
	eventually(t, time.Minute, "a process of the role "+role, func() error {
		pids, err := labProcesses(p.ID)
		if err != nil {
			return err
		}
		killed := 0
		for _, pid := range pids {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && bytes.Contains(raw, []byte("internal\x00"+role+"\x00")) && unix.Kill(pid, unix.SIGKILL) == nil {
				killed++
			}
		}
		if killed == 0 {
			return errors.New("there is none")
		}
		return nil
	})
}

func downLeavesNothing(t *testing.T, p *Plan) {
	t.Helper()
	spaces := labNamespaces(t, p)
	if err := Down(t.Context(), p.Name); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, p, spaces)
}

// TestReadyMeansUsable does right after up what a user's first command does.
func TestReadyMeansUsable(t *testing.T) {
	needLab(t)
	t.Setenv("HEDDLE_LAB_DIR", t.TempDir())
	l := bringUp(t, upOptions(t, "usable", 1, 1))
	config, err := l.site("").RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes.Items {
		if !nodeReady(&n, time.Time{}) || n.Status.NodeInfo.KubeletVersion != "v1.36.3" {
			t.Errorf("node %s: %+v", n.Name, n.Status.NodeInfo)
		}
	}
	// The default account of a namespace is what the first pod of a user needs.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fresh"}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "default account", func() error {
		_, err := client.CoreV1().ServiceAccounts("fresh").Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
}
