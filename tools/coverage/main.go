// Command coverage reads profiles of go test and fails when a room of the
// project has less of its statements covered than it must.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
)

func main() {
	minimum := flag.Float64("minimum", 80, "per cent that each room must reach")
	flag.Parse()
	if err := run(flag.Args(), *minimum); err != nil {
		fmt.Fprintf(os.Stderr, "coverage: %v\n", err)
		os.Exit(1)
	}
}

func run(files []string, minimum float64) error {
	var all bytes.Buffer
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		all.Write(content)
	}
	packages, err := parse(&all)
	if err != nil {
		return fmt.Errorf("read profiles: %w", err)
	}
	return report(os.Stdout, packages, minimum)
}
