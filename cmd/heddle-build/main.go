// Command heddle-build is what runs inside the pod of a ChaincodeBuild: it fetches a contract's source, compiles it, and
// makes and pushes its image.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"heddle.dev/heddle/internal/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := build.NewCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "heddle-build: %v\n", err)
		os.Exit(1)
	}
}
