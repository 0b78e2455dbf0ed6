package image

import (
	"archive/tar"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// entry is what a test looks at in a layer.
type entry struct {
	Mode    int64
	Content string
}

// unpack reads the merged file system of an image and checks what must hold for
// every file: nobody but root owns one, and none has a time.
func unpack(t *testing.T, img v1.Image) map[string]entry {
	t.Helper()
	reader := mutate.Extract(img)
	defer func() { _ = reader.Close() }()
	got := map[string]entry{}
	for archive := tar.NewReader(reader); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() > 0 {
			t.Errorf("%s: owner %d:%d, time %s", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		name := "/" + h.Name
		if h.Typeflag == tar.TypeDir {
			name = strings.TrimSuffix(name, "/") + "/"
		}
		got[name] = entry{h.Mode, string(content)}
	}
}

func mustBuild(t *testing.T, spec Spec) v1.Image {
	t.Helper()
	img, err := Build(spec)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digest(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestBuild(t *testing.T) {
	spec := Spec{
		Files: []File{
			{Path: "/usr/local/bin/x", Content: []byte("program"), Executable: true},
			{Path: "/etc/x/config", Content: []byte("a: b")},
		},
		Folders: []string{"/var/x"}, Entrypoint: []string{"/usr/local/bin/x"}, Command: []string{"run"},
		Env: []string{"A=b"}, User: nonrootUser, Ports: []string{"80/tcp"}, Volumes: []string{"/var/x"},
		Labels: map[string]string{"version": "1"},
	}
	img := mustBuild(t, spec)
	got := unpack(t, img)
	for name, want := range map[string]entry{
		"/usr/local/bin/x": {0o755, "program"}, "/etc/x/config": {0o644, "a: b"}, "/var/x/": {0o755, ""}, "/tmp/": {0o1777, ""}, "/usr/local/bin/": {0o755, ""},
	} {
		if diff := cmp.Diff(want, got[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/usr/local/bin/x"}, Cmd: []string{"run"}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "A=b"},
		User: nonrootUser, WorkingDir: "/", ExposedPorts: map[string]struct{}{"80/tcp": {}}, Volumes: map[string]struct{}{"/var/x": {}},
		Labels: map[string]string{"version": "1"},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// TestBuildSameDigest turns the order of everything around: what goes in counts,
// not how it was listed.
func TestBuildSameDigest(t *testing.T) {
	a, b := File{Path: "/a/1", Content: []byte("1")}, File{Path: "/b/2", Content: []byte("2"), Executable: true}
	first := digest(t, mustBuild(t, Spec{Files: []File{a, b}, Folders: []string{"/x", "/y"}}))
	if second := digest(t, mustBuild(t, Spec{Files: []File{b, a}, Folders: []string{"/y", "/x"}})); second != first {
		t.Errorf("same files, digests %s and %s", first, second)
	}
	for name, other := range map[string]Spec{
		"mode": {Files: []File{{Path: "/a/1", Content: []byte("1"), Executable: true}, b}, Folders: []string{"/x", "/y"}},
		"user": {Files: []File{a, b}, Folders: []string{"/x", "/y"}, User: "1"},
	} {
		if d := digest(t, mustBuild(t, other)); d == first {
			t.Errorf("another %s, same digest", name)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	cases := map[string]Spec{
		"relative path":   {Files: []File{{Path: "a/b"}}},
		"path upwards":    {Files: []File{{Path: "/a/../b/c"}}},
		"same file twice": {Files: []File{{Path: "/a"}, {Path: "/a"}}},
		"file as folder":  {Files: []File{{Path: "/a"}, {Path: "/a/b"}}},
		"folder as file":  {Files: []File{{Path: "/a"}}, Folders: []string{"/a"}},
		"relative folder": {Folders: []string{"a"}},
	}
	for name, spec := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := Build(spec); err == nil {
				t.Error("built")
			}
		})
	}
}
