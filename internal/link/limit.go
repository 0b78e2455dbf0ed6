package link

import (
	"context"
	"net"
	"sync"
	"time"
)

// bucket lets so many events happen at once, and so many more each second.
type bucket struct {
	burst, perSecond float64

	mu    sync.Mutex
	level float64
	at    time.Time
}

func newBucket(burst, perSecond float64) *bucket {
	return &bucket{burst: burst, perSecond: perSecond, level: burst}
}

// take tells whether one more may happen now.
func (b *bucket) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if passed := now.Sub(b.at).Seconds(); !b.at.IsZero() && passed > 0 {
		b.level = min(b.burst, b.level+passed*b.perSecond)
	}
	b.at = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

// limited is a listener with so many connections at a time; more wait to be accepted.
type limited struct {
	net.Listener
	places chan struct{}
}

func limit(l net.Listener, connections int) net.Listener {
	return &limited{Listener: l, places: make(chan struct{}, connections)}
}

// Accept waits for a place and for a connection.
func (l *limited) Accept() (net.Conn, error) {
	l.places <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

type placed struct {
	net.Conn
	leave func()
}

// Close gives the place back.
func (p *placed) Close() error {
	defer p.leave()
	return p.Conn.Close()
}

// crowd counts the connections of each partner, and keeps each within its share.
type crowd struct {
	share int

	mu    sync.Mutex
	count map[string]int
	rates map[string]*bucket
	// desks are where documents are read, so many of a partner at a time: they are long, and memory is the operator's.
	desks map[string]chan struct{}
}

func newCrowd() *crowd {
	return &crowd{share: partnerConnections, count: map[string]int{}, rates: map[string]*bucket{}, desks: map[string]chan struct{}{}}
}

// desk waits for a place to read a document of a partner at, and returns how to leave it.
func (c *crowd) desk(ctx context.Context, partner string) (leave func(), err error) {
	c.mu.Lock()
	places := c.desks[partner]
	if places == nil {
		places = make(chan struct{}, partnerDocuments)
		c.desks[partner] = places
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, deskTimeout)
	defer cancel()
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, Refuse(RefusedBusy, "Other documents of the partner are still being read: one after the other will do")
	}
}

// seat is one connection: whose it is, once that is known.
type seat struct {
	mu      sync.Mutex
	partner string
	left    bool
}

type seatKey struct{}

func withSeat(ctx context.Context, s *seat) context.Context {
	return context.WithValue(ctx, seatKey{}, s)
}

// sit gives the connection of a call its seat, and tells whether the partner may have it and this call.
func (c *crowd) sit(ctx context.Context, partner string, now time.Time) bool {
	s, ok := ctx.Value(seatKey{}).(*seat)
	if !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return false
	}
	if s.partner == "" {
		if c.count[partner] >= c.share {
			return false
		}
		s.partner = partner
		c.count[partner]++
	}
	rate := c.rates[partner]
	if rate == nil {
		rate = newBucket(callBurst, callsPerSecond)
		c.rates[partner] = rate
	}
	return rate.take(now)
}

// leave gives the seat of a connection back.
func (c *crowd) leave(s *seat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return
	}
	s.left = true
	if s.partner == "" {
		return
	}
	if c.count[s.partner]--; c.count[s.partner] == 0 {
		delete(c.count, s.partner)
	}
}
