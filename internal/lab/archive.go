package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// baseImages are the images that every node has from the start; each is made
// from the program of the same name in the libexec folder.
func baseImages() []string { return []string{"pause", "coredns"} }

// nameAnnotation is where containerd reads an image's name in an OCI archive.
const nameAnnotation = "io.containerd.image.name"

// smallBlob bounds what is read into memory of an archive: manifests and
// configs, not layers.
const smallBlob = 4 << 20

// namedImage is an image and the name that it shall have on a node.
type namedImage struct {
	ref string
	img v1.Image
}

// archived is an image found in an archive file: its name and the digest of
// its config, which is the same in every form of archive.
type archived struct {
	ref    string
	config string
}

// programImage makes an image of one static program. The layer is not
// compressed: it never travels, and unpacking is quick.
func programImage(program, entrypoint string) (v1.Image, error) {
	raw, err := os.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name string
		mode int64
		raw  []byte
	}{
		{"etc/passwd", 0o644, []byte("root:x:0:0:root:/:/\nnonroot:x:65532:65532:nonroot:/:/\n")},
		{strings.TrimPrefix(entrypoint, "/"), 0o755, raw},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.raw))}); err != nil {
			return nil, fmt.Errorf("make image: %w", err)
		}
		if _, err := w.Write(f.raw); err != nil {
			return nil, fmt.Errorf("make image: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.AppendLayers(img, static.NewLayer(layer.Bytes(), types.OCIUncompressedLayer))
	if err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("make image: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{entrypoint}
	config.Config.Env = []string{"PATH=/"}
	return mutate.ConfigFile(img, config)
}

// writeBaseImages puts the archives of the base images into the lab's folder.
func writeBaseImages(p *Plan) error {
	refs := map[string]string{"pause": pauseRef, "coredns": corednsRef}
	if err := os.MkdirAll(filepath.Dir(p.imageFile("x")), 0o755); err != nil {
		return err
	}
	for _, name := range baseImages() {
		img, err := programImage(filepath.Join(p.Libexec, name), "/"+name)
		if err != nil {
			return err
		}
		target := p.imageFile(name)
		out, err := os.Create(target + ".new")
		if err != nil {
			return err
		}
		err = errors.Join(writeArchive(out, namedImage{ref: refs[name], img: img}), out.Close())
		if err != nil {
			return fmt.Errorf("write image %q: %w", name, err)
		}
		if err := os.Rename(target+".new", target); err != nil {
			return err
		}
	}
	return nil
}

// writeArchive writes an OCI archive with one image.
func writeArchive(out io.Writer, n namedImage) error {
	w := tar.NewWriter(out)
	put := func(name string, size int64, r io.Reader) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size}); err != nil {
			return err
		}
		_, err := io.Copy(w, r)
		return err
	}
	blob := func(h v1.Hash, raw []byte) error {
		return put("blobs/"+h.Algorithm+"/"+h.Hex, int64(len(raw)), bytes.NewReader(raw))
	}
	layers, err := n.img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := putLayer(l, put); err != nil {
			return err
		}
	}
	config, err := n.img.RawConfigFile()
	if err != nil {
		return err
	}
	configHash, err := n.img.ConfigName()
	if err != nil {
		return err
	}
	manifest, err := n.img.RawManifest()
	if err != nil {
		return err
	}
	manifestHash, err := n.img.Digest()
	if err != nil {
		return err
	}
	kind, err := n.img.MediaType()
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{{
		MediaType: kind, Digest: manifestHash, Size: int64(len(manifest)),
		Annotations: map[string]string{nameAnnotation: n.ref},
	}}})
	if err != nil {
		return err
	}
	layout := []byte(`{"imageLayoutVersion":"1.0.0"}`)
	return errors.Join(
		blob(configHash, config),
		blob(manifestHash, manifest),
		put("index.json", int64(len(index)), bytes.NewReader(index)),
		put("oci-layout", int64(len(layout)), bytes.NewReader(layout)),
		w.Close(),
	)
}

func putLayer(l v1.Layer, put func(string, int64, io.Reader) error) error {
	h, err := l.Digest()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	return put("blobs/"+h.Algorithm+"/"+h.Hex, size, r)
}

// inspectFile lists the images in an archive file, gzipped or not.
func inspectFile(file string) ([]archived, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read image archive: %w", err)
	}
	defer f.Close()
	var r io.Reader = f
	if gz, err := gzip.NewReader(f); err == nil {
		r = gz
	} else if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	found, err := inspectArchive(r)
	if err != nil {
		return nil, fmt.Errorf("read image archive %q: %w", file, err)
	}
	return found, nil
}

// inspectArchive lists the images in an OCI or docker archive.
func inspectArchive(r io.Reader) ([]archived, error) {
	small := map[string][]byte{}
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg || h.Size > smallBlob || !worthKeeping(name) {
			continue
		}
		if small[name], err = io.ReadAll(io.LimitReader(archive, smallBlob)); err != nil {
			return nil, err
		}
	}
	if raw, ok := small["index.json"]; ok {
		return ociImages(raw, small)
	}
	if raw, ok := small["manifest.json"]; ok {
		return dockerImages(raw)
	}
	return nil, errors.New("it has neither an index.json (OCI) nor a manifest.json (docker)")
}

func worthKeeping(name string) bool {
	return name == "index.json" || name == "manifest.json" || strings.HasPrefix(name, "blobs/")
}

func ociImages(raw []byte, blobs map[string][]byte) ([]archived, error) {
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("decode index.json: %w", err)
	}
	var out []archived
	for _, d := range index.Manifests {
		ref := d.Annotations[nameAnnotation]
		if ref == "" {
			ref = d.Annotations["org.opencontainers.image.ref.name"]
		}
		var manifest v1.Manifest
		if err := json.Unmarshal(blobs["blobs/"+d.Digest.Algorithm+"/"+d.Digest.Hex], &manifest); err != nil {
			return nil, fmt.Errorf("decode manifest %s: %w", d.Digest, err)
		}
		if ref == "" || manifest.Config.Digest.Hex == "" {
			// An unnamed image or an index of several: always imported.
			out = append(out, archived{ref: ref})
			continue
		}
		out = append(out, archived{ref: fullRef(ref), config: manifest.Config.Digest.String()})
	}
	return out, nil
}

func dockerImages(raw []byte) ([]archived, error) {
	var entries []struct {
		Config   string
		RepoTags []string
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("decode manifest.json: %w", err)
	}
	var out []archived
	for _, e := range entries {
		// The config's name is its digest, with or without a folder, an
		// algorithm or an ending.
		hex := strings.TrimPrefix(strings.TrimSuffix(path.Base(e.Config), ".json"), "sha256:")
		for _, tag := range e.RepoTags {
			out = append(out, archived{ref: fullRef(tag), config: "sha256:" + hex})
		}
	}
	return out, nil
}
