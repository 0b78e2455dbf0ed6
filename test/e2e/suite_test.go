package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"heddle.dev/heddle/test/harness"
)

const (
	// runEnv chooses what runs; see Pattern.
	runEnv = "HEDDLE_E2E_RUN"
	// keepEnv, when set, leaves the lab up after the suite, for a look at it and for a faster next run.
	keepEnv = "HEDDLE_E2E_KEEP"
	// labEnv names the suite's lab; two runs on one machine must not share one.
	labEnv = "HEDDLE_E2E_LAB"
	// upTime bounds the wait for lab, images and operator.
	upTime = 5 * time.Minute
)

// suite is what the tests share.
type suite struct {
	open    sync.Once
	cluster *harness.Cluster
	err     error

	mu      sync.Mutex
	results []result
}

type result struct {
	test, outcome string
	took          time.Duration
}

var shared suite

func TestMain(m *testing.M) {
	flag.Parse()
	if choice := os.Getenv(runEnv); choice != "" {
		if err := flag.Set("test.run", Pattern(choice, time.Now().YearDay())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	code := m.Run()
	shared.summary()
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func labName() string {
	if name := os.Getenv(labEnv); name != "" {
		return name
	}
	return "e2e"
}

func (s *suite) close() error {
	if s.cluster == nil || os.Getenv(keepEnv) != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.cluster.Close(ctx)
}

// summary prints what ran, how it went and how long it took.
func (s *suite) summary() {
	if len(s.results) == 0 {
		return
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nTEST\tRESULT\tSECONDS")
	for _, r := range s.results {
		fmt.Fprintf(w, "%s\t%s\t%.1f\n", r.test, r.outcome, r.took.Seconds())
	}
	_ = w.Flush()
}

// wanted skips a test unless end-to-end tests were asked for: they take a cluster and minutes.
func wanted(t *testing.T) {
	t.Helper()
	if _, ok := os.LookupEnv(runEnv); !ok {
		t.Skipf("end-to-end tests run when they are asked for: \"make e2e RUN=networks\", or %s", runEnv)
	}
}

// start begins a test: it gives it the suite's cluster and a time to end by, and notes the result.
func start(t *testing.T, limit time.Duration) (context.Context, *harness.Cluster) {
	t.Helper()
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	shared.open.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), upTime)
		defer cancel()
		shared.cluster, shared.err = harness.Open(ctx, harness.Options{Name: labName(), Progress: progress})
	})
	if errors.Is(shared.err, harness.ErrUnavailable) {
		t.Skipf("skipped, not passed: %v", shared.err)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("the test's %s are over", limit))
	t.Cleanup(cancel)
	return ctx, shared.cluster
}

// startBuilds begins a test that builds contracts from source.
func startBuilds(t *testing.T, limit time.Duration) (context.Context, *harness.Cluster) {
	t.Helper()
	ctx, c := start(t, limit)
	if err := c.InstallBuilds(ctx); errors.Is(err, harness.ErrUnavailable) {
		t.Skipf("skipped, not passed: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return ctx, c
}

func (s *suite) note(t *testing.T, took time.Duration) {
	r := result{test: t.Name(), outcome: "passed", took: took}
	switch {
	case t.Failed():
		r.outcome = "FAILED"
	case t.Skipped():
		r.outcome = "skipped"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results = append(s.results, r)
}

// began is the zero of the times in the progress lines.
var began = time.Now()

func progress(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Printf("%7.1fs  %s\n", time.Since(began).Seconds(), strings.TrimSpace(line))
}
