package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// temporary is a folder that everybody may write to.
const temporary = "/tmp"

// File is one file of an image.
type File struct {
	// Path is absolute.
	Path string
	// Content is the whole file, unless Open is set.
	Content []byte
	// Open reads a file of Size bytes each time the layer is read, so that large ones are never in memory.
	Open func() (io.ReadCloser, error)
	// Size goes with Open.
	Size int64
	// Link makes the file a symbolic link to this path.
	Link string
	// Executable gives it mode 755 rather than 644.
	Executable bool
}

// header describes the file: owned by root and without a time, as everything in an image.
func (f File) header() *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path[1:], Mode: 0o644, Size: int64(len(f.Content))}
	if f.Open != nil {
		h.Size = f.Size
	}
	if f.Executable {
		h.Mode = 0o755
	}
	if f.Link != "" {
		h.Typeflag, h.Linkname, h.Mode, h.Size = tar.TypeSymlink, f.Link, 0o777, 0
	}
	return h
}

func (f File) writeTo(w io.Writer) error {
	switch {
	case f.Link != "":
		return nil
	case f.Open == nil:
		_, err := w.Write(f.Content)
		return err
	}
	content, err := f.Open()
	if err != nil {
		return err
	}
	_, err = io.CopyN(w, content, f.Size)
	return errors.Join(err, content.Close())
}

// member is a file or folder of a layer.
type member struct {
	header *tar.Header
	file   File
}

// layer is an uncompressed tar, which is put together each time it is read.
type layer struct {
	write  func(io.Writer) error
	digest v1.Hash
	size   int64
}

// NewLayer makes a layer of files, of the folders above them, and of further, empty folders. It reads every file once.
func NewLayer(files []File, folders ...string) (v1.Layer, error) {
	members, err := arrange(files, folders)
	if err != nil {
		return nil, err
	}
	l := &layer{write: func(w io.Writer) error { return writeMembers(w, members) }}
	sum := sha256.New()
	counted := &counter{out: sum}
	if err := l.write(counted); err != nil {
		return nil, err
	}
	l.digest, l.size = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum.Sum(nil))}, counted.size
	return l, nil
}

// StoredLayer is a layer that stands ready as a tar, with the digest that was noted when it was made.
func StoredLayer(open func() (io.ReadCloser, error), size int64, digest string) (v1.Layer, error) {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return nil, fmt.Errorf("read digest of layer: %w", err)
	}
	return &layer{digest: hash, size: size, write: func(w io.Writer) error {
		content, err := open()
		if err != nil {
			return err
		}
		_, err = io.CopyN(w, content, size)
		return errors.Join(err, content.Close())
	}}, nil
}

type counter struct {
	out  io.Writer
	size int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.out.Write(p)
}

// arrange sorts files and folders by name.
func arrange(files []File, folders []string) ([]member, error) {
	members := map[string]member{}
	for _, folder := range folders {
		if err := addFolders(members, folder); err != nil {
			return nil, err
		}
	}
	if m, ok := members[temporary]; ok {
		m.header.Mode = 0o1777
	}
	for _, f := range files {
		if err := addFolders(members, path.Dir(f.Path)); err != nil {
			return nil, err
		}
		if path.Clean(f.Path) != f.Path {
			return nil, fmt.Errorf("%q is not a clean path", f.Path)
		}
		if _, ok := members[f.Path]; ok {
			return nil, fmt.Errorf("%q is there twice", f.Path)
		}
		members[f.Path] = member{f.header(), f}
	}
	out := make([]member, 0, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		out = append(out, members[name])
	}
	return out, nil
}

func addFolders(members map[string]member, folder string) error {
	if !path.IsAbs(folder) || path.Clean(folder) != folder {
		return fmt.Errorf("%q is not an absolute, clean path", folder)
	}
	for ; folder != "/"; folder = path.Dir(folder) {
		m, ok := members[folder]
		if ok && m.header.Typeflag != tar.TypeDir {
			return fmt.Errorf("%q is a file and a folder", folder)
		}
		if !ok {
			members[folder] = member{header: &tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(folder, "/") + "/", Mode: 0o755}}
		}
	}
	return nil
}

func writeMembers(out io.Writer, members []member) error {
	w := tar.NewWriter(out)
	for _, m := range members {
		header := *m.header
		header.Format = tar.FormatPAX
		if err := w.WriteHeader(&header); err != nil {
			return fmt.Errorf("write %q: %w", header.Name, err)
		}
		if err := m.file.writeTo(w); err != nil {
			return fmt.Errorf("write %q: %w", header.Name, err)
		}
	}
	return w.Close()
}

// Digest is the layer's name in registries and archives.
func (l *layer) Digest() (v1.Hash, error) { return l.digest, nil }

// DiffID is the same, since nothing is compressed.
func (l *layer) DiffID() (v1.Hash, error) { return l.digest, nil }

// Size is that of the tar.
func (l *layer) Size() (int64, error) { return l.size, nil }

// MediaType says that it is a plain tar.
func (l *layer) MediaType() (types.MediaType, error) { return types.OCIUncompressedLayer, nil }

// Compressed is what is sent.
func (l *layer) Compressed() (io.ReadCloser, error) { return l.Uncompressed() }

// Uncompressed writes the tar while it is read; a reader that stops early ends the writer. A small one is ready at once.
func (l *layer) Uncompressed() (io.ReadCloser, error) {
	if l.size <= 1<<20 {
		var out bytes.Buffer
		err := l.write(&out)
		return io.NopCloser(&out), err
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(l.write(writer)) }()
	return reader, nil
}
