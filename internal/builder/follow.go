package builder

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"heddle.dev/heddle/internal/specs/launch"
)

const (
	// watchAgain is the pause before a broken watch is opened anew.
	watchAgain = time.Second
	// placeTimeout is how long a machine may be looked for: callers wait meanwhile.
	placeTimeout = 8 * time.Second
	forever      = time.Duration(math.MaxInt64)
	maxLogLine   = 4 << 10
	logRest      = time.Second
	// logBurst lines a second at most go from a contract into the peer's log.
	logBurst = 200
)

// errGone: the pod was deleted, by somebody else.
var errGone = errors.New("the pod was deleted")

// follow stays until the contract's pod has ended or cannot start.
func (l *launcher) follow(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{launcher: l, created: time.Now()}
	defer func() {
		cancel()
		f.awaitLog()
	}()
	for {
		err := f.watch(ctx, pod)
		if errors.Is(err, errBroken) && wait(ctx, watchAgain) == nil {
			pod, err = f.read(ctx)
		}
		switch {
		case errors.Is(err, errGone), ctx.Err() != nil:
			return nil // being told to stop is no failure
		case err != nil:
			return err
		}
	}
}

// errBroken: the watch ended, which it does from time to time.
var errBroken = errors.New("the watch ended")

type follower struct {
	*launcher
	created time.Time
	// logged is closed when the contract's log has been copied; nil before it runs.
	logged chan struct{}
	// idle tells that the pod ends because nobody calls it.
	idle atomic.Bool
}

// read looks at the pod while there is no watch. It tries for as long as the peer wants the contract.
func (f *follower) read(ctx context.Context) (*corev1.Pod, error) {
	for {
		pod := &corev1.Pod{}
		err := f.api.do(ctx, http.MethodGet, f.path("pods", f.name), nil, nil, pod)
		switch {
		case err == nil:
			return pod, f.look(ctx, pod)
		case isCode(err, http.StatusNotFound):
			return nil, errGone
		}
		f.say("reads pod %s again soon: %v", f.name, err)
		if wait(ctx, watchAgain) != nil {
			return nil, errGone
		}
	}
}

// watch looks at the pod each time that it changes from what it last was.
func (f *follower) watch(ctx context.Context, last *corev1.Pod) error {
	// A pod that finds no machine does not change any more.
	watching, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	query := url.Values{"watch": {"1"}, "fieldSelector": {"metadata.name=" + f.name}, "resourceVersion": {last.ResourceVersion}}
	answer, err := f.api.open(watching, http.MethodGet, f.path("pods", ""), query, nil)
	if err != nil {
		return errBroken
	}
	defer func() { _ = answer.Body.Close() }()
	left := placeTimeout - time.Since(f.created)
	if last.Spec.NodeName != "" {
		left = forever
	}
	place := time.AfterFunc(left, func() { cancel(errUnplaced) })
	defer place.Stop()
	decoder := json.NewDecoder(answer.Body)
	for {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		if err := decoder.Decode(&event); err != nil {
			if errors.Is(context.Cause(watching), errUnplaced) {
				return unplaced(last)
			}
			return errBroken
		}
		if event.Type == string(watch.Deleted) {
			return errGone
		}
		pod := &corev1.Pod{}
		if event.Type == string(watch.Error) || json.Unmarshal(event.Object, pod) != nil {
			return errBroken
		}
		if last = pod; pod.Spec.NodeName != "" {
			place.Stop()
		}
		if err := f.look(ctx, pod); err != nil {
			return err
		}
	}
}

var errUnplaced = errors.New("no machine takes the pod")

func unplaced(pod *corev1.Pod) error {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Errorf("%w: %s", errUnplaced, c.Message)
		}
	}
	return errUnplaced
}

// look decides by the state of the pod whether to go on. The log is copied for as long as ctx, which outlives a watch.
func (f *follower) look(ctx context.Context, pod *corev1.Pod) error {
	for i := range pod.Status.ContainerStatuses {
		s := &pod.Status.ContainerStatuses[i]
		if w := s.State.Waiting; w != nil && slices.Contains(launch.HopelessReasons(), w.Reason) {
			return fmt.Errorf("contract %q cannot start: %s: %s", f.contract.Label(), w.Reason, w.Message)
		}
		if s.State.Running != nil && f.logged == nil {
			f.logged = make(chan struct{})
			go f.copyLog(ctx)
			go f.rest(ctx, pod.Status.PodIP, usualPace())
		}
		if t := s.State.Terminated; t != nil {
			f.awaitLog()
			if f.idle.Load() {
				return errGone
			}
			return ended(f.contract.Label(), t)
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return fmt.Errorf("contract %q ended: %s %s", f.contract.Label(), pod.Status.Reason, pod.Status.Message)
	}
	return nil
}

func ended(label string, t *corev1.ContainerStateTerminated) error {
	text := fmt.Sprintf("contract %q ended: %s, exit code %d", label, t.Reason, t.ExitCode)
	if t.Message != "" {
		text += ": " + t.Message
	}
	return errors.New(text)
}

// copyLog copies what the contract says into the peer's log, where it outlives the pod.
func (f *follower) copyLog(ctx context.Context) {
	defer close(f.logged)
	query := url.Values{"follow": {"true"}, "container": {launch.Container}}
	answer, err := f.api.open(ctx, http.MethodGet, f.path("pods", f.name)+"/log", query, nil)
	if err != nil {
		f.say("cannot read the log of %s: %v", f.name, err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	copyLines(f.log, answer.Body, f.contract.Label(), time.Now)
}

// awaitLog gives the last lines of a contract that has ended a moment.
func (f *follower) awaitLog() {
	if f.logged == nil {
		return
	}
	t := time.NewTimer(logRest)
	defer t.Stop()
	select {
	case <-f.logged:
	case <-t.C:
	}
}

// copyLines copies lines with the mark, and no more in a second than a peer's log can bear.
func copyLines(to io.Writer, from io.Reader, label string, now func() time.Time) {
	reader := bufio.NewReaderSize(from, maxLogLine)
	start, count, left := now(), 0, 0
	for {
		line, tooLong, err := reader.ReadLine()
		if err != nil {
			return
		}
		if t := now(); t.Sub(start) >= time.Second {
			if left > 0 {
				fmt.Fprintf(to, launch.LogMark+"%s (%d lines left out: more than %d in a second)\n", label, left, logBurst)
			}
			start, count, left = t, 0, 0
		}
		if count++; count > logBurst {
			left++
			continue
		}
		if tooLong {
			line = append(slices.Clone(line), "…"...)
		}
		fmt.Fprintf(to, launch.LogMark+"%s %s\n", label, line)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
