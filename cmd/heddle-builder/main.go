// Command heddle-builder is the external builder that Heddle puts into a peer's
// pod. The peer calls it as bin/detect, bin/build, bin/release and bin/run; an init
// container calls "heddle-builder install DIR".
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"heddle.dev/heddle/internal/builder"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := builder.Run(ctx, os.Args, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "heddle-builder: %v\n", err)
		os.Exit(1)
	}
}
