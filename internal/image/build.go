package image

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec describes an image: layers that others share, and one of its own on top.
type Spec struct {
	// Below are layers below the image's own, the lowest first: what changes seldom, so that it is sent and kept once.
	Below []v1.Layer
	// Files are the contents of the image's own layer; folders above them are made.
	Files []File
	// Folders are further, empty folders.
	Folders []string
	// Entrypoint and Command together are what runs.
	Entrypoint, Command []string
	// WorkingDir is where it runs; / unless given.
	WorkingDir string
	// Env are settings in the form NAME=value, beside PATH, which they may replace.
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

// Build makes the image. Layers are not compressed: images made here are loaded
// far more often than sent, and an unpacked layer has one digest on every machine.
func Build(spec Spec) (v1.Image, error) {
	own, err := NewLayer(append(base(), spec.Files...), append([]string{temporary}, spec.Folders...)...)
	if err != nil {
		return nil, fmt.Errorf("build image: %w", err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, layer := range append(slices.Clone(spec.Below), own) {
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "heddle", Created: epoch()}})
		if err != nil {
			return nil, fmt.Errorf("build image: %w", err)
		}
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
	env := s.Env
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin"}, env...)
	}
	return v1.Config{
		Entrypoint:   s.Entrypoint,
		Cmd:          s.Command,
		Env:          env,
		User:         s.User,
		ExposedPorts: set(s.Ports),
		Volumes:      set(s.Volumes),
		Labels:       s.Labels,
		WorkingDir:   cmp.Or(s.WorkingDir, "/"),
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
