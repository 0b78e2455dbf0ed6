package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestNetns(t *testing.T) {
	needRoot(t)
	ns, err := newNetns()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var links []string
	err = inNetns(ns, func() error {
		all, err := net.Interfaces()
		for _, l := range all {
			links = append(links, l.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lo"}, links); diff != "" {
		t.Errorf("links of a new namespace: %s", diff)
	}
	for range 50 {
		if now, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || now != own {
			t.Fatalf("a thread stayed in the other namespace: %s, %v", now, err)
		}
	}
	if _, err := dialIn(t.Context(), ns, "tcp", "localhost:80"); err == nil || !strings.Contains(err.Error(), "is a name") {
		t.Errorf("dial of a name: %v", err)
	}
}

// sandbox starts a process that holds the namespace of a pretended node.
func sandbox(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// TestWAN joins pretended nodes of three sites and looks who reaches whom.
func TestWAN(t *testing.T) {
	needRoot(t)
	p := testPlan(t, 3, 2, 1, 1)
	w, err := newWAN(p)
	if err != nil {
		t.Fatal(err)
	}
	defer w.ns.Close()
	defer w.nl.Close()
	nodes := map[string]*os.File{}
	for i := range p.Sites {
		s := &p.Sites[i]
		for j := range s.Nodes {
			n := &s.Nodes[j]
			pid := sandbox(t)
			if err := w.attach(s, n, pid); err != nil {
				t.Fatal(err)
			}
			ns, err := processNetns(pid)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ns.Close() })
			nodes[n.Name] = ns
			l, err := listenIn(t.Context(), ns, n.addr().String()+":80")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}
	}
	reaches := func(from, to string) bool {
		_, n, err := p.node(to)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		c, err := dialIn(ctx, nodes[from], "tcp", n.addr().String()+":80")
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	check := func(when string, unreached ...string) {
		t.Helper()
		for from := range nodes {
			for to := range nodes {
				want := !slices.Contains(unreached, from[:5]+" "+to[:5]) && !slices.Contains(unreached, to[:5]+" "+from[:5])
				// The kernel takes up to a second to see that a link is up.
				eventually(t, 30*time.Second, when+": "+from+" to "+to, func() error {
					if got := reaches(from, to); got != want {
						return fmt.Errorf("reached: %t, want %t", got, want)
					}
					return nil
				})
			}
		}
	}
	check("at first")
	s1, s2, s3 := &p.Sites[0], &p.Sites[1], &p.Sites[2]
	for range 2 {
		if err := w.cut(s1, s2); err != nil {
			t.Fatal(err)
		}
	}
	check("after one cut", "site1 site2")
	if err := w.cut(s3, s2); err != nil {
		t.Fatal(err)
	}
	check("after two cuts", "site1 site2", "site2 site3")
	if diff := cmp.Diff([][2]string{{"site1", "site2"}, {"site2", "site3"}}, w.cutList()); diff != "" {
		t.Error(diff)
	}
	if err := w.heal(); err != nil {
		t.Fatal(err)
	}
	check("after healing")
	// No answer comes back over a way that is cut in one direction, whoever calls.
	if err := w.cutOneWay(s1, s2); err != nil {
		t.Fatal(err)
	}
	check("after a cut in one direction", "site1 site2")
	if got := w.oneWayList(); len(got) != 1 || got[0] != [2]string{"site1", "site2"} || len(w.cutList()) != 0 {
		t.Error(got, w.cutList())
	}
	if err := w.heal(); err != nil {
		t.Fatal(err)
	}
	if err := w.firewall(t.Context(), []uint16{81}); err != nil {
		t.Fatal(err)
	}
	check("behind a firewall for another port", "site1 site2", "site1 site3", "site2 site3")
	if err := w.firewall(t.Context(), []uint16{81, 80}); err != nil {
		t.Fatal(err)
	}
	check("behind a firewall for the port")
	if err := w.firewall(t.Context(), nil); err != nil || len(w.firewallPorts()) != 0 {
		t.Fatal(err)
	}
	// A node that is made anew, while the others remember the old one.
	pid := sandbox(t)
	if err := w.attach(s2, &s2.Nodes[0], pid); err != nil {
		t.Fatal(err)
	}
	ns, err := processNetns(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	l, err := listenIn(t.Context(), ns, s2.Nodes[0].addr().String()+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nodes["site2-n1"] = ns
	check("after a new node")
}

// TestCgroups works on the machine's trees, with a group of its own.
func TestCgroups(t *testing.T) {
	needRoot(t)
	hs, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	group := (&Plan{ID: labID(t.TempDir())}).cgroup()
	t.Cleanup(func() {
		if err := clearCgroup(context.WithoutCancel(t.Context()), hs, group); err != nil {
			t.Error(err)
		}
	})
	if err := makeCgroup(hs, group+"/node/init"); err != nil {
		t.Fatal(err)
	}
	if err := makeCgroup(hs, group+"/node/init"); err != nil {
		t.Fatalf("second time: %v", err)
	}
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for _, h := range hs {
		file := filepath.Join(h.root, group, "node", "init", "cgroup.procs")
		if err := os.WriteFile(file, []byte(itoa(cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	pids, err := cgroupProcs(hs, group)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{cmd.Process.Pid}, pids); diff != "" {
		t.Errorf("processes of the group: %s", diff)
	}
	if err := removeCgroup(hs, group); !errors.Is(err, unix.EBUSY) {
		t.Errorf("remove of a group in use: %v", err)
	}
	if err := clearCgroup(t.Context(), hs, group); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the process in the group was not killed")
	}
	for _, h := range hs {
		if exists(filepath.Join(h.root, group)) {
			t.Errorf("%s is still there", filepath.Join(h.root, group))
		}
	}
	if err := removeCgroup(hs, group); err != nil {
		t.Errorf("remove of a group that is not there: %v", err)
	}
}

func itoa(i int) string { return strconv.Itoa(i) }

// TestHandDown uses plain files: which controllers there are depends on the machine.
func TestHandDown(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("cpu io\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func() string {
		raw, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if err := handDown(root, false); err != nil || read() != "cpu io\n" {
		t.Errorf("beside version 1: %q, %v", read(), err)
	}
	if err := handDown(root, true); err != nil || read() != "cpu io\n+cpuset+memory+pids+hugetlb" {
		t.Errorf("alone: %q, %v", read(), err)
	}
	if err := handDown(t.TempDir(), true); err == nil {
		t.Error("a folder that is no group passes")
	}
}

func TestCpusetIsCopied(t *testing.T) {
	parent, dir := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(parent, "cpuset.cpus", "0-3\n")
	write(parent, "cpuset.mems", "0\n")
	write(dir, "cpuset.cpus", "\n")
	write(dir, "cpuset.mems", "1\n")
	if err := copyCpuset(parent, dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"cpuset.cpus": "0-3\n", "cpuset.mems": "1\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestSocket(t *testing.T) {
	// Longer than a socket's path may be.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "x.sock")
	if err := ask(t.Context(), socket, "GET", "/", nil); !errors.Is(err, errNoAnswer) {
		t.Errorf("before it serves: %v", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /good", answer(func(*http.Request) (any, error) { return []int{1, 2}, nil }))
	mux.HandleFunc("GET /bad", answer(func(*http.Request) (any, error) { return nil, errors.New("this is bad") }))
	for round := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- serveSocket(ctx, socket, mux) }()
		var got []int
		eventually(t, 30*time.Second, "answer", func() error { return ask(ctx, socket, "GET", "/good", &got) })
		if diff := cmp.Diff([]int{1, 2}, got); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
		if err := ask(ctx, socket, "GET", "/bad", nil); err == nil || err.Error() != "this is bad" {
			t.Errorf("round %d: bad: %v", round, err)
		}
		if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("round %d: mode of the socket: %v %v", round, st.Mode(), err)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

// TestKeeper must not run beside other tests that start processes: it collects
// whatever ends.
func TestKeeper(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	k := newKeeper(dir, slog.New(slog.NewTextHandler(io.Discard, nil)))
	reaped := make(chan struct{})
	go func() {
		k.reap(ctx)
		close(reaped)
	}()
	defer func() { cancel(); <-reaped }()
	if err := k.once(ctx, "good", []string{"sh", "-c", "echo said; exit 0"}); err != nil {
		t.Error(err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "good.log")); err != nil || string(raw) != "said\n" {
		t.Errorf("log: %q %v", raw, err)
	}
	if err := k.once(ctx, "bad", []string{"sh", "-c", "exit 7"}); err == nil || !strings.Contains(err.Error(), "exit code 7") {
		t.Errorf("exit 7: %v", err)
	}
	if err := k.once(ctx, "none", []string{"no-such-program"}); err == nil {
		t.Error("a missing program started")
	}
	opened := make(chan struct{})
	d := daemon{name: "d", argv: []string{"sleep", "300"}, wait: []gate{"x"}}
	k.keep(ctx, d, func(context.Context, gate) error { <-opened; return nil })
	if st := k.status(); len(st) != 1 || st[0].PID != 0 {
		t.Errorf("started before its gate opened: %+v", st)
	}
	close(opened)
	running := func() error {
		if st := k.status(); st[0].PID == 0 {
			return errors.New("it does not run")
		}
		return nil
	}
	eventually(t, 30*time.Second, "start", running)
	first := k.status()[0].PID
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "restart", func() error {
		if st := k.status(); st[0].PID == first || st[0].PID == 0 || st[0].Restarts != 1 {
			return errors.New("not yet")
		}
		return nil
	})
	second := k.status()[0].PID
	k.drop("d")
	if len(k.status()) != 0 || unix.Kill(second, 0) == nil {
		t.Error("it runs after it was dropped")
	}
	k.drop("d")
}

func TestLongLogIsPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, logLimit+1); err != nil {
		t.Fatal(err)
	}
	f, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() != 0 || !exists(path+".1") {
		t.Errorf("size %d, %v", st.Size(), err)
	}
}

func TestNeeds(t *testing.T) {
	dir := t.TempDir()
	err := checkNeeds(dir)
	if !errors.Is(err, ErrNeeds) || strings.Contains(err.Error(), "\n") {
		t.Errorf("empty libexec: %v", err)
	}
	if os.Getenv("HEDDLE_LIBEXEC") == "" {
		if path, err := findHeddle(); err == nil {
			t.Errorf("a test's program was taken for heddle: %s", path)
		}
	}
}

func TestWatches(t *testing.T) {
	if err := checkWatches(&Plan{}); err != nil {
		t.Errorf("a lab without nodes: %v", err)
	}
	raw, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if limit > 500 {
		t.Skipf("skipped: the limit here, %d, is not worth reaching", limit)
	}
	err = checkWatches(testPlan(t, maxSites, limit/20))
	if !errors.Is(err, ErrNeeds) || !strings.Contains(err.Error(), "max_user_instances") {
		t.Errorf("a lab that is too large: %v", err)
	}
	if err := checkWatches(&Plan{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestPackagesSentence(t *testing.T) {
	all := func(string) bool { return true }
	for name, tc := range map[string]struct {
		have func(string) bool
		cni  bool
		want string
	}{
		"all there": {all, true, ""},
		"no nft": {
			func(p string) bool { return p != "nft" }, true,
			"this machine cannot run a lab yet: nft not found; apt-get install -y --no-install-recommends nftables",
		},
		"nothing": {
			func(string) bool { return false }, false,
			"this machine cannot run a lab yet: containerd, ctr, containerd-shim-runc-v2, crun, nft, iptables, conntrack, CNI plugins not found; " +
				"apt-get install -y --no-install-recommends containerd crun nftables iptables conntrack containernetworking-plugins",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := checkPackages(tc.have, tc.cni); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestThreadsStayHome makes namespaces from many goroutines: none may be left
// in one, least of all the process's first thread.
func TestThreadsStayHome(t *testing.T) {
	needRoot(t)
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			ns, err := newNetns()
			if err != nil {
				t.Error(err)
				return
			}
			defer ns.Close()
			if err := inNetns(ns, func() error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	eventually(t, 30*time.Second, "all threads at home", func() error {
		links, err := filepath.Glob("/proc/self/task/*/ns/net")
		if err != nil {
			return err
		}
		for _, l := range links {
			if ns, err := os.Readlink(l); err == nil && ns != home {
				return fmt.Errorf("%s is %s, not %s", l, ns, home)
			}
		}
		return nil
	})
}
