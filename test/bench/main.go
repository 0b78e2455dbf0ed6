// Command bench measures what Heddle claims, beside a baseline in the same call: real Fabric nodes as bare processes
// on the same machine, with the same environment, channel configuration, policy and client. It needs a lab (root),
// images in out/images and Fabric's programs (FABRIC_BIN); the bench fabsim compares stand-in nodes (FABSIM_BIN) with
// real ones, all of them bare processes, and needs the former only. See docs/benchmarks.md for every metric.
//
//	go run ./test/bench -name deploy
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/harness"
)

// benches by name; each prints its rows through the book.
var benches = map[string]func(context.Context, *bench) error{
	"deploy":     deploy,
	"throughput": throughput,
	"recovery":   recovery,
	"footprint":  footprint,
	"fabsim":     standIn,
	"contract":   contracts,
	"link":       links,
}

// sites of the lab that a bench needs, where it is not one.
var sites = map[string]int{"link": 2}

// onBareProcesses are the benches that need neither lab nor images.
var onBareProcesses = map[string]bool{"fabsim": true}

// bench is what every bench works with.
type bench struct {
	*harness.Cluster
	book     *book
	programs bare.Programs
	contract string
	rounds   int
	load     time.Duration
	networks int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	name := flag.String("name", "", "bench to run: "+strings.Join(names(), ", "))
	rounds := flag.Int("rounds", 5, "rounds of each side, alternating; medians are printed")
	load := flag.Duration("load", 20*time.Second, "length of each round under load")
	networks := flag.Int("networks", 20, "networks of the footprint bench")
	out := flag.String("out", "out/bench", "folder that keeps the rows")
	flag.Parse()
	if *name == "" {
		*name = flag.Arg(0)
	}
	f, ok := benches[*name]
	if !ok {
		return fmt.Errorf("run bench %q: there are %s", *name, strings.Join(names(), ", "))
	}
	b := &bench{rounds: *rounds, load: *load, networks: *networks}
	if b.programs, err = bare.Find(); err != nil && !onBareProcesses[*name] {
		return err
	}
	if b.book, err = openBook(*out, *name); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "heddle-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if b.contract, err = buildContract(ctx, dir); err != nil {
		return err
	}
	if onBareProcesses[*name] {
		return f(ctx, b)
	}
	if b.Cluster, err = harness.Open(ctx, harness.Options{Name: "bench", Sites: sites[*name], Progress: progress}); err != nil {
		return err
	}
	defer func() {
		// The lab must go, also after an interrupt.
		err = errors.Join(err, b.Close(context.WithoutCancel(ctx)))
	}()
	return f(ctx, b)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func names() []string {
	var out []string
	for n := range benches {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
