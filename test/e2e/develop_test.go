package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/test/harness"
)

// TestDevelop: a command follows a contract's source, and each change that compiles runs a moment later on the channel, of
// the same version and sequence; another follows what it says, over the end of its pods. Both end at Ctrl-C.
func TestDevelop(t *testing.T) {
	ctx, c := startBuilds(t, 15*time.Minute)
	s := raft3("develop")
	up(ctx, t, c, s)
	source := filepath.Join(t.TempDir(), "notes")
	must(t, os.CopyFS(source, os.DirFS("testdata/notes-go")))
	dev := begin(ctx, t, c, "chaincode", "dev", source, "--channel", demoChannel, "-n", s.Name)
	says := func(r *harness.Running, words string, times int) {
		t.Helper()
		within(ctx, t, 3*time.Minute, words, func() error {
			if out := r.Output(); strings.Count(out, words) < times {
				return fmt.Errorf("it said\n%s", out)
			}
			return nil
		})
	}
	ref := s.Name + "/" + demoChannel + "/notes"
	answers := func(want string) {
		t.Helper()
		eventually(ctx, t, "the contract says "+want, func() error {
			out, err := c.Heddle(ctx, "tx", "evaluate", ref, "Say", "it")
			if err != nil || strings.TrimSpace(lastLine(out)) != want {
				return fmt.Errorf("%w\n%s", err, out)
			}
			return nil
		})
	}
	says(dev, "runs the source as it is", 1)
	for i, edition := range []string{"one", "two"} {
		edit(t, source, edition)
		says(dev, "runs the source as it is", i+2)
		answers(edition)
	}
	logs := begin(ctx, t, c, "chaincode", "logs", "notes", "-f", "-n", s.Name)
	answers("two")
	says(logs, "asked for it by two", 1)
	before := strings.Count(logs.Output(), "asked for it by two")
	cc := deployed(ctx, t, c, s, "notes")
	for _, pod := range launched(ctx, t, c, cc) {
		must(t, client.IgnoreNotFound(c.Delete(ctx, &pod)))
	}
	answers("two")
	says(logs, "asked for it by two", before+1)

	must(t, os.WriteFile(filepath.Join(source, "say.go"), []byte("package main\n\nfunc broken() { return 1 }\n"), 0o600))
	says(dev, "say.go:3", 1)
	answers("two")
	edit(t, source, "three")
	says(dev, "runs the source as it is", 4)
	answers("three")
	if cc := deployed(ctx, t, c, s, "notes"); cc.Spec.Version != "1.0" || *cc.Status.Sequence != 1 {
		t.Errorf("it made version %s, sequence %d", cc.Spec.Version, *cc.Status.Sequence)
	}
	for name, r := range map[string]*harness.Running{"dev": dev, "logs -f": logs} {
		if code, err := r.Interrupt(); err != nil || code != 130 {
			t.Errorf("%s ends with %d, %v after Ctrl-C:\n%s", name, code, err, r.Output())
		}
	}
	out, err := c.Heddle(ctx, "chaincode", "logs", "notes", "-n", s.Name)
	if err != nil || !strings.Contains(out, "asked for it by one") || !strings.Contains(out, "asked for it by three") {
		t.Errorf("logs of former pods: %v\n%s", err, out)
	}
	if out, err = c.Heddle(ctx, "chaincode", "logs", "notes", "--build", "-n", s.Name); err != nil || !strings.Contains(out, "go build") {
		t.Errorf("log of the build: %v\n%s", err, out)
	}
}

// edit gives the contract a transaction that tells its edition and says so in its log.
func edit(t *testing.T, source, edition string) {
	t.Helper()
	text := fmt.Sprintf(`package main

import "fmt"

// Say tells the edition.
func (s *SmartContract) Say(what string) string {
	fmt.Println("asked for " + what + " by %[1]s")
	return %[1]q
}
`, edition)
	must(t, os.WriteFile(filepath.Join(source, "say.go"), []byte(text), 0o600))
}

func begin(ctx context.Context, t *testing.T, c *harness.Cluster, args ...string) *harness.Running {
	t.Helper()
	r, err := c.StartHeddle(ctx, args...)
	must(t, err)
	return r
}

func lastLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return lines[len(lines)-1]
}
