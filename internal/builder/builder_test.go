package builder

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"heddle.dev/heddle/internal/specs/launch"
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

// TestReleaseFillsInThePeersOwnPair: where a package asks for the peer's certificate, release takes it from the peer's
// files, as they are then; what stands in the package comes before that.
func TestReleaseFillsInThePeersOwnPair(t *testing.T) {
	root, _ := newPair(t)
	given, givenKey := newPair(t)
	folder := t.TempDir()
	certFile, keyFile := filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	t.Setenv(launch.EnvTLSCert, certFile)
	t.Setenv(launch.EnvTLSKey, keyFile)
	t.Setenv(launch.EnvNode, "peer0-org1")
	released := func(connection map[string]any) (got connectionFields, err error) {
		t.Helper()
		source, metadata, output := newPackage(t)
		text, err := json.Marshal(connection)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(source, "connection.json"), string(text))
		release := t.TempDir()
		for _, call := range [][]string{{"build", source, metadata, output}, {"release", output, release}} {
			if err := Run(t.Context(), call, new(bytes.Buffer)); err != nil {
				return got, err
			}
		}
		if text, err = os.ReadFile(filepath.Join(release, connectionRelease)); err != nil {
			t.Fatal(err)
		}
		return got, json.Unmarshal(text, &got)
	}
	secured := map[string]any{"address": "{{.peername}}.net:9999", "tls_required": true, "client_auth_required": true, "root_cert": root}
	if _, err := released(secured); err == nil {
		t.Error("released without the peer's files")
	}
	for range 2 { // the second time with a renewed certificate
		own, ownKey := newPair(t)
		write(t, certFile, own)
		write(t, keyFile, ownKey)
		got, err := released(secured)
		if want := (connectionFields{"peer0-org1.net:9999", own, ownKey, root}); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	_, strange := newPair(t)
	write(t, keyFile, strange)
	if _, err := released(secured); err == nil {
		t.Error("a key of another certificate was released")
	}
	t.Setenv(launch.EnvTLSCert, "")
	if _, err := released(secured); err == nil {
		t.Error("released without knowing the peer's files")
	}
	secured["client_cert"], secured["client_key"] = given, givenKey
	if got, err := released(secured); err != nil || got.Cert != given || got.Key != givenKey {
		t.Errorf("the package's own pair: got %+v, %v", got, err)
	}
}

// connectionFields are those of what is released that a peer needs for mutual TLS.
type connectionFields struct {
	Address string `json:"address"`
	Cert    string `json:"client_cert"`
	Key     string `json:"client_key"`
	Root    string `json:"root_cert"`
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
	folder, within := t.TempDir(), filepath.Join(t.TempDir(), "a", "b")
	if err := Run(t.Context(), []string{"heddle-builder", "install", t.TempDir()}, new(bytes.Buffer)); err != nil {
		t.Fatalf("install without a folder: %v", err)
	}
	if err := Run(t.Context(), []string{"heddle-builder", "install"}, new(bytes.Buffer)); err == nil {
		t.Fatal("install without arguments did something")
	}
	for range 2 {
		if err := Run(t.Context(), []string{"heddle-builder", "install", folder, within}, new(bytes.Buffer)); err != nil {
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
	if info, err := os.Stat(within); err != nil || !info.IsDir() {
		t.Errorf("the folder within a volume: %v", err)
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
