// Package pace says when to look again at things that nobody announces, such as the height of a ledger: soon after
// something moved, ever more rarely while nothing does, and at a slow beat at rest. It keeps one moment per
// object in memory and loses nothing with it.
package pace

import (
	"cmp"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
)

// The bounds of the pauses.
const (
	shortest = 150 * time.Millisecond
	longest  = 10 * time.Second
	// Rest is the beat of an object that is as it should be, Quiet the one of an object where nothing happens either.
	Rest  = 25 * time.Second
	Quiet = time.Minute
)

// Pace keeps the beat of one kind's objects.
type Pace struct {
	// Now is the clock.
	Now func() time.Time
	// Rest is the beat of an object that is as it should be; the usual one if left out.
	Rest time.Duration

	mu   sync.Mutex
	seen map[types.NamespacedName]beat
}

type beat struct {
	fingerprint string
	moved       time.Time
	ready       bool
}

// Next completes the result of a round: if nobody said when to look again, it says so itself. The fingerprint is
// another one after every progress.
func (p *Pace) Next(key types.NamespacedName, res ctrl.Result, err error, fingerprint string, ready bool) (ctrl.Result, error) {
	now := p.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.seen[key]
	if !ok || b.fingerprint != fingerprint {
		b = beat{fingerprint: fingerprint, moved: now}
	}
	b.ready = ready && err == nil
	if p.seen == nil {
		p.seen = map[types.NamespacedName]beat{}
	}
	p.seen[key] = b
	if err != nil || res.RequeueAfter > 0 {
		return res, err
	}
	if b.ready {
		rest := cmp.Or(p.Rest, Rest)
		return ctrl.Result{RequeueAfter: min(max(now.Sub(b.moved), rest), max(rest, Quiet))}, nil
	}
	return ctrl.Result{RequeueAfter: min(max(now.Sub(b.moved)/8, shortest), longest)}, nil
}

// Resting tells whether the last round of an object ended well.
func (p *Pace) Resting(key types.NamespacedName) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[key].ready
}

// Forget drops an object that is gone.
func (p *Pace) Forget(key types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.seen, key)
}
