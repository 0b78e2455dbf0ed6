package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// apiServer speaks the port-forward protocol as an API server does; its pods answer each line with their name before it.
type apiServer struct {
	*httptest.Server
	mu    sync.Mutex
	conns map[string]httpstream.Connection
	// refuse is what the pods' side says instead of answering.
	refuse atomic.Value
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{conns: map[string]httpstream.Connection{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Server.Close)
	return s
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	if len(parts) != 8 || parts[7] != "portforward" || !strings.EqualFold(r.Header.Get(httpstream.HeaderUpgrade), "SPDY/3.1") {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	pod := parts[6]
	if pod == "forbidden" {
		http.Error(w, "you may not", http.StatusForbidden)
		return
	}
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return
	}
	failures := map[string]httpstream.Stream{}
	var mu sync.Mutex
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		id := stream.Headers().Get(corev1.PortForwardRequestIDHeader)
		mu.Lock()
		defer mu.Unlock()
		if stream.Headers().Get(corev1.StreamType) == corev1.StreamTypeError {
			failures[id] = stream
			return nil
		}
		go s.answer(pod, stream, failures[id])
		return nil
	})
	if conn == nil {
		return
	}
	s.mu.Lock()
	s.conns[pod] = conn
	s.mu.Unlock()
	<-conn.CloseChan()
}

func (s *apiServer) answer(pod string, data, failure httpstream.Stream) {
	defer failure.Close()
	defer data.Close()
	if text, ok := s.refuse.Load().(string); ok && text != "" {
		_, _ = io.WriteString(failure, text)
		return
	}
	lines := bufio.NewScanner(data)
	for lines.Scan() {
		if _, err := fmt.Fprintf(data, "%s:%s %s\n", pod, data.Headers().Get(corev1.PortHeader), lines.Text()); err != nil {
			return
		}
	}
}

// kill ends every connection of a pod, as its death does.
func (s *apiServer) kill(pod string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conns[pod].Close()
}

// say sends one line through the tunnel and returns the answer.
func say(t *testing.T, address, line string) (string, error) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(answer), err
}

func open(t *testing.T, s *apiServer, pod func(context.Context) (string, error), failed func(error)) *Tunnel {
	t.Helper()
	tunnel, err := Open(t.Context(), Options{
		Config: &rest.Config{Host: s.URL}, Namespace: "demo", Pod: pod, Remote: 7051, Failed: failed,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tunnel.Close)
	return tunnel
}

func TestTunnel(t *testing.T) {
	s := newAPIServer(t)
	tunnel := open(t, s, func(context.Context) (string, error) { return "one", nil }, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			line := fmt.Sprintf("hello %d", i)
			got, err := say(t, tunnel.Address(), line)
			if want := "one:7051 " + line; err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
	wg.Wait()
	if tunnel.Port() == 0 || !strings.HasSuffix(tunnel.Address(), fmt.Sprintf(":%d", tunnel.Port())) {
		t.Errorf("port %d does not fit to address %s", tunnel.Port(), tunnel.Address())
	}
	tunnel.Close()
	if _, err := say(t, tunnel.Address(), "late"); err == nil {
		t.Error("a closed tunnel answered")
	}
}

// TestSuccessor: when the pod dies, the next connections reach the pod that serves then, on the same local port.
func TestSuccessor(t *testing.T) {
	s := newAPIServer(t)
	var now atomic.Value
	now.Store("one")
	tunnel := open(t, s, func(context.Context) (string, error) { return now.Load().(string), nil }, nil)
	if got, err := say(t, tunnel.Address(), "a"); err != nil || got != "one:7051 a" {
		t.Fatalf("got %q, %v", got, err)
	}
	now.Store("two")
	s.kill("one")
	// The news of the death travels on its own: a first try may still meet the dead connection.
	for range 50 {
		got, err := say(t, tunnel.Address(), "b")
		if err == nil {
			if got != "two:7051 b" {
				t.Fatalf("got %q", got)
			}
			return
		}
	}
	t.Error("the successor was not reached")
}

// TestFailed: what goes wrong after the start is told, and the local connection ends instead of hanging.
func TestFailed(t *testing.T) {
	s := newAPIServer(t)
	told := make(chan error, 8)
	tunnel := open(t, s, func(context.Context) (string, error) { return "one", nil }, func(err error) { told <- err })
	s.refuse.Store("connection refused in the pod")
	if got, err := say(t, tunnel.Address(), "a"); err == nil {
		t.Errorf("got %q from a pod that refuses", got)
	}
	if err := <-told; !strings.Contains(err.Error(), "connection refused in the pod") {
		t.Errorf("told %v", err)
	}
}

func TestOpenFails(t *testing.T) {
	s := newAPIServer(t)
	gone := errors.New("no running pod")
	busy, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for name, c := range map[string]struct {
		opts  Options
		check func(error) bool
	}{
		"the port is in use": {
			opts:  Options{Local: int32(busy.Addr().(*net.TCPAddr).Port), Pod: func(context.Context) (string, error) { return "one", nil }},
			check: InUse,
		},
		"there is no pod": {
			opts:  Options{Pod: func(context.Context) (string, error) { return "", gone }},
			check: func(err error) bool { return errors.Is(err, gone) && !InUse(err) },
		},
		"the right is missing": {
			opts:  Options{Pod: func(context.Context) (string, error) { return "forbidden", nil }},
			check: func(err error) bool { return strings.Contains(err.Error(), "forward a port to pod demo/forbidden") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.opts.Config, c.opts.Namespace, c.opts.Remote = &rest.Config{Host: s.URL}, "demo", 7051
			tunnel, err := Open(t.Context(), c.opts)
			if err == nil {
				tunnel.Close()
				t.Fatal("no error")
			}
			if !c.check(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
