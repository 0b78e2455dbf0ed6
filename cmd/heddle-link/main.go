// Command heddle-link runs beside nginx in the pods of gateways and links: "heddle-link reload FOLDER..." tells nginx of
// changed files in the folders; "heddle-link check REQUEST" goes the way to a partner's nodes step by step and answers on
// standard output.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"heddle.dev/heddle/internal/link/check"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/nginx/reload"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "heddle-link: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == "check" {
		return check.Serve(ctx, strings.NewReader(args[1]), os.Stdout, nginx.KeyFolder)
	}
	if len(args) < 2 || args[0] != "reload" {
		return fmt.Errorf("use it as \"heddle-link reload FOLDER...\" or \"heddle-link check REQUEST\"")
	}
	reload.Run(ctx, reload.Options{
		Folders: args[1:], PIDFile: nginx.PIDFile, Every: time.Second, Pause: 10 * time.Second,
		Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
	})
	return nil
}
