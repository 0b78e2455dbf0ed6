package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of a source in the registry.
const (
	// SourceType is the artifact.
	SourceType = "application/vnd.heddle.source.v1"
	// SourceLayerType is the archive.
	SourceLayerType = "application/vnd.heddle.source.v1.tar+gzip"
)

// SourceRepository is where sources of a namespace are.
func SourceRepository(namespace string) string { return namespace + "/sources" }

// sources stores archives as blobs.
type sources struct {
	store distribution.Namespace
}

func (s *sources) repository(ctx context.Context, namespace string) (distribution.Repository, error) {
	name, err := reference.WithName(SourceRepository(namespace))
	if err != nil {
		return nil, fmt.Errorf("open repository of sources: %w", err)
	}
	repository, err := s.store.Repository(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open repository of sources: %w", err)
	}
	return repository, nil
}

// has says whether a source is there, archive and manifest.
func (s *sources) has(ctx context.Context, namespace string, d digest.Digest, size int64) (bool, error) {
	repository, err := s.repository(ctx, namespace)
	if err != nil {
		return false, err
	}
	if _, err := repository.Blobs(ctx).Stat(ctx, d); err != nil {
		if errors.Is(err, distribution.ErrBlobUnknown) {
			return false, nil
		}
		return false, fmt.Errorf("look for source: %w", err)
	}
	raw, err := manifest(d, size)
	if err != nil {
		return false, err
	}
	manifests, err := repository.Manifests(ctx)
	if err != nil {
		return false, fmt.Errorf("look for source: %w", err)
	}
	found, err := manifests.Exists(ctx, digest.FromBytes(raw))
	if err != nil {
		return false, fmt.Errorf("look for source: %w", err)
	}
	return found, nil
}

// put stores an archive that was checked. Each step can be done twice.
func (s *sources) put(ctx context.Context, namespace string, d digest.Digest, size int64, content io.Reader) error {
	repository, err := s.repository(ctx, namespace)
	if err != nil {
		return err
	}
	if err := putBlob(ctx, repository, v1.Descriptor{MediaType: SourceLayerType, Digest: d, Size: size}, content); err != nil {
		return err
	}
	if _, err := repository.Blobs(ctx).Put(ctx, v1.MediaTypeEmptyJSON, v1.DescriptorEmptyJSON.Data); err != nil {
		return fmt.Errorf("store source: %w", err)
	}
	raw, err := manifest(d, size)
	if err != nil {
		return err
	}
	parsed, _, err := distribution.UnmarshalManifest(v1.MediaTypeImageManifest, raw)
	if err != nil {
		return fmt.Errorf("store source: %w", err)
	}
	manifests, err := repository.Manifests(ctx)
	if err != nil {
		return fmt.Errorf("store source: %w", err)
	}
	if _, err := manifests.Put(ctx, parsed); err != nil {
		return fmt.Errorf("store source: %w", err)
	}
	return nil
}

func putBlob(ctx context.Context, repository distribution.Repository, d v1.Descriptor, content io.Reader) error {
	writer, err := repository.Blobs(ctx).Create(ctx)
	if err != nil {
		return fmt.Errorf("store source: %w", err)
	}
	_, err = io.Copy(writer, content)
	if err == nil {
		_, err = writer.Commit(ctx, d)
	}
	if err != nil {
		// The request may be over; what it left must go all the same.
		return fmt.Errorf("store source: %w", errors.Join(err, writer.Cancel(context.WithoutCancel(ctx))))
	}
	return nil
}

func manifest(d digest.Digest, size int64) ([]byte, error) {
	raw, err := json.Marshal(v1.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    v1.MediaTypeImageManifest,
		ArtifactType: SourceType,
		Config:       v1.Descriptor{MediaType: v1.MediaTypeEmptyJSON, Digest: v1.DescriptorEmptyJSON.Digest, Size: v1.DescriptorEmptyJSON.Size},
		Layers:       []v1.Descriptor{{MediaType: SourceLayerType, Digest: d, Size: size}},
	})
	if err != nil {
		return nil, fmt.Errorf("write manifest of source: %w", err)
	}
	return raw, nil
}

// slots bound what runs at once, and what one namespace may have of it.
type slots struct {
	mu         sync.Mutex
	used       map[string]int
	all        int
	most, each int
}

// take says whether there was room; what was taken has to be given back.
func (s *slots) take(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= s.most || s.used[namespace] >= s.each {
		return false
	}
	s.all++
	s.used[namespace]++
	return true
}

func (s *slots) give(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.used[namespace]--; s.used[namespace] == 0 {
		delete(s.used, namespace)
	}
}
