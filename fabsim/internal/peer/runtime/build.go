package runtime

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Builder is an external builder.
type Builder struct {
	Name                 string   `yaml:"name"`
	Path                 string   `yaml:"path"`
	PropagateEnvironment []string `yaml:"propagateEnvironment"`
}

// built is a package that a builder has made ready.
type built struct {
	builder Builder
	dir     string
}

const infoFile = "build-info.json"

type buildInfo struct {
	Builder string `json:"builder_name"`
}

// Build makes a package ready to run, once.
func (r *Runtime) Build(ctx context.Context, id string, metadata, code []byte) error {
	_, err := r.buildFrom(ctx, id, func() ([]byte, []byte, error) { return metadata, code, nil })
	return err
}

func (r *Runtime) build(ctx context.Context, id string) (*built, error) {
	return r.buildFrom(ctx, id, func() ([]byte, []byte, error) {
		metadata, code, err := r.o.Load(id)
		if err != nil {
			return nil, nil, fmt.Errorf("failed to get chaincode package for external build: %w", err)
		}
		return metadata, code, nil
	})
}

func (r *Runtime) dir(id string) string {
	return filepath.Join(r.o.BuildDir, regexp.MustCompile(`[<>:"/\\|?*&]`).ReplaceAllString(id, "-"))
}

func (r *Runtime) buildFrom(ctx context.Context, id string, load func() ([]byte, []byte, error)) (*built, error) {
	r.mu.Lock()
	lock := r.building[id]
	if lock == nil {
		lock = &sync.Mutex{}
		r.building[id] = lock
	}
	r.mu.Unlock()
	lock.Lock()
	defer lock.Unlock()
	cached, err := r.cached(id)
	if err != nil || cached != nil {
		return cached, err
	}
	metadata, code, err := load()
	if err != nil {
		return nil, err
	}
	for _, builder := range r.o.Builders {
		out, err := r.try(ctx, builder, id, metadata, code)
		if err != nil {
			return nil, fmt.Errorf("external builder failed: %w", err)
		}
		if out != nil {
			return out, nil
		}
	}
	return nil, errors.New("docker build failed: docker build is disabled")
}

// cached finds what was built before.
func (r *Runtime) cached(id string) (*built, error) {
	raw, err := os.ReadFile(filepath.Join(r.dir(id), infoFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a package that was not built is nothing wrong
	}
	if err != nil {
		return nil, fmt.Errorf("external builder failed: existing build could not be restored: %w", err)
	}
	var info buildInfo
	if err := json.Unmarshal(raw, &info); err != nil {
		return nil, fmt.Errorf("external builder failed: existing build could not be restored: malformed build info: %w", err)
	}
	i := slices.IndexFunc(r.o.Builders, func(b Builder) bool { return b.Name == info.Builder })
	if i < 0 {
		return nil, fmt.Errorf("external builder failed: existing build could not be restored: "+
			"chaincode '%s' was already built with builder '%s', but that builder is no longer available", id, info.Builder)
	}
	return &built{builder: r.o.Builders[i], dir: r.dir(id)}, nil
}

// try lets a builder detect, build and release; nil if it is not its kind.
func (r *Runtime) try(ctx context.Context, builder Builder, id string, metadata, code []byte) (*built, error) {
	if err := os.MkdirAll(r.o.BuildDir, 0o750); err != nil {
		return nil, fmt.Errorf("could not create temp dir: %w", err)
	}
	scratch, err := os.MkdirTemp(r.o.BuildDir, "new-*")
	if err != nil {
		return nil, fmt.Errorf("could not create temp dir: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }() // what is left of it is a folder in the peer's own space
	at := func(name string) string { return filepath.Join(scratch, name) }
	for _, name := range []string{"src", "metadata", "bld", "release"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			return nil, fmt.Errorf("could not create %s dir: %w", name, err)
		}
	}
	if err := unpack(code, at("src")); err != nil {
		return nil, fmt.Errorf("could not create build context: could not untar source package: %w", err)
	}
	if err := os.WriteFile(at("metadata/metadata.json"), metadata, 0o600); err != nil {
		return nil, fmt.Errorf("could not create build context: could not write metadata file: %w", err)
	}
	if err := r.tool(ctx, builder, "detect", at("src"), at("metadata")); err != nil {
		r.o.Log.Debugf("Builder %s does not take %s: %s", builder.Name, id, err)
		return nil, nil //nolint:nilnil // it is another builder's
	}
	if err := r.tool(ctx, builder, "build", at("src"), at("metadata"), at("bld")); err != nil {
		return nil, fmt.Errorf("external builder failed to build: external builder '%s' failed: %w", builder.Name, err)
	}
	if _, err := exec.LookPath(filepath.Join(builder.Path, "bin", "release")); err == nil {
		if err := r.tool(ctx, builder, "release", at("bld"), at("release")); err != nil {
			return nil, fmt.Errorf("external builder failed to release: builder '%s' release failed: %w", builder.Name, err)
		}
	}
	info, err := json.Marshal(buildInfo{Builder: builder.Name})
	if err == nil {
		err = os.WriteFile(at(infoFile), info, 0o600)
	}
	if err == nil {
		err = errors.Join(os.RemoveAll(at("src")), os.RemoveAll(at("metadata")), os.RemoveAll(r.dir(id)), os.Rename(scratch, r.dir(id)))
	}
	if err != nil {
		return nil, fmt.Errorf("keep build output: %w", err)
	}
	return &built{builder: builder, dir: r.dir(id)}, nil
}

// tool runs a program of a builder to its end.
func (r *Runtime) tool(ctx context.Context, b Builder, name string, args ...string) error {
	command := r.command(ctx, b, name, args...)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	if text := strings.TrimSpace(out.String()); text != "" {
		r.o.Log.Infof("Builder %s, %s: %s", b.Name, name, text)
	}
	return err //nolint:wrapcheck // callers say which tool, in Fabric's words
}

func (r *Runtime) command(ctx context.Context, b Builder, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(b.Path, "bin", name), args...)
	command.Env = []string{}
	names := append(slices.Clone(b.PropagateEnvironment), "LD_LIBRARY_PATH", "LIBPATH", "PATH", "TMPDIR")
	for _, entry := range r.o.Environ {
		if variable, _, _ := strings.Cut(entry, "="); slices.Contains(names, variable) {
			command.Env = append(command.Env, entry)
		}
	}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 5 * time.Second
	return command
}

const maxUnpacked = 1 << 30

// unpack writes a code archive into a folder.
func unpack(code []byte, dir string) error {
	unzipped, err := gzip.NewReader(bytes.NewReader(code))
	if err != nil {
		return fmt.Errorf("could not create gzip reader: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open folder of sources: %w", err)
	}
	defer root.Close()
	archive := tar.NewReader(io.LimitReader(unzipped, maxUnpacked))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("could not get next tar element: %w", err)
		}
		if err := unpackOne(root, header, archive); err != nil {
			return err
		}
	}
}

func unpackOne(root *os.Root, header *tar.Header, content io.Reader) error {
	name := filepath.Clean(header.Name)
	if !filepath.IsLocal(name) {
		return fmt.Errorf("tar contains the absolute or escaping path '%s'", header.Name)
	}
	switch header.Typeflag {
	case tar.TypeDir:
		if err := root.MkdirAll(name, 0o700); err != nil {
			return fmt.Errorf("could not create directory '%s': %w", header.Name, err)
		}
	case tar.TypeReg:
		if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return fmt.Errorf("could not create directory '%s': %w", filepath.Dir(header.Name), err)
		}
		file, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, header.FileInfo().Mode().Perm()|0o600)
		if err != nil {
			return fmt.Errorf("could not create file '%s': %w", header.Name, err)
		}
		_, err = io.Copy(file, content)
		if err := errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("could not write file '%s': %w", header.Name, err)
		}
	default:
		return fmt.Errorf("invalid file type '%v' contained in archive for file '%s'", header.Typeflag, header.Name)
	}
	return nil
}
