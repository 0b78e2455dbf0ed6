package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"heddle.dev/heddle/couchsim/internal/shim"
)

// Time-outs of the server and of its end.
const (
	headerTimeout = 10 * time.Second
	// startTimeout is how long PouchDB's server may take until it listens.
	startTimeout = time.Minute
	startPause   = 50 * time.Millisecond
	endTimeout   = 5 * time.Second
)

type options struct {
	// user and password of the administrator.
	user, password string
	// node runs server, which keeps its databases below data.
	node, server, data string
	// settings is a folder of *.ini files, scratch one for the socket between the two programs.
	settings, scratch string
	log               io.Writer
}

// run serves until ctx ends or PouchDB's server does.
func (o options) run(ctx context.Context) error {
	if o.user == "" || o.password == "" {
		return errors.New("start: COUCHDB_USER and COUCHDB_PASSWORD have to be set, as for CouchDB")
	}
	address, err := shim.ReadAddress(o.settings)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp(o.scratch, "couchsim-")
	if err != nil {
		return fmt.Errorf("make folder of the socket: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	socket := filepath.Join(folder, "pouchdb.sock")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended, err := o.startServer(ctx, socket, cancel)
	if err != nil {
		return err
	}
	if err = awaitSocket(ctx, socket); err == nil {
		err = o.serve(ctx, socket, address)
	}
	cancel(err)
	<-ended
	// Whatever came first is the cause; a signal is none.
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// startServer starts PouchDB's server; when that ends, so does ctx. The channel is closed when it is gone.
func (o options) startServer(ctx context.Context, socket string, cancel context.CancelCauseFunc) (<-chan struct{}, error) {
	command := exec.CommandContext(ctx, o.node, o.server, socket, o.data)
	command.Stdout, command.Stderr = o.log, o.log
	// Node needs neither of the administrator's two.
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.scratch, "NODE_ENV=production"}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = endTimeout
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start PouchDB's server: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := command.Wait()
		cancel(fmt.Errorf("PouchDB's server has ended: %w", errors.Join(err, io.EOF)))
	}()
	return ended, nil
}

// awaitSocket waits until somebody listens at a socket.
func awaitSocket(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(startPause)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("reach PouchDB's server: %w", context.Cause(ctx))
		}
	}
}

// serve answers at an address until ctx ends.
func (o options) serve(ctx context.Context, socket, address string) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	_, _ = fmt.Fprintf(o.log, "couchsim: this is a STAND-IN for CouchDB (PouchDB's server), for trying and testing; it listens on %s\n", listener.Addr())
	server := &http.Server{
		ReadHeaderTimeout: headerTimeout,
		Handler: shim.New(shim.Options{User: o.user, Password: o.password, Backend: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", socket)
			},
			MaxIdleConnsPerHost: 100, IdleConnTimeout: time.Minute, DisableCompression: true,
		}}),
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
