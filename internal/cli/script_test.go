package cli_test

import (
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"heddle.dev/heddle/internal/cli"
)

// TestMain lets the scripts call the real command under both of its names.
func TestMain(m *testing.M) {
	run := func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		os.Exit(cli.Run(ctx, cli.Options{Program: os.Args[0], Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	testscript.Main(tests{m}, map[string]func(){"heddle": run, "kubectl-heddle": run})
}

// tests stops the API server after the last test.
type tests struct{ *testing.M }

func (m tests) Run() int {
	defer shared.stop()
	return m.M.Run()
}

// TestScripts runs the scripts that need no cluster.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"code": code},
		Setup: func(e *testscript.Env) error {
			// Nothing of the person who runs the tests may be found.
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("KUBECONFIG", "")
			e.Setenv("HEDDLE_LAB_DIR", e.WorkDir+"/labs")
			return nil
		},
	})
}

// code runs a command and checks its exit code: code 2 heddle foo.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code NUMBER COMMAND [ARGUMENT…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		text, ok := strings.CutPrefix(err.Error(), "exit status ")
		if !ok {
			ts.Fatalf("run %v: %v", args[1:], err)
		}
		got, err = strconv.Atoi(text)
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code of %v is %d, want %d", args[1:], got, want)
	}
}
