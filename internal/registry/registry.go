// Package registry is where the source of contracts arrives and where their images lie: the storage of the distribution
// registry as a library, behind rules that ask ChaincodeBuilds who may write. It owns what is served and to whom. Whether a build
// runs, and with which key, others decide; cmd/heddle-registry gives it a way to ask.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/archive"
)

const (
	// lookupTime bounds one question to the API server.
	lookupTime = 2 * time.Second
	// lookups may be asked at once.
	lookups = 16
	// transferTime bounds one request that carries an image's blob, in either direction.
	transferTime = 30 * time.Minute
	// maxManifest is what distribution takes for a manifest.
	maxManifest = 4 << 20
	// pushes may write at once, namespacePushes of them in one namespace. A client sends a few blobs at a time.
	pushes          = 64
	namespacePushes = 16
)

// Builds finds the builds that may write. An error that apierrors.IsNotFound knows says that there is no such build.
type Builds interface {
	Get(ctx context.Context, namespace, name string) (*v1alpha1.ChaincodeBuild, error)
}

// Options of a registry.
type Options struct {
	// Dir holds everything; nobody else may write there.
	Dir string
	// Builds that may write.
	Builds Builds
	// Log gets what a person has to know.
	Log logr.Logger
	// Metrics are registered there; nil means nowhere.
	Metrics prometheus.Registerer
	// Limits of sources; those of archive.DefaultLimits unless given.
	Limits archive.Limits
	// MaxBlob is the size of the largest blob of an image; 2 GiB unless given.
	MaxBlob int64
	// Uploads that may run at once, a quarter of them for one namespace; 8 unless given.
	Uploads int
}

// Registry serves /v2/ and /upload/.
type Registry struct {
	images  *images
	builds  Builds
	sources *sources
	log     logr.Logger
	metrics *metrics
	dir     string
	limits  archive.Limits
	maxBlob int64
	lookup  chan struct{}
	pushes  *slots
	uploads *slots
}

// New opens the registry in a folder and removes what a process that was killed left half-made. It works until ctx ends.
func New(ctx context.Context, o Options) (*Registry, error) {
	if o.Dir == "" || o.Builds == nil {
		return nil, errors.New("open registry: it needs a folder and a way to find builds")
	}
	if o.Limits == (archive.Limits{}) {
		o.Limits = archive.DefaultLimits()
	}
	if o.MaxBlob == 0 {
		o.MaxBlob = 2 << 30
	}
	if o.Uploads == 0 {
		o.Uploads = 8
	}
	if err := clean(o.Dir); err != nil {
		return nil, err
	}
	files, err := filesystem.FromParameters(map[string]any{"rootdirectory": o.Dir})
	if err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	store, err := storage.NewRegistry(ctx, files)
	if err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	go purge(ctx, files, o.Log)
	return &Registry{
		images: &images{store: store}, builds: o.Builds, sources: &sources{store: store}, log: o.Log, metrics: m,
		dir: o.Dir, limits: o.Limits, maxBlob: o.MaxBlob, lookup: make(chan struct{}, lookups),
		pushes:  &slots{most: pushes, each: namespacePushes, used: map[string]int{}},
		uploads: &slots{most: o.Uploads, each: max(1, o.Uploads/4), used: map[string]int{}},
	}, nil
}

// purge removes pushes that nobody went on with for a day, once an hour until ctx ends.
func purge(ctx context.Context, driver driver.StorageDriver, log logr.Logger) {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-hourly.C:
			if _, errs := storage.PurgeUploads(ctx, driver, now.Add(-24*time.Hour), true); len(errs) > 0 {
				log.Error(errors.Join(errs...), "Cannot remove unfinished pushes")
			}
		}
	}
}

// temporary is the folder of uploads that are not checked yet.
func temporary(dir string) string { return filepath.Join(dir, "tmp") }

// clean removes unfinished uploads: nobody can go on with them.
func clean(dir string) error {
	if err := os.RemoveAll(temporary(dir)); err != nil {
		return fmt.Errorf("remove unfinished uploads: %w", err)
	}
	if err := os.MkdirAll(temporary(dir), 0o700); err != nil {
		return fmt.Errorf("make folder of uploads: %w", err)
	}
	unfinished, err := filepath.Glob(filepath.Join(dir, repositories, "*", "*", "_uploads"))
	if err != nil {
		return fmt.Errorf("find unfinished pushes: %w", err)
	}
	for _, folder := range unfinished {
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("remove unfinished pushes: %w", err)
		}
	}
	return nil
}

// repositories is where distribution has them.
const repositories = "docker/registry/v2/repositories"

// label is a name as Kubernetes has it, without dots.
const label = `[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?`

func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-API-Version", "registry/2.0")
	// Whatever could be understood in two ways is not looked at.
	if req.URL.RawPath != "" {
		r.refuse(w, req, http.StatusNotFound, "NAME_UNKNOWN", "There is nothing here: names have no escaped characters")
		return
	}
	switch {
	case req.URL.Path == "/v2/" || req.URL.Path == "/v2":
		r.serveBase(w, req)
	case strings.HasPrefix(req.URL.Path, "/v2/"):
		r.serveImages(w, req)
	case strings.HasPrefix(req.URL.Path, "/upload/"):
		r.serveUpload(w, req)
	default:
		r.refuse(w, req, http.StatusNotFound, "NAME_UNKNOWN", "There is nothing here: images are below /v2/, sources go to /upload/")
	}
}

// build asks for a build, with bounds on time and number.
func (r *Registry) build(ctx context.Context, namespace, name string) (*v1alpha1.ChaincodeBuild, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	select {
	case r.lookup <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("get build %s/%s: %w", namespace, name, ctx.Err())
	}
	defer func() { <-r.lookup }()
	b, err := r.builds.Get(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("get build %s/%s: %w", namespace, name, err)
	}
	return b, nil
}

// running says whether a build may still get anything.
func running(b *v1alpha1.ChaincodeBuild) bool {
	return b.Status.FinishedAt == nil && b.DeletionTimestamp == nil
}
