// Command testbox is what the pods of the lab's tests run: a small web server,
// and the other side of what a test wants to know about network and disk.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: testbox COMMAND
  serve [ADDRESS]     answer HTTP; /exit ends the program with code 3
  get URL             print what a URL answers
  connect ADDRESS     open a TCP connection and close it
  resolve NAME        print a name's addresses
  sleep               wait for a signal
  cat FILE...         print files
  write FILE TEXT...  write a file
  ls FOLDER           list a folder`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 {
		args = []string{"serve"}
	}
	commands := map[string]struct {
		least int
		run   func(context.Context, []string, io.Writer) error
	}{
		"serve": {0, serve}, "get": {1, get}, "connect": {1, connect}, "resolve": {1, resolve},
		"sleep": {0, sleep}, "cat": {1, cat}, "write": {2, write}, "ls": {1, list},
	}
	c, ok := commands[args[0]]
	if !ok || len(args)-1 < c.least {
		return errors.New(usage)
	}
	return c.run(ctx, args[1:], out)
}

func serve(ctx context.Context, args []string, out io.Writer) error {
	addr := ":8080"
	if len(args) > 0 {
		addr = args[0]
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s path %s remote %s\n", host, r.URL.Path, r.RemoteAddr)
	})
	mux.HandleFunc("/exit", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	server := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Fprintln(out, "serving on", addr, "as", host)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func get(ctx context.Context, args []string, out io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(out, resp.Body)
	return err
}

func connect(ctx context.Context, args []string, out io.Writer) error {
	d := net.Dialer{Timeout: 2 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "connected to", conn.RemoteAddr())
	return conn.Close()
}

func resolve(ctx context.Context, args []string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, args[0])
	if err != nil {
		return err
	}
	fmt.Fprintln(out, strings.Join(ips, "\n"))
	return nil
}

func sleep(ctx context.Context, _ []string, _ io.Writer) error {
	<-ctx.Done()
	return nil
}

func cat(_ context.Context, args []string, out io.Writer) error {
	for _, file := range args {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := out.Write(raw); err != nil {
			return err
		}
	}
	return nil
}

func write(_ context.Context, args []string, _ io.Writer) error {
	return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")+"\n"), 0o644)
}

func list(_ context.Context, args []string, out io.Writer) error {
	files, err := filepath.Glob(args[0] + "/*")
	for _, f := range files {
		fmt.Fprintln(out, f)
	}
	return err
}
