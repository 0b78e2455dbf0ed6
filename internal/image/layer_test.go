package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// lay writes files below a new folder.
func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func rootOf(t *testing.T, folder string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// checkLayer reads a layer and compares it with what it says of itself.
func checkLayer(t *testing.T, layer v1.Layer) {
	t.Helper()
	content, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	digest, size, err := v1.SHA256(content)
	if err != nil {
		t.Fatal(err)
	}
	wantDigest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	wantSize, err := layer.Size()
	if err != nil {
		t.Fatal(err)
	}
	if digest != wantDigest || size != wantSize {
		t.Errorf("the layer has %d bytes, %s; it says %d, %s", size, digest, wantSize, wantDigest)
	}
}

// TestLayerStreams has a layer that is too large to be made in memory, of a file that is opened when it is read.
func TestLayerStreams(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<17)
	opened := 0
	file := File{Path: "/large", Size: int64(len(large)), Open: func() (io.ReadCloser, error) {
		opened++
		return io.NopCloser(strings.NewReader(large)), nil
	}}
	layer, err := NewLayer([]File{file, {Path: "/dir/link", Link: "../large"}})
	if err != nil {
		t.Fatal(err)
	}
	checkLayer(t, layer)
	if opened < 2 {
		t.Errorf("the file was opened %d times: it is held in memory", opened)
	}
	content, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for archive := tar.NewReader(content); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Name+">"+h.Linkname)
	}
	if diff := cmp.Diff([]string{"dir/>", "dir/link>../large", "large>"}, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	early, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	if err := early.Close(); err != nil { // the writer ends too, or the test's end finds it
		t.Error(err)
	}
}

func TestLayerRefuses(t *testing.T) {
	fails := errors.New("fails")
	for name, open := range map[string]func() (io.ReadCloser, error){
		"not there": func() (io.ReadCloser, error) { return nil, fails },
		"shorter":   func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil },
	} {
		if _, err := NewLayer([]File{{Path: "/x", Size: 2, Open: open}}); err == nil {
			t.Errorf("%s: made", name)
		}
	}
	if _, err := StoredLayer(nil, 1, "md5:x"); err == nil {
		t.Error("a layer of a broken digest was made")
	}
}

func TestStoredLayer(t *testing.T) {
	made, err := NewLayer([]File{{Path: "/x", Content: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := made.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := made.Size()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := StoredLayer(made.Uncompressed, size, digest.String())
	if err != nil {
		t.Fatal(err)
	}
	checkLayer(t, stored)
}

// TestBuildBelow keeps layers apart: what changes above leaves those below as they are.
func TestBuildBelow(t *testing.T) {
	below, err := NewLayer([]File{{Path: "/tool", Content: []byte("tool"), Executable: true}})
	if err != nil {
		t.Fatal(err)
	}
	var layers [2][]v1.Layer
	for i, content := range []string{"one", "two"} {
		img := mustBuild(t, Spec{Below: []v1.Layer{below}, Files: []File{{Path: "/app", Content: []byte(content)}}, WorkingDir: "/work", Env: []string{"PATH=/tool"}})
		if layers[i], err = img.Layers(); err != nil || len(layers[i]) != 2 {
			t.Fatalf("%d layers, %v", len(layers[i]), err)
		}
		if got := unpack(t, img); got["/tool"].Content != "tool" || got["/app"].Content != content {
			t.Errorf("files are %v", got)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"PATH=/tool"}, config.Config.Env); diff != "" || config.Config.WorkingDir != "/work" {
			t.Errorf("in %q, environment (-want +got):\n%s", config.Config.WorkingDir, diff)
		}
	}
	for i, same := range []bool{true, false} {
		first, err := layers[0][i].Digest()
		if err != nil {
			t.Fatal(err)
		}
		second, err := layers[1][i].Digest()
		if err != nil {
			t.Fatal(err)
		}
		if (first == second) != same {
			t.Errorf("layer %d: %s and %s", i, first, second)
		}
	}
}

func TestTree(t *testing.T) {
	folder := lay(t, map[string]string{"app/a": "a", "app/sub/b": "bb", "app/skip/c": "c", "app/d.md": "d", "other": ""})
	if err := os.Symlink("../a", filepath.Join(folder, "app", "sub", "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(folder, "app", "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	skip := func(name string, folder bool) bool { return folder && name == "app/skip" || name == "app/d.md" }
	files, err := Tree(rootOf(t, folder), "app", "/opt", Bounds{Files: 3, Bytes: 3}, skip)
	if err != nil {
		t.Fatal(err)
	}
	got := unpack(t, mustBuild(t, Spec{Files: files}))
	for name, want := range map[string]entry{"/opt/a": {0o755, "a"}, "/opt/sub/b": {0o644, "bb"}, "/opt/sub/link": {0o777, ""}} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(files) != 3 {
		t.Errorf("files are %v", files)
	}
}

func TestTreeRefuses(t *testing.T) {
	cases := map[string]struct {
		link   string
		bounds Bounds
	}{
		"absolute link":  {"/etc/passwd", Bounds{10, 10}},
		"link out":       {"../../x", Bounds{10, 10}},
		"link to above":  {"../..", Bounds{10, 10}},
		"too many files": {"a", Bounds{1, 10}},
		"too many bytes": {"a", Bounds{10, 1}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			folder := lay(t, map[string]string{"sub/a": "aa"})
			if err := os.Symlink(c.link, filepath.Join(folder, "sub", "link")); err != nil {
				t.Fatal(err)
			}
			if _, err := Tree(rootOf(t, folder), ".", "/", c.bounds, nil); err == nil {
				t.Error("taken")
			}
		})
	}
	if _, err := Tree(rootOf(t, t.TempDir()), "none", "/", Bounds{1, 1}, nil); err == nil {
		t.Error("a folder that is not there was taken")
	}
}

// buildProgram stands for heddle-build; it is a static program of a machine that has one, or else a dynamic one.
func buildProgram(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "heddle-build")
	if err := os.WriteFile(file, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func needTrust(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(trustFile); err != nil {
		t.Skipf("there are no certificates of authorities on this machine (package ca-certificates): %v", err)
	}
}

func TestBuildGoSpec(t *testing.T) {
	needTrust(t)
	goroot := lay(t, map[string]string{
		"bin/go": "go", "bin/gofmt": "", "VERSION": "go1", "go.env": "", "api/x": "", "doc/x": "", "test/x": "", "src/cmd/x.go": "", "src/fmt/print.go": "package fmt",
		"src/fmt/print_test.go": "", "src/fmt/testdata/x": "", "src/fmt/README.md": "", "lib/time/zoneinfo.zip": "z",
	})
	spec, err := BuildGoSpec(buildProgram(t), goroot)
	if err != nil {
		t.Fatal(err)
	}
	got := unpack(t, mustBuild(t, spec))
	for name, there := range map[string]bool{
		"/usr/local/go/bin/go": true, "/usr/local/go/VERSION": true, "/usr/local/go/src/fmt/print.go": true, "/usr/local/go/lib/time/zoneinfo.zip": true,
		"/usr/local/bin/heddle-build": true, trustFile: true, "/usr/local/go/bin/gofmt": false, "/usr/local/go/api/x": false, "/usr/local/go/src/cmd/x.go": false,
		"/usr/local/go/src/fmt/print_test.go": false, "/usr/local/go/src/fmt/testdata/x": false, "/usr/local/go/src/fmt/README.md": false,
	} {
		if _, ok := got[name]; ok != there {
			t.Errorf("%s is there: %v", name, ok)
		}
	}
	if spec.User != "1000:1000" || len(spec.Below) != 1 {
		t.Errorf("user %q, %d layers below", spec.User, len(spec.Below))
	}
	for name, c := range map[string][2]string{"no Go": {buildProgram(t), goroot + "/none"}, "no program": {goroot + "/none", goroot}} {
		if _, err := BuildGoSpec(c[0], c[1]); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBuildNodeSpec(t *testing.T) {
	needTrust(t)
	npm := lay(t, map[string]string{"package.json": `{"name": "npm"}`, "bin/npm-cli.js": "npm", "docs/x": "", "man/x": "", "lib/npm.js": ""})
	programs := lay(t, map[string]string{"npm": ""})
	node := buildProgram(t)
	if err := os.Remove(filepath.Join(programs, "npm")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(npm, "bin", "npm-cli.js"), filepath.Join(programs, "npm")); err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"node": node, "npm": filepath.Join(programs, "npm"), "sh": "/bin/sh", "env": "/usr/bin/env", "cat": node}
	look := func(name string) (string, error) {
		if place, ok := places[name]; ok {
			return place, nil
		}
		return "", os.ErrNotExist
	}
	tools, err := FindNodeTools(look)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := BuildNodeSpec(node, tools)
	if err != nil {
		t.Fatal(err)
	}
	got := unpack(t, mustBuild(t, spec))
	for _, name := range []string{"/usr/bin/node", "/usr/bin/npm", "/usr/bin/npx", "/bin/sh", "/usr/bin/env", "/usr/lib/node_modules/npm/bin/npm-cli.js", launchPlace} {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is not there", name)
		}
	}
	if _, ok := got["/usr/lib/node_modules/npm/docs/x"]; ok {
		t.Error("npm's documents are there")
	}
	// The base stands ready, and is what its digest says.
	stored := got[shareFolder+"/node-base.tar"].Content
	layer, err := StoredLayer(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(stored)), nil }, int64(len(stored)),
		strings.TrimSpace(got[shareFolder+"/node-base.tar.digest"].Content))
	if err != nil {
		t.Fatal(err)
	}
	checkLayer(t, layer)
	if !bytes.Contains([]byte(stored), launch) {
		t.Error("the base has no launcher")
	}
	for _, missing := range []string{"node", "npm", "sh"} {
		kept := places[missing]
		delete(places, missing)
		if _, err := FindNodeTools(look); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without %s: %v", missing, err)
		}
		places[missing] = kept
	}
	places["npm"] = node
	if _, err := FindNodeTools(look); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("with an npm that is none: %v", err)
	}
}

func TestIndexOnDemand(t *testing.T) {
	index := &Index{
		Images:  []Entry{{Name: "a"}, {Name: "b", OnDemand: true}},
		Missing: []Missing{{Name: "d", OnDemand: true}},
	}
	required, err := index.Required()
	if diff := cmp.Diff([]Entry{{Name: "a"}}, required); diff != "" || err != nil {
		t.Errorf("required (-want +got):\n%s%v", diff, err)
	}
	index.Missing = append(index.Missing, Missing{Name: "c"})
	var missing *MissingError
	if _, err := index.Required(); !errors.As(err, &missing) || len(missing.Missing) != 1 {
		t.Errorf("with one missing: %v", err)
	}
}
