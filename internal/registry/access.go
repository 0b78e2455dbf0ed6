package registry

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// target is what a request below /v2/ is about.
type target struct {
	// repository is namespace and build.
	repository string
	kind       string
	// reference is a digest, a tag or an upload; empty for a new upload.
	reference string
}

const (
	kindBlob     = "blobs"
	kindManifest = "manifests"
	kindUpload   = "blobs/uploads"
)

// Nothing but these is served: lists of tags, repositories and referrers are for nobody.
var (
	targetPattern = regexp.MustCompile(`^/v2/(` + label + `/` + label + `)/(blobs/uploads|blobs|manifests)/([A-Za-z0-9_.:=-]{0,256})$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	uploadPattern = regexp.MustCompile(`^[0-9a-f-]{36}$`)
)

func parseTarget(path string) (target, bool) {
	parts := targetPattern.FindStringSubmatch(path)
	if parts == nil {
		return target{}, false
	}
	t := target{repository: parts[1], kind: parts[2], reference: parts[3]}
	switch t.kind {
	case kindUpload:
		return t, t.reference == "" || uploadPattern.MatchString(t.reference)
	case kindBlob:
		return t, digestPattern.MatchString(t.reference)
	}
	return t, t.reference != ""
}

func (t target) name() string {
	_, name, _ := strings.Cut(t.repository, "/")
	return name
}

// open says what anybody may do: whoever knows a digest may read what it names.
func (t target) open(method string) bool {
	return (method == http.MethodGet || method == http.MethodHead) && t.kind != kindUpload && digestPattern.MatchString(t.reference)
}

// allowed says what the build itself may do in its own repository.
func (t target) allowed(method string) bool {
	own := t.reference == t.name() || digestPattern.MatchString(t.reference)
	switch t.kind {
	case kindManifest:
		return own && (method == http.MethodGet || method == http.MethodHead || method == http.MethodPut)
	case kindUpload:
		if t.reference == "" {
			return method == http.MethodPost
		}
		return method == http.MethodGet || method == http.MethodPatch || method == http.MethodPut
	}
	return false
}

func (r *Registry) serveBase(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		r.refuse(w, req, http.StatusMethodNotAllowed, "UNSUPPORTED", "This can only be read")
		return
	}
	user, _, _ := req.BasicAuth()
	if r.authorize(w, req, user) {
		answer(w, http.StatusOK, struct{}{})
	}
}

func (r *Registry) serveImages(w http.ResponseWriter, req *http.Request) {
	t, ok := parseTarget(req.URL.Path)
	if t.open(req.Method) && ok {
		setDeadlines(w, transferTime)
		r.serveTarget(w, req, t)
		return
	}
	if !ok {
		// What is not there and what is not allowed look alike.
		t.repository = ""
	}
	if !r.authorize(w, req, t.repository) {
		return
	}
	if !t.allowed(req.Method) {
		r.refuse(w, req, http.StatusForbidden, "DENIED", "A build may push blobs, and manifests by digest or by its own name; nothing else, and nothing can be deleted")
		return
	}
	r.servePush(w, req, t)
}

func (r *Registry) servePush(w http.ResponseWriter, req *http.Request, t target) {
	namespace, _, _ := strings.Cut(t.repository, "/")
	if !r.pushes.take(namespace) {
		w.Header().Set("Retry-After", "5")
		r.refuse(w, req, http.StatusServiceUnavailable, "TOOMANYREQUESTS", "Too many blobs are pushed at once: try again in a few seconds")
		return
	}
	defer r.pushes.give(namespace)
	most := r.room(t)
	if req.ContentLength > most {
		r.refuse(w, req, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "This is larger than what is taken: make the image smaller")
		return
	}
	setDeadlines(w, transferTime)
	req.Body = &counted{ReadCloser: http.MaxBytesReader(w, req.Body, most), count: r.metrics.bytes.Add}
	r.serveTarget(w, req, t)
}

func (r *Registry) serveTarget(w http.ResponseWriter, req *http.Request, t target) {
	err := r.images.serve(w, req, t)
	var f *failure
	switch {
	case err == nil:
	case errors.As(err, &f):
		r.refuse(w, req, f.status, f.code, f.message)
	case req.Context().Err() != nil:
		// The client is gone.
	default:
		r.log.Error(err, "Cannot serve an image", "method", req.Method, "path", req.URL.Path)
		r.refuse(w, req, http.StatusInternalServerError, "UNKNOWN", "The registry cannot do this now: try again, or look at its log")
	}
}

// room is how much a request may bring: what a blob has of its bound after earlier pieces.
func (r *Registry) room(t target) int64 {
	if t.kind == kindManifest {
		return maxManifest
	}
	info, err := os.Stat(filepath.Join(r.dir, repositories, filepath.FromSlash(t.repository), "_uploads", t.reference, "data"))
	if err != nil || t.reference == "" {
		return r.maxBlob
	}
	return max(0, r.maxBlob-info.Size())
}

func setDeadlines(w http.ResponseWriter, d time.Duration) {
	c := http.NewResponseController(w)
	until := time.Now().Add(d)
	// A connection that knows no deadlines is a test's.
	_ = c.SetReadDeadline(until)
	_ = c.SetWriteDeadline(until)
}

// authorize answers a request itself unless it carries the key of the running build that the repository belongs to.
func (r *Registry) authorize(w http.ResponseWriter, req *http.Request, repository string) bool {
	unauthorized := func() bool {
		w.Header().Set("WWW-Authenticate", `Basic realm="heddle"`)
		r.refuse(w, req, http.StatusUnauthorized, "UNAUTHORIZED",
			"This needs the key of a running build: images and blobs can be read by digest, everything else by the build itself only")
		return false
	}
	user, key, ok := req.BasicAuth()
	if !ok || key == "" {
		return unauthorized()
	}
	namespace, name, ok := splitRepository(user)
	if !ok {
		return unauthorized()
	}
	if user != repository {
		r.refuse(w, req, http.StatusForbidden, "DENIED", "A build may write to the repository of its own name only")
		return false
	}
	b, err := r.build(req.Context(), namespace, name)
	if err != nil && !apierrors.IsNotFound(err) {
		r.log.Error(err, "Cannot check a key", "namespace", namespace, "build", name)
		w.Header().Set("Retry-After", "5")
		r.refuse(w, req, http.StatusServiceUnavailable, "UNAVAILABLE", "The key cannot be checked, as Kubernetes does not answer: try again")
		return false
	}
	if err != nil || !running(b) || !fits(key, b.Status.PushKeyHash) {
		return unauthorized()
	}
	return true
}

func splitRepository(repository string) (namespace, name string, ok bool) {
	if !repositoryPattern.MatchString(repository) {
		return "", "", false
	}
	return strings.Cut(repository, "/")
}

var repositoryPattern = regexp.MustCompile(`^` + label + `/` + label + `$`)

// fits compares in a time that tells nothing. A build without a hash has no key.
func fits(key, hash string) bool {
	sum := sha256.Sum256([]byte(key))
	want := hex.EncodeToString(sum[:])
	return hash != "" && subtle.ConstantTimeCompare([]byte(want), []byte(hash)) == 1
}

// refuse answers as registries do, so that clients show the message.
func (r *Registry) refuse(w http.ResponseWriter, req *http.Request, status int, code, message string) {
	r.metrics.refused.WithLabelValues("v2").Inc()
	r.log.V(1).Info("Refused", "method", req.Method, "path", req.URL.Path, "status", status)
	type problem struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	answer(w, status, struct {
		Errors []problem `json:"errors"`
	}{[]problem{{code, message}}})
}

func answer[T any](w http.ResponseWriter, status int, body T) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// Who is gone needs no answer.
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the types that are passed can be encoded
}
