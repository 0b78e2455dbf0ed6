package modproxy

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// aged makes what was fetched old enough to be asked for again.
func aged(t *testing.T, p *Proxy, keys ...string) {
	t.Helper()
	old := time.Now().Add(-2 * fresh)
	for _, key := range keys {
		if err := p.cache.root.Chtimes(objectsDir+"/"+id(key), old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOffline: offline, the proxy has what it had, however old, and asks nobody for the rest.
func TestOffline(t *testing.T) {
	files := goFiles(t, "test.example/m", "v1.0.0")
	up := newUpstream(t, files)
	var offline atomic.Bool
	p, err := New(Options{Dir: t.TempDir(), Upstreams: &Upstreams{GoProxy: up.URL, SumDB: "sum.test+key"}, Offline: offline.Load})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	srv := httptest.NewServer(p)
	defer srv.Close()
	list, zip, latest, unseen := "/test.example/m/@v/list", "/test.example/m/@v/v1.0.0.zip", "/sumdb/sum.test/latest", "/test.example/m/@v/v1.0.0.mod"
	for _, path := range []string{list, zip, latest} {
		if code, body := get(t, srv.URL+GoPath+path); code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, code, body)
		}
	}
	aged(t, p, "go"+list, "go"+zip, "sumdb/sum.test/latest")
	offline.Store(true)
	for _, path := range []string{list, zip, latest} {
		if code, got := get(t, srv.URL+GoPath+path); code != http.StatusOK || got != files[path] {
			t.Errorf("%s offline: %d %q", path, code, got)
		}
		if n := up.count(path); n != 1 {
			t.Errorf("%s was asked for %d times, want once", path, n)
		}
	}
	if code, body := get(t, srv.URL+GoPath+unseen); code != http.StatusGatewayTimeout || !strings.Contains(body, "uplink") || up.count(unseen) != 0 {
		t.Errorf("what is not cached, offline: %d %q, asked for %d times", code, body, up.count(unseen))
	}
	offline.Store(false)
	if code, _ := get(t, srv.URL+GoPath+unseen); code != http.StatusOK {
		t.Errorf("online again: %d", code)
	}
	if code, _ := get(t, srv.URL+GoPath+list); code != http.StatusOK || up.count(list) != 2 {
		t.Errorf("an old list, online again: %d, asked for %d times, want a second time", code, up.count(list))
	}
}

// TestSilence: an upstream that cannot be reached is not tried for each of a hundred old copies, each of which may take as
// long as a dial, but is for what there is no copy of; an answer ends it.
func TestSilence(t *testing.T) {
	up := newUpstream(t, goFiles(t, "test.example/m", "v1.0.0"))
	var broken atomic.Bool
	var tries atomic.Int64
	link, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		if broken.Load() {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
			return
		}
		up.ServeHTTP(w, r)
	})}
	go func() { _ = srv.Serve(link) }()
	defer srv.Close()
	p, base := newProxy(t, t.TempDir(), &Upstreams{GoProxy: "http://" + link.Addr().String()})
	paths := []string{"/test.example/m/@v/list", "/test.example/m/@latest", "/test.example/m/@v/main.info"}
	for _, path := range paths {
		if code, body := get(t, base+GoPath+path); code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, code, body)
		}
		aged(t, p, "go"+path)
	}
	broken.Store(true)
	if code, _ := get(t, base+GoPath+paths[0]); code != http.StatusOK {
		t.Errorf("an old copy: %d", code)
	}
	before := tries.Load()
	for _, path := range paths {
		if code, _ := get(t, base+GoPath+path); code != http.StatusOK {
			t.Errorf("%s: %d", path, code)
		}
	}
	if n := tries.Load(); n != before {
		t.Errorf("upstream was tried %d times for old copies while it could not be reached", n-before)
	}
	if code, _ := get(t, base+GoPath+"/test.example/m/@v/v1.0.0.mod"); code != http.StatusBadGateway || tries.Load() == before {
		t.Errorf("what there is no copy of: %d, tried %d times", code, tries.Load()-before)
	}
	broken.Store(false)
	if code, _ := get(t, base+GoPath+"/test.example/m/@v/v1.0.0.mod"); code != http.StatusOK {
		t.Errorf("upstream is back: %d", code)
	}
	before = tries.Load()
	if code, _ := get(t, base+GoPath+paths[1]); code != http.StatusOK || tries.Load() == before {
		t.Errorf("an old copy once upstream is back: %d, tried %d times", code, tries.Load()-before)
	}
}
