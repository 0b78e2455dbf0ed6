package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// newNetns makes a network namespace that lives as long as the returned file
// is open.
func newNetns() (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result, 1)
	go onThread(func() {
		// The thread stays locked, so that it ends with this goroutine and no
		// other goroutine ever runs in the new namespace.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("make network namespace: %w", err)}
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		done <- result{file: file, err: err}
	})
	r := <-done
	return r.file, r.err
}

// processNetns opens the network namespace of a process.
func processNetns(pid int) (*os.File, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("open network namespace of process %d: %w", pid, err)
	}
	return f, nil
}

// onThread runs f locked to a thread that is not the process's first one: that
// one can never end, and what /proc says of the process is what it says of it.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	// The first thread is taken by now: another goroutine gets another thread.
	done := make(chan struct{})
	go func() {
		defer close(done)
		onThread(f)
	}()
	<-done
}

// inNetns runs f on a thread that is in the network namespace ns. What f opens
// (sockets, sysctl files) belongs to that namespace for good.
func inNetns(ns *os.File, f func() error) error {
	done := make(chan error, 1)
	go onThread(func() {
		own, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer own.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter network namespace: %w", err)
			return
		}
		err = f()
		// A thread that cannot go back stays locked and ends here.
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	})
	return <-done
}

// dialIn connects to address (IP and port; no names) from inside ns.
func dialIn(ctx context.Context, ns *os.File, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %q: inside the lab only IP addresses can be dialled, %q is a name", address, host)
	}
	var conn net.Conn
	err = inNetns(ns, func() error {
		var d net.Dialer
		var err error
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// portOf is the port of a TCP listener.
func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// listenIn listens on a TCP address inside ns.
func listenIn(ctx context.Context, ns *os.File, address string) (net.Listener, error) {
	var listener net.Listener
	err := inNetns(ns, func() error {
		var c net.ListenConfig
		var err error
		listener, err = c.Listen(ctx, "tcp", address)
		return err
	})
	return listener, err
}
