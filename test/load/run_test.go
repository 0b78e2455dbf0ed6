package load

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func acks(start time.Time, ms ...int) []Ack {
	var all []Ack
	at := start
	for _, m := range ms {
		sent := at
		at = at.Add(time.Duration(m) * time.Millisecond)
		all = append(all, Ack{Sent: sent, At: at})
	}
	return all
}

func TestResultFigures(t *testing.T) {
	start := time.Unix(1000, 0)
	cases := map[string]struct {
		result        Result
		tps           float64
		p50, p99, gap time.Duration
	}{
		"nothing": {},
		"five": {
			result: Result{Acks: acks(start, 100, 300, 200, 900, 500), Elapsed: 2 * time.Second},
			tps:    2.5, p50: 300 * time.Millisecond, p99: 500 * time.Millisecond, gap: 900 * time.Millisecond,
		},
		"one": {result: Result{Acks: acks(start, 70), Elapsed: time.Second}, tps: 1, p50: 70 * time.Millisecond, p99: 70 * time.Millisecond},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := tc.result
			if r.TPS() != tc.tps || r.Latency(0.5) != tc.p50 || r.Latency(0.99) != tc.p99 || r.LongestGap() != tc.gap {
				t.Errorf("got tps %v p50 %v p99 %v gap %v, want %v %v %v %v",
					r.TPS(), r.Latency(0.5), r.Latency(0.99), r.LongestGap(), tc.tps, tc.p50, tc.p99, tc.gap)
			}
		})
	}
}

func TestAckAfterIgnoresTransactionsSentBefore(t *testing.T) {
	start := time.Now()
	r := &Run{failed: map[string]int{}, woken: make(chan struct{}), acks: acks(start, 10, 10, 10)}
	a, err := r.AckAfter(t.Context(), start.Add(5*time.Millisecond))
	if err != nil || !a.Sent.Equal(start.Add(10*time.Millisecond)) {
		t.Errorf("got %v, %v, want the second one", a.Sent, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.AckAfter(ctx, start.Add(time.Hour)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want to run into the deadline", err)
	}
}

func TestFlows(t *testing.T) {
	start := time.Unix(1000, 0)
	cases := map[string]struct {
		acks []Ack
		want bool
	}{
		"nothing":              {},
		"five in a second":     {acks: acks(start, 200, 200, 200, 200, 200), want: true},
		"five in two":          {acks: acks(start, 400, 400, 400, 400, 400)},
		"fast after a pause":   {acks: acks(start, 3000, 100, 100, 100, 100, 100), want: true},
		"too few after a gap":  {acks: acks(start, 100, 100, 100, 3000, 100)},
		"sent before the time": {acks: acks(start.Add(-time.Second), 100, 100, 100, 100, 100, 100)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := flows(tc.acks, start.Add(-time.Nanosecond), 5); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestCauseHasNoTransactionID(t *testing.T) {
	err := fmt.Errorf("submit tx-1: %w", status.Error(codes.Unavailable, "no orderer\nmore"))
	if got, want := cause(err), "Unavailable: no orderer"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFeedKeepsItsRate(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	seen := map[string]bool{}
	for k := range feed(ctx, 100) {
		if seen[k] {
			t.Fatalf("key %q twice", k)
		}
		seen[k] = true
	}
	if len(seen) == 0 || len(seen) > 51 {
		t.Errorf("got %d keys in half a second, want at most 51", len(seen))
	}
}

func TestBack(t *testing.T) {
	start := time.Unix(1000, 0)
	r := Result{Acks: acks(start, 100, 3000, 700, 200, 200, 200, 200)}
	for name, tc := range map[string]struct {
		after time.Time
		rate  int
		want  time.Duration
		back  bool
	}{
		"at once":         {after: start.Add(-time.Second), rate: 1, want: 1100 * time.Millisecond, back: true},
		"after a gap":     {after: start.Add(-time.Second), rate: 4, want: 4800 * time.Millisecond, back: true},
		"sent after only": {after: start.Add(3 * time.Second), rate: 4, want: 800 * time.Millisecond, back: true},
		"never":           {after: start, rate: 6},
		"nothing sent":    {after: start.Add(time.Hour), rate: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got, back := r.Back(tc.after, tc.rate); got != tc.want || back != tc.back {
				t.Errorf("got %s, %v, want %s, %v", got, back, tc.want, tc.back)
			}
		})
	}
}
