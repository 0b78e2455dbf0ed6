package modproxy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// archive is a package with one file.
func archive(t *testing.T, name, version string) string {
	t.Helper()
	var buf bytes.Buffer
	gz := gzip.NewWriter(&buf)
	tw := tar.NewWriter(gz)
	for file, text := range map[string]string{
		"package/package.json": fmt.Sprintf(`{"name":%q,"version":%q,"main":"index.js"}`, name, version),
		"package/index.js":     "module.exports = 42\n",
	} {
		if err := tw.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func sha512Of(body string) string {
	sum := sha512.Sum512([]byte(body))
	return "sha512-" + base64.StdEncoding.EncodeToString(sum[:])
}

// document is a packument with one version.
func document(name, version, tarball string, d map[string]string) string {
	d["tarball"] = tarball
	out, err := json.Marshal(map[string]any{
		"name": name, "dist-tags": map[string]string{"latest": version}, "readme": "kept",
		"versions": map[string]any{version: map[string]any{"name": name, "version": version, "dist": d}},
	})
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// npmUpstream has two packages; the archive of the scoped one is on another host.
func npmUpstream(t *testing.T) (registry, elsewhere *upstream) {
	t.Helper()
	one, two := archive(t, "one", "1.0.0"), archive(t, "@acme/two", "2.0.0")
	registry = newUpstream(t, map[string]string{"/npm/one/-/one-1.0.0.tgz": one})
	elsewhere = newUpstream(t, map[string]string{"/files/two-2.0.0.tgz": two})
	sum := sha1.Sum([]byte(two))
	registry.files["/npm/one"] = document("one", "1.0.0", registry.URL+"/npm/one/-/one-1.0.0.tgz", map[string]string{"integrity": sha512Of(one)})
	registry.files["/npm/@acme%2ftwo"] = document("@acme/two", "2.0.0", elsewhere.URL+"/files/two-2.0.0.tgz", map[string]string{"shasum": hex.EncodeToString(sum[:])})
	registry.files["/npm/bad"] = document("bad", "1.0.0", registry.URL+"/npm/one/-/one-1.0.0.tgz", map[string]string{"integrity": sha512Of("other")})
	registry.files["/npm/unsigned"] = document("unsigned", "1.0.0", registry.URL+"/npm/one/-/one-1.0.0.tgz", map[string]string{})
	registry.files["/npm/broken"] = "<html>"
	return registry, elsewhere
}

func TestNpm(t *testing.T) {
	up, elsewhere := npmUpstream(t)
	ups := &Upstreams{Npm: Npm{Registry: up.URL + "/npm/", Auth: map[string]string{strings.TrimPrefix(up.URL, "http:") + "/npm/": "Bearer token"}}}
	p, base := newProxy(t, t.TempDir(), ups)
	base += NpmPath
	for _, path := range []string{"/@acme%2ftwo", "/@acme%2Ftwo", "/@acme/two"} {
		code, body := get(t, base+path)
		if code != 200 {
			t.Fatalf("%s: %d %s", path, code, body)
		}
		var doc struct {
			Readme   string
			Versions map[string]struct{ Dist dist }
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatal(err)
		}
		if got, want := doc.Versions["2.0.0"].Dist.Tarball, base+"/@acme/two/-/two-2.0.0.tgz"; got != want {
			t.Errorf("%s: archive at %q, want %q", path, got, want)
		}
		if doc.Readme != "kept" {
			t.Errorf("%s: other fields are gone", path)
		}
	}
	for path, want := range map[string]string{"/@acme/two/-/two-2.0.0.tgz": elsewhere.files["/files/two-2.0.0.tgz"], "/one/-/one-1.0.0.tgz": up.files["/npm/one/-/one-1.0.0.tgz"]} {
		for range 2 {
			if code, got := get(t, base+path); code != 200 || got != want {
				t.Errorf("%s: %d, %d bytes", path, code, len(got))
			}
		}
	}
	if got := up.auth["/npm/one"]; got != "Bearer token" {
		t.Errorf("authorization at the registry: %q", got)
	}
	if got := elsewhere.auth["/files/two-2.0.0.tgz"]; got != "" {
		t.Errorf("the registry's token was shown to another host: %q", got)
	}
	if n := elsewhere.count("/files/two-2.0.0.tgz"); n != 1 {
		t.Errorf("archive fetched %d times", n)
	}
	for path, want := range map[string]int{
		"/one/1.0.0": 200, "/one/latest": 200, "/one/9.9.9": 404, "/none": 404, "/one/-/two-2.0.0.tgz": 404, "/one/-/..%2f..%2fx.tgz": 404,
		"/-/v1/search": 404, "/.hidden": 404, "/@acme": 404, "/a/b/c/d": 404, "/bad/-/one-1.0.0.tgz": 502, "/unsigned/-/one-1.0.0.tgz": 502, "/broken": 502,
	} {
		if code, body := get(t, base+path); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
	testNpmAccept(t, up, base)
	// Old and cut off: still served.
	old := time.Now().Add(-2 * fresh)
	if err := p.cache.root.Chtimes(objectsDir+"/"+id("npm/"+fullJSON+"/one"), old, old); err != nil {
		t.Fatal(err)
	}
	up.Close()
	if code, _ := get(t, base+"/one"); code != 200 {
		t.Errorf("cut off: %d", code)
	}
}

// testNpmAccept makes sure that short and full documents are not mixed up.
func testNpmAccept(t *testing.T, up *upstream, base string) {
	t.Helper()
	for _, accept := range []string{"application/json", abbreviated + "; q=1.0, application/json; q=0.8, */*"} {
		req, err := http.NewRequest(http.MethodGet, base+"/one", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := strings.SplitN(accept, ";", 2)[0]
		if got := resp.Header.Get("Content-Type"); got != want {
			t.Errorf("content type %q, want %q", got, want)
		}
	}
	if n := up.count("/npm/one"); n != 2 {
		t.Errorf("document fetched %d times, want once of each kind", n)
	}
}

func TestNoRegistry(t *testing.T) {
	_, base := newProxy(t, t.TempDir(), &Upstreams{})
	if code, body := get(t, base+NpmPath+"/one"); code != 502 || !strings.Contains(body, ".npmrc") {
		t.Errorf("%d %s, want 502 and what to do", code, body)
	}
}

func TestNpmCommand(t *testing.T) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("needs npm")
	}
	up, _ := npmUpstream(t)
	_, base := newProxy(t, t.TempDir(), &Upstreams{Npm: Npm{Registry: up.URL + "/npm"}})
	install := func() string {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"name":"x","version":"1.0.0"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), npm, "install", "--no-audit", "--no-fund", "--cache", filepath.Join(dir, "cache"), "--registry", base+NpmPath+"/", "one", "@acme/two")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm install: %v: %s", err, out)
		}
		lock, err := os.ReadFile(filepath.Join(dir, "node_modules", "@acme", "two", "index.js"))
		if err != nil {
			t.Fatal(err)
		}
		return string(lock)
	}
	if got := install(); !strings.Contains(got, "42") {
		t.Errorf("installed %q", got)
	}
	up.Close()
	install() // from the cache
}

func TestNpmrc(t *testing.T) {
	env := func(name string) string { return map[string]string{"TOKEN": "t0"}[name] }
	got := parseNpmrc("; comment\n# comment\nregistry = \"https://r.test/\"\n//r.test/:_authToken=${TOKEN}\nodd\n@acme:registry=https://a.test/npm\nempty=\n", env)
	want := map[string]string{"registry": "https://r.test/", "//r.test/:_authToken": "t0", "@acme:registry": "https://a.test/npm", "empty": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("npmrc (-want +got):\n%s", diff)
	}
}

func TestNpmAuthorize(t *testing.T) {
	n := Npm{Auth: map[string]string{}}
	n.readAuth(map[string]string{
		"//r.test/:_authToken": "a", "//r.test/deep/:_auth": "b", "//p.test:8080/:username": "me",
		"//p.test:8080/:_password": base64.StdEncoding.EncodeToString([]byte("secret")), "//bad.test/:_password": "%",
	})
	for url, want := range map[string]string{
		"https://r.test/one": "Bearer a", "https://r.test/deep/one": "Basic b", "https://r.test/deeper/one": "Bearer a", "https://r.test.evil/one": "",
		"https://p.test:8080/x": "Basic " + base64.StdEncoding.EncodeToString([]byte("me:secret")), "https://p.test/x": "", "https://bad.test/x": "",
	} {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		n.authorize(req)
		if got := req.Header.Get("Authorization"); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

// TestDiscover runs without npm, so that the files decide.
func TestDiscover(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("PATH", t.TempDir())
	t.Setenv("GOPROXY", "https://g.test,direct")
	t.Setenv("GOSUMDB", "off")
	for _, name := range []string{"NETRC", "npm_config_registry", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG"} {
		t.Setenv(name, "")
	}
	for name, text := range map[string]string{
		".netrc": "machine g.test login a password b\n",
		".npmrc": "registry=https://r.test/\n@acme:registry=https://a.test/\n//a.test/:_authToken=t\ncafile=" + home + "/ca.pem\n",
		"ca.pem": "not a certificate",
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Discover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := &Upstreams{
		GoProxy: "https://g.test,direct", SumDB: "off", Netrc: map[string]Login{"g.test": {"a", "b"}},
		Npm: Npm{Registry: "https://r.test/", Scopes: map[string]string{"@acme": "https://a.test/"}, Auth: map[string]string{"//a.test/": "Bearer t"}, CA: []byte("not a certificate")},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if r := got.Npm.registry("@acme/x"); r != "https://a.test/" {
		t.Errorf("registry of a scope: %q", r)
	}
	wantEnv := map[string]string{"GOPROXY": "http://p/go", "GOSUMDB": "off", "npm_config_registry": "http://p/npm/"}
	if diff := cmp.Diff(wantEnv, got.BuildEnv("http://p/")); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func FuzzParseNpm(f *testing.F) {
	for _, s := range []string{"one", "@a%2fb", "@a/b/-/b-1.tgz", "one/1.0.0", "../x", "@a/../b", "%2e%2e/-/x.tgz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		req, err := parseNpm(s)
		if err != nil {
			return
		}
		for _, part := range strings.Split(req.name, "/") {
			if part == ".." || part == "." || part == "" {
				t.Fatalf("%q was taken as package %q", s, req.name)
			}
		}
		if strings.Contains(req.file, "/") || strings.Contains(req.version, "/") {
			t.Fatalf("%q: %+v", s, req)
		}
	})
}

func FuzzReadPackument(f *testing.F) {
	f.Add([]byte(`{"versions":{"1":{"dist":{"tarball":"http://a/b.tgz"}}},"dist-tags":{"latest":"1"}}`))
	f.Add([]byte(`{"versions":{"1":{"dist":null},"2":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := readPackument(data)
		if err != nil {
			return
		}
		if err := doc.rewrite("http://p/"); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(doc.all); err != nil {
			t.Fatal(err)
		}
	})
}
