package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// packed is a source as uploads store it.
func packed(t *testing.T, files map[string]string) (content []byte, digest string) {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	w := tar.NewWriter(zipped)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(out.Bytes())
	return out.Bytes(), "sha256:" + hex.EncodeToString(sum[:])
}

// newSources serves what answer says and gives the options to fetch it.
func newSources(t *testing.T, content []byte, digest string, answer func(n int32, w http.ResponseWriter) bool) FetchOptions {
	t.Helper()
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/trade/sources/blobs/"+digest {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if answer == nil || answer(asked.Add(1), w) {
			_, _ = w.Write(content)
		}
	}))
	t.Cleanup(server.Close)
	folder := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	write(t, folder, map[string]string{"ca.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))})
	return FetchOptions{
		Registry: Registry{URL: server.URL, CA: filepath.Join(folder, "ca.crt")}, Repository: "trade/sources",
		Digest: digest, Size: int64(len(content)), Into: filepath.Join(folder, "work", "src"), Wait: 20 * time.Second, Output: io.Discard,
	}
}

// TestFetchWaits has an upload that comes later, and a registry that has its troubles until then.
func TestFetchWaits(t *testing.T) {
	content, digest := packed(t, map[string]string{"go.mod": goMod, "cmd/main.go": goMain})
	var said bytes.Buffer
	o := newSources(t, content, digest, func(n int32, w http.ResponseWriter) bool {
		switch n {
		case 1:
			w.WriteHeader(http.StatusNotFound)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(content[:10]) // and the connection breaks
		default:
			return true
		}
		return false
	})
	o.Output = &said
	if err := Fetch(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(o.Into, "cmd", "main.go"))
	if err != nil || string(got) != goMain {
		t.Errorf("unpacked is %q, %v", got, err)
	}
	if strings.Count(said.String(), "waiting for the upload") != 1 {
		t.Errorf("it says %q", said.String())
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestFetchRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*FetchOptions)
		status int
		files  map[string]string
	}{
		"other digest":   {change: func(o *FetchOptions) { o.Digest = "sha256:" + strings.Repeat("0", 64) }},
		"digest is none": {change: func(o *FetchOptions) { o.Digest = "sha256:../../x" }},
		"smaller":        {change: func(o *FetchOptions) { o.Size++ }},
		"larger":         {change: func(o *FetchOptions) { o.Size-- }},
		"too large":      {change: func(o *FetchOptions) { o.Size = sourceLimit + 1 }},
		"no CA":          {change: func(o *FetchOptions) { o.CA = "/none" }},
		"no TLS":         {change: func(o *FetchOptions) { o.URL = "http://127.0.0.1:1" }},
		"forbidden":      {status: http.StatusForbidden},
		"never uploaded": {status: http.StatusNotFound, change: func(o *FetchOptions) { o.Wait = 0 }},
		"nobody there":   {change: func(o *FetchOptions) { o.URL, o.Wait = "https://127.0.0.1:1", 0 }},
		"leads out":      {files: map[string]string{"../x": "x"}},
		"no folder":      {change: func(o *FetchOptions) { o.Into = o.CA + "/x" }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files := c.files
			if files == nil {
				files = map[string]string{"go.mod": goMod}
			}
			content, digest := packed(t, files)
			wanted := digest
			if name == "other digest" {
				wanted = "sha256:" + strings.Repeat("0", 64)
			}
			o := newSources(t, content, wanted, func(_ int32, w http.ResponseWriter) bool {
				if c.status != 0 {
					w.WriteHeader(c.status)
				}
				return c.status == 0
			})
			if c.change != nil {
				c.change(&o)
			}
			if err := Fetch(t.Context(), o); err == nil {
				t.Error("fetched")
			}
		})
	}
}

func TestFetchStops(t *testing.T) {
	content, digest := packed(t, map[string]string{"go.mod": goMod})
	o := newSources(t, content, digest, func(_ int32, w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusNotFound)
		return false
	})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := Fetch(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
