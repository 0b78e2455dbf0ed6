package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func describe(t *testing.T, ref string, img v1.Image) Archived {
	t.Helper()
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return Archived{Ref: ref, Digest: digest(t, img), Config: config.String()}
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchiveRoundTrip(t *testing.T) {
	shared := File{Path: "/shared", Content: bytes.Repeat([]byte("x"), 1<<20)}
	one := mustBuild(t, Spec{Files: []File{shared}})
	two := mustBuild(t, Spec{Files: []File{shared}, User: "1"})
	var archive bytes.Buffer
	if err := WriteArchive(&archive, Named{"one:1", one}, Named{"heddle.dev/two:2", two}); err != nil {
		t.Fatal(err)
	}
	if archive.Len() > 2<<20 {
		t.Errorf("archive has %d bytes: the shared layer is in it twice", archive.Len())
	}
	want := []Archived{describe(t, "docker.io/library/one:1", one), describe(t, "heddle.dev/two:2", two)}
	for form, content := range map[string][]byte{"plain": archive.Bytes(), "gzipped": gzipped(t, archive.Bytes())} {
		got, err := Inspect(bytes.NewReader(content))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", form, diff)
		}
	}
	var again bytes.Buffer
	if err := WriteArchive(&again, Named{"one:1", one}, Named{"heddle.dev/two:2", two}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("the same images give two archives")
	}
}

func TestInspectDockerArchive(t *testing.T) {
	img, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("example.com/x:1")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "docker.tar")
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		t.Fatal(err)
	}
	want := describe(t, "example.com/x:1", img)
	want.Digest = "" // docker's form keeps no manifest
	got, err := InspectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Archived{want}, got); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

func TestArchiveFileIsWholeOrAbsent(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "x.tar")
	if err := WriteArchiveFile(file, Named{Ref: "x"}); err == nil {
		t.Error("an archive of no image was written")
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("a failure left %v, %v", left, err)
	}
	img := mustBuild(t, Spec{})
	if err := WriteArchiveFile(file, Named{"x", img}); err != nil {
		t.Fatal(err)
	}
	got, err := InspectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Archived{describe(t, "docker.io/library/x:latest", img)}, got); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	if err := WriteArchiveFile(filepath.Join(folder, "none", "x.tar"), Named{"x", img}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for a folder that is not there", err)
	}
}

// tarOf makes an archive of files, for contents that no writer of ours makes.
func tarOf(tb testing.TB, files map[string]string) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func TestInspectRefuses(t *testing.T) {
	many := map[string]string{"index.json": `{}`}
	for i := range allSmallBlobs/smallBlob + 1 {
		many[fmt.Sprintf("blobs/sha256/%d", i)] = strings.Repeat("x", smallBlob)
	}
	cases := map[string][]byte{
		"empty":            tarOf(t, nil),
		"no archive":       []byte("hello, this is no archive at all, though it is long enough"),
		"cut gzip":         {0x1f, 0x8b, 0x08},
		"index no JSON":    tarOf(t, map[string]string{"index.json": "{"}),
		"manifest no JSON": tarOf(t, map[string]string{"manifest.json": "{"}),
		"manifest missing": tarOf(t, map[string]string{"index.json": `{"manifests":[{"digest":"sha256:` + fmt.Sprintf("%064d", 1) + `"}]}`}),
		"many blobs":       tarOf(t, many),
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := Inspect(bytes.NewReader(content)); err == nil {
				t.Errorf("got %v", got)
			}
		})
	}
	if _, err := InspectFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for a file that is not there", err)
	}
}

func FuzzInspect(f *testing.F) {
	img, err := Build(Spec{})
	if err != nil {
		f.Fatal(err)
	}
	var archive bytes.Buffer
	if err := WriteArchive(&archive, Named{"x", img}); err != nil {
		f.Fatal(err)
	}
	f.Add(archive.Bytes())
	f.Add(tarOf(f, map[string]string{"manifest.json": `[{"Config":"blobs/sha256/00","RepoTags":["x"]}]`}))
	f.Fuzz(func(t *testing.T, in []byte) {
		images, err := Inspect(bytes.NewReader(in))
		if err != nil && images != nil {
			t.Errorf("images %v with error %v", images, err)
		}
		for _, i := range images {
			if i.Ref != "" && FullRef(i.Ref) != i.Ref {
				t.Errorf("name %q is not in full", i.Ref)
			}
		}
	})
}

func TestFullRef(t *testing.T) {
	cases := map[string]string{
		"x":                                   "docker.io/library/x:latest",
		"hyperledger/fabric-peer:3":           "docker.io/hyperledger/fabric-peer:3",
		"docker.io/hyperledger/x:1":           "docker.io/hyperledger/x:1",
		"index.docker.io/a/b:1":               "docker.io/a/b:1",
		"heddle.dev/heddle-operator":          "heddle.dev/heddle-operator:latest",
		"localhost:5000/x:1":                  "localhost:5000/x:1",
		"x@sha256:" + fmt.Sprintf("%064d", 1): "docker.io/library/x@sha256:" + fmt.Sprintf("%064d", 1),
		"Not A Name":                          "Not A Name",
	}
	for in, want := range cases {
		if got := FullRef(in); got != want {
			t.Errorf("FullRef(%q) = %q, want %q", in, got, want)
		}
	}
}
