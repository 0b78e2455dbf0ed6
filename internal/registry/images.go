package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/distribution/distribution/v3"
	// What manifests look like.
	_ "github.com/distribution/distribution/v3/manifest/manifestlist"
	_ "github.com/distribution/distribution/v3/manifest/ocischema"
	_ "github.com/distribution/distribution/v3/manifest/schema2"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// images serves what access lets through. distribution's own handlers would bring Redis, mail and a licence that is
// not permissive for the handful of requests that there are.
type images struct {
	store distribution.Namespace
}

// failure is an answer that is no success, as registries give it.
type failure struct {
	status  int
	code    string
	message string
}

func (f *failure) Error() string { return f.message }

func (i *images) serve(w http.ResponseWriter, req *http.Request, t target) error {
	name, err := reference.WithName(t.repository)
	if err != nil {
		return &failure{http.StatusBadRequest, "NAME_INVALID", "This is no name of a repository"}
	}
	repository, err := i.store.Repository(req.Context(), name)
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	write := req.Method == http.MethodPut
	switch {
	case t.kind == kindBlob:
		err = repository.Blobs(req.Context()).ServeBlob(req.Context(), w, req, digest.Digest(t.reference))
	case t.kind == kindManifest && write:
		err = putManifest(w, req, repository, t)
	case t.kind == kindManifest:
		err = getManifest(w, req, repository, t)
	case t.reference == "":
		err = startUpload(w, req, repository)
	default:
		err = continueUpload(w, req, repository, t)
	}
	return understood(err)
}

// understood turns errors that are a client's into answers.
func understood(err error) error {
	var (
		tooLarge   *http.MaxBytesError
		tag        distribution.ErrTagUnknown
		revision   distribution.ErrManifestUnknownRevision
		unknown    distribution.ErrManifestUnknown
		broken     distribution.ErrManifestVerification
		wrongBytes distribution.ErrBlobInvalidDigest
	)
	switch {
	case errors.As(err, &tooLarge):
		return &failure{http.StatusRequestEntityTooLarge, "SIZE_INVALID", "This is larger than what is taken: make the image smaller"}
	case errors.Is(err, distribution.ErrBlobUnknown):
		return &failure{http.StatusNotFound, "BLOB_UNKNOWN", "There is no such blob in the repository"}
	case errors.Is(err, distribution.ErrBlobUploadUnknown):
		return &failure{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "There is no such upload: start another one"}
	case errors.As(err, &tag), errors.As(err, &revision), errors.As(err, &unknown):
		return &failure{http.StatusNotFound, "MANIFEST_UNKNOWN", "There is no such manifest in the repository"}
	case errors.As(err, &broken):
		return &failure{http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", fmt.Sprintf("The manifest names what is not there: %v", broken)}
	case errors.As(err, &wrongBytes), errors.Is(err, distribution.ErrBlobInvalidLength), errors.Is(err, distribution.ErrBlobDigestUnsupported):
		return &failure{http.StatusBadRequest, "DIGEST_INVALID", "The blob has not the digest that the request says"}
	}
	return err
}

func getManifest(w http.ResponseWriter, req *http.Request, repository distribution.Repository, t target) error {
	ctx, d := req.Context(), digest.Digest(t.reference)
	if !digestPattern.MatchString(t.reference) {
		found, err := repository.Tags(ctx).Get(ctx, t.reference)
		if err != nil {
			return fmt.Errorf("get tag: %w", err)
		}
		d = found.Digest
	}
	manifests, err := repository.Manifests(ctx)
	if err != nil {
		return fmt.Errorf("get manifest: %w", err)
	}
	found, err := manifests.Get(ctx, d)
	if err != nil {
		return fmt.Errorf("get manifest: %w", err)
	}
	kind, raw, err := found.Payload()
	if err != nil {
		return fmt.Errorf("get manifest: %w", err)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Etag", `"`+d.String()+`"`)
	if req.Method != http.MethodHead {
		// Who is gone needs no answer.
		_, _ = w.Write(raw)
	}
	return nil
}

func putManifest(w http.ResponseWriter, req *http.Request, repository distribution.Repository, t target) error {
	ctx := req.Context()
	raw, err := io.ReadAll(req.Body)
	if err != nil {
		return cutOff(err)
	}
	parsed, described, err := distribution.UnmarshalManifest(req.Header.Get("Content-Type"), raw)
	if err != nil {
		return &failure{http.StatusBadRequest, "MANIFEST_INVALID", fmt.Sprintf("The manifest cannot be read: %v", err)}
	}
	tag := t.reference
	if digestPattern.MatchString(tag) {
		if described.Digest.String() != tag {
			return &failure{http.StatusBadRequest, "DIGEST_INVALID", "The manifest has not the digest that the request says"}
		}
		tag = ""
	}
	manifests, err := repository.Manifests(ctx)
	if err != nil {
		return fmt.Errorf("put manifest: %w", err)
	}
	if _, err := manifests.Put(ctx, parsed); err != nil {
		return fmt.Errorf("put manifest: %w", err)
	}
	if tag != "" {
		if err := repository.Tags(ctx).Tag(ctx, tag, described); err != nil {
			return fmt.Errorf("put tag: %w", err)
		}
	}
	w.Header().Set("Location", "/v2/"+t.repository+"/manifests/"+described.Digest.String())
	w.Header().Set("Docker-Content-Digest", described.Digest.String())
	w.WriteHeader(http.StatusCreated)
	return nil
}

// startUpload mounts a blob of the same namespace if it is told to and can, and gives the place of an upload otherwise.
func startUpload(w http.ResponseWriter, req *http.Request, repository distribution.Repository) error {
	ctx, name := req.Context(), repository.Named().Name()
	var options []distribution.BlobCreateOption
	if from, ok := mountFrom(req, name); ok {
		options = append(options, storage.WithMountFrom(from))
	}
	upload, err := repository.Blobs(ctx).Create(ctx, options...)
	var mounted distribution.ErrBlobMounted
	if errors.As(err, &mounted) {
		created(w, name, mounted.Descriptor.Digest)
		return nil
	}
	if err != nil {
		return fmt.Errorf("start upload: %w", err)
	}
	accepted(w, name, upload, http.StatusAccepted)
	return closed(upload)
}

func mountFrom(req *http.Request, name string) (reference.Canonical, bool) {
	from, blob := req.URL.Query().Get("from"), req.URL.Query().Get("mount")
	namespace, _, _ := strings.Cut(name, "/")
	if !strings.HasPrefix(from, namespace+"/") || !repositoryPattern.MatchString(from) || !digestPattern.MatchString(blob) {
		return nil, false
	}
	named, err := reference.WithName(from)
	if err != nil {
		return nil, false
	}
	canonical, err := reference.WithDigest(named, digest.Digest(blob))
	return canonical, err == nil
}

// continueUpload adds a piece to an upload (PATCH), ends it (PUT), or says how far it is (GET).
func continueUpload(w http.ResponseWriter, req *http.Request, repository distribution.Repository, t target) error {
	ctx := req.Context()
	upload, err := repository.Blobs(ctx).Resume(ctx, t.reference)
	if err != nil {
		return fmt.Errorf("continue upload: %w", err)
	}
	if req.Method == http.MethodGet {
		accepted(w, t.repository, upload, http.StatusNoContent)
		return closed(upload)
	}
	if start, _, ok := strings.Cut(req.Header.Get("Content-Range"), "-"); ok && start != strconv.FormatInt(upload.Size(), 10) {
		return errors.Join(&failure{http.StatusRequestedRangeNotSatisfiable, "RANGE_INVALID", "The piece does not begin where the last one ended"}, closed(upload))
	}
	if _, err := io.Copy(upload, req.Body); err != nil {
		return errors.Join(cutOff(err), closed(upload))
	}
	if req.Method == http.MethodPatch {
		accepted(w, t.repository, upload, http.StatusAccepted)
		return closed(upload)
	}
	want := req.URL.Query().Get("digest")
	if !digestPattern.MatchString(want) {
		return errors.Join(&failure{http.StatusBadRequest, "DIGEST_INVALID", "The request says no sha256 digest of the blob"}, closed(upload))
	}
	if _, err := upload.Commit(ctx, v1.Descriptor{Digest: digest.Digest(want)}); err != nil {
		return fmt.Errorf("end upload: %w", errors.Join(err, upload.Cancel(context.WithoutCancel(ctx))))
	}
	created(w, t.repository, digest.Digest(want))
	return nil
}

// cutOff is an error of reading a request: the bound of its size, or the other side is gone.
func cutOff(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return &failure{http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "The request was cut off or came too slowly: send it again"}
}

func closed(upload distribution.BlobWriter) error {
	if err := upload.Close(); err != nil {
		return fmt.Errorf("keep upload: %w", err)
	}
	return nil
}

func accepted(w http.ResponseWriter, repository string, upload distribution.BlobWriter, status int) {
	w.Header().Set("Location", "/v2/"+repository+"/blobs/uploads/"+upload.ID())
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, upload.Size()-1)))
	w.Header().Set("Docker-Upload-UUID", upload.ID())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}

func created(w http.ResponseWriter, repository string, d digest.Digest) {
	w.Header().Set("Location", "/v2/"+repository+"/blobs/"+d.String())
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}
