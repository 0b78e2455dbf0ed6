package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/archive"
)

const key = "a key that only the push container has"

// fakeBuilds stands for the API server.
type fakeBuilds struct {
	mu    sync.Mutex
	all   map[string]*v1alpha1.ChaincodeBuild
	err   error
	asked int
}

func (f *fakeBuilds) Get(_ context.Context, namespace, name string) (*v1alpha1.ChaincodeBuild, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.err != nil {
		return nil, f.err
	}
	if b := f.all[namespace+"/"+name]; b != nil {
		return b.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "chaincodebuilds"}, name)
}

func (f *fakeBuilds) put(namespace, name string, change func(*v1alpha1.ChaincodeBuild)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256([]byte(key))
	b := &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	b.Status.PushKeyHash = hex.EncodeToString(sum[:])
	if change != nil {
		change(b)
	}
	f.all[namespace+"/"+name] = b
}

func ended(b *v1alpha1.ChaincodeBuild) {
	now := metav1.Now()
	b.Status.FinishedAt = &now
}

type fixture struct {
	*httptest.Server
	builds  *fakeBuilds
	dir     string
	metrics *prometheus.Registry
	reg     *Registry
	log     *safeBuffer
}

type safeBuffer struct {
	mu  sync.Mutex
	out strings.Builder
}

func (b *safeBuffer) write(prefix, args string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out.WriteString(prefix + args + "\n")
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.out.String()
}

func TestMain(m *testing.M) {
	quiet(logr.Discard())
	os.Exit(m.Run())
}

func start(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{builds: &fakeBuilds{all: map[string]*v1alpha1.ChaincodeBuild{}}, dir: t.TempDir(), metrics: prometheus.NewRegistry(), log: &safeBuffer{}}
	o := Options{Dir: f.dir, Builds: f.builds, Metrics: f.metrics, Log: funcr.New(f.log.write, funcr.Options{Verbosity: 9})}
	if change != nil {
		change(&o)
	}
	reg, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	f.reg = reg
	f.Server = httptest.NewUnstartedServer(reg)
	f.Server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

func (f *fixture) host() string { return f.Listener.Addr().String() }

func (f *fixture) options(user, key string) []remote.Option {
	return []remote.Option{
		remote.WithTransport(f.Client().Transport), remote.WithAuth(&authn.Basic{Username: user, Password: key}),
		remote.WithRetryBackoff(remote.Backoff{Duration: time.Millisecond, Steps: 1}),
	}
}

func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(2000, 3)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func digestOf(t *testing.T, img v1.Image) v1.Hash {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPushAndPull is what a build and a machine do.
func TestPushAndPull(t *testing.T) {
	f := start(t, nil)
	f.builds.put("net", "asset-abc", nil)
	img := image(t)
	ref, err := name.ParseReference(f.host() + "/net/asset-abc:asset-abc")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, f.options("net/asset-abc", key)...); err != nil {
		t.Fatal(err)
	}
	// A second time, and by digest.
	byDigest := ref.Context().Digest(digestOf(t, img).String())
	if err := remote.Write(byDigest, img, f.options("net/asset-abc", key)...); err != nil {
		t.Fatal(err)
	}
	f.builds.put("net", "asset-abc", ended)
	pulled, err := remote.Image(byDigest, remote.WithTransport(f.Client().Transport))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := pulled.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		content, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, content); err != nil {
			t.Error(err)
		}
	}
	if len(layers) != 3 {
		t.Errorf("%d layers, want 3", len(layers))
	}
	if strings.Contains(f.log.String(), key) {
		t.Error("the key stands in the log")
	}
}

func TestDenied(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxBlob = 4 << 10 })
	f.builds.put("net", "running", nil)
	f.builds.put("net", "other", nil)
	f.builds.put("net", "ended", ended)
	f.builds.put("net", "deleted", func(b *v1alpha1.ChaincodeBuild) { now := metav1.Now(); b.DeletionTimestamp = &now })
	f.builds.put("net", "keyless", func(b *v1alpha1.ChaincodeBuild) { b.Status.PushKeyHash = "" })
	img, err := random.Image(500, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(f.host() + "/net/running:running")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, f.options("net/running", key)...); err != nil {
		t.Fatal(err)
	}
	d := digestOf(t, img).String()
	const uuid = "00000000-0000-0000-0000-000000000000"
	sum := sha256.Sum256([]byte(key))
	for what, c := range map[string]struct {
		method, path, user, key string
		want                    int
	}{
		"manifest by digest":         {"GET", "/v2/net/running/manifests/" + d, "", "", 200},
		"manifest by digest, HEAD":   {"HEAD", "/v2/net/running/manifests/" + d, "", "", 200},
		"unknown blob":               {"GET", "/v2/net/running/blobs/sha256:" + strings.Repeat("0", 64), "", "", 404},
		"blob of another repository": {"GET", "/v2/net/other/manifests/" + d, "", "", 404},
		"base without key":           {"GET", "/v2/", "", "", 401},
		"base with key":              {"GET", "/v2/", "net/running", key, 200},
		"base without slash":         {"GET", "/v2", "", "", 401},
		"base, post":                 {"POST", "/v2/", "net/running", key, 405},
		"tag without key":            {"GET", "/v2/net/running/manifests/running", "", "", 401},
		"tag with key":               {"GET", "/v2/net/running/manifests/running", "net/running", key, 200},
		"other tag":                  {"GET", "/v2/net/running/manifests/latest", "net/running", key, 403},
		"put other tag":              {"PUT", "/v2/net/running/manifests/latest", "net/running", key, 403},
		"put without key":            {"PUT", "/v2/net/running/manifests/" + d, "", "", 401},
		"tags":                       {"GET", "/v2/net/running/tags/list", "", "", 401},
		"tags with key":              {"GET", "/v2/net/running/tags/list", "net/running", key, 403},
		"catalog":                    {"GET", "/v2/_catalog", "", "", 401},
		"catalog with key":           {"GET", "/v2/_catalog", "net/running", key, 403},
		"referrers":                  {"GET", "/v2/net/running/referrers/" + d, "", "", 401},
		"referrers with key":         {"GET", "/v2/net/running/referrers/" + d, "net/running", key, 403},
		"delete":                     {"DELETE", "/v2/net/running/manifests/" + d, "", "", 401},
		"delete with key":            {"DELETE", "/v2/net/running/manifests/" + d, "net/running", key, 403},
		"delete blob with key":       {"DELETE", "/v2/net/running/blobs/" + d, "net/running", key, 403},
		"cancel with key":            {"DELETE", "/v2/net/running/blobs/uploads/" + uuid, "net/running", key, 403},
		"upload with key":            {"POST", "/v2/net/running/blobs/uploads/", "net/running", key, 202},
		"upload without key":         {"POST", "/v2/net/running/blobs/uploads/", "", "", 401},
		"wrong key":                  {"POST", "/v2/net/running/blobs/uploads/", "net/running", key + "x", 401},
		"empty key":                  {"POST", "/v2/net/running/blobs/uploads/", "net/running", "", 401},
		"hash as key":                {"POST", "/v2/net/running/blobs/uploads/", "net/running", hex.EncodeToString(sum[:]), 401},
		"other repository":           {"POST", "/v2/net/other/blobs/uploads/", "net/running", key, 403},
		"other namespace":            {"POST", "/v2/elsewhere/running/blobs/uploads/", "net/running", key, 403},
		"below the repository":       {"POST", "/v2/net/running/more/blobs/uploads/", "net/running", key, 403},
		"sources":                    {"POST", "/v2/net/sources/blobs/uploads/", "net/running", key, 403},
		"ended build":                {"POST", "/v2/net/ended/blobs/uploads/", "net/ended", key, 401},
		"deleted build":              {"POST", "/v2/net/deleted/blobs/uploads/", "net/deleted", key, 401},
		"build without key":          {"POST", "/v2/net/keyless/blobs/uploads/", "net/keyless", key, 401},
		"unknown build":              {"POST", "/v2/net/unknown/blobs/uploads/", "net/unknown", key, 401},
		"user that is no build":      {"POST", "/v2/net/running/blobs/uploads/", "admin", key, 401},
		"unknown upload":             {"PATCH", "/v2/net/running/blobs/uploads/" + uuid, "net/running", key, 404},
		"upload out of the folder":   {"PATCH", "/v2/net/running/blobs/uploads/..", "net/running", key, 403},
		"escaped":                    {"GET", "/v2/net/running%2Ftags/list", "net/running", key, 404},
		"two slashes":                {"GET", "/v2//net/running/manifests/" + d, "", "", 401},
		"dots":                       {"GET", "/v2/net/../_catalog", "net/running", key, 403},
		"elsewhere":                  {"GET", "/debug/vars", "", "", 404},
		"other digest":               {"GET", "/v2/net/running/manifests/sha512:" + strings.Repeat("0", 128), "", "", 401},
	} {
		t.Run(what, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, f.URL+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.user != "" {
				req.SetBasicAuth(c.user, c.key)
			}
			res, err := f.Client().Transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != c.want {
				t.Errorf("status %d, want %d: %s", res.StatusCode, c.want, body)
			}
			if c.want == 401 && res.Header.Get("WWW-Authenticate") == "" {
				t.Error("no challenge")
			}
		})
	}
	if pull, err := remote.Get(ref, remote.WithTransport(f.Client().Transport)); err == nil {
		t.Errorf("a tag was read without key: %v", pull.Digest)
	}
	f.builds.mu.Lock()
	f.builds.err = errors.New("connection refused")
	f.builds.mu.Unlock()
	if status, _ := f.send(t, "POST", "/v2/net/running/blobs/uploads/", nil, "net/running"); status != 503 {
		t.Errorf("status %d without API server, want 503", status)
	}
}

// send sends a request with the key and gives status and body.
func (f *fixture) send(t *testing.T, method, path string, body []byte, user string) (int, string) {
	t.Helper()
	res := f.do(t, method, path, body, user)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (f *fixture) do(t *testing.T, method, path string, body []byte, user string) *http.Response {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = f.URL + path
	}
	req, err := http.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, key)
	}
	res, err := f.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestLargeBlob comes in pieces, each of which is small enough.
func TestLargeBlob(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxBlob = 1000 })
	f.builds.put("net", "b", nil)
	if status, _ := f.send(t, "PUT", "/v2/net/b/manifests/b", make([]byte, maxManifest+1), "net/b"); status != 413 {
		t.Errorf("status %d of a large manifest, want 413", status)
	}
	res := f.do(t, "POST", "/v2/net/b/blobs/uploads/", nil, "net/b")
	res.Body.Close()
	for i, want := range []int{202, 202, 413} {
		at := res.Header.Get("Location")
		if strings.HasPrefix(at, "/") {
			at = f.URL + at
		}
		next := f.do(t, "PATCH", at, make([]byte, 400), "net/b")
		next.Body.Close()
		if next.StatusCode != want {
			t.Fatalf("piece %d: status %d, want %d", i, next.StatusCode, want)
		}
		res = next
	}
}

func TestMount(t *testing.T) {
	f := start(t, nil)
	f.builds.put("net", "one", nil)
	f.builds.put("net", "two", nil)
	f.builds.put("far", "two", nil)
	img := image(t)
	ref, err := name.ParseReference(f.host() + "/net/one:one")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, f.options("net/one", key)...); err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	for repository, want := range map[string]int{"net/two": 201, "far/two": 202} {
		if status, body := f.send(t, "POST", "/v2/"+repository+"/blobs/uploads/?from=net/one&mount="+config.String(), nil, repository); status != want {
			t.Errorf("mount into %s: status %d, want %d: %s", repository, status, want, body)
		}
	}
}

// TestPushes are requests that go-containerregistry does not send.
func TestPushes(t *testing.T) {
	f := start(t, func(o *Options) { o.MaxBlob = 1000 })
	f.builds.put("net", "b", nil)
	begin := func() string {
		res := f.do(t, "POST", "/v2/net/b/blobs/uploads/", nil, "net/b")
		res.Body.Close()
		return f.URL + res.Header.Get("Location")
	}
	content := []byte("content")
	at := begin()
	for i, c := range []struct {
		method, path string
		body         []byte
		want         int
	}{
		{"PATCH", at, content, 202},
		{"GET", at, nil, 204},
		{"PUT", at, nil, 400},
		{"PUT", at + "?digest=sha512:x", nil, 400},
		{"PUT", at + "?digest=" + digestText(content), nil, 201},
		{"PUT", at + "?digest=" + digestText(content), nil, 404},
		{"PUT", begin() + "?digest=" + digestText(content), content, 201},
		{"PUT", begin() + "?digest=" + digestText(content), []byte("other"), 400},
		{"GET", "/v2/net/b/blobs/" + digestText(content), nil, 200},
		{"PUT", "/v2/net/b/manifests/b", []byte("{}"), 400},
	} {
		if status, body := f.send(t, c.method, c.path, c.body, "net/b"); status != c.want {
			t.Errorf("%d: status %d, want %d: %s", i, status, c.want, body)
		}
	}
	put := func(ref, text string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.URL+"/v2/net/b/manifests/"+ref, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("net/b", key)
		req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		res, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	text := func(blob string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
			`"config":{"mediaType":"application/json","digest":%q,"size":7},"layers":[]}`, blob)
	}
	good, lost := text(digestText(content)), text(digestText([]byte("lost")))
	for i, c := range []struct {
		ref, text string
		want      int
	}{{"b", good, 201}, {digestText([]byte(good)), good, 201}, {digestText([]byte(lost)), good, 400}, {"b", lost, 400}} {
		if status := put(c.ref, c.text); status != c.want {
			t.Errorf("manifest %d: status %d, want %d", i, status, c.want)
		}
	}
	// A piece at a wrong place, and one of no known length that is too long.
	for want, change := range map[int]func(*http.Request){
		416: func(r *http.Request) { r.Header.Set("Content-Range", "5-6") },
		413: func(r *http.Request) { r.ContentLength, r.Body = -1, io.NopCloser(bytes.NewReader(make([]byte, 1001))) },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, begin(), strings.NewReader("xx"))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("net/b", key)
		change(req)
		res, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("status %d, want %d", res.StatusCode, want)
		}
	}
}

// source is a good archive.
func source(t *testing.T, text string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/go.mod", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var out bytes.Buffer
	if _, err := archive.Pack(t.Context(), root, &out, archive.DefaultLimits()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func digestText(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func names(raw []byte) func(*v1alpha1.ChaincodeBuild) {
	return func(b *v1alpha1.ChaincodeBuild) {
		b.Spec.Source = v1alpha1.ChaincodeSource{Digest: digestText(raw), SizeBytes: int64(len(raw))}
	}
}

// noRemains says that nothing half-made is left.
func (f *fixture) noRemains(t *testing.T) {
	t.Helper()
	var left []string
	for range 200 {
		var err error
		if left, err = filepath.Glob(temporary(f.dir) + "/*"); err != nil {
			t.Fatal(err)
		}
		uploads, err := filepath.Glob(filepath.Join(f.dir, repositories, "*", "*", "_uploads", "*"))
		if err != nil {
			t.Fatal(err)
		}
		if left = append(left, uploads...); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("there remain %v", left)
}

func TestUpload(t *testing.T) {
	f := start(t, nil)
	good := source(t, "module a")
	f.builds.put("net", "b", names(good))
	for _, want := range []int{201, 200, 200} {
		status, body := f.send(t, "PUT", "/upload/net/b", good, "")
		if status != want {
			t.Fatalf("status %d, want %d: %s", status, want, body)
		}
		var said struct {
			Digest    string
			SizeBytes int64
		}
		if err := json.Unmarshal([]byte(body), &said); err != nil || said.Digest != digestText(good) || said.SizeBytes != int64(len(good)) {
			t.Errorf("answer %s (%v)", body, err)
		}
	}
	// What fetches the source knows the digest.
	status, body := f.send(t, "GET", "/v2/net/sources/blobs/"+digestText(good), nil, "")
	if status != 200 || body != string(good) {
		t.Errorf("status %d, %d bytes of the source", status, len(body))
	}
	if status, _ := f.send(t, "GET", "/v2/far/sources/blobs/"+digestText(good), nil, ""); status != 404 {
		t.Errorf("status %d in another namespace, want 404", status)
	}
	raw, err := manifest("sha256:"+"0", 1)
	if err != nil || !strings.Contains(string(raw), SourceType) {
		t.Errorf("manifest %s (%v)", raw, err)
	}
	// Another build of the same source has it at once, without a body.
	f.builds.put("net", "again", names(good))
	if status, _ := f.send(t, "PUT", "/upload/net/again", nil, ""); status != 200 {
		t.Errorf("status %d of a source that is there, want 200", status)
	}
	f.noRemains(t)
	want := map[string]float64{"stored": 1, "known": 3}
	got := map[string]float64{}
	for result := range want {
		got[result] = testutil.ToFloat64(f.reg.metrics.uploads.WithLabelValues(result))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if n := testutil.ToFloat64(f.reg.metrics.bytes); n != float64(len(good)) {
		t.Errorf("%v bytes counted, want %d", n, len(good))
	}
}

func TestUploadRefused(t *testing.T) {
	f := start(t, nil)
	good := source(t, "module a")
	hostile := append(bytes.Clone(good), "more"...)
	no := []byte("no archive at all")
	f.builds.put("net", "good", names(good))
	f.builds.put("net", "hostile", names(hostile))
	f.builds.put("net", "no", names(no))
	f.builds.put("net", "ended", func(b *v1alpha1.ChaincodeBuild) { names(good)(b); ended(b) })
	f.builds.put("net", "short", func(b *v1alpha1.ChaincodeBuild) { names(good)(b); b.Spec.Source.SizeBytes-- })
	f.builds.put("net", "long", func(b *v1alpha1.ChaincodeBuild) { names(good)(b); b.Spec.Source.SizeBytes++ })
	f.builds.put("net", "huge", func(b *v1alpha1.ChaincodeBuild) { names(good)(b); b.Spec.Source.SizeBytes = 1 << 40 })
	f.builds.put("net", "digest", func(b *v1alpha1.ChaincodeBuild) { names(good)(b); b.Spec.Source.Digest = "sha256:../../x" })
	for name, c := range map[string]struct {
		method, path string
		body         []byte
		want         int
		says         string
	}{
		"unknown build":    {"PUT", "/upload/net/unknown", good, 404, "make it first"},
		"other namespace":  {"PUT", "/upload/far/good", good, 404, "make it first"},
		"ended build":      {"PUT", "/upload/net/ended", good, 409, "has ended"},
		"longer":           {"PUT", "/upload/net/short", good, 413, "says"},
		"shorter":          {"PUT", "/upload/net/long", good, 422, "says"},
		"too large":        {"PUT", "/upload/net/huge", good, 413, "leave out"},
		"no digest":        {"PUT", "/upload/net/digest", good, 422, "no digest"},
		"other digest":     {"PUT", "/upload/net/good", source(t, "module b"), 422, "has the digest"},
		"hostile":          {"PUT", "/upload/net/hostile", hostile, 422, "behind the archive's end"},
		"no archive":       {"PUT", "/upload/net/no", no, 422, "refused"},
		"nothing":          {"PUT", "/upload/net/good", nil, 422, "says"},
		"POST":             {"POST", "/upload/net/good", good, 405, "PUT"},
		"GET":              {"GET", "/upload/net/good", nil, 405, "PUT"},
		"no build":         {"PUT", "/upload/net", good, 404, "/upload/"},
		"more parts":       {"PUT", "/upload/net/good/x", good, 404, "/upload/"},
		"out of the place": {"PUT", "/upload/net/..", good, 404, "/upload/"},
		"capital letters":  {"PUT", "/upload/Net/good", good, 404, "/upload/"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := f.send(t, c.method, c.path, c.body, "")
			var said struct{ Error string }
			if err := json.Unmarshal([]byte(body), &said); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			if status != c.want || !strings.Contains(said.Error, c.says) {
				t.Errorf("status %d %q, want %d and %q", status, said.Error, c.want, c.says)
			}
			t.Log(said.Error)
		})
	}
	t.Run("no length", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.URL+"/upload/net/good", io.MultiReader(bytes.NewReader(good)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := f.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("status %d, want 422", res.StatusCode)
		}
	})
	f.noRemains(t)
	if status, _ := f.send(t, "GET", "/v2/net/sources/blobs/"+digestText(hostile), nil, ""); status != 404 {
		t.Errorf("the hostile archive was stored: %d", status)
	}
	f.builds.mu.Lock()
	f.builds.err = errors.New("connection refused")
	f.builds.mu.Unlock()
	res := f.do(t, "PUT", "/upload/net/good", good, "")
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("status %d without API server, want 503", res.StatusCode)
	}
}

// half starts an upload and sends a part of it.
func (f *fixture) half(t *testing.T, path string, raw []byte) *tls.Conn {
	t.Helper()
	d := tls.Dialer{Config: f.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	d.Config.ServerName = "example.com"
	c, err := d.DialContext(t.Context(), "tcp", f.host())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", path, len(raw))
	if _, err := c.Write(raw[:len(raw)/2]); err != nil {
		t.Fatal(err)
	}
	return c.(*tls.Conn)
}

func (f *fixture) waitForUploads(t *testing.T, n int) {
	t.Helper()
	for range 500 {
		f.reg.uploads.mu.Lock()
		all := f.reg.uploads.all
		f.reg.uploads.mu.Unlock()
		if all == n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("there never were %d uploads", n)
}

func TestAbortedUpload(t *testing.T) {
	f := start(t, nil)
	good := source(t, strings.Repeat("module a ", 10000))
	f.builds.put("net", "b", names(good))
	c := f.half(t, "/upload/net/b", good)
	f.waitForUploads(t, 1)
	c.Close()
	f.waitForUploads(t, 0)
	f.noRemains(t)
	if status, body := f.send(t, "PUT", "/upload/net/b", good, ""); status != 201 {
		t.Errorf("status %d after an aborted upload: %s", status, body)
	}
}

func TestManyUploads(t *testing.T) {
	f := start(t, func(o *Options) { o.Uploads = 4 })
	good := source(t, "module a")
	for _, n := range []string{"one", "two", "three", "four", "five"} {
		f.builds.put(n, "b", names(good))
	}
	defer f.half(t, "/upload/one/b", good).Close()
	f.waitForUploads(t, 1)
	if status, body := f.send(t, "PUT", "/upload/one/b", good, ""); status != 503 {
		t.Errorf("status %d of a second upload in the namespace, want 503: %s", status, body)
	}
	for _, n := range []string{"two", "three", "four"} {
		defer f.half(t, "/upload/"+n+"/b", good).Close()
	}
	f.waitForUploads(t, 4)
	if status, body := f.send(t, "PUT", "/upload/five/b", good, ""); status != 503 {
		t.Errorf("status %d of a fifth upload, want 503: %s", status, body)
	}
}

// TestRestart is about what a process that was killed leaves.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	good := source(t, "module a")
	builds := &fakeBuilds{all: map[string]*v1alpha1.ChaincodeBuild{}}
	builds.put("net", "b", names(good))
	first := start(t, func(o *Options) { o.Dir, o.Builds = dir, builds })
	if status, body := first.send(t, "PUT", "/upload/net/b", good, ""); status != 201 {
		t.Fatalf("status %d: %s", status, body)
	}
	if status, _ := first.send(t, "POST", "/v2/net/b/blobs/uploads/", nil, "net/b"); status != 202 {
		t.Fatalf("status %d of a push", status)
	}
	if err := os.WriteFile(temporary(dir)+"/upload-1", good, 0o600); err != nil {
		t.Fatal(err)
	}
	second := start(t, func(o *Options) { o.Dir, o.Builds = dir, builds })
	second.dir = dir
	second.noRemains(t)
	if status, _ := second.send(t, "GET", "/v2/net/sources/blobs/"+digestText(good), nil, ""); status != 200 {
		t.Errorf("status %d of the source after a restart", status)
	}
	// The blob is there, the manifest was not written yet.
	if err := os.RemoveAll(filepath.Join(dir, repositories, "net", "sources", "_manifests")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{201, 200} {
		if status, body := second.send(t, "PUT", "/upload/net/b", good, ""); status != want {
			t.Errorf("status %d, want %d: %s", status, want, body)
		}
	}
}

func TestNew(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	builds := &fakeBuilds{}
	for name, o := range map[string]Options{
		"no folder": {Builds: builds}, "no builds": {Dir: t.TempDir()}, "a file": {Dir: file, Builds: builds},
	} {
		if _, err := New(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/v2/a/b/blobs/sha256:x", "/v2/a/b/blobs/uploads/", "/v2/a/b/manifests/b", "/v2/a/../manifests/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := parseTarget(path)
		if !ok {
			return
		}
		if back := "/v2/" + got.repository + "/" + got.kind + "/" + got.reference; back != path {
			t.Errorf("%q was read as %q", path, back)
		}
		if strings.Count(got.repository, "/") != 1 || strings.Contains(got.reference, "/") {
			t.Errorf("%q was read as %+v", path, got)
		}
	})
}

func TestManyPushes(t *testing.T) {
	f := start(t, nil)
	f.builds.put("net", "b", nil)
	f.builds.put("far", "b", nil)
	f.reg.pushes.each = 1
	if !f.reg.pushes.take("net") {
		t.Fatal("there is no room for one push")
	}
	for repository, want := range map[string]int{"net/b": 503, "far/b": 202} {
		if status, body := f.send(t, "POST", "/v2/"+repository+"/blobs/uploads/", nil, repository); status != want {
			t.Errorf("%s: status %d, want %d: %s", repository, status, want, body)
		}
	}
	f.reg.pushes.give("net")
	if status, body := f.send(t, "POST", "/v2/net/b/blobs/uploads/", nil, "net/b"); status != 202 {
		t.Errorf("status %d after the other push, want 202: %s", status, body)
	}
}
