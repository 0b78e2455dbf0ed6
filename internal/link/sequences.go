package link

import (
	"context"
	"sync"
	"time"
)

// Sequences remembers how far documents of partners have come, so that none counts twice.
type Sequences interface {
	// Advance notes a sequence of a partner's documents of a kind and subject. It returns the highest one that was seen
	// before, and whether the new one is higher; only then it is noted.
	Advance(ctx context.Context, link, kind, subject string, sequence uint64) (last uint64, fresh bool, err error)
}

// Memory is Sequences that last as long as the process.
type Memory struct {
	mu   sync.Mutex
	last map[topic]uint64
}

// topic is what documents follow one another about.
type topic struct{ link, kind, subject string }

// Advance implements Sequences.
func (m *Memory) Advance(_ context.Context, link, kind, subject string, sequence uint64) (uint64, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == nil {
		m.last = map[topic]uint64{}
	}
	t := topic{link, kind, subject}
	last := m.last[t]
	if sequence <= last {
		return last, false, nil
	}
	m.last[t] = sequence
	return last, true, nil
}

// counter numbers what is sent. Numbers follow the clock, so that they grow over restarts without being kept; a clock
// that was set back is made up for by what the partner says it saw.
type counter struct {
	mu   sync.Mutex
	last map[topic]uint64
}

func (c *counter) next(t topic, now time.Time) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = map[topic]uint64{}
	}
	n := max(c.last[t]+1, uint64(max(now.UnixMicro(), 1)))
	c.last[t] = n
	return n
}

// seen says that the partner has seen a number.
func (c *counter) seen(t topic, n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[t] = max(c.last[t], n)
}
