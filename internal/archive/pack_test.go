package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func writeFiles(tb testing.TB, dir string, files map[string]string) {
	tb.Helper()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			tb.Fatal(err)
		}
		mode := fs.FileMode(0o600)
		if strings.HasPrefix(content, "#!") {
			mode = 0o700
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			tb.Fatal(err)
		}
	}
}

func packDir(tb testing.TB, dir string) ([]byte, *Source) {
	tb.Helper()
	var out bytes.Buffer
	got, err := Pack(tb.Context(), openRoot(tb, dir, false), &out, small())
	if err != nil {
		tb.Fatal(err)
	}
	return out.Bytes(), got
}

func names(s *Source) []string {
	var all []string
	for _, e := range s.Entries {
		all = append(all, e.Name)
	}
	return all
}

var contract = map[string]string{
	"go.mod": "module x", "main.go": "package main", "run.sh": "#!/bin/sh", "META-INF/statedb/couchdb/indexes/a.json": "{}",
}

func TestPack(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	writeFiles(t, one, contract)
	writeFiles(t, two, contract)
	if err := os.Chtimes(two+"/main.go", testTime(), testTime()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(two+"/go.mod", 0o444); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, two, map[string]string{".git/config": "x", "a/node_modules/m/index.js": "x", "main.go~": "x", ".main.go.swp": "x", ".vscode/s": "x"})
	first, source := packDir(t, one)
	second, _ := packDir(t, two)
	if !bytes.Equal(first, second) {
		t.Error("the same files gave different bytes")
	}
	// Bytes must not change between releases: builds would be made anew.
	if want := "sha256:f5b5ade66db2c772b5f639ea7c61ea2296371f58234780d9618e20fc8fae906c"; source.Digest != want {
		t.Errorf("digest %s, want %s", source.Digest, want)
	}
	checked, err := Check(t.Context(), bytes.NewReader(first), small())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(source, checked); d != "" {
		t.Error(d)
	}
	want := []Entry{
		{Name: "META-INF/statedb/couchdb/indexes/a.json", Size: 2},
		{Name: "go.mod", Size: 8},
		{Name: "main.go", Size: 12},
		{Name: "run.sh", Size: 9, Executable: true},
	}
	if d := cmp.Diff(want, source.Entries); d != "" {
		t.Error(d)
	}
	dir := t.TempDir()
	if _, err := Unpack(t.Context(), bytes.NewReader(first), openRoot(t, dir, false), small()); err != nil {
		t.Fatal(err)
	}
	if again, _ := packDir(t, dir); !bytes.Equal(first, again) {
		t.Error("what was unpacked gives different bytes")
	}
}

func TestIgnoreFile(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		IgnoreFile: "# comment\n\n*.log\nbuild/\n/top\ndocs/*.md\n", "a.log": "", "x/b.log": "", "build/out": "", "x/build/out": "", "y/build": "",
		"top": "", "x/top": "", "docs/a.md": "", "docs/a.txt": "", "x/docs/a.md": "",
	})
	raw, got := packDir(t, dir)
	want := []string{"docs/a.txt", "x/docs/a.md", "x/top", "y/build"}
	if d := cmp.Diff(want, names(got)); d != "" {
		t.Error(d)
	}
	// An archive of the whole folder gives the same.
	var all []tarred
	for _, name := range []string{IgnoreFile, "a.log", "x/b.log", "build/out", "x/build/out", "y/build", "top", "x/top", "docs/a.md", "docs/a.txt", "x/docs/a.md"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, reg("folder/"+name, string(content)))
	}
	limits := small()
	limits.Files = 20
	var out bytes.Buffer
	if _, err := Normalize(t.Context(), bytes.NewReader(tarOf(t, all...)), &out, limits); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, out.Bytes()) {
		t.Error("folder and archive give different bytes")
	}
	for _, bad := range []string{"!a", "**/a", "[", "/", strings.Repeat("#", maxIgnore+1)} {
		writeFiles(t, dir, map[string]string{IgnoreFile: bad})
		if _, err := Pack(t.Context(), openRoot(t, dir, false), io.Discard, small()); !isRefused(err) {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
}

func isRefused(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused)
}

func TestPackRefuses(t *testing.T) {
	for name, before := range map[string]func(dir string) error{
		"no files":    func(string) error { return nil },
		"link":        func(dir string) error { return os.Symlink("/etc/passwd", dir+"/a") },
		"folder link": func(dir string) error { return os.Symlink("..", dir+"/a") },
		"large file":  func(dir string) error { return os.WriteFile(dir+"/a", make([]byte, 1025), 0o644) },
		"case": func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/a", nil, 0o644), os.WriteFile(dir+"/A", nil, 0o644))
		},
		"backslash": func(dir string) error { return os.WriteFile(dir+`/a\b`, nil, 0o644) },
		"device":    func(dir string) error { return exec.Command("mkfifo", dir+"/a").Run() },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := before(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Pack(t.Context(), openRoot(t, dir, false), io.Discard, small())
			if !isRefused(err) {
				t.Errorf("error %v, want it refused", err)
			}
			t.Log(err)
		})
	}
	dir := t.TempDir()
	writeFiles(t, dir, contract)
	limits := small()
	limits.ArchiveBytes = 1 << 10
	if _, err := Pack(t.Context(), openRoot(t, dir, false), io.Discard, limits); !isRefused(err) {
		t.Errorf("archive beyond its limit: %v", err)
	}
	full := errors.New("disk is full")
	if _, err := Pack(t.Context(), openRoot(t, dir, false), badWriter{full}, small()); !errors.Is(err, full) {
		t.Errorf("error of writing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Pack(ctx, openRoot(t, dir, false), io.Discard, small()); !errors.Is(err, context.Canceled) {
		t.Errorf("error of an ended context: %v", err)
	}
}

type badWriter struct{ err error }

func (w badWriter) Write([]byte) (int, error) { return 0, w.err }

// TestChangedFile is about a file that grows or shrinks between being seen and being read.
func TestChangedFile(t *testing.T) {
	for _, size := range []int64{1, 3} {
		f := memory("a", []byte("xx"), false)
		f.size = size
		_, err := pack(t.Context(), []file{f}, io.Discard, small())
		if err == nil || isRefused(err) {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

func zipOf(tb testing.TB, files map[string]string, change func(*zip.FileHeader)) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o644)
		if strings.HasPrefix(content, "#!") {
			h.SetMode(0o755)
		}
		if change != nil {
			change(h)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(f, content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func git(tb testing.TB, dir string, args ...string) string {
	tb.Helper()
	c := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main", "-c", "commit.gpgsign=false"}, args...)...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := c.CombinedOutput()
	if err != nil {
		tb.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// repository has a history with deltas, whose last tree is the contract.
func repository(tb testing.TB) string {
	tb.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		tb.Skip("there is no git here")
	}
	dir := tb.TempDir()
	git(tb, dir, "init", "-q")
	for i := range 5 {
		var text strings.Builder
		for line := range 30 {
			fmt.Fprintf(&text, "line %d of %d\n", line, (i+line)%7)
		}
		writeFiles(tb, dir, map[string]string{"main.go": text.String(), "old": "x"})
		git(tb, dir, "add", ".")
		git(tb, dir, "commit", "-q", "-m", strconv.Itoa(i))
	}
	git(tb, dir, "rm", "-q", "old")
	writeFiles(tb, dir, contract)
	git(tb, dir, "add", ".")
	git(tb, dir, "commit", "-q", "-m", "last")
	git(tb, dir, "repack", "-q", "-a", "-d", "-f", "--depth=50", "--window=50")
	return dir
}

func bundle(tb testing.TB, dir string, args ...string) []byte {
	tb.Helper()
	git(tb, dir, append([]string{"bundle", "create", "-q", dir + "/.git/b"}, args...)...)
	raw, err := os.ReadFile(dir + "/.git/b")
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestNormalize(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, contract)
	want, _ := packDir(t, dir)
	below := func(prefix string) (all []tarred) {
		for name, content := range contract {
			one := reg(prefix+name, content)
			if strings.HasPrefix(content, "#!") {
				one.header.Mode = 0o775
			}
			all = append(all, one)
		}
		return all
	}
	prefixed := map[string]string{}
	for name, content := range contract {
		prefixed["x-1.0/"+name] = content
	}
	repo := repository(t)
	git(t, repo, "tag", "-a", "-m", "v", "v1")
	head := git(t, repo, "rev-parse", "HEAD")
	for name, raw := range map[string][]byte{
		"tar":                    tarOf(t, below("")...),
		"tar.gz":                 zipped(t, tarOf(t, below("")...)),
		"tar of .":               tarOf(t, append([]tarred{kind(tar.TypeDir, "./", "")}, below("./")...)...),
		"folder":                 zipped(t, tarOf(t, append(below("x-1.0/"), kind(tar.TypeDir, "x-1.0/", ""))...)),
		"link left out":          tarOf(t, append(below(""), kind(tar.TypeSymlink, "node_modules/.bin/tsc", "../x"))...),
		"git archive":            tarOf(t, append([]tarred{{header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": head}}}}, below("x/")...)...),
		"zip":                    zipOf(t, contract, nil),
		"zip with folder":        zipOf(t, prefixed, nil),
		"bundle":                 bundle(t, repo, "HEAD"),
		"bundle of a branch":     bundle(t, repo, "main"),
		"bundle of all":          bundle(t, repo, "--all", "HEAD"),
		"bundle, version 3":      bytes.Replace(bundle(t, repo, "HEAD"), []byte(bundleV2), []byte(bundleV3+"@object-format=sha1\n"), 1),
		"bundle, whole again":    append([]byte(bundleV2+head+" HEAD\n\n"), packWith(t, repo, "--delta-base-offset")...),
		"bundle, deltas by name": append([]byte(bundleV2+head+" HEAD\n\n"), packWith(t, repo)...),
		"bundle of a tag":        append([]byte(bundleV2+git(t, repo, "rev-parse", "v1")+" HEAD\n\n"), packWith(t, repo)...),
	} {
		t.Run(name, func(t *testing.T) {
			limits := small()
			limits.TotalBytes = 64 << 10
			var out bytes.Buffer
			if _, err := Normalize(t.Context(), bytes.NewReader(raw), &out, limits); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, out.Bytes()) {
				t.Error("the bytes are not those of Pack")
			}
		})
	}
}

// packWith packs all objects anew.
func packWith(tb testing.TB, repo string, args ...string) []byte {
	tb.Helper()
	c := exec.Command("git", append([]string{"pack-objects", "--all", "--stdout", "-q", "--no-reuse-delta", "--window=50"}, args...)...)
	c.Dir, c.Stdin = repo, strings.NewReader("")
	out, err := c.Output()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestNormalizeRefuses(t *testing.T) {
	repo := repository(t)
	good := bundle(t, repo, "HEAD")
	links := repository(t)
	if err := os.Symlink("main.go", links+"/link"); err != nil {
		t.Fatal(err)
	}
	git(t, links, "add", ".")
	git(t, links, "commit", "-q", "-m", "link")
	module := repository(t)
	git(t, module, "update-index", "--add", "--cacheinfo", "160000,"+git(t, repo, "rev-parse", "HEAD")+",module")
	git(t, module, "commit", "-q", "-m", "module")
	secret := func(h *zip.FileHeader) { h.Flags |= 1 }
	linked := func(h *zip.FileHeader) { h.SetMode(fs.ModeSymlink | 0o777) }
	cut := bytes.Clone(good)
	cut[len(cut)-30] ^= 1
	for name, raw := range map[string][]byte{
		"nothing":             nil,
		"text":                []byte("what is this"),
		"short":               []byte("x"),
		"gzip of text":        zipped(t, []byte("what is this")),
		"cut gzip":            zipped(t, tarOf(t, reg("a", "x")))[:20],
		"no gzip":             []byte("\x1f\x8b and more"),
		"wrong checksum":      func() []byte { g := zipped(t, tarOf(t, reg("a", "x"))); g[len(g)-6] ^= 1; return g }(),
		"folders only":        tarOf(t, kind(tar.TypeDir, "a/", "")),
		"link":                tarOf(t, reg("a", "x"), kind(tar.TypeSymlink, "b", "a")),
		"parent":              tarOf(t, reg("../a", "x")),
		"parent left out":     tarOf(t, reg("../node_modules/a", "x")),
		"parent folder":       tarOf(t, kind(tar.TypeDir, "../a", "")),
		"absolute":            tarOf(t, reg("/a", "x")),
		"large":               tarOf(t, reg("a", strings.Repeat("x", 1025))),
		"case":                tarOf(t, reg("a", ""), reg("A", "")),
		"bad ignore file":     tarOf(t, reg("a", ""), reg(IgnoreFile, "!x")),
		"zip, cut":            zipOf(t, contract, nil)[:100],
		"zip, parent":         zipOf(t, map[string]string{"../a": ""}, nil),
		"zip, parent folder":  zipOf(t, map[string]string{"../a/": ""}, nil),
		"zip, absolute":       zipOf(t, map[string]string{"/a": ""}, nil),
		"zip, backslash":      zipOf(t, map[string]string{`a\b`: ""}, nil),
		"zip, large":          zipOf(t, map[string]string{"a": strings.Repeat("x", 1025)}, nil),
		"zip, link":           zipOf(t, map[string]string{"a": "/etc"}, linked),
		"zip, pipe":           zipOf(t, map[string]string{"a": ""}, func(h *zip.FileHeader) { h.SetMode(fs.ModeNamedPipe) }),
		"zip, encrypted":      zipOf(t, map[string]string{"a": "x"}, secret),
		"zip, broken file":    bytes.Replace(zipOf(t, map[string]string{"a": "#!xyzxyz"}, func(h *zip.FileHeader) { h.Method = zip.Store }), []byte("xyzxyz"), []byte("xyzxyy"), 1),
		"bundle, link":        bundle(t, links, "HEAD"),
		"bundle, submodule":   bundle(t, module, "HEAD"),
		"bundle, part":        bundle(t, repo, "HEAD~2..HEAD"),
		"bundle, no HEAD":     []byte(bundleV2 + strings.Repeat("a", 40) + " refs/tags/x\n\n"),
		"bundle, version 4":   []byte("# v4 git bundle\n\n"),
		"bundle, SHA-256":     []byte(bundleV3 + "@object-format=sha256\n"),
		"bundle, no line":     []byte(bundleV2 + "what is this\n"),
		"bundle, cut line":    []byte(bundleV2 + "abc"),
		"bundle, cut head":    []byte("# v2 git bundle"),
		"bundle, many lines":  []byte(bundleV2 + strings.Repeat(strings.Repeat("a", 40)+" r\n", maxRefs+1)),
		"bundle, no pack":     []byte(bundleV2 + strings.Repeat("a", 40) + " HEAD\n\n"),
		"bundle, cut":         good[:len(good)-40],
		"bundle, changed":     cut,
		"bundle, more":        append(bytes.Clone(good), 'x'),
		"bundle, lost commit": append([]byte(bundleV2+strings.Repeat("a", 40)+" HEAD\n\n"), packWith(t, repo)...),
		"bundle, blob":        append([]byte(bundleV2+git(t, repo, "rev-parse", "HEAD:go.mod")+" HEAD\n\n"), packWith(t, repo)...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Normalize(t.Context(), bytes.NewReader(raw), io.Discard, small())
			if !isRefused(err) {
				t.Errorf("error %v, want it refused", err)
			}
			t.Log(err)
		})
	}
}

func TestLanguage(t *testing.T) {
	elf := Entry{Name: "chaincode", ELF: true}
	for name, c := range map[string]struct {
		entries []Entry
		folder  string
		want    string
	}{
		"Go":              {[]Entry{{Name: "go.mod"}, {Name: "main.go"}}, "", "Go"},
		"folder":          {[]Entry{{Name: "package.json"}, {Name: "cc/go.mod"}}, "cc", "Go"},
		"JavaScript":      {[]Entry{{Name: "package.json"}}, "", "JavaScript"},
		"TypeScript":      {[]Entry{{Name: "package.json"}, {Name: "tsconfig.json"}}, ".", "TypeScript"},
		"Gradle":          {[]Entry{{Name: "build.gradle"}}, "", "Java"},
		"Kotlin":          {[]Entry{{Name: "build.gradle.kts"}, {Name: "pom.xml"}}, "", "Java"},
		"Maven":           {[]Entry{{Name: "pom.xml"}}, "", "Java"},
		"binary":          {[]Entry{elf, {Name: "META-INF/x"}}, "", "Binary"},
		"script":          {[]Entry{{Name: "chaincode"}}, "", ""},
		"binary and more": {[]Entry{elf, {Name: "x"}}, "", ""},
		"two":             {[]Entry{{Name: "go.mod"}, {Name: "package.json"}}, "", ""},
		"none":            {[]Entry{{Name: "main.py"}}, "", ""},
		"deeper":          {[]Entry{{Name: "cc/go.mod"}}, "", ""},
		"no folder":       {[]Entry{{Name: "go.mod"}}, "cc", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Language(c.entries, c.folder)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func FuzzNormalize(f *testing.F) {
	f.Add(tarOf(f, reg("a/b", "x"), reg("a/c", "")))
	f.Add(zipped(f, tarOf(f, reg("a", "x"))))
	f.Add(zipOf(f, map[string]string{"a": "x", "d/": ""}, nil))
	repo := repository(f)
	f.Add(bundle(f, repo, "HEAD"))
	f.Add(append([]byte(bundleV2+git(f, repo, "rev-parse", "HEAD")+" HEAD\n\n"), packWith(f, repo)...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, in := range [][]byte{raw, summed(raw)} {
			var out bytes.Buffer
			got, err := Normalize(t.Context(), bytes.NewReader(in), &out, small())
			if err != nil {
				if !isRefused(err) {
					t.Fatalf("not a refusal: %v", err)
				}
				continue
			}
			checked, err := Check(t.Context(), bytes.NewReader(out.Bytes()), small())
			if err != nil {
				t.Fatalf("what was normalized is refused: %v", err)
			}
			if d := cmp.Diff(got, checked); d != "" {
				t.Fatal(d)
			}
			var again bytes.Buffer
			if _, err := Normalize(t.Context(), bytes.NewReader(out.Bytes()), &again, small()); err != nil {
				t.Fatalf("what was normalized is refused: %v", err)
			}
		}
	})
}
