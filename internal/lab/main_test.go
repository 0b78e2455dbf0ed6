package lab

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test's own program be the lab's processes: what is tested
// is what was compiled.
func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == "lab" && os.Args[2] == "internal" {
		os.Exit(beRole(os.Args[3], os.Args[4:]))
	}
	if name := os.Getenv("LAB_TEST_UP"); name != "" {
		os.Exit(beUp(name))
	}
	flag.Parse()
	os.Exit(m.Run())
}

func beRole(name string, args []string) int {
	r := Role{Name: name}
	set := flag.NewFlagSet(name, flag.ExitOnError)
	set.StringVar(&r.LabID, "lab-id", "", "")
	set.StringVar(&r.Dir, "dir", "", "")
	set.StringVar(&r.Node, "node", "", "")
	if err := set.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := r.Run(ctx, os.Stderr); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

// beUp is "heddle lab up" in a process of its own, which a test can kill.
func beUp(name string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := Options{Name: name, Heddle: os.Getenv("LAB_TEST_HEDDLE")}
	if _, err := Up(ctx, o, func(line string) { fmt.Println(line) }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// needRoot skips a test that works on namespaces and control groups.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: it makes network namespaces, which needs root")
	}
}

// needLab skips a test that runs Kubernetes.
func needLab(t *testing.T) {
	t.Helper()
	if os.Getenv("HEDDLE_LAB_TEST") != "1" {
		t.Skip("skipped: it runs Kubernetes; HEDDLE_LAB_TEST=1 turns it on, \"make test\" sets that")
	}
	libexec, err := findLibexec("/")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkNeeds(libexec); err != nil {
		t.Skipf("skipped: %v", err)
	}
}

func eventually(t *testing.T, within time.Duration, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var last error
	err := poll(ctx, 50*time.Millisecond, func() (bool, error) {
		last = f()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: not within %s: %v", what, within, last)
	}
}

func TestEnvironmentNames(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		want string
	}{
		"own variable": {map[string]string{"HEDDLE_LAB_DIR": "/l", "XDG_STATE_HOME": "/s", "HOME": "/h"}, "/l"},
		"XDG":          {map[string]string{"HEDDLE_LAB_DIR": "", "XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/heddle/lab"},
		"home":         {map[string]string{"HEDDLE_LAB_DIR": "", "XDG_STATE_HOME": "", "HOME": "/h"}, "/h/.local/state/heddle/lab"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tc.env {
				t.Setenv(k, v)
			}
			if got, err := BaseDir(); err != nil || got != tc.want {
				t.Errorf("BaseDir = %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestNoLab(t *testing.T) {
	t.Setenv("HEDDLE_LAB_DIR", t.TempDir())
	if _, err := Open("nothere"); err == nil || !strings.Contains(err.Error(), "heddle lab up --name nothere") {
		t.Errorf("Open: %v", err)
	}
	if _, err := Open("../x"); err == nil {
		t.Error("a name with a path is accepted")
	}
}
