package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec describes an image of one layer.
type Spec struct {
	// Files are the contents; folders above them are made.
	Files []File
	// Folders are further, empty folders.
	Folders []string
	// Entrypoint and Command together are what runs.
	Entrypoint, Command []string
	// Env are settings in the form NAME=value, beside PATH.
	Env []string
	// User is uid or uid:gid in figures; Kubernetes cannot tell a name from root.
	User string
	// Ports are what the image listens on, such as "7051/tcp"; for people.
	Ports []string
	// Volumes are the folders that a runtime makes writable.
	Volumes []string
	// Labels are annotations such as the version.
	Labels map[string]string
}

// File is one file of an image.
type File struct {
	// Path is absolute.
	Path string
	// Content is the whole file.
	Content []byte
	// Executable gives it mode 755 rather than 644.
	Executable bool
}

// Build makes the image. Layers are not compressed: images made here are loaded
// far more often than sent, and an unpacked layer has one digest on every machine.
func Build(spec Spec) (v1.Image, error) {
	layer, err := spec.layer()
	if err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:   static.NewLayer(layer, types.OCIUncompressedLayer),
		History: v1.History{CreatedBy: "heddle", Created: epoch()},
	})
	if err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", runtime.GOARCH, epoch()
	config.Config = spec.config()
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	return img, nil
}

// epoch stands for the time of making, which would change the digest.
func epoch() v1.Time { return v1.Time{Time: time.Unix(0, 0).UTC()} }

func (s Spec) config() v1.Config {
	return v1.Config{
		Entrypoint:   s.Entrypoint,
		Cmd:          s.Command,
		Env:          append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, s.Env...),
		User:         s.User,
		ExposedPorts: set(s.Ports),
		Volumes:      set(s.Volumes),
		Labels:       s.Labels,
		WorkingDir:   "/",
	}
}

func set(names []string) map[string]struct{} {
	if len(names) == 0 {
		return nil
	}
	out := map[string]struct{}{}
	for _, n := range names {
		out[n] = struct{}{}
	}
	return out
}

// base are the files every image has: users for programs that look them up, and
// the order of name resolution for those with a C library.
func base() []File {
	return []File{
		{Path: "/etc/passwd", Content: []byte("root:x:0:0:root:/:/sbin/nologin\n" +
			"fabric:x:1000:1000:fabric:/:/sbin/nologin\n" +
			"nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")},
		{Path: "/etc/group", Content: []byte("root:x:0:\nfabric:x:1000:\nnonroot:x:65532:\n")},
		{Path: "/etc/nsswitch.conf", Content: []byte("hosts: files dns\n")},
	}
}

// layer returns the files as a tar, sorted, all owned by root and without times.
func (s Spec) layer() ([]byte, error) {
	headers, contents := map[string]*tar.Header{}, map[string][]byte{}
	for _, folder := range append([]string{"/tmp"}, s.Folders...) {
		if err := addFolders(headers, folder); err != nil {
			return nil, err
		}
	}
	headers["/tmp"].Mode = 0o1777
	for _, f := range append(base(), s.Files...) {
		if err := addFolders(headers, path.Dir(f.Path)); err != nil {
			return nil, err
		}
		if path.Clean(f.Path) != f.Path {
			return nil, fmt.Errorf("%q is not a clean path", f.Path)
		}
		if headers[f.Path] != nil {
			return nil, fmt.Errorf("%q is there twice", f.Path)
		}
		mode := int64(0o644)
		if f.Executable {
			mode = 0o755
		}
		headers[f.Path] = &tar.Header{Typeflag: tar.TypeReg, Name: f.Path[1:], Mode: mode, Size: int64(len(f.Content))}
		contents[f.Path] = f.Content
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		headers[name].Format = tar.FormatPAX
		if err := w.WriteHeader(headers[name]); err != nil {
			return nil, fmt.Errorf("write %q: %w", name, err)
		}
		if _, err := w.Write(contents[name]); err != nil {
			return nil, fmt.Errorf("write %q: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func addFolders(headers map[string]*tar.Header, folder string) error {
	if !path.IsAbs(folder) || path.Clean(folder) != folder {
		return fmt.Errorf("%q is not an absolute, clean path", folder)
	}
	for ; folder != "/"; folder = path.Dir(folder) {
		if h := headers[folder]; h != nil && h.Typeflag != tar.TypeDir {
			return fmt.Errorf("%q is a file and a folder", folder)
		}
		if headers[folder] == nil {
			headers[folder] = &tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(folder, "/") + "/", Mode: 0o755}
		}
	}
	return nil
}

// Named is an image under the name a runtime shall know it by.
type Named struct {
	Ref   string
	Image v1.Image
}

// check refuses what an archive cannot carry.
func (n Named) check() error {
	if n.Ref == "" || n.Image == nil {
		return errors.New("an image without a name, or a name without an image")
	}
	return nil
}
