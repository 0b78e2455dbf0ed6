package build

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"heddle.dev/heddle/internal/specs"
)

// compiledGo is the output of a small contract with an index.
func compiledGo(t *testing.T) string {
	t.Helper()
	w := newWorkspace(t, "Go").withGo(t)
	write(t, w.Source, map[string]string{"go.mod": goMod, "main.go": goMain, indexes + "owner.json": index, "META-INF/notes.txt": "not an index"})
	if got := w.compile(t); got.Failure != "" {
		t.Fatal(got.Failure)
	}
	return w.Out
}

func (h *hub) options(t *testing.T) []remote.Option {
	t.Helper()
	transport, err := h.transport()
	if err != nil {
		t.Fatal(err)
	}
	return []remote.Option{remote.WithTransport(transport), remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: "build", Password: "secret"}))}
}

func (h *hub) repository(t *testing.T) name.Repository {
	t.Helper()
	repository, err := name.NewRepository(h.host + "/trade/asset")
	if err != nil {
		t.Fatal(err)
	}
	return repository
}

func (h *hub) image(t *testing.T, digest string) v1.Image {
	t.Helper()
	img, err := remote.Image(h.repository(t).Digest(digest), h.options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (h *hub) blob(t *testing.T, digest string) string {
	t.Helper()
	layer, err := remote.Layer(h.repository(t).Digest(digest), h.options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	content, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// unpacked are the files of an image, with the targets of links.
func unpacked(t *testing.T, img v1.Image) map[string]string {
	t.Helper()
	reader := mutate.Extract(img)
	defer reader.Close()
	got := map[string]string{}
	for archive := tar.NewReader(reader); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.ModTime.Unix() > 0 || h.Mode&0o004 == 0 {
			t.Errorf("%s: owner %d, time %s, mode %o", h.Name, h.Uid, h.ModTime, h.Mode)
		}
		if h.Typeflag != tar.TypeDir {
			got[h.Name] = h.Linkname + string(content)
		}
	}
}

func TestPushGo(t *testing.T) {
	h := newHub(t, compiledGo(t))
	h.Language, h.Path = "Go", "contract"
	result, err := h.push(t)
	if err != nil {
		t.Fatal(err)
	}
	if result.Name != h.Image || result.Failure != "" {
		t.Errorf("result is %+v", result)
	}
	img := h.image(t, result.Digest)
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{Entrypoint: []string{"/usr/local/bin/chaincode"}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, User: "1000:1000", WorkingDir: "/"}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(unpacked(t, img)["usr/local/bin/chaincode"], "\x7fELF") {
		t.Error("the image has no program")
	}
	if log := h.blob(t, result.Log); !strings.Contains(log, "running go build") {
		t.Errorf("log is %q", log)
	}
	archive := tar.NewReader(strings.NewReader(h.blob(t, result.Meta)))
	header, err := archive.Next()
	if err != nil || header.Name != indexes+"owner.json" {
		t.Errorf("the archive of indexes starts with %+v, %v", header, err)
	}
	if header, err := archive.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the archive of indexes goes on with %+v, %v", header, err)
	}
	h.checkSBOM(t, result)
	h.checkProvenance(t, result)
	h.checkReferrers(t, result.Digest)
}

func (h *hub) checkSBOM(t *testing.T, result *specs.BuildResult) {
	t.Helper()
	var list spdxDocument
	if err := json.Unmarshal([]byte(h.blob(t, result.SBOM)), &list); err != nil {
		t.Fatal(err)
	}
	if list.Version != "SPDX-2.3" || len(list.Packages) != 2 || !strings.HasPrefix(list.Packages[1].References[0].Locator, "pkg:golang/stdlib@1.") {
		t.Errorf("list of components is %+v", list)
	}
}

func (h *hub) checkProvenance(t *testing.T, result *specs.BuildResult) {
	t.Helper()
	var got statement
	if err := json.Unmarshal([]byte(h.blob(t, result.Provenance)), &got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.Predicate.Definition.Internal["toolchain"], "go version go") {
		t.Errorf("toolchain is %q", got.Predicate.Definition.Internal)
	}
	delete(got.Predicate.Definition.Internal, "toolchain")
	source := strings.Repeat("a", 64)
	want := statement{
		Type: "https://in-toto.io/Statement/v1", PredicateType: "https://slsa.dev/provenance/v1",
		Subject: []resource{{Name: h.Image, Digest: sha256Of(result.Digest)}},
		Predicate: predicate{
			Definition: definition{
				Type: "https://heddle.dev/build/v1", External: map[string]string{"source": "sha256:" + source, "language": "Go", "path": "contract"},
				Internal: map[string]string{"recipe": "go/1"}, Dependencies: []resource{{URI: "heddle:source", Digest: map[string]string{"sha256": source}}},
			},
			Run: run{builderID{"https://heddle.dev/heddle-build", map[string]string{"heddle": "dev"}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("provenance (-want +got):\n%s", diff)
	}
}

// checkReferrers asks the registry what stands beside the image.
func (h *hub) checkReferrers(t *testing.T, digest string) {
	t.Helper()
	index, err := remote.Referrers(h.repository(t).Digest(digest), h.options(t)...)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 3 {
		t.Errorf("beside the image are %d artifacts, want list, provenance and indexes", len(manifest.Manifests))
	}
}

// TestPushTwice compiles and pushes the same source in two places, to two registries.
func TestPushTwice(t *testing.T) {
	var results [2]*specs.BuildResult
	for i := range results {
		result, err := newHub(t, compiledGo(t)).push(t)
		if err != nil {
			t.Fatal(err)
		}
		result.Log = "" // it says where it ran
		results[i] = result
	}
	if diff := cmp.Diff(results[0], results[1]); diff != "" {
		t.Errorf("the same source, two results:\n%s", diff)
	}
}

func TestPushNodeTwice(t *testing.T) {
	needNPM(t)
	var results [2]*specs.BuildResult
	for i := range results {
		w := newWorkspace(t, "JavaScript")
		files := nodeSource("")
		files["dist/index.js"] = ""
		write(t, w.Source, files)
		if got := w.compile(t); got.Failure != "" {
			t.Fatal(got.Failure)
		}
		h := newHub(t, w.Out)
		result, err := h.push(t)
		if err != nil {
			t.Fatal(err)
		}
		img := h.image(t, result.Digest)
		got := unpacked(t, img)
		for file, want := range map[string]string{
			"usr/bin/node": "node", "opt/contract/node_modules/fabric-shim": "../lib/shim", "opt/contract/node_modules/.bin/fabric-chaincode-node": "../fabric-shim/cli.js",
		} {
			if got[file] != want {
				t.Errorf("%s is %q, want %q", file, got[file], want)
			}
		}
		if layers, err := img.Layers(); err != nil || len(layers) != 3 {
			t.Errorf("the image has %d layers, want base, dependencies, contract: %v", len(layers), err)
		}
		var list spdxDocument
		if err := json.Unmarshal([]byte(h.blob(t, result.SBOM)), &list); err != nil {
			t.Fatal(err)
		}
		if len(list.Packages) != 2 || list.Packages[1].Name != "fabric-shim" || list.Packages[1].LicenseDeclared != "Apache-2.0" {
			t.Errorf("list of components is %+v", list.Packages)
		}
		if !strings.Contains(h.blob(t, result.Provenance), "heddle:base/node") || result.Meta != "" {
			t.Errorf("result is %+v", result)
		}
		result.Log = ""
		results[i] = result
	}
	if diff := cmp.Diff(results[0], results[1]); diff != "" {
		t.Errorf("the same source, two results:\n%s", diff)
	}
}

// TestPushFailure has nothing to push but the log, and says so within what Kubernetes keeps.
func TestPushFailure(t *testing.T) {
	out := t.TempDir()
	failure, err := json.Marshal(&Compiled{Failure: "go build failed\n" + strings.Repeat("\"<&>\" wrong\n", 300) + "last"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, out, map[string]string{"build.log": "all of it", "result.json": string(failure)})
	h := newHub(t, out)
	result, err := h.push(t)
	if !errors.Is(err, errNoImage) {
		t.Errorf("got %v", err)
	}
	if result.Name != "" || result.Digest != "" || !strings.HasPrefix(result.Failure, "go build failed\n") || len(result.Failure) > failureLimit {
		t.Errorf("result is %+v", result)
	}
	if h.blob(t, result.Log) != "all of it" {
		t.Error("the log is another")
	}
}

// TestPushHostile has what code of a source's author may have left in place of compile's output.
func TestPushHostile(t *testing.T) {
	program := `{"entrypoint": ["/x"]}`
	cases := map[string]func(t *testing.T, out string){
		"no result":     func(t *testing.T, out string) { remove(t, out, "result.json") },
		"broken result": func(t *testing.T, out string) { write(t, out, map[string]string{"result.json": "{"}) },
		"empty result":  func(t *testing.T, out string) { write(t, out, map[string]string{"result.json": "{}"}) },
		"large result": func(t *testing.T, out string) {
			write(t, out, map[string]string{"result.json": strings.Repeat(" ", resultLimit+1)})
		},
		"result is link": func(t *testing.T, out string) {
			remove(t, out, "result.json")
			link(t, out, "/etc/passwd", "result.json")
		},
		"log is link": func(t *testing.T, out string) { remove(t, out, "build.log"); link(t, out, "/etc/passwd", "build.log") },
		"unknown base": func(t *testing.T, out string) {
			write(t, out, map[string]string{"result.json": `{"entrypoint": ["/x"], "base": "../x"}`})
		},
		"base not there": func(t *testing.T, out string) {
			write(t, out, map[string]string{"result.json": `{"entrypoint": ["/x"], "base": "java"}`})
		},
		"no layers":       func(t *testing.T, out string) { remove(t, out, "layers") },
		"empty layer":     func(t *testing.T, out string) { remove(t, out, "layers/0/x") },
		"link out":        func(t *testing.T, out string) { link(t, out, "../../../etc/passwd", "layers/0/y") },
		"absolute link":   func(t *testing.T, out string) { link(t, out, "/etc/passwd", "layers/0/y") },
		"layers are link": func(t *testing.T, out string) { remove(t, out, "layers"); link(t, out, "/etc", "layers") },
		"many layers": func(t *testing.T, out string) {
			write(t, out, map[string]string{"layers/1/a": "", "layers/2/a": "", "layers/3/a": "", "layers/4/a": ""})
		},
		"broken index": func(t *testing.T, out string) { write(t, out, map[string]string{indexes + "a.json": "{}"}) },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			write(t, out, map[string]string{"build.log": "log", "result.json": program, "layers/0/x": "x"})
			spoil(t, out)
			result, err := newHub(t, out).push(t)
			if err == nil || result.Failure == "" || result.Digest != "" {
				t.Errorf("result is %+v, %v", result, err)
			}
		})
	}
}

func remove(t *testing.T, folder, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(folder, name)); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, folder, target, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(folder, name)); err != nil {
		t.Fatal(err)
	}
}

// TestPushRefused has a registry that does not take the image, or that cannot be trusted.
func TestPushRefused(t *testing.T) {
	cases := map[string]func(t *testing.T, h *hub){
		"wrong key":   func(t *testing.T, h *hub) { write(t, h.KeyDir, map[string]string{"password": "guess"}) },
		"no key":      func(t *testing.T, h *hub) { remove(t, h.KeyDir, "password") },
		"no user":     func(t *testing.T, h *hub) { remove(t, h.KeyDir, "username") },
		"no CA":       func(t *testing.T, h *hub) { remove(t, h.CA, "") },
		"CA is none":  func(t *testing.T, h *hub) { write(t, filepath.Dir(h.CA), map[string]string{"ca.crt": "x"}) },
		"plain HTTP":  func(_ *testing.T, h *hub) { h.URL = "http://" + h.host },
		"no host":     func(_ *testing.T, h *hub) { h.URL = "https://" },
		"no URL":      func(_ *testing.T, h *hub) { h.URL = "https://%" },
		"short name":  func(_ *testing.T, h *hub) { h.Image = "asset" },
		"broken name": func(_ *testing.T, h *hub) { h.Image = "x/Y" },
		"no out":      func(_ *testing.T, h *hub) { h.Out += "/none" },
		"no base": func(t *testing.T, h *hub) {
			write(t, h.Out, map[string]string{"result.json": `{"entrypoint": ["/x"], "base": "node"}`})
			h.Share = "/none"
		},
		"nobody there": func(_ *testing.T, h *hub) { h.URL = "https://127.0.0.1:1" },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			write(t, out, map[string]string{"build.log": "log", "result.json": `{"entrypoint": ["/x"]}`, "layers/0/x": "x"})
			h := newHub(t, out)
			spoil(t, h)
			result, err := h.push(t)
			if err == nil || errors.Is(err, errNoImage) || !strings.HasPrefix(result.Failure, "The platform could not finish") {
				t.Errorf("result is %+v, %v", result, err)
			}
			if strings.Contains(result.Failure, "secret") {
				t.Error("the failure tells the key")
			}
		})
	}
}

func TestEncryptedOnly(t *testing.T) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:1/v2/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := (&encrypted{}).RoundTrip(request); err == nil {
		response.Body.Close()
		t.Error("plain HTTP was used")
	}
}

func TestCommand(t *testing.T) {
	for _, args := range [][]string{{"fetch"}, {"compile"}, {"push"}, {"compile", "--language", "Go", "x"}, {"bake"}} {
		c := NewCommand()
		c.SetArgs(args)
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		if err := c.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
	for _, verb := range []string{"", "fetch", "compile", "push"} {
		var out strings.Builder
		c := NewCommand()
		c.SetArgs(strings.Fields(verb + " --help"))
		c.SetOut(&out)
		if err := c.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "Examples:") {
			t.Errorf("help of %q is %q, %v", verb, out.String(), err)
		}
	}
	h := newHub(t, compiledGo(t))
	c := NewCommand()
	c.SetOut(io.Discard)
	c.SetArgs([]string{
		"push", "--registry", h.URL, "--ca", h.CA, "--image", h.Image, "--key-dir", h.KeyDir, "--out", h.Out, "--source-digest", h.SourceDigest, "--result", h.Result,
	})
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Error(err)
	}
}

func FuzzIndexes(f *testing.F) {
	f.Add(index)
	f.Add(`{"index": {"fields": []}}`)
	f.Fuzz(func(t *testing.T, content string) {
		folder := t.TempDir()
		write(t, folder, map[string]string{indexes + "a.json": content})
		root, err := os.OpenRoot(folder)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		found, err := readIndexes(root)
		if err != nil {
			return
		}
		if len(found) != 1 || !json.Valid(found[0].content) {
			t.Errorf("%q was taken as an index", content)
		}
	})
}
