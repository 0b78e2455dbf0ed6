package image

import (
	"context"
	"io"
	"log"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// startRegistry serves a registry on localhost with one image in it.
func startRegistry(t *testing.T) (ref string, want Archived) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	ref = strings.TrimPrefix(server.URL, "http://") + "/team/x:1"
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	img := mustBuild(t, Spec{Files: []File{{Path: "/x", Content: []byte("x")}}})
	if err := remote.Write(tag, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	return ref, describe(t, ref, img)
}

func TestPullFile(t *testing.T) {
	ref, want := startRegistry(t)
	if err := Reachable(t.Context(), ref, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.tar")
	if _, err := PullFile(t.Context(), ref, file); err != nil {
		t.Fatal(err)
	}
	got, err := InspectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Archived{want}, got); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

func TestPullRefuses(t *testing.T) {
	ref, _ := startRegistry(t)
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	refuse := func(ctx context.Context, t *testing.T, ref string) {
		t.Helper()
		if _, err := PullFile(ctx, ref, filepath.Join(t.TempDir(), "x.tar")); err == nil {
			t.Error("pulled")
		}
		if err := Reachable(ctx, ref, time.Second); err == nil {
			t.Error("reachable")
		}
	}
	t.Run("no such image", func(t *testing.T) { refuse(t.Context(), t, strings.Replace(ref, "/x:", "/y:", 1)) })
	t.Run("no name", func(t *testing.T) { refuse(t.Context(), t, "Not A Name") })
	t.Run("stopped", func(t *testing.T) { refuse(stopped, t, ref) })
}
