package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/status"
)

// Options of a run.
type Options struct {
	// InFlight is the number of transactions under way at once.
	InFlight int
	// Rate is the number of transactions started each second; 0 starts the next as soon as one ends.
	Rate float64
	// Duration ends the run; 0 goes on until Stop or the end of the context.
	Duration time.Duration
}

// Ack is one acknowledged transaction: the client was told that it is committed.
type Ack struct {
	Key, TxID string
	Peer      string
	Block     uint64
	Sent, At  time.Time
}

// Failure is one transaction that was not acknowledged.
type Failure struct {
	Peer string
	Err  error
	// Sent and At, when the error came.
	Sent, At time.Time
}

// Took is how long the caller had to wait for the error.
func (f Failure) Took() time.Duration { return f.At.Sub(f.Sent) }

// Result is what came of a run.
type Result struct {
	Acks []Ack
	// Failures in the order in which they came.
	Failures []Failure
	// Failed counts transactions without an acknowledgement, by cause. They may or may not be on the ledger.
	Failed map[string]int
	// Started counts the transactions that were sent, whatever came of them.
	Started int
	// Elapsed is the time in which transactions were started; waiting for the last of them does not count.
	Elapsed time.Duration
}

// Run is a load under way.
type Run struct {
	stop    context.CancelFunc
	done    chan struct{}
	started time.Time

	mu    sync.Mutex
	ended time.Time // when the last transaction was let start
	count int       // of transactions sent
	acks  []Ack
	// failed by cause.
	failed   map[string]int
	failures []Failure
	woken    chan struct{}
}

// Start begins to create assets with fresh keys, each worker taking the clients in turn.
func Start(ctx context.Context, clients []*Client, o Options) (*Run, error) {
	if len(clients) == 0 || o.InFlight < 1 {
		return nil, errors.New("start load: needs at least one client and one transaction in flight")
	}
	var stop context.CancelFunc
	if o.Duration > 0 {
		ctx, stop = context.WithTimeout(ctx, o.Duration)
	} else {
		ctx, stop = context.WithCancel(ctx)
	}
	r := &Run{stop: stop, done: make(chan struct{}), started: time.Now(), failed: map[string]int{}, woken: make(chan struct{})}
	keys := feed(ctx, o.Rate)
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = time.Now()
	})
	var workers sync.WaitGroup
	for w := range o.InFlight {
		workers.Go(func() {
			n := w
			for key := range keys {
				r.one(ctx, clients[n%len(clients)], key)
				n++
			}
		})
	}
	go func() {
		workers.Wait()
		close(r.done)
	}()
	return r, nil
}

// feed hands out fresh keys, at a rate if there is one, until the context ends.
func feed(ctx context.Context, rate float64) <-chan string {
	keys := make(chan string)
	prefix := rand.Text()
	go func() {
		defer close(keys)
		var tick <-chan time.Time
		if rate > 0 {
			t := time.NewTicker(time.Duration(float64(time.Second) / rate))
			defer t.Stop()
			tick = t.C
		}
		for n := 0; ; n++ {
			if tick != nil {
				select {
				case <-tick:
				case <-ctx.Done():
					return
				}
			}
			select {
			case keys <- fmt.Sprintf("%s-%d", prefix, n):
			case <-ctx.Done():
				return
			}
		}
	}()
	return keys
}

// one submits one transaction. It is let go to its end when the run stops, so that the last ones count too.
func (r *Run) one(ctx context.Context, c *Client, key string) {
	r.mu.Lock()
	r.count++
	r.mu.Unlock()
	sent := time.Now()
	receipt, err := c.Submit(context.WithoutCancel(ctx), "Create", key, "load", "7")
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed[cause(err)]++
		r.failures = append(r.failures, Failure{Peer: c.Name(), Err: err, Sent: sent, At: time.Now()})
		return
	}
	r.acks = append(r.acks, Ack{Key: key, TxID: receipt.TxID, Peer: c.Name(), Block: receipt.Block, Sent: sent, At: time.Now()})
	close(r.woken)
	r.woken = make(chan struct{})
}

// cause makes errors countable: the gRPC code and message without transaction ids.
func cause(err error) string {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return clip(s.GRPCStatus().Code().String() + ": " + s.GRPCStatus().Message())
	}
	return clip(err.Error())
}

func clip(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s[:min(len(s), 160)]
}

// Acknowledged is the number of acknowledged transactions so far.
func (r *Run) Acknowledged() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.acks)
}

// AckAfter waits for the first acknowledgement of a transaction that was *sent* after t.
func (r *Run) AckAfter(ctx context.Context, t time.Time) (Ack, error) {
	for {
		r.mu.Lock()
		i := slices.IndexFunc(r.acks, func(a Ack) bool { return a.Sent.After(t) })
		woken := r.woken
		if i >= 0 {
			defer r.mu.Unlock()
			return r.acks[i], nil
		}
		r.mu.Unlock()
		select {
		case <-woken:
		case <-ctx.Done():
			return Ack{}, fmt.Errorf("wait for a committed transaction: %w; failed so far: %s", ctx.Err(), r.failedSoFar())
		}
	}
}

// Flowing waits until that many transactions which were sent from now on have been acknowledged within one second.
func (r *Run) Flowing(ctx context.Context, perSecond int) error {
	began := time.Now()
	for {
		r.mu.Lock()
		woken, flows := r.woken, flows(r.acks, began, perSecond)
		r.mu.Unlock()
		if flows {
			return nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d transactions a second: %w; failed so far: %s", perSecond, ctx.Err(), r.failedSoFar())
		}
	}
}

func (r *Run) failedSoFar() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return summary(r.failed)
}

// flows tells whether, of the transactions sent after began, so many were acknowledged in the newest one's last second.
func flows(acks []Ack, began time.Time, perSecond int) bool {
	n := 0
	var newest time.Time
	for _, a := range slices.Backward(acks) {
		if !a.Sent.After(began) {
			continue
		}
		if newest.IsZero() {
			newest = a.At
		}
		if newest.Sub(a.At) > time.Second {
			return false
		}
		if n++; n >= perSecond {
			return true
		}
	}
	return false
}

// Stop ends the run, lets what is in flight end, and returns what came of it.
func (r *Run) Stop() Result {
	r.stop()
	return r.Wait()
}

// Wait returns what came of a run that ends by its Duration or context.
func (r *Run) Wait() Result {
	<-r.done
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	ended := r.ended
	if ended.IsZero() {
		ended = time.Now()
	}
	return Result{Acks: slices.Clone(r.acks), Failures: slices.Clone(r.failures), Failed: maps.Clone(r.failed), Started: r.count, Elapsed: ended.Sub(r.started)}
}

// TPS is the number of acknowledged transactions a second.
func (r Result) TPS() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(len(r.Acks)) / r.Elapsed.Seconds()
}

// Offered is the number of transactions sent a second, whether acknowledged or not.
func (r Result) Offered() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Started) / r.Elapsed.Seconds()
}

// Latency is the time from sending to acknowledgement that the given part of the transactions did not pass.
func (r Result) Latency(part float64) time.Duration {
	if len(r.Acks) == 0 {
		return 0
	}
	all := make([]time.Duration, 0, len(r.Acks))
	for _, a := range r.Acks {
		all = append(all, a.At.Sub(a.Sent))
	}
	slices.Sort(all)
	return all[int(part*float64(len(all)-1))]
}

// LongestGap is the longest time in which nothing was acknowledged.
func (r Result) LongestGap() time.Duration {
	var longest time.Duration
	for i := 1; i < len(r.Acks); i++ {
		longest = max(longest, r.Acks[i].At.Sub(r.Acks[i-1].At))
	}
	return longest
}

// Back is how long after a moment it took until so many transactions a second were acknowledged again that were sent after
// it, for a whole second. It is false if they never were.
func (r Result) Back(after time.Time, perSecond int) (time.Duration, bool) {
	var times []time.Time
	for _, a := range r.Acks {
		if a.Sent.After(after) {
			times = append(times, a.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	for i := 0; i+perSecond <= len(times); i++ {
		if times[i+perSecond-1].Sub(times[i]) <= time.Second {
			return times[i].Sub(after), true
		}
	}
	return 0, false
}

// String is one line for a log.
func (r Result) String() string {
	return fmt.Sprintf("%d acknowledged in %.1f s (%.1f/s of %.1f/s sent, p50 %d ms, p99 %d ms, longest gap %d ms); failed: %s", len(r.Acks), r.Elapsed.Seconds(),
		r.TPS(), r.Offered(), r.Latency(0.5).Milliseconds(), r.Latency(0.99).Milliseconds(), r.LongestGap().Milliseconds(), summary(r.Failed))
}

func summary(failed map[string]int) string {
	if len(failed) == 0 {
		return "none"
	}
	var parts []string
	for _, c := range slices.Sorted(maps.Keys(failed)) {
		parts = append(parts, fmt.Sprintf("%d x %s", failed[c], c))
	}
	return strings.Join(parts, "; ")
}
