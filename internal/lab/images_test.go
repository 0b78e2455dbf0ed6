package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

var sameArchived = cmp.AllowUnexported(archived{})

func testImage(tb testing.TB) (v1.Image, string) {
	tb.Helper()
	img, err := random.Image(300, 2)
	if err != nil {
		tb.Fatal(err)
	}
	config, err := img.ConfigName()
	if err != nil {
		tb.Fatal(err)
	}
	return img, config.String()
}

func TestInspectOCI(t *testing.T) {
	img, config := testImage(t)
	var raw bytes.Buffer
	if err := writeArchive(&raw, namedImage{ref: "localhost/x:v1", img: img}); err != nil {
		t.Fatal(err)
	}
	want := []archived{{ref: "localhost/x:v1", config: config}}
	got, err := inspectArchive(bytes.NewReader(raw.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameArchived); diff != "" {
		t.Error(diff)
	}
	// The same, gzipped, as a file.
	file := filepath.Join(t.TempDir(), "x.tar.gz")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(raw.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, zipped.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err = inspectFile(file); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameArchived); diff != "" {
		t.Error(diff)
	}
}

// TestArchiveBlobs checks that every blob's name is its digest.
func TestArchiveBlobs(t *testing.T) {
	img, _ := testImage(t)
	var raw bytes.Buffer
	if err := writeArchive(&raw, namedImage{ref: "localhost/x:v1", img: img}); err != nil {
		t.Fatal(err)
	}
	blobs := 0
	for r := tar.NewReader(&raw); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(h.Name) != "blobs/sha256" {
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != filepath.Base(h.Name) {
			t.Errorf("blob %s has the digest %s", h.Name, got)
		}
		blobs++
	}
	if blobs != 4 {
		t.Errorf("%d blobs, want 2 layers, a config and a manifest", blobs)
	}
}

func TestInspectDocker(t *testing.T) {
	img, config := testImage(t)
	tag, err := name.NewTag("example.com/team/x:v1")
	if err != nil {
		t.Fatal(err)
	}
	var raw bytes.Buffer
	if err := tarball.Write(tag, img, &raw); err != nil {
		t.Fatal(err)
	}
	got, err := inspectArchive(&raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]archived{{ref: "example.com/team/x:v1", config: config}}, got, sameArchived); diff != "" {
		t.Error(diff)
	}
}

func TestDockerConfigNames(t *testing.T) {
	want := []archived{{ref: "docker.io/library/a:1", config: "sha256:abc"}}
	for _, config := range []string{"abc.json", "sha256:abc", "blobs/sha256/abc"} {
		got, err := dockerImages([]byte(`[{"Config":"` + config + `","RepoTags":["a:1"]}]`))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, sameArchived); diff != "" {
			t.Errorf("%s: %s", config, diff)
		}
	}
}

func TestInspectRefuses(t *testing.T) {
	archive := func(files map[string]string) io.Reader {
		var raw bytes.Buffer
		w := tar.NewWriter(&raw)
		for name, text := range files {
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, text); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return &raw
	}
	for name, r := range map[string]io.Reader{
		"not an archive":   bytes.NewReader(bytes.Repeat([]byte("x"), 2000)),
		"some archive":     archive(map[string]string{"a": "b"}),
		"bad index":        archive(map[string]string{"index.json": "{"}),
		"manifest missing": archive(map[string]string{"index.json": `{"manifests":[{"digest":"sha256:` + fmt.Sprintf("%064d", 1) + `"}]}`}),
		"bad manifest":     archive(map[string]string{"manifest.json": "{}"}),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := inspectArchive(r); err == nil {
				t.Errorf("accepted as %v", got)
			}
		})
	}
}

func FuzzInspectArchive(f *testing.F) {
	img, _ := testImage(f)
	var raw bytes.Buffer
	if err := writeArchive(&raw, namedImage{ref: "localhost/x:v1", img: img}); err != nil {
		f.Fatal(err)
	}
	f.Add(raw.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		found, err := inspectArchive(bytes.NewReader(raw))
		if err != nil && len(found) > 0 {
			t.Errorf("found %v and failed with %v", found, err)
		}
	})
}

func TestFullRef(t *testing.T) {
	for in, want := range map[string]string{
		"busybox":                     "docker.io/library/busybox:latest",
		"couchdb:3.4":                 "docker.io/library/couchdb:3.4",
		"hyperledger/fabric-peer:3.1": "docker.io/hyperledger/fabric-peer:3.1",
		"localhost/x:v1":              "localhost/x:v1",
		"registry.example:5000/a/b:c": "registry.example:5000/a/b:c",
		"NOT A NAME":                  "NOT A NAME",
	} {
		if got := fullRef(in); got != want {
			t.Errorf("fullRef(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestImageList(t *testing.T) {
	const table = `REF            TYPE                                       DIGEST     SIZE    PLATFORMS   LABELS
localhost/x:v1 application/vnd.oci.image.manifest.v1+json sha256:m1  2.9 MiB linux/amd64 io.cri-containerd.image=managed
sha256:c1      application/vnd.oci.image.manifest.v1+json sha256:m1  2.9 MiB linux/amd64 io.cri-containerd.image=managed
localhost/y:v1 application/vnd.oci.image.manifest.v1+json sha256:m2  2.9 MiB linux/amd64 -
`
	have := parseImageList([]byte(table))
	for name, tc := range map[string]struct {
		image archived
		want  bool
	}{
		"there":             {archived{"localhost/x:v1", "sha256:c1"}, true},
		"another config":    {archived{"localhost/x:v1", "sha256:c2"}, false},
		"another name":      {archived{"localhost/z:v1", "sha256:c1"}, false},
		"config not listed": {archived{"localhost/y:v1", "sha256:c3"}, false},
		"config not known":  {archived{"localhost/x:v1", ""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := have.has(tc.image); got != tc.want {
				t.Errorf("has = %t", got)
			}
		})
	}
}

func TestProgramImage(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hello")
	if err := os.WriteFile(program, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	var digests []string
	for range 2 {
		img, err := programImage(program, "/hello")
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"/hello"}, config.Config.Entrypoint); diff != "" {
			t.Error(diff)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("two digests of one program: %v", digests)
	}
}

// withoutLayers drops all blobs that are not JSON.
func withoutLayers(raw []byte) ([]byte, error) {
	return keepFiles(raw, func(text []byte) bool { return len(text) > 0 && text[0] == '{' })
}

func keepFiles(raw []byte, keep func([]byte) bool) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), w.Close()
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		if !keep(text) {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(text); err != nil {
			return nil, err
		}
	}
}

func TestByDigest(t *testing.T) {
	have := nodeImages{
		"localhost:5000/a:v1": "sha256:aa", "docker.io/library/b:v1": "sha256:bb", "docker.io/library/b@sha256:bb": "sha256:bb", "c@sha256:cc": "sha256:cc",
	}
	got := have.byDigest([]archived{{ref: "localhost:5000/a:v1"}, {ref: "docker.io/library/b:v1"}, {ref: "c@sha256:cc"}, {ref: "d:v1"}})
	if diff := cmp.Diff(map[string]string{"localhost:5000/a@sha256:aa": "localhost:5000/a:v1"}, got); diff != "" {
		t.Error(diff)
	}
	if got := withDigest("localhost:5000/a", "sha256:aa"); got != "localhost:5000/a@sha256:aa" {
		t.Errorf("a name without a tag: %s", got)
	}
}
