// Command apiserver runs an API server for the controllers' tests until it is told to stop. It prints the path of the
// kubeconfig on one line when the server is ready.
//
//	go run ./tools/apiserver
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"heddle.dev/heddle/test/apiserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "apiserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	kube := apiserver.Program("out/bin")
	if kube == "" {
		return errors.New("find program kube: it is neither in HEDDLE_LIBEXEC nor in out/bin: run 'make images'")
	}
	s, err := apiserver.Start(ctx, kube)
	if s != nil {
		defer s.Stop()
	}
	if err != nil {
		return err
	}
	fmt.Println(s.Kubeconfig)
	<-ctx.Done()
	return nil
}
