// Command testbox is what test pods run: small verbs that look at the network, the
// name service and the file system from inside a pod.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "testbox: %v\n", err)
		os.Exit(1)
	}
}
