// Command heddle runs Fabric networks on Kubernetes from the command line.
// Under the name kubectl-heddle it is a plugin of kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"heddle.dev/heddle/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean end; after it a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	code := cli.Run(ctx, cli.Options{
		Program: os.Args[0],
		Args:    os.Args[1:],
		In:      os.Stdin,
		Out:     os.Stdout,
		Err:     os.Stderr,
	})
	stop()
	os.Exit(code)
}
