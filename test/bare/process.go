package bare

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	pollEvery = 20 * time.Millisecond
	stopGrace = 5 * time.Second
	logTail   = 2000
)

// Process is a node or a contract under way.
type Process struct {
	// Name in logs and errors.
	Name string
	// LogFile has what it writes.
	LogFile string

	program string
	args    []string
	env     []string
	command *exec.Cmd
	ended   chan struct{}
}

// start runs the process; it dies with us.
func (p *Process) start() error {
	file, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer file.Close() // the child has its own handle
	command := exec.Command(p.program, p.args...)
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(p.LogFile)}, p.env...)
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.command, p.ended = command, make(chan struct{})
	go func() {
		_ = command.Wait() // how it ended is in the log
		close(p.ended)
	}()
	return nil
}

// Running tells whether the process lives.
func (p *Process) Running() bool {
	if p.ended == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// PID of the process.
func (p *Process) PID() int { return p.command.Process.Pid }

// Kill ends the process at once.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Stop ends the process orderly, or at once if that takes too long.
func (p *Process) Stop() {
	if !p.Running() {
		return
	}
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGTERM) // gone is as good
	select {
	case <-p.ended:
	case <-time.After(stopGrace):
		p.end(syscall.SIGKILL)
	}
}

func (p *Process) end(signal syscall.Signal) {
	if !p.Running() {
		return
	}
	_ = syscall.Kill(-p.command.Process.Pid, signal) // gone is as good
	<-p.ended
}

// Log is the end of what the process wrote.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-logTail):])
}

// healthy waits until the operations endpoint is content.
func (p *Process) healthy(ctx context.Context, operations string) error {
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	return p.wait(ctx, func() error {
		response, err := client.Get("http://" + operations + "/healthz")
		if err != nil {
			return err
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// listening waits until somebody accepts connections.
func (p *Process) listening(ctx context.Context, address string) error {
	return p.wait(ctx, func() error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
}

func (p *Process) wait(ctx context.Context, probe func() error) error {
	err := Eventually(ctx, func() error {
		if !p.Running() {
			return &permanent{errors.New("it ended")}
		}
		return probe()
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w; its log ends in:\n%s", p.Name, err, p.Log())
	}
	return nil
}

// permanent stops Eventually.
type permanent struct{ error }

// Eventually repeats something until it succeeds or the context ends.
func Eventually(ctx context.Context, try func() error) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		var stop *permanent
		if errors.As(err, &stop) {
			return stop.error
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// Ports of nodes are drawn below those that the system gives to connections
// (32768 and up on Linux) and to Services of Kubernetes (30000 and up): a node
// that is started again, or one of another run, finds its own still free.
const firstPort, lastPort = 10000, 29999

// drawn are ports that nodes of this process have, or are about to listen on.
var drawn sync.Map //nolint:gochecknoglobals // ports are the process's own

// freePorts draws ports that nothing listens on, and none twice.
func freePorts(n int) ([]string, error) {
	var out []string
	for tries := 0; len(out) < n; tries++ {
		if tries > 100*n {
			return nil, fmt.Errorf("find %d free ports: %d draws found %d", n, tries, len(out))
		}
		port := strconv.Itoa(firstPort + rand.IntN(lastPort-firstPort+1))
		if _, taken := drawn.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		out = append(out, port)
	}
	return out, nil
}
