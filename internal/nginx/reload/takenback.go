package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/nginx/tcptable"
)

const (
	// sweep is how long connections to a node are looked for after it was taken back: workers of a former configuration
	// make no new ones, and nginx takes moments to tell them.
	sweep = time.Minute
	// lookupTimeout bounds the search for a node's address.
	lookupTimeout = 3 * time.Second
)

// takenBack are the nodes that were exported and are not any more. nginx cannot end single connections: a worker of a
// former configuration that has one to such a node is ended with all that it has, and its callers connect anew. Workers
// that have none go on.
type takenBack struct {
	opts    Options
	exports map[string]bool
	// until says how long connections to an address, host:port, are looked for.
	until map[string]time.Time
	last  string
}

func newTakenBack(o Options) *takenBack {
	return &takenBack{opts: o, until: map[string]time.Time{}}
}

// look compares the configuration that nginx was told of with the one before.
func (t *takenBack) look(now time.Time) {
	if t.opts.Config == "" {
		return
	}
	raw, err := read(t.opts.Config)
	if err != nil {
		t.opts.Log.Error("exports were not compared", "error", err)
		return
	}
	exports := map[string]bool{}
	for _, r := range nginx.Exports(string(raw)) {
		exports[r.To] = true
		delete(t.until, r.To)
	}
	for to := range t.exports {
		if !exports[to] {
			t.until[to] = now.Add(sweep)
		}
	}
	t.exports = exports
}

// cut ends the workers that have connections to nodes that were taken back.
func (t *takenBack) cut(ctx context.Context, now time.Time) {
	var err error
	gone := map[netip.AddrPort]bool{}
	for to, until := range t.until {
		if now.After(until) {
			delete(t.until, to)
			continue
		}
		err = errors.Join(err, resolve(ctx, to, gone))
	}
	if len(gone) > 0 {
		err = errors.Join(err, endWorkers(t.opts.PIDFile, gone, t.opts.Log))
	}
	// The same trouble is told once.
	if text := fmt.Sprint(err); text != t.last {
		if t.last = text; err != nil {
			t.opts.Log.Error("connections to nodes that were taken back may go on", "error", err)
		}
	}
}

// resolve adds the addresses of host:port.
func resolve(ctx context.Context, address string, into map[netip.AddrPort]bool) error {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("read port of %q: %w", address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var missing *net.DNSError
	if errors.As(err, &missing) && missing.IsNotFound {
		return nil // with the Service, the node is gone, and what went there has ended
	}
	if err != nil {
		return fmt.Errorf("find %q: %w", host, err)
	}
	for _, a := range found {
		into[netip.AddrPortFrom(a.Unmap(), uint16(number))] = true
	}
	return nil
}

// endWorkers ends the workers of former configurations that are connected to one of the addresses.
func endWorkers(pidFile string, gone map[netip.AddrPort]bool, log *slog.Logger) error {
	parent, err := master(pidFile)
	if err != nil {
		return fmt.Errorf("find nginx: %w", err)
	}
	inodes, err := inodesTo(gone)
	if err != nil || len(inodes) == 0 {
		return err
	}
	workers, err := formerWorkers(parent)
	if err != nil {
		return err
	}
	for _, pid := range workers {
		has, err := hasSocket(pid, inodes)
		if err != nil {
			return err
		}
		if !has {
			continue
		}
		if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end worker of nginx: %w", err)
		}
		log.Info("a worker of nginx was ended: it had a connection to a node that was taken back", "worker", pid)
	}
	return nil
}

// formerWorkers are the children of nginx's master that take no connections any more.
func formerWorkers(parent int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("find workers of nginx: %w", err)
	}
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := read(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil { // a process that has ended meanwhile
			continue
		}
		// PID (NAME) STATE PARENT; the name may have spaces.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(parent) {
			continue
		}
		title, err := read(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.Contains(title, []byte("worker process is shutting down")) {
			out = append(out, pid)
		}
	}
	return out, nil
}

// hasSocket tells whether a process has one of the sockets.
func hasSocket(pid int, inodes map[string]bool) (bool, error) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read sockets of nginx: %w", err)
	}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(folder, e.Name()))
		if err != nil { // closed meanwhile
			continue
		}
		if inodes[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] {
			return true, nil
		}
	}
	return false, nil
}

// inodesTo are the inodes of this network namespace's connections to the addresses.
func inodesTo(gone map[netip.AddrPort]bool) (map[string]bool, error) {
	out := map[string]bool{}
	err := tcptable.Each(func(s tcptable.Socket) {
		if gone[s.Remote] {
			out[s.Inode] = true
		}
	})
	return out, err
}
