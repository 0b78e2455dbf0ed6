package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// small are limits that tests can go beyond.
func small() Limits {
	return Limits{Files: 10, Depth: 6, FileBytes: 1 << 10, TotalBytes: 3 << 10, ArchiveBytes: 64 << 10}
}

func reg(name, content string) tarred {
	return tarred{header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content: content}
}

func kind(flag byte, name, target string) tarred {
	return tarred{header: tar.Header{Typeflag: flag, Name: name, Mode: 0o777, Linkname: target}}
}

type tarred struct {
	header  tar.Header
	content string
}

func tarOf(tb testing.TB, all ...tarred) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, one := range all {
		if err := w.WriteHeader(&one.header); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, one.content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func zipped(tb testing.TB, raw []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(raw); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func many(n int, name string) []tarred {
	var all []tarred
	for i := range n {
		all = append(all, reg(fmt.Sprintf(name, i), ""))
	}
	return all
}

// badHeader is a tar with a name that no writer writes.
func badHeader(tb testing.TB, name string) []byte {
	tb.Helper()
	raw := tarOf(tb, reg(strings.Repeat("n", len(name)), "x"))
	copy(raw, name)
	sum := 8 * int(' ')
	for i, c := range raw[:512] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return raw
}

func TestHostileArchives(t *testing.T) {
	good := func(t *testing.T) []byte { return zipped(t, tarOf(t, reg("a", "x"))) }
	tars := func(all ...tarred) func(*testing.T) []byte {
		return func(t *testing.T) []byte { return zipped(t, tarOf(t, all...)) }
	}
	named := func(name string) func(*testing.T) []byte {
		return func(t *testing.T) []byte { return zipped(t, badHeader(t, name)) }
	}
	for name, hostile := range map[string]func(*testing.T) []byte{
		"symbolic link":           tars(kind(tar.TypeSymlink, "a", "/etc/passwd")),
		"symbolic link inside":    tars(reg("a", "x"), kind(tar.TypeSymlink, "b", "a")),
		"write through a link":    tars(kind(tar.TypeSymlink, "a", "/tmp"), reg("a/b", "x")),
		"hard link":               tars(reg("a", "x"), kind(tar.TypeLink, "b", "a")),
		"character device":        tars(kind(tar.TypeChar, "a", "")),
		"block device":            tars(kind(tar.TypeBlock, "a", "")),
		"pipe":                    tars(kind(tar.TypeFifo, "a", "")),
		"global header":           tars(tarred{header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"comment": "c"}}}),
		"unknown kind":            tars(kind('Z', "a", "")),
		"parent folder":           tars(reg("../a", "x")),
		"parent folder inside":    tars(reg("a/../../b", "x")),
		"parent folder as folder": tars(kind(tar.TypeDir, "../", "")),
		"absolute path":           tars(reg("/etc/a", "x")),
		"dot":                     tars(reg("./a", "x")),
		"empty part":              tars(reg("a//b", "x")),
		"backslash":               tars(reg(`a\b`, "x")),
		"backslash and parent":    tars(reg(`..\..\b`, "x")),
		"no name":                 named("\x00"),
		"control character":       named("a\x01b"),
		"newline":                 named("a\nb"),
		"delete character":        named("a\x7fb"),
		"direction of text":       tars(reg("a\u202eog.b", "x")),
		"no UTF-8":                named("a\xff\xfeb"),
		"NUL in a PAX name":       func(t *testing.T) []byte { return zipped(t, paxWithNUL(t)) },
		"long name":               tars(reg(strings.Repeat("a", 256), "x")),
		"long path":               tars(reg(strings.Repeat(strings.Repeat("a", 250)+"/", 5)+"a", "x")),
		"file twice":              tars(reg("a", "x"), reg("a", "y")),
		"folder twice":            tars(kind(tar.TypeDir, "a/", ""), kind(tar.TypeDir, "a/", "")),
		"case":                    tars(reg("Read", "x"), reg("read", "y")),
		"case of a folder":        tars(reg("A/b", "x"), reg("a/c", "y")),
		"case of other letters":   tars(reg("straſe", "x"), reg("strase", "y")),
		"file as folder":          tars(reg("a", "x"), reg("a/b", "y")),
		"folder as file":          tars(reg("a/b", "x"), reg("a", "y")),
		"named folder as file":    tars(kind(tar.TypeDir, "a/", ""), reg("a", "y")),
		"too many files":          tars(many(11, "f%d")...),
		"too many folders":        tars(many(10, "d%d/e/f")...),
		"too deep":                tars(reg("a/b/c/d/e/f/g", "x")),
		"too large a file":        tars(reg("a", strings.Repeat("x", 1025))),
		"too large together":      tars(reg("a", strings.Repeat("x", 1024)), reg("b", strings.Repeat("x", 1024)), reg("c", strings.Repeat("x", 1024)), reg("d", "x")),
		"bomb behind the end":     func(t *testing.T) []byte { return zipped(t, append(tarOf(t, reg("a", "x")), zeros(64<<20)...)) },
		"bomb of headers": func(t *testing.T) []byte {
			return zipped(t, bytes.Repeat(tarOf(t, kind(tar.TypeDir, "a/", ""))[:512], 1<<12))
		},
		"sparse bomb":         tars(tarred{header: tar.Header{Typeflag: tar.TypeReg, Name: "a", Format: tar.FormatPAX}}, kind(tar.TypeGNUSparse, "s", "")),
		"too large itself":    func(t *testing.T) []byte { return append(good(t), zeros(64<<10)...) },
		"garbage behind gzip": func(t *testing.T) []byte { return append(good(t), 'x') },
		"second gzip member":  func(t *testing.T) []byte { return append(good(t), good(t)...) },
		"garbage behind tar":  func(t *testing.T) []byte { return zipped(t, append(tarOf(t, reg("a", "x")), "garbage"...)) },
		"second tar": func(t *testing.T) []byte {
			return zipped(t, append(tarOf(t, reg("a", "x")), tarOf(t, reg("b", "x"))...))
		},
		"cut gzip":            func(t *testing.T) []byte { g := good(t); return g[:len(g)-5] },
		"cut tar":             func(t *testing.T) []byte { return zipped(t, tarOf(t, reg("a", strings.Repeat("x", 600)))[:800]) },
		"wrong checksum":      func(t *testing.T) []byte { g := good(t); g[len(g)-6] ^= 1; return g },
		"not compressed":      func(t *testing.T) []byte { return tarOf(t, reg("a", "x")) },
		"no tar":              func(t *testing.T) []byte { return zipped(t, bytes.Repeat([]byte("no tar "), 200)) },
		"zip":                 func(*testing.T) []byte { return []byte("PK\x03\x04 and so on") },
		"nothing":             func(*testing.T) []byte { return nil },
		"negative size":       func(t *testing.T) []byte { return zipped(t, negative(t)) },
		"folder with content": named("a/"),
	} {
		t.Run(name, func(t *testing.T) {
			raw := hostile(t)
			_, errCheck := Check(t.Context(), bytes.NewReader(raw), small())
			dir := t.TempDir()
			root := openRoot(t, dir+"/in", true)
			_, err := Unpack(t.Context(), bytes.NewReader(raw), root, small())
			var refused *RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("Unpack: %v, want it refused", err)
			}
			if errCheck == nil || errCheck.Error() != err.Error() {
				t.Errorf("Check says %v, Unpack says %v", errCheck, err)
			}
			t.Log(err)
			outside, errRead := os.ReadDir(dir)
			if errRead != nil || len(outside) != 1 {
				t.Errorf("outside of the folder there is %v (%v)", outside, errRead)
			}
			noLinks(t, dir)
		})
	}
}

func zeros(n int) []byte { return make([]byte, n) }

func negative(t *testing.T) []byte {
	raw := badHeader(t, "a")
	copy(raw[124:136], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	sum := 8 * int(' ')
	for i, c := range raw[:512] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return raw
}

func paxWithNUL(t *testing.T) []byte {
	const record = "14 path=a\x00b.c\n"
	head := tarOf(t, tarred{header: tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: int64(len(record))}, content: record})[:1024]
	head[156] = 'x'
	sum := 8 * int(' ')
	for i, c := range head[:512] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(head[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return append(head, tarOf(t, reg("a", "x"))...)
}

func noLinks(t *testing.T, dir string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !d.Type().IsRegular() {
			t.Errorf("%s is no plain file", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func openRoot(tb testing.TB, dir string, create bool) *os.Root {
	tb.Helper()
	if create {
		if err := os.Mkdir(dir, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { root.Close() })
	return root
}

func TestUnpack(t *testing.T) {
	program := reg("bin/run", "\x7fELF and more")
	program.header.Mode = 0o4711
	raw := zipped(t, tarOf(t, kind(tar.TypeDir, "empty/", ""), reg("a/b/c", "deep"), program, reg("zero", "")))
	dir := t.TempDir()
	got, err := Unpack(t.Context(), bytes.NewReader(raw), openRoot(t, dir, false), small())
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{{Name: "a/b/c", Size: 4}, {Name: "bin/run", Size: 13, Executable: true, ELF: true}, {Name: "zero"}}
	if d := cmp.Diff(want, got.Entries); d != "" {
		t.Error(d)
	}
	if got.Size != int64(len(raw)) {
		t.Errorf("size %d, want %d", got.Size, len(raw))
	}
	files := map[string]string{}
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(dir + "/" + name)
		files[name] = info.Mode().String() + " " + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"a/b/c": "-rw-r--r-- deep", "bin/run": "-rwxr-xr-x \x7fELF and more", "zero": "-rw-r--r-- "}, files); d != "" {
		t.Error(d)
	}
	checked, err := Check(t.Context(), iotest.OneByteReader(bytes.NewReader(raw)), small())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got, checked); d != "" {
		t.Error(d)
	}
}

// TestUnpackIntoUsed shows that what is there already is neither overwritten nor followed.
func TestUnpackIntoUsed(t *testing.T) {
	raw := zipped(t, tarOf(t, reg("a/b", "new")))
	for name, before := range map[string]func(dir string) error{
		"file": func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/a", 0o755), os.WriteFile(dir+"/a/b", nil, 0o644))
		},
		"folder": func(dir string) error { return os.Mkdir(dir+"/a", 0o755) },
		"link":   func(dir string) error { return os.Symlink("/tmp", dir+"/a") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := before(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Unpack(t.Context(), bytes.NewReader(raw), openRoot(t, dir, false), small())
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("error %v, want one of a file that exists", err)
			}
		})
	}
}

// TestErrorsOfReading are not blamed on the archive.
func TestErrorsOfReading(t *testing.T) {
	raw := zipped(t, tarOf(t, reg("a", strings.Repeat("x", 1000))))
	broken := errors.New("line is cut")
	for at := range raw {
		_, err := Check(t.Context(), io.MultiReader(bytes.NewReader(raw[:at]), iotest.ErrReader(broken)), small())
		if !errors.Is(err, broken) {
			t.Fatalf("error after %d bytes: %v", at, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ctx, bytes.NewReader(raw), small()); !errors.Is(err, context.Canceled) {
		t.Errorf("error of an ended context: %v", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(zipped(f, tarOf(f, reg("a/b", "x"), kind(tar.TypeDir, "d/", ""))))
	f.Add(zipped(f, tarOf(f, kind(tar.TypeSymlink, "a", "/tmp"), reg("a/b", "x"))))
	f.Add(zipped(f, tarOf(f, reg("../a", "x"))))
	f.Add(tarOf(f, reg("a", "x")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		// The tar itself is what the fuzzer should come to; it can make no checksums of gzip.
		for _, in := range [][]byte{raw, zipped(t, raw)} {
			dir := t.TempDir()
			root := openRoot(t, dir+"/in", true)
			got, err := Unpack(t.Context(), bytes.NewReader(in), root, small())
			checked, errCheck := Check(t.Context(), bytes.NewReader(in), small())
			if (err == nil) != (errCheck == nil) {
				t.Fatalf("Unpack: %v, Check: %v", err, errCheck)
			}
			var refused *RefusedError
			if err != nil && !errors.As(err, &refused) {
				t.Fatalf("not a refusal: %v", err)
			}
			noLinks(t, dir)
			if outside, err := os.ReadDir(dir); err != nil || len(outside) != 1 {
				t.Fatalf("outside there is %v (%v)", outside, err)
			}
			if err != nil {
				continue
			}
			if d := cmp.Diff(got, checked); d != "" {
				t.Fatal(d)
			}
			for _, e := range got.Entries {
				if info, err := root.Lstat(e.Name); err != nil || info.Size() != e.Size {
					t.Fatalf("file %q: %v, %v", e.Name, info, err)
				}
			}
		}
	})
}
