package builder

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// newPackage makes the three folders of a build, with a package that builds.
func newPackage(t *testing.T) (source, metadata, output string) {
	t.Helper()
	folder := t.TempDir()
	source, metadata, output = filepath.Join(folder, "src"), filepath.Join(folder, "meta"), filepath.Join(folder, "bld")
	write(t, filepath.Join(source, "connection.json"), `{"address":"cc.net:9999"}`)
	write(t, filepath.Join(metadata, "metadata.json"), `{"type":"ccaas"}`)
	if err := os.Mkdir(output, 0o750); err != nil {
		t.Fatal(err)
	}
	return source, metadata, output
}

func TestRunBuildsAndReleases(t *testing.T) {
	source, metadata, output := newPackage(t)
	release := t.TempDir()
	index := "META-INF/statedb/couchdb/indexes/a.json"
	write(t, filepath.Join(source, index), `{"index":{"fields":["a"]}}`)
	var log bytes.Buffer
	for _, call := range [][]string{
		{"/opt/builder/bin/detect", source, metadata},
		{"/opt/builder/bin/build", source, metadata, output},
		{"/opt/builder/bin/release", output, release},
	} {
		if err := Run(t.Context(), call, &log); err != nil {
			t.Fatalf("%v: %v", call, err)
		}
	}
	for _, name := range []string{"chaincode/server/connection.json", "statedb/couchdb/indexes/a.json"} {
		if _, err := os.Stat(filepath.Join(release, name)); err != nil {
			t.Error(err)
		}
	}
	info, err := os.Stat(filepath.Join(release, "chaincode/server/connection.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		t.Errorf("connection, which may hold a key, has mode %s", info.Mode())
	}
}

func TestBuildBounds(t *testing.T) {
	index := `{"index":{"fields":["a"]}}`
	cases := map[string]func(t *testing.T, source, metadata string){
		"large metadata": func(t *testing.T, _, metadata string) {
			write(t, filepath.Join(metadata, "metadata.json"), `{"type":"ccaas","label":"`+strings.Repeat("x", metadataLimit)+`"}`)
		},
		"large connection": func(t *testing.T, source, _ string) {
			write(t, filepath.Join(source, "connection.json"), `{"address":"cc:1","domain":"`+strings.Repeat("x", connectionLimit)+`"}`)
		},
		"large index": func(t *testing.T, source, _ string) {
			write(t, filepath.Join(source, "META-INF/statedb/couchdb/indexes/a.json"), strings.Repeat(" ", indexLimit)+index)
		},
		"many indexes": func(t *testing.T, source, _ string) {
			for i := range indexCount + 1 {
				write(t, filepath.Join(source, fmt.Sprintf("META-INF/statedb/couchdb/indexes/%d.json", i)), index)
			}
		},
		"folder for a file": func(t *testing.T, source, _ string) {
			name := filepath.Join(source, "connection.json")
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(name, 0o750); err != nil {
				t.Fatal(err)
			}
		},
		"index no JSON": func(t *testing.T, source, _ string) {
			write(t, filepath.Join(source, "META-INF/statedb/couchdb/indexes/a.json"), "index")
		},
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			source, metadata, output := newPackage(t)
			spoil(t, source, metadata)
			if err := Run(t.Context(), []string{"build", source, metadata, output}, new(bytes.Buffer)); err == nil {
				t.Error("built")
			}
		})
	}
}

func TestInstall(t *testing.T) {
	folder := t.TempDir()
	for range 2 {
		if err := Run(t.Context(), []string{"heddle-builder", "install", folder}, new(bytes.Buffer)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			got = append(got, entry.Name())
			info, err := os.Stat(name)
			if err != nil {
				return err
			}
			if info.Mode().Perm() != 0o755 {
				t.Errorf("%s has mode %s", name, info.Mode())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := "build detect release run"; strings.Join(got, " ") != want {
		t.Errorf("installed %v, want %s and nothing else", got, want)
	}
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"path":"","type":"ccaas","label":"asset_1.0"}`))
	f.Add([]byte(`{"type":"golang"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		k, err := parseMetadata(in)
		if (k == nil) == (err == nil) {
			t.Errorf("kind %v with error %v", k, err)
		}
	})
}
