package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// supervisor is the one long-lived process of a lab in the machine's own
// network: it holds the lab's network, starts the nodes, and forwards
// localhost ports to the API servers. When it dies, everything dies with it.
type supervisor struct {
	plan   *Plan
	log    *slog.Logger
	groups []hierarchy
	wan    *wan
	spawn  chan func()

	mu    sync.Mutex
	nodes map[string]*nodeProcess
	ports map[string]int
}

// nodeProcess is a started node; done is closed when it has ended.
type nodeProcess struct {
	pid   int
	since time.Time
	done  chan struct{}
}

// NodeStatus is what is known of one node.
type NodeStatus struct {
	Name    string         `json:"name"`
	Site    string         `json:"site"`
	Address string         `json:"address"`
	PID     int            `json:"pid"`
	Alive   bool           `json:"alive"`
	Since   time.Time      `json:"since"`
	Daemons []DaemonStatus `json:"daemons,omitempty"`
}

// controlStatus is the supervisor's answer to GET /status.
type controlStatus struct {
	PID   int            `json:"pid"`
	Nodes []NodeStatus   `json:"nodes"`
	Ports map[string]int `json:"ports"`
	Cuts  [][2]string    `json:"cuts"`
	// OneWay are cuts in one direction, from the first site to the second.
	OneWay [][2]string `json:"oneWay"`
	// Firewall are the only ports that pass between sites; none is no firewall.
	Firewall []uint16 `json:"firewall"`
}

func runSupervisor(ctx context.Context, p *Plan, log *slog.Logger) error {
	hs, err := hierarchies()
	if err != nil {
		return err
	}
	if err := makeCgroup(hs, p.cgroup()+"/supervisor"); err != nil {
		return err
	}
	if err := joinCgroup(hs, p.cgroup()+"/supervisor"); err != nil {
		return err
	}
	s := &supervisor{
		plan: p, log: log, groups: hs, spawn: make(chan func()),
		nodes: map[string]*nodeProcess{}, ports: map[string]int{},
	}
	go s.spawner(ctx)
	if s.wan, err = newWAN(p); err != nil {
		return err
	}
	for i := range p.Sites {
		if err := writePKI(&p.Sites[i]); err != nil {
			return err
		}
	}
	if err := s.forward(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		// What the images took is not needed again.
		defer debug.FreeOSMemory()
		return writeBaseImages(p)
	})
	group.Go(func() error { return serveSocket(ctx, p.socket(), s.handler(ctx)) })
	group.Go(func() error { return s.serveModules(ctx) })
	return group.Wait()
}

// spawner runs all starts on one thread that never ends: the kernel kills the
// children of a thread that ends, when they asked to die with their parent.
func (s *supervisor) spawner(ctx context.Context) {
	runtime.LockOSThread()
	for {
		select {
		case f := <-s.spawn:
			f()
		case <-ctx.Done():
			return
		}
	}
}

func (s *supervisor) handler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", answer(func(*http.Request) (any, error) { return s.status(), nil }))
	mux.HandleFunc("POST /ensure", answer(func(*http.Request) (any, error) { return nil, s.ensure(ctx) }))
	mux.HandleFunc("POST /heal", answer(func(*http.Request) (any, error) { return nil, s.wan.heal() }))
	mux.HandleFunc("POST /firewall/{ports}", answer(func(r *http.Request) (any, error) {
		ports, err := parsePorts(r.PathValue("ports"))
		if err != nil {
			return nil, fmt.Errorf("set firewall: %w", err)
		}
		return nil, s.wan.firewall(r.Context(), ports)
	}))
	mux.HandleFunc("GET /refused", answer(func(r *http.Request) (any, error) { return s.wan.refused(r.Context()) }))
	mux.HandleFunc("POST /cut/{a}/{b}", s.betweenSites(s.wan.cut))
	mux.HandleFunc("POST /cut-one-way/{a}/{b}", s.betweenSites(s.wan.cutOneWay))
	return mux
}

// betweenSites does something to the way between the two sites that a request names.
func (s *supervisor) betweenSites(do func(a, b *SitePlan) error) http.HandlerFunc {
	return answer(func(r *http.Request) (any, error) {
		a, err := s.plan.site(r.PathValue("a"))
		if err != nil {
			return nil, err
		}
		b, err := s.plan.site(r.PathValue("b"))
		if err != nil {
			return nil, err
		}
		if a.Name == b.Name {
			return nil, fmt.Errorf("cut %q: a site cannot be cut from itself", a.Name)
		}
		return nil, do(a, b)
	})
}

func (s *supervisor) status() controlStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := controlStatus{PID: os.Getpid(), Ports: s.ports, Cuts: s.wan.cutList(), OneWay: s.wan.oneWayList(), Firewall: s.wan.firewallPorts()}
	for _, site := range s.plan.Sites {
		for _, n := range site.Nodes {
			st := NodeStatus{Name: n.Name, Site: site.Name, Address: n.addr().String()}
			if proc := s.nodes[n.Name]; proc != nil {
				st.PID, st.Since, st.Alive = proc.pid, proc.since, !dying(proc.pid)
			}
			out.Nodes = append(out.Nodes, st)
		}
	}
	return out
}

// ensure starts every node that does not run.
func (s *supervisor) ensure(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range s.plan.Sites {
		site := &s.plan.Sites[i]
		for j := range site.Nodes {
			group.Go(func() error { return s.startNode(ctx, site, &site.Nodes[j]) })
		}
	}
	return group.Wait()
}

func (s *supervisor) startNode(ctx context.Context, site *SitePlan, n *NodePlan) error {
	if err := s.awaitDeath(ctx, n.Name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes[n.Name] != nil {
		return nil
	}
	group := s.plan.cgroup() + "/" + n.Name
	if err := clearCgroup(ctx, s.groups, group); err != nil {
		return err
	}
	if err := makeCgroup(s.groups, group+"/init"); err != nil {
		return err
	}
	cni, err := findCNI()
	if err != nil {
		return err
	}
	if err := writeNodeFiles(s.plan, site, n, cni); err != nil {
		return err
	}
	cmd, release, err := s.launch(n)
	if err != nil {
		return fmt.Errorf("start node %q: %w", n.Name, err)
	}
	proc := &nodeProcess{pid: cmd.Process.Pid, since: time.Now(), done: make(chan struct{})}
	s.nodes[n.Name] = proc
	go s.watch(n.Name, cmd, proc)
	if err := s.wan.attach(site, n, proc.pid); err != nil {
		_ = cmd.Process.Kill()
		return fmt.Errorf("join node %q to the network: %w", n.Name, err)
	}
	return release()
}

// awaitDeath waits for the end of a node whose process 1 was killed: the kernel
// takes a while to end all that was in it.
func (s *supervisor) awaitDeath(ctx context.Context, name string) error {
	s.mu.Lock()
	proc := s.nodes[name]
	s.mu.Unlock()
	if proc == nil || !dying(proc.pid) {
		return nil
	}
	select {
	case <-proc.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// launch starts process 1 of a node in namespaces of its own. It waits until
// release is called.
func (s *supervisor) launch(n *NodePlan) (cmd *exec.Cmd, release func() error, err error) {
	out, err := openLog(n.log("init"))
	if err != nil {
		return nil, nil, err
	}
	defer out.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	argv := s.plan.role("node", n.Name)
	cmd = exec.Command(argv[0], argv[1:]...) //nolint:noctx // it outlives any request
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = out, out, []*os.File{r}
	// Nothing of the machine's settings gets in; a proxy, say, would be asked
	// for addresses that only exist inside. Memory is at hand, processors are
	// not: collect garbage half as often.
	cmd.Env = []string{"PATH=" + systemPath, "HOME=" + n.Dir, "GOGC=200", coverEnv + "=" + os.Getenv(coverEnv)}
	cmd.SysProcAttr = &unix.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWPID | unix.CLONE_NEWNET,
		Pdeathsig:  unix.SIGKILL,
		Setsid:     true,
	}
	if err := s.start(cmd); err != nil {
		w.Close()
		return nil, nil, err
	}
	return cmd, func() error {
		defer w.Close()
		_, err := w.Write([]byte{1})
		return err
	}, nil
}

// start starts a command that shall die with this process.
func (s *supervisor) start(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	s.spawn <- func() { started <- cmd.Start() }
	return <-started
}

// watch notes the end of a node. It is not started again by itself: whoever
// killed it may want to see it dead; the next "up" repairs it.
func (s *supervisor) watch(name string, cmd *exec.Cmd, proc *nodeProcess) {
	err := cmd.Wait()
	s.log.Info("node ended", "node", name, "status", fmt.Sprint(err))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nodes[name] == proc {
		delete(s.nodes, name)
	}
	close(proc.done)
}

// firstNode opens the network namespace of a site's first node.
func (s *supervisor) firstNode(site *SitePlan) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	proc := s.nodes[site.Nodes[0].Name]
	if proc == nil {
		return nil, fmt.Errorf("node %q does not run", site.Nodes[0].Name)
	}
	return processNetns(proc.pid)
}

// forward opens a port on localhost for each API server: the one it had
// before, or else a free one.
func (s *supervisor) forward(ctx context.Context) error {
	if raw, err := os.ReadFile(s.plan.portsFile()); err == nil {
		if err := json.Unmarshal(raw, &s.ports); err != nil {
			return fmt.Errorf("read %q: %w", s.plan.portsFile(), err)
		}
	}
	for i := range s.plan.Sites {
		site := &s.plan.Sites[i]
		var c net.ListenConfig
		l, err := c.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", s.ports[site.Name]))
		if errors.Is(err, unix.EADDRINUSE) {
			l, err = c.Listen(ctx, "tcp", "127.0.0.1:0")
		}
		if err != nil {
			return fmt.Errorf("forward to %q: %w", site.Name, err)
		}
		s.ports[site.Name] = portOf(l)
		if err := writeUserKubeconfig(s.plan, site, s.ports[site.Name]); err != nil {
			return err
		}
		go relay(ctx, l, func(ctx context.Context) (net.Conn, error) {
			ns, err := s.firstNode(site)
			if err != nil {
				return nil, err
			}
			defer ns.Close()
			return dialIn(ctx, ns, "tcp", site.apiAddr().String())
		})
	}
	raw, err := json.Marshal(s.ports)
	if err != nil {
		return err
	}
	return writeFile(s.plan.portsFile(), raw, 0o644)
}

// relay joins every connection that l accepts to one that dial makes.
func relay(ctx context.Context, l net.Listener, dial func(context.Context) (net.Conn, error)) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		in, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !pause(ctx, 50*time.Millisecond) {
				return
			}
			continue
		}
		go func() {
			defer in.Close()
			dialCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
			out, err := dial(dialCtx)
			cancel()
			if err != nil {
				return
			}
			defer out.Close()
			join(in, out)
		}()
	}
}

// join copies both ways until both directions have ended.
func join(a, b net.Conn) {
	var both sync.WaitGroup
	half := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		if c, ok := to.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}
	both.Go(func() { half(a, b) })
	both.Go(func() { half(b, a) })
	both.Wait()
}

// clearCgroup ends what a dead node left in its group and removes the group.
func clearCgroup(ctx context.Context, hs []hierarchy, group string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var last error
	err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		pids, err := cgroupProcs(hs, group)
		if err != nil {
			return false, err
		}
		if err := killAll(pids); err != nil {
			return false, err
		}
		last = removeCgroup(hs, group)
		return last == nil, nil
	})
	if err != nil && last != nil {
		return last
	}
	return err
}

// copyProgram keeps a copy of this program in the lab: the lab's processes do
// not change when the program is built anew.
func copyProgram(p *Plan) error {
	in, err := os.Open(p.Heddle)
	if err != nil {
		return fmt.Errorf("copy heddle: %w", err)
	}
	defer in.Close()
	target := filepath.Join(p.Dir, "bin", "heddle")
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(target+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("copy heddle: %w", err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("copy heddle: %w", err)
	}
	return os.Rename(target+".new", target)
}
