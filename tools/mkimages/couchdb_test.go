package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"heddle.dev/heddle/internal/image"
)

// withStandIn are the files of the stand-in for CouchDB, but for the packages: those are no programs.
func withStandIn(t *testing.T, o *options) {
	t.Helper()
	folder := filepath.Dir(o.out)
	o.couchDBVersion, o.couchsim = "3.4", filepath.Join(folder, "couchsim")
	for file, text := range map[string]string{"server.js": "serve()", "package-lock.json": "{}", "node_modules/express/index.js": "x"} {
		file = filepath.Join(o.couchsim, "server", file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(folder, "path"))
}

func made(t *testing.T, o *options) *image.Index {
	t.Helper()
	if err := o.run(t.Context(), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	index, err := image.ReadIndex(o.out)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func couchDBOf(t *testing.T, index *image.Index) image.Entry {
	t.Helper()
	found, err := index.Find(couchDB)
	if err != nil {
		t.Fatal(err)
	}
	return found[0]
}

func TestPacksAStandInForCouchDB(t *testing.T) {
	o := newOptions(t, append(everyProgram(), "couchsim/couchsim", "path/node", "path/bash")...)
	withStandIn(t, o)
	index := made(t, o)
	e := couchDBOf(t, index)
	if !e.OnDemand || e.Simulated || e.Ref != "docker.io/library/couchdb:3.4" || !strings.HasPrefix(e.Source, "STAND-IN") {
		t.Errorf("got %+v", e)
	}
	if required, err := index.Required(); err != nil || len(required) != len(index.Images)-1 {
		t.Errorf("%d of %d images are required (%v), want all but one", len(required), len(index.Images), err)
	}
	archive, err := os.Stat(filepath.Join(o.out, e.Archive))
	if err != nil {
		t.Fatal(err)
	}

	t.Run("not made again", func(t *testing.T) {
		made(t, o)
		again, err := os.Stat(filepath.Join(o.out, e.Archive))
		if err != nil || !os.SameFile(archive, again) {
			t.Errorf("the archive was written again (%v)", err)
		}
	})
	t.Run("left alone by a run that is not for it", func(t *testing.T) {
		plain := *o
		plain.couchDBVersion = ""
		if again := couchDBOf(t, made(t, &plain)); again != e {
			t.Errorf("got %+v, want %+v", again, e)
		}
	})
	t.Run("made anew of another server", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(o.couchsim, "server", "server.js"), []byte("other()"), 0o600); err != nil {
			t.Fatal(err)
		}
		if again := couchDBOf(t, made(t, o)); again.Digest == e.Digest || again.MadeFrom == e.MadeFrom {
			t.Error("the image is still the old one")
		}
	})
	t.Run("made anew when its archive is gone", func(t *testing.T) {
		if err := os.Remove(filepath.Join(o.out, e.Archive)); err != nil {
			t.Fatal(err)
		}
		made(t, o)
		if _, err := os.Stat(filepath.Join(o.out, e.Archive)); err != nil {
			t.Error(err)
		}
	})
}

func TestSaysWhyThereIsNoCouchDB(t *testing.T) {
	for name, c := range map[string]struct{ without, want string }{
		"no node": {"path/node", "needs node"}, "no packages": {"couchsim/server/node_modules", "npm"}, "no program": {"couchsim/couchsim", "couchsim"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOptions(t, append(everyProgram(), "couchsim/couchsim", "path/node", "path/bash")...)
			withStandIn(t, o)
			if err := os.RemoveAll(filepath.Join(filepath.Dir(o.out), c.without)); err != nil {
				t.Fatal(err)
			}
			index := made(t, o)
			if len(index.Missing) != 1 || !index.Missing[0].OnDemand || !strings.Contains(index.Missing[0].Reason, c.want) {
				t.Errorf("missing: %+v, want couchdb because of %q", index.Missing, c.want)
			}
			if _, err := index.Required(); err != nil {
				t.Errorf("networks without CouchDB cannot go on: %v", err)
			}
		})
	}
}
