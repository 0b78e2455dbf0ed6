// Command coverage reads a profile of go test and fails when a room of the
// project has less of its statements covered than it must.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	profile := flag.String("profile", "out/cover.out", "profile that go test -coverprofile wrote")
	minimum := flag.Float64("minimum", 80, "per cent that each room must reach")
	flag.Parse()
	if err := run(*profile, *minimum); err != nil {
		fmt.Fprintf(os.Stderr, "coverage: %v\n", err)
		os.Exit(1)
	}
}

func run(file string, minimum float64) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	packages, err := parse(f)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return report(os.Stdout, packages, minimum)
}
