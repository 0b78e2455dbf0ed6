package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test stand for node, which gets a script, a socket and a folder.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && strings.HasSuffix(os.Args[1], ".js") {
		if os.Getenv("COUCHDB_PASSWORD") != "" || strings.HasPrefix(filepath.Base(os.Args[1]), "broken") {
			os.Exit(3)
		}
		l, err := net.Listen("unix", os.Args[2])
		if err != nil {
			os.Exit(4)
		}
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/end" {
				os.Exit(5)
			}
		}))
	}
	os.Exit(m.Run())
}

// log is what couchsim writes.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func started(t *testing.T, script string) (options, *log) {
	t.Helper()
	settings, out := t.TempDir(), &log{}
	if err := os.WriteFile(filepath.Join(settings, "a.ini"), []byte("[chttpd]\nbind_address = 127.0.0.1\nport = 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COUCHDB_PASSWORD", "secret")
	return options{user: "heddle", password: "secret", node: os.Args[0], server: script, data: t.TempDir(), settings: settings, scratch: t.TempDir(), log: out}, out
}

// address waits until couchsim tells where it listens.
func address(t *testing.T, out *log) string {
	t.Helper()
	for range 200 {
		if before, address, ok := strings.Cut(out.String(), " listens on "); ok && strings.Contains(before, "STAND-IN") {
			return strings.TrimSpace(address)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("it does not listen: %s", out)
	return ""
}

func TestServesUntilItIsTold(t *testing.T) {
	o, out := started(t, "server.js")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.run(ctx) }()
	response, err := http.Get("http://" + address(t, out) + "/_up")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", response, err)
	}
	_ = response.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("its end is an error: %v", err)
	}
	if strings.Contains(out.String(), "secret") {
		t.Error("the password is in the log")
	}
}

func TestEndsWithItsServer(t *testing.T) {
	o, out := started(t, "server.js")
	ended := make(chan error, 1)
	go func() { ended <- o.run(t.Context()) }()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address(t, out)+"/end", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("heddle", "secret")
	if response, err := http.DefaultClient.Do(request); err == nil {
		_ = response.Body.Close()
	}
	if err := <-ended; err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the server has ended", err)
	}
}

func TestSaysWhyItDoesNotStart(t *testing.T) {
	for name, change := range map[string]func(*options){
		"no password": func(o *options) { o.password = "" }, "no node": func(o *options) { o.node = "/nowhere" },
		"server ends": func(o *options) { o.server = "broken.js" }, "settings": func(o *options) {
			_ = os.WriteFile(filepath.Join(o.settings, "b.ini"), []byte("what"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := started(t, "server.js")
			change(&o)
			if err := o.run(t.Context()); err == nil {
				t.Error("it ended without an error")
			}
		})
	}
}
