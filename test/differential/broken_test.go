package differential

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fault is one thing that stand-in nodes do wrong: a change of their source.
type fault struct{ name, file, old, new string }

func faults() []fault {
	return []fault{
		{
			"versions-are-not-checked", "internal/peer/ledger/versions.go",
			"\tif c.batch.Get(ns, key) != nil {", "\tif key != \"\" {\n\t\treturn true, nil\n\t}\n\tif c.batch.Get(ns, key) != nil {",
		},
		{
			"phantoms-are-not-noticed", "internal/peer/ledger/versions.go",
			"\tnow, err := c.rangeNow(ctx, ns, info)\n", "\tnow, err := c.rangeNow(ctx, ns, info)\n\tif err == nil {\n\t\treturn true, nil\n\t}\n",
		},
		{
			"ranges-have-one-key-too-many", "internal/peer/state/embedded.go",
			"\trows, err := r.snapshot.NewIter(", "\tupper = append(upper, 0)\n\trows, err := r.snapshot.NewIter(",
		},
		{
			"any-endorsement-will-do", "internal/peer/validate/policies.go",
			"return policy.EvaluateSignedData(by) == nil", "return policy.EvaluateSignedData(by) == nil || len(by) > 0",
		},
		{
			"transactions-count-twice", "internal/peer/validate/block.go",
			"\tif known {", "\tif known && err != nil {",
		},
		{
			"everybody-may-do-everything", "internal/peer/endorser/access.go",
			"\tif policy := localPolicy(resource); policy != \"\" {", "\tif resource != \"\" {\n\t\treturn nil\n\t}\n\tif policy := localPolicy(resource); policy != \"\" {",
		},
		{
			"orderers-take-what-anybody-sends", "internal/orderer/admission/admission.go",
			"config.Check(policies.ChannelWriters, signatures); err != nil {", "config.Check(policies.ChannelWriters, signatures); err != nil && len(signatures) == 0 {",
		},
	}
}

// TestBrokenBuilds asks whether the suite would notice: it runs on stand-in
// nodes as they are, which has to pass, and on builds with one fault each,
// which has to fail. It takes minutes, so it has to be asked for by name.
func TestBrokenBuilds(t *testing.T) {
	if run := flag.Lookup("test.run"); run == nil || !strings.Contains(run.Value.String(), "TestBrokenBuilds") {
		t.Skip("runs the whole suite on each of several faulty builds: only with -run TestBrokenBuilds")
	}
	t.Run("none", func(t *testing.T) {
		if failed, log := suite(t, build(t, fault{})); len(failed) > 0 || strings.Contains(log, "--- FAIL") {
			t.Errorf("nodes without a fault fail at %v:\n%s", failed, tail(log))
		}
	})
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			failed, log := suite(t, build(t, f))
			if len(failed) == 0 {
				t.Fatalf("no case fails:\n%s", tail(log))
			}
			t.Logf("noticed by %d cases: %s", len(failed), strings.Join(failed, ", "))
		})
	}
}

// build builds stand-in nodes with a fault, laid out as a release.
func build(t *testing.T, f fault) string {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("..", "..", "fabsim"))
	ok(t, err)
	dir := t.TempDir()
	replaced := map[string]string{}
	if f.file != "" {
		file := filepath.Join(source, filepath.FromSlash(f.file))
		text, err := os.ReadFile(file)
		ok(t, err)
		if n := strings.Count(string(text), f.old); n != 1 {
			t.Fatalf("%s has %q %d times: the fault has to be described anew", f.file, f.old, n)
		}
		broken := filepath.Join(dir, filepath.Base(file))
		ok(t, os.WriteFile(broken, []byte(strings.Replace(string(text), f.old, f.new, 1)), 0o600))
		replaced[file] = broken
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	ok(t, err)
	ok(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	bin := filepath.Join(dir, "bin")
	ok(t, os.Mkdir(bin, 0o700))
	command := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-overlay", filepath.Join(dir, "overlay.json"),
		"-o", filepath.Join(bin, "peer"), "./cmd/fabsim")
	command.Dir = source
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build stand-in nodes: %v\n%s", err, text)
	}
	ok(t, os.Link(filepath.Join(bin, "peer"), filepath.Join(bin, "orderer")))
	ok(t, os.CopyFS(filepath.Join(dir, "config"), os.DirFS(filepath.Join(source, "config"))))
	return bin
}

// suite runs the suite on nodes and gives the names of the cases that fail.
func suite(t *testing.T, bin string) (failed []string, log string) {
	t.Helper()
	self, err := os.Executable()
	ok(t, err)
	command := exec.CommandContext(t.Context(), self, "-test.run", "^TestSimulated$", "-test.v", "-test.parallel", "8")
	command.Env = append(os.Environ(), "FABSIM_BIN="+bin)
	text, err := command.CombinedOutput()
	for _, match := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*) +FAIL\b`).FindAllSubmatch(text, -1) {
		failed = append(failed, string(match[1]))
	}
	if (err != nil) != (len(failed) > 0) {
		t.Fatalf("the suite ended with %v and %d failed cases:\n%s", err, len(failed), tail(string(text)))
	}
	return failed, string(text)
}

func tail(text string) string { return text[max(0, len(text)-4000):] }
