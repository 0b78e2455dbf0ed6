package image

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newRelease lays out what Fabric's release archive holds, with a static program
// (this test, when cgo is off) in the place of the real ones.
func newRelease(t *testing.T, programFile string) Release {
	t.Helper()
	folder := t.TempDir()
	content, err := os.ReadFile(programFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"bin/peer": content, "bin/orderer": content,
		"config/core.yaml": []byte("core"), "config/orderer.yaml": []byte("orderer"), "config/configtx.yaml": []byte("configtx"),
		"config/msp/keystore/key.pem": []byte("a sample key that everybody has"),
		"builders/ccaas/bin/detect":   []byte("detect"),
	} {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Release{Bin: filepath.Join(folder, "bin"), Version: "3.1.5"}
}

func TestFabricNodes(t *testing.T) {
	release := newRelease(t, os.Args[0])
	cases := map[string]struct {
		spec  func(Release) (Spec, error)
		files []string
		run   []string
	}{
		"peer":    {Release.PeerSpec, []string{"/usr/local/bin/peer", "/etc/hyperledger/fabric/core.yaml", "/opt/hyperledger/ccaas_builder/bin/detect"}, []string{"peer", "node", "start"}},
		"orderer": {Release.OrdererSpec, []string{"/usr/local/bin/orderer", "/etc/hyperledger/fabric/orderer.yaml", "/etc/hyperledger/fabric/configtx.yaml"}, []string{"orderer", "start"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			spec, err := tc.spec(release)
			if err != nil {
				t.Fatal(err)
			}
			img := mustBuild(t, spec)
			got := unpack(t, img)
			for _, file := range append(tc.files, "/var/hyperledger/") {
				if _, ok := got[file]; !ok {
					t.Errorf("%s is missing", file)
				}
			}
			for file := range got {
				if strings.Contains(file, "msp") {
					t.Errorf("the sample identity was packed: %s", file)
				}
			}
			config, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.run, config.Config.Cmd); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
			if config.Config.User == "" || strings.HasPrefix(config.Config.User, "0") {
				t.Errorf("image runs as %q", config.Config.User)
			}
			if env := strings.Join(config.Config.Env, " "); !strings.Contains(env, "FABRIC_CFG_PATH=/etc/hyperledger/fabric") {
				t.Errorf("environment %s", env)
			}
		})
	}
}

func TestSimulatedNodesSaySo(t *testing.T) {
	release := newRelease(t, os.Args[0])
	for simulated, word := range map[bool]string{false: "Hyperledger Fabric", true: "SIMULATED"} {
		release.Simulated = simulated
		spec, err := release.OrdererSpec()
		if err != nil {
			t.Fatal(err)
		}
		if title := spec.Labels["org.opencontainers.image.title"]; !strings.Contains(title, word) {
			t.Errorf("title %q does not say %q", title, word)
		}
	}
	if !SaysSimulated("peer:\n Version: v3.1.5\n This is a simulated node (fabsim)\n") || SaysSimulated("peer:\n Version: v3.1.5\n") {
		t.Error("a simulated program and one of Fabric are not told apart")
	}
}

func TestFabricNodesRefuse(t *testing.T) {
	cases := map[string]func(t *testing.T, r Release){
		"no program": func(t *testing.T, r Release) { remove(t, filepath.Join(r.Bin, "peer")) },
		"no config":  func(t *testing.T, r Release) { remove(t, filepath.Join(r.Bin, "..", "config", "core.yaml")) },
		"no program for Linux": func(t *testing.T, r Release) {
			if err := os.WriteFile(filepath.Join(r.Bin, "peer"), []byte("#!/bin/sh\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			release := newRelease(t, os.Args[0])
			spoil(t, release)
			if _, err := release.PeerSpec(); err == nil {
				t.Error("packed")
			}
		})
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func TestCASpec(t *testing.T) {
	spec, err := CASpec(os.Args[0], os.Args[0], "1.5.15")
	if err != nil {
		t.Fatal(err)
	}
	got := unpack(t, mustBuild(t, spec))
	for _, file := range []string{"/usr/local/bin/fabric-ca-server", "/usr/local/bin/fabric-ca-client", "/etc/hyperledger/fabric-ca-server/"} {
		if _, ok := got[file]; !ok {
			t.Errorf("%s is missing", file)
		}
	}
	if _, err := CASpec(filepath.Join(t.TempDir(), "none"), os.Args[0], "1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for a program that is not there", err)
	}
}

// TestDynamicProgramRuns packs a program that needs a C library, and runs it with
// nothing but the image's files around it.
func TestDynamicProgramRuns(t *testing.T) {
	program, err := exec.LookPath("ls")
	if err != nil {
		t.Skip("no program to pack: there is no ls")
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := Libraries(content)
	if err != nil {
		t.Fatal(err)
	}
	if len(libraries) < 2 {
		t.Skipf("%s is static", program)
	}
	spec, err := ProgramSpec(program)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		t.Skip("changing the root folder needs root")
	}
	root := t.TempDir()
	for name, e := range unpack(t, mustBuild(t, spec)) {
		target := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(target, 0o755)
		} else {
			err = errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, []byte(e.Content), fs.FileMode(e.Mode).Perm()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "/usr/local/bin/ls", "/etc")
	command.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	command.Env, command.Dir = []string{}, "/"
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if diff := cmp.Diff("group\nnsswitch.conf\npasswd\n", string(output)); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	release := newRelease(t, program)
	peer, err := release.PeerSpec()
	if err != nil {
		t.Fatal(err)
	}
	if env := strings.Join(peer.Env, " "); !strings.Contains(env, "netdns=go") {
		t.Errorf("a dynamic node has environment %s", env)
	}
}

func TestLibrariesMissing(t *testing.T) {
	if _, err := Libraries([]byte("#!/bin/sh")); err == nil {
		t.Error("a script was taken for a program")
	}
	if _, _, err := findLibrary("libnone.so.1", []string{t.TempDir()}); err == nil {
		t.Error("found a library that is not there")
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "libscript.so"), []byte("INPUT(x)"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := findLibrary("libscript.so", []string{folder}); err == nil {
		t.Error("a linker script was taken for a library")
	}
}

func TestParseVersion(t *testing.T) {
	cases := map[string]struct{ in, want string }{
		"peer":      {"peer:\n Version: v3.1.5\n Commit SHA: 86c1172be\n Go version: go1.26.8\n", "3.1.5"},
		"orderer":   {"orderer:\n Version: v2.5.16\n", "2.5.16"},
		"none":      {"peer:\n", ""},
		"empty":     {" Version: \n", ""},
		"no tag":    {" Version: a b\n", ""},
		"Go's only": {" Go version: go1.26\n", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseVersion(tc.in)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestIndex(t *testing.T) {
	folder := t.TempDir()
	if _, err := ReadIndex(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for a folder without a list", err)
	}
	in := &Index{
		Images:  []Entry{{Name: "b", Ref: "b:1", Archive: "b.tar"}, {Name: "a", Ref: "a:1", Archive: "a.tar"}},
		Missing: []Missing{{Name: "d", Reason: "it is not built"}, {Name: "c", Reason: "no way to the registry"}},
	}
	if err := WriteIndex(folder, in); err != nil {
		t.Fatal(err)
	}
	index, err := ReadIndex(folder)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, index); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	all, err := index.Find()
	if err != nil || len(all) != 2 {
		t.Errorf("found %v, %v", all, err)
	}
	one, err := index.Find("b")
	if err != nil || len(one) != 1 || one[0].Ref != "b:1" {
		t.Errorf("found %v, %v", one, err)
	}
	_, err = index.Find("a", "c", "x")
	missing := new(MissingError)
	if !errors.As(err, &missing) {
		t.Fatalf("got %v, want a MissingError", err)
	}
	if diff := cmp.Diff([]string{"c", "x"}, []string{missing.Missing[0].Name, missing.Missing[1].Name}); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	if !strings.Contains(err.Error(), "no way to the registry") {
		t.Errorf("the error %q does not carry the reason", err)
	}
	if err := os.WriteFile(filepath.Join(folder, IndexFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadIndex(folder); err == nil {
		t.Error("read a broken list")
	}
	if err := WriteIndex(filepath.Join(folder, "none"), in); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for a folder that is not there", err)
	}
}

func TestStandInForCouchDBIsLaidOutAsTheStockImage(t *testing.T) {
	folder := t.TempDir()
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"couchsim": program, "node": program, "bash": program,
		"server/server.js": []byte("serve()"), "server/package-lock.json": []byte("{}"), "server/node_modules/.bin/x": []byte("x"),
		"server/node_modules/leveldown/index.js": []byte("x"), "server/node_modules/leveldown/deps/db.js": []byte("x"),
		"server/node_modules/leveldown/prebuilds/win32-x64/a.node": []byte("x"), "server/node_modules/leveldown/README.md": []byte("x"),
		"server/node_modules/pouchdb-fauxton/www/i.js": []byte("x"),
	} {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := CouchDBStandIn{
		Program: filepath.Join(folder, "couchsim"), Server: filepath.Join(folder, "server"),
		Node: filepath.Join(folder, "node"), Shell: filepath.Join(folder, "bash"), Version: "3.4",
	}
	spec, err := s.Spec()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range spec.Files {
		if !strings.HasPrefix(f.Path, "/lib") { // with cgo, this test is a dynamic program
			got = append(got, f.Path)
		}
	}
	want := []string{
		"/usr/local/bin/couchsim", "/usr/local/bin/node", "/bin/bash", "/opt/couchsim/node_modules/leveldown/index.js",
		"/opt/couchsim/package-lock.json", "/opt/couchsim/server.js",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if !strings.Contains(spec.Labels["org.opencontainers.image.title"], "STAND-IN") || spec.User != "5984:5984" {
		t.Errorf("title %q, user %q", spec.Labels["org.opencontainers.image.title"], spec.User)
	}
	if _, err := Build(spec); err != nil {
		t.Error(err)
	}
	before, err := s.MadeFrom()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "server/package-lock.json"), []byte("{ }"), 0o600); err != nil {
		t.Fatal(err)
	}
	if after, err := s.MadeFrom(); err != nil || after == before {
		t.Errorf("other packages are not noticed (%v)", err)
	}
}
