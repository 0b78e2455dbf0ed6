package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

func TestContractName(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ source, path, want string }{
		{"./asset", "", "asset"},
		{"asset/", "", "asset"},
		{".", "", filepath.Base(here)},
		{"repo", "contracts/token", "token"},
		{".", "contracts/my_token", "my-token"},
		{"a.tar.gz", "", "a"},
		{"a.tgz", "", "a"},
		{"a.zip", "", "a"},
		{"repo.bundle", "", "repo"},
		{"my contract (2)", "", "my-contract-2"},
		{"...", "", ""},
		{"/", "", ""},
	} {
		if got := contractName(c.source, c.path); got != c.want {
			t.Errorf("%q, %q: got %q, want %q", c.source, c.path, got, c.want)
		}
	}
}

func TestObjectName(t *testing.T) {
	for _, c := range []struct{ channel, contract, want string }{
		{"demo", "asset", "demo-asset"},
		{"demo", "My_Token", "demo-my-token"},
		{"demo", strings.Repeat("a", 64), "demo-" + strings.Repeat("a", 47)},
		{"demo", strings.Repeat("a", 46) + "-b", "demo-" + strings.Repeat("a", 46)},
	} {
		if got := objectName(c.channel, c.contract); got != c.want {
			t.Errorf("%s, %s: got %q, want %q", c.channel, c.contract, got, c.want)
		}
	}
}

// TestBuildName: whatever changes the image changes the name, and the API server takes it.
func TestBuildName(t *testing.T) {
	name := func(contract, digest, language, path string) string {
		d := deployment{name: contract, source: &contractSource{digest: digest, language: language}, flags: &deployFlags{path: path}}
		return d.buildName()
	}
	seen := map[string]bool{}
	for _, c := range [][4]string{
		{"asset", "sha256:1", "Go", ""},
		{"asset", "sha256:2", "Go", ""},
		{"asset", "sha256:1", "Java", ""},
		{"asset", "sha256:1", "Go", "a"},
		{"asset", "sha256:1", "Go", "b"},
		{"token", "sha256:1", "Go", ""},
		{"9Lives", "sha256:1", "Go", ""},
		{"_", "sha256:1", "Go", ""},
		{strings.Repeat("A_", 40), "sha256:1", "Go", ""},
	} {
		got := name(c[0], c[1], c[2], c[3])
		if seen[got] || len(got) > 52 || got[0] < 'a' || got[0] > 'z' || strings.Contains(got, "--") {
			t.Errorf("%q is named %q", c, got)
		}
		seen[got] = true
	}
	if !seen[name("asset", "sha256:1", "Go", "")] {
		t.Error("one build has two names")
	}
}

func TestNextVersion(t *testing.T) {
	for before, want := range map[string]string{
		"1.0": "1.1", "1.9": "1.10", "7": "8", "v1": "v2", "beta": "beta.1", "1.x": "1.x.1", "1.99999999999": "1.99999999999.1",
	} {
		if got := nextVersion(before); got != want {
			t.Errorf("%q: got %q, want %q", before, got, want)
		}
	}
}

func TestFill(t *testing.T) {
	folder := t.TempDir()
	found, given := filepath.Join(folder, "collections.json"), filepath.Join(folder, "given.json")
	for file, text := range map[string]string{found: "[1]", given: "[2]"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	built := func(name string) *v1alpha1.ChaincodeBuild {
		b := &v1alpha1.ChaincodeBuild{}
		b.Name = name
		return b
	}
	spec := func(change func(*v1alpha1.ChaincodeSpec)) v1alpha1.ChaincodeSpec {
		s := v1alpha1.ChaincodeSpec{Channel: "demo", ChaincodeName: "asset", Version: "1.0", Build: "b1"}
		if change != nil {
			change(&s)
		}
		return s
	}
	for name, c := range map[string]struct {
		have   v1alpha1.ChaincodeSpec
		flags  deployFlags
		build  string
		source string
		want   v1alpha1.ChaincodeSpec
		fail   string
	}{
		"fresh":           {build: "b1", want: spec(nil)},
		"the same source": {have: spec(nil), build: "b1", want: spec(nil)},
		"another source":  {have: spec(nil), build: "b2", want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Build, s.Version = "b2", "1.1" })},
		"version given": {
			have: spec(nil), build: "b2", flags: deployFlags{version: "1.0"},
			want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Build = "b2" }),
		},
		"fresh image": {flags: deployFlags{image: "i"}, want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Build, s.Image = "", "i" })},
		"image after build": {
			have: spec(nil), flags: deployFlags{image: "i"},
			want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Build, s.Image, s.Version = "", "i", "1.1" }),
		},
		"build after image": {
			have: spec(func(s *v1alpha1.ChaincodeSpec) { s.Build, s.Image = "", "i" }), build: "b1",
			want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Version = "1.1" }),
		},
		"the same image": {
			have: spec(func(s *v1alpha1.ChaincodeSpec) { s.Build, s.Image = "", "i" }), flags: deployFlags{image: "i"},
			want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Build, s.Image = "", "i" }),
		},
		"all flags": {
			build: "b1", flags: deployFlags{policy: "p", init: true, runtime: "Service", idle: time.Minute},
			want: spec(func(s *v1alpha1.ChaincodeSpec) {
				s.EndorsementPolicy, s.Init, s.Runtime, s.IdleSeconds = "p", v1alpha1.InitRequired, v1alpha1.RuntimeService, ptr.To[int32](60)
			}),
		},
		"taken back": {
			have: spec(func(s *v1alpha1.ChaincodeSpec) {
				s.EndorsementPolicy, s.Init, s.IdleSeconds, s.Collections = "p", v1alpha1.InitRequired, ptr.To[int32](60), "[]"
			}),
			build: "b1", source: found, flags: deployFlags{given: func(string) bool { return true }},
			want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Init, s.IdleSeconds = v1alpha1.InitNotRequired, ptr.To[int32](0) }),
		},
		"what was not asked for stays": {
			have: spec(func(s *v1alpha1.ChaincodeSpec) { s.EndorsementPolicy, s.Collections = "p", "[]" }), build: "b1",
			want: spec(func(s *v1alpha1.ChaincodeSpec) { s.EndorsementPolicy, s.Collections = "p", "[]" }),
		},
		"collections of the source": {build: "b1", source: found, want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Collections = "[1]" })},
		"collections given": {
			build: "b1", source: found, flags: deployFlags{collections: given},
			want: spec(func(s *v1alpha1.ChaincodeSpec) { s.Collections = "[2]" }),
		},
		"no collections in the source": {build: "b1", source: filepath.Join(folder, "none"), want: spec(nil)},
		"collections that are none":    {build: "b1", flags: deployFlags{collections: filepath.Join(folder, "none")}, fail: "read collections"},
	} {
		t.Run(name, func(t *testing.T) {
			c.flags.channel = "demo"
			d := deployment{flags: &c.flags, name: "asset", source: &contractSource{collections: c.source}}
			if c.build != "" {
				d.build = built(c.build)
			}
			got := c.have
			err := d.fill(&got)
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Fatalf("got %v, want %q", err, c.fail)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// contract makes a folder with a contract and its archive.
func contract(t *testing.T) (folder, packed string) {
	t.Helper()
	folder, packed = filepath.Join(t.TempDir(), "asset"), filepath.Join(t.TempDir(), "asset.tgz")
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, name := range []string{"go.mod", "main.go", "token/package.json"} {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: 2, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close(), os.WriteFile(packed, out.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return folder, packed
}

func TestReadSource(t *testing.T) {
	folder, packed := contract(t)
	a, err := readSource(t.Context(), folder, &deployFlags{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := readSource(t.Context(), packed, &deployFlags{})
	if err != nil {
		t.Fatal(err)
	}
	if a.digest != b.digest || !bytes.Equal(a.content, b.content) || a.language != "Go" || b.language != "Go" {
		t.Errorf("folder: %s %s, archive: %s %s", a.digest, a.language, b.digest, b.language)
	}
	if a.collections != filepath.Join(folder, "collections.json") || b.collections != "" {
		t.Errorf("collections %q and %q", a.collections, b.collections)
	}
	if s, err := readSource(t.Context(), folder, &deployFlags{language: "Binary"}); err != nil || s.language != "Binary" {
		t.Errorf("given language: %+v, %v", s, err)
	}
	if s, err := readSource(t.Context(), folder, &deployFlags{path: "token"}); err != nil || s.language == "Go" {
		t.Errorf("language of a folder: %+v, %v", s, err)
	}
	for name, c := range map[string]struct{ source, path, want string }{
		"nothing": {filepath.Join(folder, "none"), "", "read source"}, "no archive": {filepath.Join(folder, "main.go"), "", "read source"},
		"no such folder": {folder, "other", "has no files"},
	} {
		if _, err := readSource(t.Context(), c.source, &deployFlags{path: c.path}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestExplainUpload(t *testing.T) {
	service := schema.GroupResource{Resource: "services"}
	for name, c := range map[string]struct {
		code int
		raw  string
		err  error
		exit int
		want string
	}{
		"the registry's words": {422, `{"error":"The source is refused: why"}`, errors.New("unknown"), ExitFailed, "upload source: The source is refused: why"},
		"no Service":           {404, "", apierrors.NewNotFound(service, "registry"), ExitNotReady, "heddle install --builds"},
		"no pod":               {503, "{}", apierrors.NewServiceUnavailable("no endpoints available for service"), ExitNotReady, "heddle up --builds"},
		"no right":             {http.StatusForbidden, "", apierrors.NewForbidden(service, "registry", errors.New("no")), ExitNoAccess, "heddle-upload"},
		"anything else":        {500, "oops", errors.New("oops"), ExitFailed, "upload source: oops"},
	} {
		t.Run(name, func(t *testing.T) {
			err := explainUpload(c.code, []byte(c.raw), c.err)
			if exit := exitCode(t.Context(), err); exit != c.exit || !strings.Contains(err.Error(), c.want) {
				t.Errorf("exit code %d, %v; want %d, %q", exit, err, c.exit, c.want)
			}
		})
	}
}

func TestContractLine(t *testing.T) {
	for name, c := range map[string]struct {
		line, want string
		ok         bool
	}{
		"a line":            {"\x1b[34m2026 [core] INFO\x1b[0m contract: asset hello world command=run", "hello world", true},
		"without the tail":  {"x contract: asset hello", "hello", true},
		"coloured":          {"x contract: asset \x1b[31mhello\x1b[0m command=run", "hello", true},
		"another contract":  {"x contract: asset2 hello", "", false},
		"the peer's own":    {"committed block", "", false},
		"words of the peer": {"contract asset hello", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := contractLine(c.line, "asset"); got != c.want || ok != c.ok {
				t.Errorf("got %q, %t, want %q, %t", got, ok, c.want, c.ok)
			}
		})
	}
}
