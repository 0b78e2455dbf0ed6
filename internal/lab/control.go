package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// The processes of a lab are asked over HTTP on Unix sockets in the lab's
// folder; only its owner can open that.

// errNoAnswer says that nobody serves a socket.
var errNoAnswer = errors.New("the process does not answer")

// openSocketDir opens the folder of a socket. Through the open folder the
// socket has a short path: the kernel allows 108 bytes only.
func openSocketDir(path string) (*os.File, string, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, "", err
	}
	return dir, fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), nil
}

// listenSocket listens on a Unix socket, in place of a dead process's one.
func listenSocket(ctx context.Context, path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	dir, short, err := openSocketDir(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var c net.ListenConfig
	l, err := c.Listen(ctx, "unix", short)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", path, err)
	}
	// The short path is gone when the folder is closed.
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	return l, os.Chmod(path, 0o600)
}

// serveSocket answers on a Unix socket until the context ends.
func serveSocket(ctx context.Context, path string, h http.Handler) error {
	l, err := listenSocket(ctx, path)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ask sends one request to a socket and decodes the answer into out.
func ask(ctx context.Context, socket, method, path string, out any) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dir, short, err := openSocketDir(socket)
			if err != nil {
				return nil, err
			}
			defer dir.Close()
			var d net.Dialer
			return d.DialContext(ctx, "unix", short)
		},
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		// Which call on which socket failed is of no use to anybody.
		return errors.Join(errNoAnswer, ctx.Err())
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(string(bytes.TrimSpace(raw)))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// answer turns a function into a handler: its result as JSON, its error as a
// sentence.
func answer(f func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := f(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	}
}

func (p *Plan) socket() string            { return filepath.Join(p.Dir, "control.sock") }
func (n *NodePlan) socket() string        { return n.path("init.sock") }
func (p *Plan) lockFile() string          { return p.Dir + ".lock" }
func (p *Plan) planFile() string          { return filepath.Join(p.Dir, "lab.json") }
func (p *Plan) portsFile() string         { return filepath.Join(p.Dir, "ports.json") }
func (p *Plan) imageFile(n string) string { return filepath.Join(p.Dir, "images", n+".tar") }
func (p *Plan) policyOff() string         { return filepath.Join(p.Dir, "policy.off") }
func (p *Plan) uplinkOff() string         { return filepath.Join(p.Dir, "uplink.off") }
