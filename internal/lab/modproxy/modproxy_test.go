package modproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

// upstream is a registry that counts and can be cut off.
type upstream struct {
	*httptest.Server
	mu     sync.Mutex
	files  map[string]string
	hits   map[string]int
	auth   map[string]string
	accept map[string]string
	status atomic.Int64 // answer with this instead, if set
}

func newUpstream(t *testing.T, files map[string]string) *upstream {
	t.Helper()
	u := &upstream{files: files, hits: map[string]int{}, auth: map[string]string{}, accept: map[string]string{}}
	u.Server = httptest.NewServer(u)
	t.Cleanup(u.Close)
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	path := strings.ReplaceAll(r.URL.EscapedPath(), "%21", "!")
	u.hits[path]++
	u.auth[path] = r.Header.Get("Authorization")
	u.accept[path] = r.Header.Get("Accept")
	body, ok := u.files[path]
	switch code := int(u.status.Load()); {
	case code != 0:
		http.Error(w, "upstream is ill", code)
	case !ok:
		http.Error(w, "no such thing", http.StatusNotFound)
	default:
		fmt.Fprint(w, body)
	}
}

func (u *upstream) count(path string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.hits[path]
}

func newProxy(t *testing.T, dir string, ups *Upstreams) (*Proxy, string) {
	t.Helper()
	p, err := New(Options{Dir: dir, Upstreams: ups})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(p)
	t.Cleanup(func() {
		srv.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, srv.URL
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// goFiles is a module as a proxy serves it.
func goFiles(t *testing.T, path, version string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	mod := "module " + path + "\n\ngo 1.24\n"
	for name, text := range map[string]string{"go.mod": mod, "m.go": "package m\n\n// Answer is known.\nconst Answer = 42\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var zip bytes.Buffer
	if err := modzip.CreateFromDir(&zip, module.Version{Path: path, Version: version}, dir); err != nil {
		t.Fatal(err)
	}
	escaped, err := module.EscapePath(path)
	if err != nil {
		t.Fatal(err)
	}
	info := fmt.Sprintf(`{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, version)
	return map[string]string{
		"/" + escaped + "/@v/list":                     version + "\n",
		"/" + escaped + "/@latest":                     info,
		"/" + escaped + "/@v/" + version + ".info":     info,
		"/" + escaped + "/@v/" + version + ".mod":      mod,
		"/" + escaped + "/@v/" + version + ".zip":      zip.String(),
		"/" + escaped + "/@v/main.info":                info,
		"/sumdb/sum.test/latest":                       "tree",
		"/sumdb/sum.test/tile/8/0/000":                 "tile",
		"/sumdb/sum.test/lookup/test.example/m@v1.0.0": "record",
	}
}

func TestGo(t *testing.T) {
	files := goFiles(t, "test.example/Mixed/m", "v1.0.0")
	up := newUpstream(t, files)
	dir := t.TempDir()
	ups := &Upstreams{GoProxy: up.URL, SumDB: "sum.test+key"}
	_, base := newProxy(t, dir, ups)
	for range 2 {
		for path, want := range files {
			if code, got := get(t, base+GoPath+path); code != http.StatusOK || got != want {
				t.Errorf("%s: %d %q, want %q", path, code, got, want)
			}
		}
	}
	for path := range files {
		if n := up.count(path); n != 1 {
			t.Errorf("%s was fetched %d times, want once", path, n)
		}
	}
	if code, _ := get(t, base+GoPath+"/sumdb/sum.test/supported"); code != http.StatusOK {
		t.Errorf("sumdb supported: %d", code)
	}
	for _, path := range []string{
		"/test.example/none/@v/list", "/test.example/!mixed/m/@v/v9.0.0.zip", "/sumdb/other.test/supported", "/sumdb/sum.test/tile/../latest",
		"/test.example/m/@v/v1.0.0.exe", "/test.example/m", "/test.example/UPPER/@v/list", "/../../etc/passwd/@v/list",
	} {
		if code, _ := get(t, base+GoPath+path); code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, code)
		}
	}
}

func TestCutOff(t *testing.T) {
	files := goFiles(t, "test.example/m", "v1.0.0")
	up := newUpstream(t, files)
	dir := t.TempDir()
	ups := &Upstreams{GoProxy: up.URL}
	p, base := newProxy(t, dir, ups)
	list, zip := "/test.example/m/@v/list", "/test.example/m/@v/v1.0.0.zip"
	for _, path := range []string{list, zip} {
		if code, body := get(t, base+GoPath+path); code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, code, body)
		}
	}
	old := time.Now().Add(-2 * fresh)
	for _, path := range []string{list, zip} {
		if err := p.cache.root.Chtimes(objectsDir+"/"+id("go"+path), old, old); err != nil {
			t.Fatal(err)
		}
	}
	up.status.Store(http.StatusInternalServerError)
	_, again := newProxy(t, dir, ups) // a new process finds the same cache
	for _, path := range []string{list, zip} {
		if code, got := get(t, again+GoPath+path); code != http.StatusOK || got != files[path] {
			t.Errorf("%s while upstream is ill: %d %q", path, code, got)
		}
	}
	if n := up.count(zip); n != 1 {
		t.Errorf("an archive was asked for %d times", n)
	}
	if n := up.count(list); n != 2 {
		t.Errorf("an old list was asked for %d times, want a second time", n)
	}
	code, body := get(t, again+GoPath+"/test.example/m/@v/v1.0.0.info")
	if code != http.StatusBadGateway || !strings.Contains(body, "500") {
		t.Errorf("what is not cached: %d %q, want 502 with the reason", code, body)
	}
	up.status.Store(http.StatusGone)
	if code, _ := get(t, again+GoPath+list); code != http.StatusNotFound {
		t.Errorf("a list that upstream has withdrawn: %d, want 404", code)
	}
}

func TestGoProxyList(t *testing.T) {
	good := newUpstream(t, goFiles(t, "test.example/m", "v1.0.0"))
	empty := newUpstream(t, nil)
	ill := newUpstream(t, nil)
	ill.status.Store(http.StatusInternalServerError)
	folder := t.TempDir()
	if err := os.MkdirAll(filepath.Join(folder, "test.example/m/@v"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "test.example/m/@v/v1.0.0.mod"), []byte("module x"), 0o600); err != nil {
		t.Fatal(err)
	}
	dead := "http://127.0.0.1:1"
	tests := map[string]struct {
		list string
		want int
	}{
		"one":                             {good.URL, 200},
		"comma goes on after not found":   {empty.URL + "," + good.URL, 200},
		"bar goes on after not found":     {empty.URL + "|" + good.URL, 200},
		"comma stops at an error":         {ill.URL + "," + good.URL, 502},
		"bar goes on after an error":      {ill.URL + "|" + good.URL, 200},
		"bar goes on after no connection": {dead + "|" + good.URL, 200},
		"no connection":                   {dead, 502},
		"nowhere":                         {empty.URL + "," + empty.URL, 404},
		"off":                             {"off", 502},
		"off at the end":                  {empty.URL + ",off", 404},
		"spaces and empty entries":        {" , " + empty.URL + " ,, " + good.URL + " ", 200},
		"folder":                          {"file://" + folder, 200},
		"folder without it":               {"file://" + t.TempDir() + "," + good.URL, 200},
		"no settings":                     {"", 502},
		"no address":                      {"somewhere", 502},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, base := newProxy(t, t.TempDir(), &Upstreams{GoProxy: tc.list})
			if code, body := get(t, base+GoPath+"/test.example/m/@v/v1.0.0.mod"); code != tc.want {
				t.Errorf("got %d %s, want %d", code, body, tc.want)
			}
		})
	}
}

func TestSumDBFallsBackToTheDatabase(t *testing.T) {
	proxy := newUpstream(t, nil)
	db := newUpstream(t, map[string]string{"/lookup/m@v1": "record"})
	for name, list := range map[string]string{"proxy, then database": proxy.URL, "direct": "direct"} {
		t.Run(name, func(t *testing.T) {
			_, base := newProxy(t, t.TempDir(), &Upstreams{GoProxy: list, SumDB: "sum.test+key " + db.URL})
			if code, got := get(t, base+GoPath+"/sumdb/sum.test/lookup/m@v1"); code != 200 || got != "record" {
				t.Errorf("lookup: %d %q", code, got)
			}
		})
	}
	_, base := newProxy(t, t.TempDir(), &Upstreams{GoProxy: proxy.URL + ",off", SumDB: "sum.test+key " + db.URL})
	if code, _ := get(t, base+GoPath+"/sumdb/sum.test/lookup/m@v1"); code != 404 {
		t.Errorf("lookup with off: %d, want 404", code)
	}
}

func TestNetrc(t *testing.T) {
	up := newUpstream(t, goFiles(t, "test.example/m", "v1.0.0"))
	_, base := newProxy(t, t.TempDir(), &Upstreams{GoProxy: up.URL, Netrc: map[string]Login{"127.0.0.1": {"me", "secret"}}})
	path := "/test.example/m/@v/list"
	if code, _ := get(t, base+GoPath+path); code != 200 {
		t.Fatal(code)
	}
	if got, want := up.auth[path], "Basic bWU6c2VjcmV0"; got != want {
		t.Errorf("authorization %q, want %q", got, want)
	}
	tests := map[string]struct {
		text string
		want map[string]Login
	}{
		"one line":          {"machine a login b password c", map[string]Login{"a": {"b", "c"}}},
		"several lines":     {"machine a\n login b\n password c\nmachine d login e password f\n", map[string]Login{"a": {"b", "c"}, "d": {"e", "f"}}},
		"the first holds":   {"machine a login b password c\nmachine a login x password y", map[string]Login{"a": {"b", "c"}}},
		"default ends it":   {"machine a login b password c\ndefault login x password y\nmachine z login x password y", map[string]Login{"a": {"b", "c"}}},
		"macros are passed": {"macdef init\nmachine x login y password z\n\nmachine a login b password c", map[string]Login{"a": {"b", "c"}}},
		"half an entry":     {"machine a login b", map[string]Login{}},
		"dangling":          {"machine", map[string]Login{}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, parseNetrc(tc.text)); diff != "" {
				t.Errorf("logins (-want +got):\n%s", diff)
			}
		})
	}
}

// TestErrorsKeepSecrets makes each kind of upstream failure with a password in the address.
func TestErrorsKeepSecrets(t *testing.T) {
	ill := newUpstream(t, nil)
	ill.status.Store(http.StatusForbidden)
	for _, at := range []string{"http://me:secret@127.0.0.1:1", strings.Replace(ill.URL, "://", "://me:secret@", 1), "http://me:secret@bad host/"} {
		_, base := newProxy(t, t.TempDir(), &Upstreams{GoProxy: at})
		code, body := get(t, base+GoPath+"/test.example/m/@v/list")
		if code != http.StatusBadGateway || strings.Contains(body, "secret") {
			t.Errorf("%d %q", code, body)
		}
	}
}

func TestOneFetchForMany(t *testing.T) {
	path := "/test.example/m/@v/v1.0.0.zip"
	up := newUpstream(t, goFiles(t, "test.example/m", "v1.0.0"))
	_, base := newProxy(t, t.TempDir(), &Upstreams{GoProxy: up.URL})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			resp, err := http.Get(base + GoPath + path)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || string(got) != up.files[path] {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if n := up.count(path); n != 1 {
		t.Errorf("fetched %d times, want once", n)
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, Options{Dir: filepath.Join(t.TempDir(), "cache"), Upstreams: &Upstreams{}})
	}()
	if code, _ := get(t, "http://"+l.Addr().String()+"/healthz"); code != 200 {
		t.Errorf("healthz: %d", code)
	}
	if code, body := get(t, "http://"+l.Addr().String()+"/else"); code != 404 || !strings.Contains(body, GoPath) {
		t.Errorf("another path: %d %q", code, body)
	}
	resp, err := http.Post("http://"+l.Addr().String()+GoPath+"/x", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if err := Run(t.Context(), "127.0.0.1:-1", t.TempDir()); err == nil {
		t.Error("an impossible address was taken")
	}
}

// goClient is a go command with nothing of this machine's but the toolchain.
func goClient(t *testing.T, dir string, env []string, args ...string) (string, error) {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command")
	}
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOMODCACHE="+filepath.Join(dir, "modcache"), "GOFLAGS=-modcacherw", "GOTOOLCHAIN=local", "GOWORK=off", "GONOPROXY=none", "GOPRIVATE=")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestGoCommand(t *testing.T) {
	up := newUpstream(t, goFiles(t, "test.example/Mixed/m", "v1.2.3"))
	_, base := newProxy(t, t.TempDir(), &Upstreams{GoProxy: up.URL})
	dir := t.TempDir()
	files := map[string]string{
		"go.mod":  "module test.example/main\n\ngo 1.24\n",
		"main.go": "package main\n\nimport \"test.example/Mixed/m\"\n\nfunc main() { println(m.Answer) }\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"GOPROXY=" + base + GoPath, "GOSUMDB=off"}
	for _, args := range [][]string{{"get", "test.example/Mixed/m@latest"}, {"mod", "verify"}, {"list", "-m", "-versions", "test.example/Mixed/m"}} {
		if out, err := goClient(t, dir, env, args...); err != nil {
			t.Fatalf("go %v: %v: %s", args, err, out)
		}
	}
	// Cut off, a fresh client gets all of it from the cache.
	up.Close()
	if err := os.RemoveAll(filepath.Join(dir, "modcache")); err != nil {
		t.Fatal(err)
	}
	if out, err := goClient(t, dir, env, "mod", "download", "-x"); err != nil {
		t.Fatalf("cut off: %v: %s", err, out)
	}
}

// TestDirect serves a module that is in no proxy, only in a git repository.
func TestDirect(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	repo := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", repo, "-c", "user.name=t", "-c", "user.email=t@test.example"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	for name, text := range map[string]string{"go.mod": "module test.example/m.git\n", "m.go": "package m\n"} {
		if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "-qm", "x")
	git("tag", "v1.0.0")
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-modcacherw")
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "url.file://"+repo+".insteadOf")
	t.Setenv("GIT_CONFIG_VALUE_0", "https://test.example/m")
	up := newUpstream(t, nil)
	for name, ups := range map[string]*Upstreams{
		"after a proxy": {GoProxy: up.URL + ",direct"},
		"by pattern":    {GoProxy: up.URL, NoProxy: "test.example/*"},
	} {
		t.Run(name, func(t *testing.T) {
			_, base := newProxy(t, t.TempDir(), ups)
			base += GoPath + "/test.example/m.git/@"
			for path, want := range map[string]string{
				"v/list": "v1.0.0\n", "latest": `"v1.0.0"`, "v/main.info": `"v1.0.0"`, "v/v1.0.0.info": `"v1.0.0"`,
				"v/v1.0.0.mod": "module test.example/m.git\n", "v/v1.0.0.zip": "PK",
			} {
				if code, got := get(t, base+path); code != 200 || !strings.Contains(got, want) {
					t.Errorf("%s: %d %q, want %q in it", path, code, got, want)
				}
			}
			if code, body := get(t, base+"v/v2.0.0.zip"); code != 404 {
				t.Errorf("a version that is not there: %d %s", code, body)
			}
		})
	}
}

// TestReal goes through this machine's own settings to the real registries.
func TestReal(t *testing.T) {
	if testing.Short() {
		t.Skip("short: leaves the network alone")
	}
	p, base := newProxy(t, t.TempDir(), nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := p.settings(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("go", func(t *testing.T) {
		if code, body := get(t, base+GoPath+"/golang.org/x/text/@v/v0.14.0.info"); code == http.StatusBadGateway {
			t.Skipf("this machine reaches no Go modules: %s", body)
		}
		env := []string{}
		vars := map[string]string{}
		_, body := get(t, base+EnvPath)
		if err := json.Unmarshal([]byte(body), &vars); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if vars["GOPROXY"] != base+GoPath {
			t.Errorf("GOPROXY for builds is %q", vars["GOPROXY"])
		}
		for k, v := range vars {
			env = append(env, k+"="+v)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module test.example/main\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := goClient(t, dir, env, "get", "golang.org/x/xerrors@v0.0.0-20231012003039-104605ab7028"); err != nil {
			t.Errorf("go get: %v: %s", err, out)
		}
	})
	t.Run("npm", func(t *testing.T) {
		code, body := get(t, base+NpmPath+"/is-number/7.0.0")
		if code == http.StatusBadGateway {
			t.Skipf("this machine reaches no npm packages: %s", body)
		}
		if code != 200 || !strings.Contains(body, base+NpmPath+"/is-number/-/is-number-7.0.0.tgz") {
			t.Fatalf("%d %s", code, body)
		}
		if code, _ := get(t, base+NpmPath+"/is-number/-/is-number-7.0.0.tgz"); code != 200 {
			t.Errorf("archive: %d", code)
		}
	})
}

func FuzzParseGo(f *testing.F) {
	for _, s := range []string{"a.b/c/@v/list", "a.b/!c/@latest", "a.b/c/@v/v1.0.0.zip", "@v/list", "a.b/@v/v1.0.0-0.20200101000000-abcdefabcdef.info", "a.b/c/@v/../../x.mod"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		req, err := parseGo(s)
		if err != nil {
			if !errors.Is(err, errNotFound) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if module.CheckPath(req.module) != nil && module.CheckImportPath(req.module) != nil || strings.Contains(s, "..") && strings.Contains(s, "/../") {
			t.Fatalf("%q was taken as module %q", s, req.module)
		}
	})
}

func FuzzParseNetrc(f *testing.F) {
	f.Add("machine a login b password c\ndefault x")
	f.Fuzz(func(t *testing.T, s string) {
		for host, l := range parseNetrc(s) {
			if host == "" || l.User == "" || l.Password == "" {
				t.Fatalf("%q: half a login", s)
			}
		}
	})
}
