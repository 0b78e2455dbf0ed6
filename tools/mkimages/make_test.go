package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/image"
)

// TestMain lets the test stand for a program of Fabric, which says its version, and in a folder of simulated ones that
// it is one of them.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Printf("%s:\n Version: v9.8.7\n", filepath.Base(os.Args[0]))
		if strings.Contains(os.Args[0], "/simulated/") {
			fmt.Println(" This is a simulated node.")
		}
		return
	}
	os.Exit(m.Run())
}

// newOptions lays out the programs named, each a copy of this test. No registry
// is reachable at the address that the names of Fabric's images lead to.
func newOptions(t *testing.T, programs ...string) *options {
	t.Helper()
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	folder := t.TempDir()
	o := &options{
		out: filepath.Join(folder, "images"), bin: filepath.Join(folder, "bin"), fabricBin: filepath.Join(folder, "fabric", "bin"),
		version: "test", fabricVersion: "3.1.5", caVersion: "1.5.15",
	}
	content, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"fabric/config/core.yaml": []byte("core"), "fabric/config/orderer.yaml": []byte("orderer"), "fabric/config/configtx.yaml": []byte("configtx")}
	for _, p := range programs {
		files[p] = content
	}
	for name, content := range files {
		file := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func everyProgram() []string {
	return []string{
		"bin/heddle-operator", "bin/heddle-builder", "bin/heddle-registry", "bin/asset-go", "bin/testbox", "bin/fabric-ca-server", "bin/fabric-ca-client",
		"fabric/bin/peer", "fabric/bin/orderer",
	}
}

func TestMakesEveryImageTheSameTwice(t *testing.T) {
	o := newOptions(t, everyProgram()...)
	var lists [2]string
	for i := range lists {
		var log bytes.Buffer
		if err := o.run(t.Context(), &log); err != nil {
			t.Fatal(err)
		}
		lists[i] = log.String()
		if i == 0 { // nothing of the first run is there in the second
			index, err := image.ReadIndex(o.out)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, e := range index.Images {
				got[e.Name] = e.Ref
				found, err := image.InspectFile(filepath.Join(o.out, e.Archive))
				if err != nil {
					t.Fatal(err)
				}
				if len(found) != 1 || found[0].Ref != e.Ref || found[0].Digest != e.Digest {
					t.Errorf("the archive of %s holds %v, the list says %v", e.Name, found, e)
				}
			}
			want := map[string]string{
				"heddle-operator": "heddle.dev/heddle-operator:test", "heddle-builder": "heddle.dev/heddle-builder:test",
				"asset-go": "heddle.dev/asset-go:test", "testbox": "heddle.dev/testbox:test",
				"fabric-ca":   "docker.io/hyperledger/fabric-ca:1.5.15",
				"fabric-peer": "docker.io/hyperledger/fabric-peer:9.8.7", "fabric-orderer": "docker.io/hyperledger/fabric-orderer:9.8.7",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
			if err := os.RemoveAll(o.out); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lists[0] != lists[1] {
		t.Errorf("two runs differ:\n%s\n%s", lists[0], lists[1])
	}
}

func TestLeavesUnchangedArchivesAlone(t *testing.T) {
	o := newOptions(t, everyProgram()...)
	archive := filepath.Join(o.out, "testbox.tar")
	var first os.FileInfo
	for range 2 {
		if err := o.run(t.Context(), new(bytes.Buffer)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(archive)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !os.SameFile(first, info) {
			t.Error("an archive of the same image was written again")
		}
		first = info
	}
}

func TestSaysWhatIsMissing(t *testing.T) {
	o := newOptions(t, "bin/testbox", "fabric/bin/peer")
	if err := o.run(t.Context(), new(bytes.Buffer)); err != nil {
		t.Fatalf("a missing image failed the rest: %v", err)
	}
	index, err := image.ReadIndex(o.out)
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for _, m := range index.Missing {
		reasons[m.Name] = m.Reason
	}
	for name, part := range map[string]string{"asset-go": "not built", "fabric-orderer": "FABRIC_BIN"} {
		if !strings.Contains(reasons[name], part) {
			t.Errorf("%s is missing because %q, want a reason with %q", name, reasons[name], part)
		}
	}
	if _, err := index.Find("testbox", "fabric-peer"); err != nil {
		t.Error(err)
	}
	o.strict = true
	if err := o.run(t.Context(), new(bytes.Buffer)); err == nil {
		t.Error("strict, and images are missing, and no error")
	}
}

func TestPacksSimulatedNodesAsTheLastResort(t *testing.T) {
	o := newOptions(t, "bin/testbox", "fabric/bin/peer", "simulated/bin/peer", "simulated/bin/orderer", "simulated/config/core.yaml", "simulated/config/orderer.yaml")
	o.simulatedBin = filepath.Join(filepath.Dir(o.out), "simulated", "bin")
	if err := o.run(t.Context(), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	index, err := image.ReadIndex(o.out)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := index.Find("fabric-peer", "fabric-orderer")
	if err != nil {
		t.Fatal(err)
	}
	// The release has a peer, so only the orderer is simulated.
	if entries[0].Simulated || !entries[1].Simulated || entries[1].Ref != "docker.io/hyperledger/fabric-orderer:9.8.7" {
		t.Errorf("got %+v, want a packed peer and a simulated orderer", entries)
	}
}

func TestRefusesAReleaseWithoutConfig(t *testing.T) {
	o := newOptions(t, "fabric/bin/peer")
	if err := os.Remove(filepath.Join(o.fabricBin, "..", "config", "core.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := o.run(t.Context(), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "core.yaml") {
		t.Errorf("got %v, want an error that names core.yaml", err)
	}
}

// TestImagesOnDemand are made by a run of their own. Each kind of run leaves the other's images in the list.
func TestImagesOnDemand(t *testing.T) {
	if _, err := os.Stat("/etc/ssl/certs/ca-certificates.crt"); err != nil {
		t.Skipf("there are no certificates of authorities on this machine: %v", err)
	}
	o := newOptions(t, append(everyProgram(), "bin/heddle-build", "goroot/bin/go")...)
	o.goroot = filepath.Join(filepath.Dir(o.out), "goroot")
	t.Setenv("PATH", "/none") // no Node.js
	for _, onDemand := range []bool{true, false, true, false} {
		o.onDemand = onDemand
		if err := o.run(t.Context(), new(bytes.Buffer)); err != nil {
			t.Fatal(err)
		}
	}
	index, err := image.ReadIndex(o.out)
	if err != nil {
		t.Fatal(err)
	}
	required, err := index.Required()
	if err != nil || len(required) != 7 || len(index.Images) != 9 {
		t.Errorf("the list is %+v, %v", index, err)
	}
	if _, err := index.Find("heddle-registry", "heddle-build-go"); err != nil {
		t.Error(err)
	}
	if len(index.Missing) != 1 || !strings.Contains(index.Missing[0].Reason, "install Node.js") {
		t.Errorf("missing are %+v", index.Missing)
	}
}
