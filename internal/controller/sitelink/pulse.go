package sitelink

import (
	"context"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/event"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/link"
)

const (
	// beat is how often each partner is asked.
	beat = time.Second
	// answerWithin is how long a partner has for an answer, over a new connection too.
	answerWithin = 2 * time.Second
	// missesForDown are the answers that have to be missed in a row.
	missesForDown = 3
	// hangUpsForDown are the calls in a row that a partner's gateway may end by itself, as it does while the operator behind
	// it is replaced: the way to the site is good, and so are the links.
	hangUpsForDown = 60
)

// verdict is what the last questions came to. It changes when there is news only.
type verdict struct {
	// standing of this site there; empty while the partner does not answer.
	standing link.Standing
	// reason and text say why there is no answer; the text is the same as long as the trouble is.
	reason, text string
	// hungUp says that the partner's gateway takes calls, and nobody behind it answers.
	hungUp bool
}

// pulse asks every partner, each second, how things stand.
type pulse struct {
	ask    func(ctx context.Context, name string) verdict
	events chan event.GenericEvent

	mu    sync.Mutex
	beats map[string]*heart
	// spawn starts a goroutine that ends with the manager; nil until that runs.
	spawn func(func(context.Context))
}

// heart is that of one link.
type heart struct {
	stop    chan struct{}
	misses  int
	hangUps int
	known   bool
	verdict verdict
}

func newPulse(ask func(context.Context, string) verdict) *pulse {
	return &pulse{ask: ask, events: make(chan event.GenericEvent), beats: map[string]*heart{}}
}

// Start runs until ctx ends.
func (p *pulse) Start(ctx context.Context) error {
	var running sync.WaitGroup
	p.mu.Lock()
	p.spawn = func(f func(context.Context)) {
		running.Go(func() { f(ctx) })
	}
	for name, h := range p.beats {
		p.run(name, h)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.spawn = nil
	p.mu.Unlock()
	running.Wait()
	return nil
}

// of returns what is known of a partner, and begins to ask it.
func (p *pulse) of(name string) (verdict, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.beats[name]
	if h == nil {
		h = &heart{stop: make(chan struct{})}
		p.beats[name] = h
		p.run(name, h)
	}
	return h.verdict, h.known
}

// end stops asking.
func (p *pulse) end(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.beats[name]; h != nil {
		close(h.stop)
		delete(p.beats, name)
	}
}

// run is called with the lock held.
func (p *pulse) run(name string, h *heart) {
	if p.spawn == nil {
		return
	}
	p.spawn(func(ctx context.Context) {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			asked, cancel := context.WithTimeout(ctx, answerWithin)
			v := p.ask(asked, name)
			cancel()
			if p.note(h, v) {
				o := &v1alpha1.SiteLink{}
				o.Name = name
				select {
				case p.events <- event.GenericEvent{Object: o}:
				case <-h.stop:
					return
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-tick.C:
			case <-h.stop:
				return
			case <-ctx.Done():
				return
			}
		}
	})
}

// note takes an answer down and tells whether there is news.
func (p *pulse) note(h *heart, v verdict) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case v.standing != "":
		h.misses, h.hangUps = 0, 0
	case v.hungUp && h.known && h.hangUps < hangUpsForDown:
		h.misses = 0
		h.hangUps++
		return false
	default:
		if h.misses++; h.misses < missesForDown {
			return false
		}
	}
	news := !h.known || h.verdict != v
	h.known, h.verdict = true, v
	return news
}
