package lifecycle

import (
	"context"
	"sync"

	"heddle.dev/heddle/fabsim/internal/peer/ledger"
)

// known are contracts as they were last looked up. Every transaction asks for one, and each look takes a dozen reads of
// the state, which are calls where that is a CouchDB. What is known holds until records or packages change.
type known struct {
	mu sync.Mutex
	// changing counts changes under way: meanwhile nothing is known.
	changing int
	// generation counts changes that began: what was looked up before one is not kept after it.
	generation int
	locals     map[knownKey]*Local
	names      map[string][]string
}

type knownKey struct{ channel, name string }

// Changing says that records of contracts or packages are about to change. The caller calls done afterwards.
func (c *Contract) Changing() (done func()) {
	k := &c.known
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changing++
	k.generation++
	k.locals, k.names = nil, nil
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.changing--
	}
}

// local returns what is known of a contract, and the generation under which it may be kept.
func (k *known) local(key knownKey) (*Local, bool, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.locals[key]
	return found, ok, k.generation
}

func (k *known) keepLocal(key knownKey, l *Local, generation int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changing > 0 || k.generation != generation {
		return
	}
	if k.locals == nil {
		k.locals = map[knownKey]*Local{}
	}
	k.locals[key] = l
}

// Names are the contracts of a channel, in order.
func (c *Contract) Names(ctx context.Context, on *ledger.Ledger) ([]string, error) {
	k := &c.known
	k.mu.Lock()
	found, ok := k.names[on.Channel()]
	generation := k.generation
	k.mu.Unlock()
	if ok {
		return found, nil
	}
	names, err := definedNames(ctx, on)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changing == 0 && k.generation == generation {
		if k.names == nil {
			k.names = map[string][]string{}
		}
		k.names[on.Channel()] = names
	}
	return names, nil
}

// Local finds a contract; nil if it is not defined. Callers must not change it.
func (c *Contract) Local(ctx context.Context, on *ledger.Ledger, name string) (*Local, error) {
	key := knownKey{on.Channel(), name}
	found, ok, generation := c.known.local(key)
	if ok {
		return found, nil
	}
	ids, err := c.o.Packages.List()
	if err != nil {
		return nil, err
	}
	l, err := c.local(ctx, on, name, ids)
	// One that is not defined is not kept: any name can be asked for.
	if err == nil && l != nil {
		c.known.keepLocal(key, l, generation)
	}
	return l, err
}
