package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"heddle.dev/heddle/api/v1alpha1"
)

// TestLinkCut: the way between two sites of a network is cut for 20, 60 and 180 s, in both directions and in one: callers
// get errors and do not hang, the full rate is back within seconds of healing, and nothing acknowledged is lost.
func TestLinkCut(t *testing.T) {
	wanted(t)
	began := time.Now()
	t.Cleanup(func() { shared.note(t, time.Since(began)) })
	ctx, cancel := context.WithTimeoutCause(t.Context(), 29*time.Minute, errors.New("the test's 29 minutes are over"))
	t.Cleanup(cancel)
	n := openShared(ctx, t, "cuts")
	for _, long := range []time.Duration{20 * time.Second, 60 * time.Second, 180 * time.Second} {
		for _, kind := range []struct {
			name string
			cut  func(context.Context) error
		}{
			{"silent", func(ctx context.Context) error { return n.a.Lab.Cut(ctx, "site1", "site2") }},
			{"from a to b", func(ctx context.Context) error { return n.a.Lab.CutOneWay(ctx, "site1", "site2") }},
			{"from b to a", func(ctx context.Context) error { return n.a.Lab.CutOneWay(ctx, "site2", "site1") }},
		} {
			t.Run(fmt.Sprintf("%s for %.0f s", kind.name, long.Seconds()), func(t *testing.T) {
				n.cut(ctx, t, long, kind.cut)
			})
		}
	}
}

// cut has the way gone for so long, under load.
func (n *twoBanks) cut(ctx context.Context, t *testing.T, long time.Duration, cut func(context.Context) error) {
	n.up(ctx, t)
	l := n.load(ctx, t)
	began := time.Now()
	if err := cut(ctx); err != nil {
		t.Fatal(err)
	}
	over := time.NewTimer(long)
	defer over.Stop()
	for _, s := range n.sides {
		s.await(ctx, t, s.partner, v1alpha1.LinkDown)
		progress("%s knows %.1f s after the cut", s.id, time.Since(began).Seconds())
	}
	select {
	case <-over.C:
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
	healed := time.Now()
	if err := n.a.Lab.Heal(ctx); err != nil {
		t.Fatal(err)
	}
	n.up(ctx, t)
	l.flowing(ctx, t)
	l.stop(ctx, t)
	l.errors(t)
	l.back(t, "healing", healed)
}
