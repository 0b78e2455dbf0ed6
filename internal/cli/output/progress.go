package output

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// quietFor is how long a step may take before it is spoken of.
const quietFor = 2 * time.Second

// Progress tells a person on standard error what a command is doing.
type Progress struct {
	w io.Writer
	// always prints a line for every step, also for short ones.
	always bool
	mu     sync.Mutex
}

// NewProgress makes a Progress that speaks of steps which take longer than two seconds. A nil writer is silent.
func NewProgress(w io.Writer) *Progress { return &Progress{w: w} }

// NewSteps makes a Progress that prints a line with timing for every step. A nil writer is silent.
func NewSteps(w io.Writer) *Progress { return &Progress{w: w, always: true} }

// Printf prints a line of its own.
func (p *Progress) Printf(format string, args ...any) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Step runs fn. The note that fn keeps up to date is printed when it changes, once the step has become long.
func (p *Progress) Step(ctx context.Context, name string, fn func(ctx context.Context, note func(string)) error) error {
	start := time.Now()
	s := &step{p: p, name: name, start: start, done: make(chan struct{}), said: map[string]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() { s.watch(ctx) })
	err := fn(ctx, s.note)
	close(s.done)
	wg.Wait()
	took := time.Since(start)
	switch {
	case err != nil && (p.always || s.spoken):
		p.Printf("✗ %s  %s", name, seconds(took))
	case err == nil && (p.always || s.spoken):
		p.Printf("✓ %s  %s", name, seconds(took))
	}
	return err
}

// step is one running step.
type step struct {
	p      *Progress
	name   string
	start  time.Time
	done   chan struct{}
	mu     sync.Mutex
	last   string
	said   map[string]bool
	spoken bool
	long   bool
}

func (s *step) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text == s.last {
		return
	}
	s.last = text
	// What comes and goes is said once.
	if s.long && !s.said[text] {
		s.speak()
	}
}

// speak is called with the lock held.
func (s *step) speak() {
	s.spoken = true
	s.said[s.last] = true
	if s.last == "" {
		s.p.Printf("  %s …", s.name)
		return
	}
	s.p.Printf("  %s: %s (%s)", s.name, s.last, seconds(time.Since(s.start)))
}

// watch waits until the step counts as long.
func (s *step) watch(ctx context.Context) {
	t := time.NewTimer(quietFor)
	defer t.Stop()
	select {
	case <-s.done:
	case <-ctx.Done():
	case <-t.C:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.long = true
		s.speak()
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
