package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"
)

// endsWithin is how long a command may take to end after an interrupt.
const endsWithin = 20 * time.Second

// Running is a heddle command that goes on until it is interrupted.
type Running struct {
	command *exec.Cmd
	mu      sync.Mutex
	out     bytes.Buffer
}

// StartHeddle starts a heddle command against the cluster; the context's end kills it.
func (c *Cluster) StartHeddle(ctx context.Context, args ...string) (*Running, error) {
	r := &Running{command: exec.CommandContext(ctx, c.Path("out", "bin", "heddle"), args...)} //nolint:gosec // our own program
	r.command.Env = append(slices.Clip(os.Environ()), "KUBECONFIG="+c.Kubeconfig)
	r.command.Stdout, r.command.Stderr = r, r
	if err := r.command.Start(); err != nil {
		return nil, fmt.Errorf("start heddle %q: %w", args, err)
	}
	return r, nil
}

// Write takes what the command prints.
func (r *Running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

// Output is what it printed so far.
func (r *Running) Output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// Interrupt does what Ctrl-C does, waits for the end and returns the exit code.
func (r *Running) Interrupt() (int, error) {
	if err := r.command.Process.Signal(os.Interrupt); err != nil {
		return 0, fmt.Errorf("interrupt: %w", err)
	}
	late := time.AfterFunc(endsWithin, func() { _ = r.command.Process.Kill() })
	err := r.command.Wait()
	if !late.Stop() {
		return 0, fmt.Errorf("interrupt: it went on for %s", endsWithin)
	}
	if code := r.command.ProcessState.ExitCode(); code >= 0 {
		return code, nil
	}
	return 0, err
}
