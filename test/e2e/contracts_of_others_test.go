package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/test/harness"
)

// TestContractsOfOthers: contracts that know nothing of Heddle run as they are: a newcomer's first ones, one on Fabric's shim
// alone, an image and a static program that are ready, and a package in the format of fabric-builder-k8s that no Chaincode
// stands for. What was built once is built without an uplink, too: from other source with the same dependencies, also in a
// network that has no cache yet.
func TestContractsOfOthers(t *testing.T) {
	ctx, c := startBuilds(t, 20*time.Minute)
	uplink(t, c, true)
	s := raft3("others")
	s.Orderers = 1
	up(ctx, t, c, s)
	names := []string{"notes-go", "notes-js", "shim-js", "keylevel-ts"}
	side(t, len(names), names, func(t *testing.T, name string) {
		if name == "keylevel-ts" {
			deploy(ctx, t, c, c.Path("samples", "contracts", name), "--channel", demoChannel, "-n", s.Name)
			return
		}
		deploy(ctx, t, c, c.Path("test", "e2e", "testdata", name), "--channel", demoChannel, "-n", s.Name)
		keepsNotes(ctx, t, c, s, name)
	})
	if t.Failed() {
		return
	}
	image := deployed(ctx, t, c, s, "notes-js").Status.Image
	t.Run("ready image", func(t *testing.T) {
		deploy(ctx, t, c, "--image", image, "--name", "ready", "--channel", demoChannel, "-n", s.Name)
		if cc := deployed(ctx, t, c, s, "ready"); cc.Status.Image != image || cc.Spec.Build != "" {
			t.Errorf("image %s of build %q, want %s of none", cc.Status.Image, cc.Spec.Build, image)
		}
		keepsNotes(ctx, t, c, s, "ready")
	})
	t.Run("image on the node", func(t *testing.T) { imageOnNode(ctx, t, c, s) })
	t.Run("ready program", func(t *testing.T) { readyProgram(ctx, t, c, s) })
	t.Run("package of fabric-builder-k8s", func(t *testing.T) {
		name, digest, _ := strings.Cut(image, "@")
		pkg := packageOfOthers(ctx, t, name, digest)
		must(t, c.DeployPackage(ctx, s.Name, pkg, admin.Definition{Channel: demoChannel, Name: "foreign", Version: "0.1", Sequence: 1}))
		keepsNotes(ctx, t, c, s, "foreign")
	})
	t.Run("without an uplink", func(t *testing.T) { withoutUplink(ctx, t, c, s) })
}

// keepsNotes writes a note through one organization and reads it from the other.
func keepsNotes(ctx context.Context, t *testing.T, c *harness.Cluster, s shape, contract string) {
	t.Helper()
	last := s.Orgs[len(s.Orgs)-1].Name
	transact(ctx, t, c, s.Name+"/"+demoChannel+"/"+contract,
		transaction{submit: true, call: "Put n1 hello"},
		transaction{call: "Get n1", flags: []string{"--as", last}, want: "hello"},
		transaction{call: "Get n2", refused: true, want: "note n2 does not exist"},
	)
}

// imageOnNode deploys an image that no registry has, by the name that loading it prints.
func imageOnNode(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	if c.Lab == nil {
		t.Skip("loading an image needs a lab")
	}
	out, err := c.Heddle(ctx, "lab", "load", "--name", c.Lab.Name(), "--quiet", c.Path("out", "images", "asset-go.tar"))
	if err != nil {
		t.Fatalf("load: %v\n%s", err, out)
	}
	deploy(ctx, t, c, "--image", strings.TrimSpace(out), "--name", "loaded", "--channel", demoChannel, "-n", s.Name)
	transact(ctx, t, c, s.Name+"/"+demoChannel+"/loaded", transaction{submit: true, call: "Create a1 alice 7", want: `{"id":"a1","owner":"alice","value":7}`})
}

// readyProgram compiles a contract on this machine, as a user would, and hands over the program alone.
func readyProgram(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	folder := filepath.Join(t.TempDir(), "compiled")
	must(t, os.Mkdir(folder, 0o750))
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(folder, "chaincode"), ".") //nolint:gosec // our own source
	build.Dir = c.Path("test", "e2e", "testdata", "notes-go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	deploy(ctx, t, c, folder, "--language", "Binary", "--channel", demoChannel, "-n", s.Name)
	keepsNotes(ctx, t, c, s, "compiled")
}

// packageOfOthers makes a package by hand with tar, in the form that fabric-builder-k8s documents. Its label has all that
// Fabric allows and Kubernetes does not.
func packageOfOthers(ctx context.Context, t *testing.T, name, digest string) []byte {
	t.Helper()
	folder := t.TempDir()
	for file, content := range map[string]any{
		"image.json":    map[string]string{"name": name, "digest": digest},
		"metadata.json": map[string]string{"type": "k8s", "label": "Foreign_contract-1.0+k8s"},
	} {
		text, err := json.MarshalIndent(content, "", "  ")
		must(t, err)
		must(t, os.WriteFile(filepath.Join(folder, file), text, 0o600))
	}
	for _, args := range [][]string{{"-czf", "code.tar.gz", "image.json"}, {"-czf", "foreign.tgz", "metadata.json", "code.tar.gz"}} {
		tar := exec.CommandContext(ctx, "tar", args...) //nolint:gosec // arguments of our own
		tar.Dir = folder
		if out, err := tar.CombinedOutput(); err != nil {
			t.Fatalf("tar %v: %v\n%s", args, err, out)
		}
	}
	pkg, err := os.ReadFile(filepath.Join(folder, "foreign.tgz"))
	must(t, err)
	return pkg
}

// uplink lets the lab fetch modules, or not.
func uplink(t *testing.T, c *harness.Cluster, on bool) {
	t.Helper()
	if c.Lab == nil {
		return
	}
	mode := map[bool]string{true: "on", false: "off"}[on]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if out, err := c.Heddle(ctx, "lab", "uplink", mode, "--name", c.Lab.Name()); err != nil {
		t.Fatalf("uplink %s: %v\n%s", mode, err, out)
	}
}

// withoutUplink builds other source with the dependencies that were built with before: in the same network, and in one
// whose cache is empty. That the uplink is off shows in that new dependencies cannot be had.
func withoutUplink(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	if c.Lab == nil {
		t.Skip("the uplink of a cluster that is not ours stays")
	}
	other := raft3("cutoff")
	other.Orderers, other.Orgs = 1, other.Orgs[:1]
	up(ctx, t, c, other)
	uplink(t, c, false)
	t.Cleanup(func() { uplink(t, c, true) })
	newDependencies(ctx, t, c, s)
	side(t, atOnce, []string{"go", "js", "ts"}, func(t *testing.T, language string) {
		for _, place := range []shape{s, other} {
			name := "offline-" + language
			source := filepath.Join(t.TempDir(), place.Name, name)
			must(t, os.CopyFS(source, os.DirFS(otherSource(c, language))))
			addEdition(t, source)
			deploy(ctx, t, c, source, "--channel", demoChannel, "-n", place.Name)
			transact(ctx, t, c, place.Name+"/"+demoChannel+"/"+name, transaction{call: "Edition", want: "second"})
		}
	})
}

// otherSource is source that nothing was built from yet.
func otherSource(c *harness.Cluster, language string) string {
	if language == "js" { // without a lock file, as the one that was built
		return c.Path("test", "e2e", "testdata", "notes-js")
	}
	return c.Path("samples", "contracts", "asset-"+language)
}

// newDependencies tries to build with a module and with a package that nothing of ours has ever asked for.
func newDependencies(ctx context.Context, t *testing.T, c *harness.Cluster, s shape) {
	t.Helper()
	for name, files := range map[string]map[string]string{
		"new-go": {
			"go.mod": "module example.com/new\n\ngo 1.26\n\nrequire rsc.io/sampler v1.99.99\n",
			"go.sum": "rsc.io/sampler v1.99.99 h1:7i08f/p5TBU5joCPW3GjWG1ZFCmr28ybGqlXtelhEK8=\n" +
				"rsc.io/sampler v1.99.99/go.mod h1:T1hPZKmBbMNahiBKFy5HrXp6adAjACjK9JXDnKaTXpA=\n",
			"main.go": "package main\n\nimport \"rsc.io/sampler\"\n\nfunc main() { println(sampler.Hello()) }\n",
		},
		"new-js": {
			"index.js": "'use strict';\n",
			"package.json": `{"name": "new", "version": "1.0.0", "main": "index.js", "scripts": {"start": "fabric-chaincode-node start"},
				"dependencies": {"is-thirteen": "2.0.0"}}`,
		},
	} {
		source := filepath.Join(t.TempDir(), name)
		must(t, os.Mkdir(source, 0o750))
		for file, text := range files {
			must(t, os.WriteFile(filepath.Join(source, file), []byte(text), 0o600))
		}
		out, err := c.Heddle(ctx, "chaincode", "deploy", source, "--channel", demoChannel, "-n", s.Name)
		if err == nil || !strings.Contains(out, "could not be had") || !strings.Contains(out, "504") {
			t.Errorf("%s was built without an uplink, or not refused for that: %v\n%s", name, err, out)
		}
	}
}
