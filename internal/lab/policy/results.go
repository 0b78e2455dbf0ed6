package policy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// lookDelay is the pause between two looks at folders that cannot be watched.
	lookDelay = 25 * time.Millisecond
	// settleTime is how long after a change a folder is looked into again and again:
	// its time says when a file was made, not when it was written.
	settleTime = time.Second
)

// watchResults tells of changes in folders with CNI results; it makes those that are not
// there yet. The number of watches is limited for the machine as a whole, and kubelets and
// container runtimes use them up: without one the folders are looked at often instead.
func watchResults(ctx context.Context, folders []string, open func() (*fsnotify.Watcher, error)) (changes <-chan struct{}, stop func(), err error) {
	for _, f := range folders {
		if err := os.MkdirAll(f, 0o700); err != nil {
			return nil, nil, fmt.Errorf("watch CNI results: %w", err)
		}
	}
	if open == nil {
		open = fsnotify.NewWatcher
	}
	ctx, cancel := context.WithCancel(ctx)
	out, done := make(chan struct{}, 1), make(chan struct{})
	watcher, err := notify(folders, open)
	if err != nil {
		log.FromContext(ctx).Info("CNI results cannot be watched and are polled", "reason", err.Error())
	}
	go func() {
		defer close(done)
		if watcher == nil {
			look(ctx, folders, out)
			return
		}
		defer func() { _ = watcher.Close() }() // nothing was written
		pass(ctx, watcher, out)
	}()
	return out, func() { cancel(); <-done }, nil
}

func notify(folders []string, open func() (*fsnotify.Watcher, error)) (*fsnotify.Watcher, error) {
	w, err := open()
	if err != nil {
		return nil, err
	}
	for _, f := range folders {
		if err := w.Add(f); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

// pass turns events into changes. An error is one as well: events were lost.
func pass(ctx context.Context, w *fsnotify.Watcher, out chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Events:
		case err := <-w.Errors:
			log.FromContext(ctx).Error(err, "Watch CNI results")
		}
		signal(out)
	}
}

// look tells of changes by the folders' times.
func look(ctx context.Context, folders []string, out chan<- struct{}) {
	tick := time.NewTicker(lookDelay)
	defer tick.Stop()
	last := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, f := range folders {
			info, err := os.Stat(f)
			if err != nil {
				continue // its node may be starting again
			}
			if at := info.ModTime(); !at.Equal(last[f]) || time.Since(at) < settleTime {
				last[f] = at
				signal(out)
			}
		}
	}
}

// signal never blocks: one change that waits stands for all that follow.
func signal(out chan<- struct{}) {
	select {
	case out <- struct{}{}:
	default:
	}
}
