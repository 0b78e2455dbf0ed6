package build

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"heddle.dev/heddle/internal/image"
	"heddle.dev/heddle/internal/specs"
)

// write lays files out below a folder. A name that ends in ! is executable.
func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(name, "!") {
			mode = 0o755
		}
		file := filepath.Join(folder, strings.TrimSuffix(name, "!"))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// workspace is what the volumes of a build's pod are.
type workspace struct {
	CompileOptions
	log bytes.Buffer
	env map[string]string
}

// newWorkspace has the go command's caches of this machine, so that nothing is downloaded and little is compiled.
func newWorkspace(t *testing.T, language string) *workspace {
	t.Helper()
	folder := t.TempDir()
	w := &workspace{env: map[string]string{"PATH": os.Getenv("PATH"), "GOPROXY": "off", "GOSUMDB": "off", "npm_config_registry": "http://127.0.0.1:1"}}
	w.CompileOptions = CompileOptions{
		Language: language, Source: filepath.Join(folder, "src"), Out: filepath.Join(folder, "out"), Cache: filepath.Join(folder, "cache"),
		Output: &w.log, Getenv: func(name string) string { return w.env[name] },
	}
	t.Setenv("TMPDIR", filepath.Join(folder, "tmp"))
	for _, f := range []string{w.Source, w.Cache, os.Getenv("TMPDIR")} {
		if err := os.MkdirAll(f, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *workspace) withGo(t *testing.T) *workspace {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is not in the path")
	}
	for name, variable := range map[string]string{"go-build": "GOCACHE", "go-mod": "GOMODCACHE"} {
		place, err := exec.CommandContext(t.Context(), "go", "env", variable).Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(strings.TrimSpace(string(place)), filepath.Join(w.Cache, name)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func needNPM(t *testing.T) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not in the path: install Node.js to run this test", program)
		}
	}
}

// compile runs and returns the result that push would read.
func (w *workspace) compile(t *testing.T) *Compiled {
	t.Helper()
	if err := Compile(t.Context(), w.CompileOptions); err != nil {
		t.Fatalf("%v\n%s", err, w.log.String())
	}
	out, err := os.OpenRoot(w.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	result, err := readResult(out)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// hub is a registry with the rule that ours has: anybody reads, who has the key writes.
type hub struct {
	PushOptions
	host string
}

func newHub(t *testing.T, out string) *hub {
	t.Helper()
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if (r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.Path == "/v2/") && (user != "build" || password != "secret") {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	folder := t.TempDir()
	write(t, folder, map[string]string{
		"key/username": "build\n", "key/password": "secret\n",
		"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
	})
	host := strings.TrimPrefix(server.URL, "https://")
	return &hub{host: host, PushOptions: PushOptions{
		Registry: Registry{URL: server.URL, CA: filepath.Join(folder, "ca.crt")},
		Out:      out, Image: "registry.example:5000/trade/asset", KeyDir: filepath.Join(folder, "key"), Share: nodeShare(t, folder),
		SourceDigest: "sha256:" + strings.Repeat("a", 64), Result: filepath.Join(folder, "termination-log"), Output: io.Discard,
	}}
}

// nodeShare has a base layer that holds a note instead of Node.
func nodeShare(t *testing.T, folder string) string {
	t.Helper()
	layer, err := image.NewLayer([]image.File{{Path: "/usr/bin/node", Content: []byte("node"), Executable: true}})
	if err != nil {
		t.Fatal(err)
	}
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	share := filepath.Join(folder, "share")
	write(t, share, map[string]string{"node-base.tar": string(raw), "node-base.tar.digest": digest.String() + "\n"})
	return share
}

// push runs and returns the build's result.
func (h *hub) push(t *testing.T) (*specs.BuildResult, error) {
	t.Helper()
	pushed := Push(t.Context(), h.PushOptions)
	raw, err := os.ReadFile(h.Result)
	if err != nil {
		t.Fatalf("%v, after %v", err, pushed)
	}
	if len(raw) > terminationLimit {
		t.Errorf("the result has %d bytes", len(raw))
	}
	result := &specs.BuildResult{}
	if err := json.Unmarshal(raw, result); err != nil {
		t.Fatal(err)
	}
	return result, pushed
}
