package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	restartDelay = 500 * time.Millisecond
	logLimit     = 32 << 20
)

// keeper is the heart of a node's process 1: it keeps daemons running and
// collects every process that ends, its own children and orphans.
type keeper struct {
	dir string // of the log files
	log *slog.Logger

	mu     sync.Mutex
	waits  map[int]chan<- syscall.WaitStatus
	states map[string]*keptState
}

// keptState is one daemon's; stop ends its keeping loop.
type keptState struct {
	pid      int
	restarts int
	stop     context.CancelFunc
	done     chan struct{}
}

// DaemonStatus is what a node says of one of its daemons.
type DaemonStatus struct {
	Name     string `json:"name"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
}

func newKeeper(dir string, log *slog.Logger) *keeper {
	return &keeper{dir: dir, log: log, waits: map[int]chan<- syscall.WaitStatus{}, states: map[string]*keptState{}}
}

// reap collects ended processes until the context ends. os/exec's Wait cannot
// be used beside it: it would miss what is collected here.
func (k *keeper) reap(ctx context.Context) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	defer signal.Stop(signals)
	for {
		k.collect()
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
	}
}

func (k *keeper) collect() {
	// Held while starting too: a child that ends at once is known by then.
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c, ok := k.waits[pid]; ok {
			delete(k.waits, pid)
			c <- status
		}
	}
}

// start starts a process whose output goes to a log file.
func (k *keeper) start(name string, argv, env []string) (int, <-chan syscall.WaitStatus, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, nil, err
	}
	out, err := openLog(k.dir + "/" + name + ".log")
	if err != nil {
		return 0, nil, err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, nil, err
	}
	defer null.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   slices.Concat(os.Environ(), env),
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, nil, fmt.Errorf("start %q: %w", path, err)
	}
	ended := make(chan syscall.WaitStatus, 1)
	k.waits[pid] = ended
	return pid, ended, nil
}

// openLog opens a log file to append to; a long one is put aside first.
func openLog(path string) (*os.File, error) {
	if st, err := os.Stat(path); err == nil && st.Size() > logLimit {
		if err := os.Rename(path, path+".1"); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

// once runs a process to its end.
func (k *keeper) once(ctx context.Context, name string, argv []string) error {
	pid, ended, err := k.start(name, argv, nil)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		_ = syscall.Kill(pid, syscall.SIGKILL)
		return ctx.Err()
	case status := <-ended:
		if status.ExitStatus() != 0 {
			return fmt.Errorf("run %q: it ended with %s", name, describe(status))
		}
		return nil
	}
}

// keep starts a daemon, after its gates, and again whenever it ends.
func (k *keeper) keep(ctx context.Context, d daemon, open func(context.Context, gate) error) {
	ctx, cancel := context.WithCancel(ctx)
	state := &keptState{stop: cancel, done: make(chan struct{})}
	k.mu.Lock()
	if _, ok := k.states[d.name]; ok {
		k.mu.Unlock()
		cancel()
		return
	}
	k.states[d.name] = state
	k.mu.Unlock()
	go func() {
		defer close(state.done)
		for _, g := range d.wait {
			if err := open(ctx, g); err != nil {
				return
			}
		}
		for k.round(ctx, d, state) {
			k.mu.Lock()
			state.restarts++
			k.mu.Unlock()
		}
	}()
}

// round is one life of a daemon; it says whether there shall be another one.
func (k *keeper) round(ctx context.Context, d daemon, state *keptState) bool {
	pid, ended, err := k.start(d.name, d.argv, d.env)
	if err != nil {
		k.log.Error("daemon does not start", "daemon", d.name, "error", err)
		return pause(ctx, restartDelay)
	}
	k.setPID(state, pid)
	defer k.setPID(state, 0)
	select {
	case status := <-ended:
		k.log.Info("daemon ended", "daemon", d.name, "status", describe(status))
		return pause(ctx, restartDelay)
	case <-ctx.Done():
		_ = syscall.Kill(pid, syscall.SIGTERM)
		grace := time.NewTimer(3 * time.Second)
		defer grace.Stop()
		select {
		case <-ended:
		case <-grace.C:
			_ = syscall.Kill(pid, syscall.SIGKILL)
			<-ended
		}
		return false
	}
}

func (k *keeper) setPID(state *keptState, pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	state.pid = pid
}

// drop stops a daemon and forgets it.
func (k *keeper) drop(name string) {
	k.mu.Lock()
	state, ok := k.states[name]
	delete(k.states, name)
	k.mu.Unlock()
	if !ok {
		return
	}
	state.stop()
	<-state.done
}

func (k *keeper) status() []DaemonStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]DaemonStatus, 0, len(k.states))
	for name, s := range k.states {
		out = append(out, DaemonStatus{Name: name, PID: s.pid, Restarts: s.restarts})
	}
	slices.SortFunc(out, func(a, b DaemonStatus) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return "signal " + s.Signal().String()
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}

// pause waits; false means that the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// poll calls f until it says true, the context ends, or f fails.
func poll(ctx context.Context, every time.Duration, f func() (bool, error)) error {
	for {
		ok, err := f()
		if ok || err != nil {
			return err
		}
		if !pause(ctx, every) {
			return context.Cause(ctx)
		}
	}
}
