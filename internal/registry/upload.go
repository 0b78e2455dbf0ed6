package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"time"

	"github.com/opencontainers/go-digest"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"heddle.dev/heddle/internal/archive"
)

const (
	// uploadStart and uploadRate bound an upload's time: so long, and a second for so many bytes.
	uploadStart = 30 * time.Second
	uploadRate  = 128 << 10
	// checkTime bounds looking through an archive.
	checkTime = time.Minute
)

var uploadPath = regexp.MustCompile(`^/upload/(` + label + `)/(` + label + `)$`)

// problem is why an upload is not taken: a status, and a sentence for the person who sent it.
type problem struct {
	status   int
	sentence string
	// cause is logged where it is not the sender's fault.
	cause error
}

func (p *problem) Error() string { return p.sentence }

func (p *problem) Unwrap() error { return p.cause }

func wrong(status int, format string, args ...any) error {
	return &problem{status: status, sentence: fmt.Sprintf(format, args...)}
}

func unavailable(cause error, sentence string) error {
	return &problem{status: http.StatusServiceUnavailable, sentence: sentence, cause: cause}
}

// expected is what a ChaincodeBuild says will come.
type expected struct {
	namespace, name string
	digest          digest.Digest
	size            int64
}

func (r *Registry) serveUpload(w http.ResponseWriter, req *http.Request) {
	want, stored, err := r.upload(w, req)
	if err != nil {
		r.answerProblem(w, req, err)
		return
	}
	status, result := http.StatusOK, "known"
	if stored {
		status, result = http.StatusCreated, "stored"
		r.log.Info("Stored a source", "namespace", want.namespace, "build", want.name, "digest", want.digest, "bytes", want.size)
	}
	r.metrics.uploads.WithLabelValues(result).Inc()
	answer(w, status, struct {
		Digest string `json:"digest"`
		Size   int64  `json:"sizeBytes"`
	}{want.digest.String(), want.size})
}

func (r *Registry) answerProblem(w http.ResponseWriter, req *http.Request, err error) {
	var p *problem
	if !errors.As(err, &p) {
		p = &problem{status: http.StatusServiceUnavailable, sentence: "The source cannot be stored now: try again", cause: err}
	}
	switch p.status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
		r.metrics.uploads.WithLabelValues("failed").Inc()
	default:
		r.metrics.refused.WithLabelValues("upload").Inc()
	}
	// A sender who went away is not worth a line.
	if p.cause != nil && req.Context().Err() == nil {
		r.log.Error(p.cause, "Cannot take a source", "path", req.URL.Path)
	} else {
		r.log.V(1).Info("Refused a source", "path", req.URL.Path, "status", p.status, "reason", p.sentence)
	}
	answer(w, p.status, struct {
		Error string `json:"error"`
	}{p.sentence})
}

// upload takes a source; stored is false when it was there already.
func (r *Registry) upload(w http.ResponseWriter, req *http.Request) (want expected, stored bool, err error) {
	parts := uploadPath.FindStringSubmatch(req.URL.Path)
	if parts == nil {
		return want, false, wrong(http.StatusNotFound, "There is nothing here: a source goes to /upload/<namespace>/<name of the ChaincodeBuild>")
	}
	if req.Method != http.MethodPut {
		w.Header().Set("Allow", http.MethodPut)
		return want, false, wrong(http.StatusMethodNotAllowed, "A source cannot be uploaded by %s: use PUT", req.Method)
	}
	want.namespace, want.name = parts[1], parts[2]
	if !r.uploads.take(want.namespace) {
		return want, false, wrong(http.StatusServiceUnavailable, "Too many sources are uploaded at once: try again in a few seconds")
	}
	defer r.uploads.give(want.namespace)
	if err := r.expect(req.Context(), &want); err != nil {
		return want, false, err
	}
	found, err := r.sources.has(req.Context(), want.namespace, want.digest, want.size)
	if found || err != nil {
		return want, false, err
	}
	if err := want.checkLength(req.ContentLength); err != nil {
		return want, false, err
	}
	setDeadlines(w, uploadStart+time.Duration(want.size/uploadRate)*time.Second)
	return want, true, r.receive(req, want)
}

// expect finds the build that the source is for.
func (r *Registry) expect(ctx context.Context, want *expected) error {
	b, err := r.build(ctx, want.namespace, want.name)
	if apierrors.IsNotFound(err) {
		return wrong(http.StatusNotFound, "There is no ChaincodeBuild %q in namespace %q: make it first, with the digest and the size of the source", want.name, want.namespace)
	}
	if err != nil {
		return unavailable(err, "The ChaincodeBuild cannot be read, as Kubernetes does not answer: try again")
	}
	if !running(b) {
		return wrong(http.StatusConflict, "ChaincodeBuild %q has ended and takes no source any more: make another ChaincodeBuild", want.name)
	}
	want.digest, want.size = digest.Digest(b.Spec.Source.Digest), b.Spec.Source.SizeBytes
	if !digestPattern.MatchString(b.Spec.Source.Digest) {
		return wrong(http.StatusUnprocessableEntity, "ChaincodeBuild %q names no digest of its source: make another one with sha256: and 64 hexadecimal digits", want.name)
	}
	if want.size < 1 || want.size > r.limits.ArchiveBytes {
		return wrong(http.StatusRequestEntityTooLarge, "ChaincodeBuild %q names a source of %d bytes, but it may have 1 to %d: leave out what the build does not need",
			want.name, want.size, r.limits.ArchiveBytes)
	}
	return nil
}

func (e expected) checkLength(length int64) error {
	switch {
	case length < 0:
		return wrong(http.StatusUnprocessableEntity, "The request does not say how long the source is: send it with a Content-Length of %d", e.size)
	case length > e.size:
		return wrong(http.StatusRequestEntityTooLarge, "The source has %d bytes, but ChaincodeBuild %q says %d: make another ChaincodeBuild for this source", length, e.name, e.size)
	case length < e.size:
		return wrong(http.StatusUnprocessableEntity, "The source has %d bytes, but ChaincodeBuild %q says %d: make another ChaincodeBuild for this source", length, e.name, e.size)
	}
	return nil
}

// receive keeps the bytes in a file of its own until they are checked.
func (r *Registry) receive(req *http.Request, want expected) (err error) {
	file, err := os.CreateTemp(temporary(r.dir), "upload-")
	if err != nil {
		return fmt.Errorf("make file for upload: %w", err)
	}
	defer func() {
		if e := errors.Join(file.Close(), os.Remove(file.Name())); e != nil && err == nil {
			r.log.Error(e, "Cannot remove the file of an upload", "file", file.Name())
		}
	}()
	if err := r.copyBody(file, req, want); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(req.Context(), checkTime)
	defer cancel()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	_, err = archive.Check(ctx, file, r.limits)
	if refused := (*archive.RefusedError)(nil); errors.As(err, &refused) {
		return wrong(http.StatusUnprocessableEntity, "The source is refused: %s", refused.Error())
	}
	if err != nil {
		return fmt.Errorf("check source: %w", err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	return r.sources.put(ctx, want.namespace, want.digest, want.size, file)
}

func (r *Registry) copyBody(file io.Writer, req *http.Request, want expected) error {
	sum := sha256.New()
	body := &counted{ReadCloser: req.Body, count: r.metrics.bytes.Add}
	n, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(body, want.size+1))
	switch {
	case errors.Is(body.err, os.ErrDeadlineExceeded):
		return wrong(http.StatusRequestTimeout, "The source came too slowly: send at least %d KiB a second", uploadRate>>10)
	case body.err != nil:
		return wrong(http.StatusUnprocessableEntity, "The source was cut off after %d of %d bytes: send it again", n, want.size)
	case err != nil:
		return fmt.Errorf("write upload: %w", err)
	case n != want.size:
		return wrong(http.StatusUnprocessableEntity, "The source has not the %d bytes that ChaincodeBuild %q says: make another ChaincodeBuild for this source", want.size, want.name)
	}
	if got := "sha256:" + hex.EncodeToString(sum.Sum(nil)); got != want.digest.String() {
		return wrong(http.StatusUnprocessableEntity, "The source has the digest %s, but ChaincodeBuild %q says %s: make another ChaincodeBuild for this source",
			got, want.name, want.digest)
	}
	return nil
}

// counted counts what is read and keeps why reading ended.
type counted struct {
	io.ReadCloser
	count func(float64)
	err   error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.count(float64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
