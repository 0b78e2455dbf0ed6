package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Where container runtimes read the name of an image in an OCI archive.
const (
	containerdName = "io.containerd.image.name"
	ociName        = "org.opencontainers.image.ref.name"
)

// WriteArchive writes an OCI archive of images.
func WriteArchive(out io.Writer, images ...Named) error {
	a := &archiver{tar: tar.NewWriter(out), seen: map[v1.Hash]bool{}}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, n := range images {
		descriptor, err := a.image(n)
		if err != nil {
			return fmt.Errorf("archive image %q: %w", n.Ref, err)
		}
		index.Manifests = append(index.Manifests, *descriptor)
	}
	encoded, err := json.Marshal(index)
	if err != nil {
		return fmt.Errorf("encode archive index: %w", err)
	}
	layout := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	err = errors.Join(
		a.put("index.json", int64(len(encoded)), bytes.NewReader(encoded)),
		a.put("oci-layout", int64(len(layout)), bytes.NewReader(layout)),
		a.tar.Close(),
	)
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// WriteArchiveFile writes an OCI archive to a file that appears whole or not at all.
func WriteArchiveFile(file string, images ...Named) (err error) {
	out, err := os.CreateTemp(filepath.Dir(file), ".archive-*")
	if err != nil {
		return fmt.Errorf("make archive: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	err = errors.Join(WriteArchive(out, images...), out.Chmod(0o644), out.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(out.Name(), file); err != nil {
		return fmt.Errorf("make archive: %w", err)
	}
	return nil
}

// archiver writes each blob once, also when images share it.
type archiver struct {
	tar  *tar.Writer
	seen map[v1.Hash]bool
}

func (a *archiver) put(name string, size int64, content io.Reader) error {
	if err := a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(a.tar, content)
	return err
}

func (a *archiver) blob(h v1.Hash, size int64, content io.Reader) error {
	if a.seen[h] {
		return nil
	}
	a.seen[h] = true
	return a.put("blobs/"+h.Algorithm+"/"+h.Hex, size, content)
}

func (a *archiver) image(n Named) (*v1.Descriptor, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	layers, err := n.Image.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		if err := a.layer(l); err != nil {
			return nil, err
		}
	}
	config, err := n.Image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	configHash, err := n.Image.ConfigName()
	if err != nil {
		return nil, err
	}
	manifest, err := n.Image.RawManifest()
	if err != nil {
		return nil, err
	}
	digest, err := n.Image.Digest()
	if err != nil {
		return nil, err
	}
	mediaType, err := n.Image.MediaType()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		a.blob(configHash, int64(len(config)), bytes.NewReader(config)),
		a.blob(digest, int64(len(manifest)), bytes.NewReader(manifest)),
	)
	ref := FullRef(n.Ref)
	return &v1.Descriptor{
		MediaType: mediaType, Digest: digest, Size: int64(len(manifest)),
		Annotations: map[string]string{containerdName: ref, ociName: ref},
	}, err
}

func (a *archiver) layer(l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	if a.seen[digest] {
		return nil
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	content, err := l.Compressed()
	if err != nil {
		return err
	}
	return errors.Join(a.blob(digest, size, content), content.Close())
}
