package image

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// smallBlob bounds what is read into memory of an archive: manifests and
	// configs, not layers.
	smallBlob = 4 << 20
	// allSmallBlobs bounds them together, since an archive may be made of nothing else.
	allSmallBlobs = 64 << 20
)

// Archived is an image found in an archive.
type Archived struct {
	// Ref is the full name; empty for an image without one.
	Ref string
	// Digest is the manifest's. Archives of the docker form have none.
	Digest string
	// Config is the digest of the config, the same in every form of archive.
	// It is empty for a list of images.
	Config string
}

// InspectFile lists the images in an archive file, OCI or docker, gzipped or not.
func InspectFile(file string) ([]Archived, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read image archive: %w", err)
	}
	defer func() { _ = f.Close() }()
	images, err := Inspect(f)
	if err != nil {
		return nil, fmt.Errorf("read image archive %q: %w", file, err)
	}
	return images, nil
}

// Inspect lists the images in an archive, OCI or docker, gzipped or not.
func Inspect(r io.Reader) ([]Archived, error) {
	buffered := bufio.NewReader(r)
	r = buffered
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		r = unzipped
	}
	small, err := smallFiles(tar.NewReader(r))
	if err != nil {
		return nil, err
	}
	if index, ok := small["index.json"]; ok {
		return ociImages(index, small)
	}
	if manifest, ok := small["manifest.json"]; ok {
		return dockerImages(manifest)
	}
	return nil, errors.New("it has neither an index.json (OCI) nor a manifest.json (docker)")
}

func smallFiles(archive *tar.Reader) (map[string][]byte, error) {
	small := map[string][]byte{}
	left := int64(allSmallBlobs)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return small, nil
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		wanted := name == "index.json" || name == "manifest.json" || strings.HasPrefix(name, "blobs/")
		if h.Typeflag != tar.TypeReg || h.Size > smallBlob || !wanted {
			continue
		}
		if left -= h.Size + int64(len(name)); left < 0 {
			return nil, fmt.Errorf("its manifests and configs have more than %d bytes", allSmallBlobs)
		}
		content, err := io.ReadAll(io.LimitReader(archive, smallBlob))
		if err != nil {
			return nil, err
		}
		small[name] = content
	}
}

func ociImages(raw []byte, blobs map[string][]byte) ([]Archived, error) {
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, fmt.Errorf("decode index.json: %w", err)
	}
	out := make([]Archived, 0, len(index.Manifests))
	for _, d := range index.Manifests {
		ref := d.Annotations[containerdName]
		if ref == "" {
			ref = d.Annotations[ociName]
		}
		if ref != "" {
			ref = FullRef(ref)
		}
		found := Archived{Ref: ref, Digest: d.Digest.String()}
		if d.MediaType.IsIndex() {
			out = append(out, found)
			continue
		}
		var manifest v1.Manifest
		if err := json.Unmarshal(blobs["blobs/"+d.Digest.Algorithm+"/"+d.Digest.Hex], &manifest); err != nil {
			return nil, fmt.Errorf("decode manifest %s: %w", d.Digest, err)
		}
		found.Config = manifest.Config.Digest.String()
		out = append(out, found)
	}
	return out, nil
}

func dockerImages(raw []byte) ([]Archived, error) {
	var entries []struct {
		Config   string   `json:"Config"`
		RepoTags []string `json:"RepoTags"`
	}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("decode manifest.json: %w", err)
	}
	var out []Archived
	for _, e := range entries {
		// The config's file is named after its digest, with or without a folder,
		// an algorithm or an ending.
		config := "sha256:" + strings.TrimPrefix(strings.TrimSuffix(path.Base(e.Config), ".json"), "sha256:")
		if len(e.RepoTags) == 0 {
			out = append(out, Archived{Config: config})
		}
		for _, tag := range e.RepoTags {
			out = append(out, Archived{Ref: FullRef(tag), Config: config})
		}
	}
	return out, nil
}
