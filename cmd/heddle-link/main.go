// Command heddle-link runs beside nginx in the pods of gateways and links: "heddle-link reload FOLDER..." tells nginx of
// changed files in the folders, and Prometheus of nginx's connections; "heddle-link check REQUEST" goes the way to a partner's nodes step by step and answers on
// standard output.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"heddle.dev/heddle/internal/link/check"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/nginx/reload"
	"heddle.dev/heddle/internal/nginx/traffic"
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
	return watch(ctx, args[1:])
}

// watch tells nginx of changed files, and Prometheus of what goes through nginx.
func watch(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("reload", flag.ContinueOnError)
	var counted traffic.Options
	f.StringVar(&counted.Link, "link", "", "SiteLink whose connections are counted; none: those of a gateway")
	f.StringVar(&counted.Network, "network", "", "network of the link")
	if err := f.Parse(args); err != nil {
		return err
	}
	if counted.Link != "" {
		counted.Certificate = filepath.Join(nginx.KeyFolder, "tls.crt")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	counting := make(chan error, 1)
	go func() {
		counting <- traffic.Serve(ctx, counted)
		stop() // without it, the container is started anew
	}()
	reload.Run(ctx, reload.Options{
		Folders: f.Args(), Config: filepath.Join(nginx.ConfigFolder, nginx.ConfigFile), PIDFile: nginx.PIDFile, Every: time.Second, Pause: 10 * time.Second,
		Log: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
	})
	return <-counting
}
