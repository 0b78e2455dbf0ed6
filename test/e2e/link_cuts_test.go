package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/load"
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
	ordered := n.ordered(ctx, t)
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
				n.cut(ctx, t, ordered, long, kind.cut)
			})
		}
	}
}

// cut has the way gone for so long, under load; beside it transactions of site b go on that need a's orderers alone.
func (n *twoBanks) cut(ctx context.Context, t *testing.T, ordered *load.Client, long time.Duration, cut func(context.Context) error) {
	n.up(ctx, t)
	l := n.load(ctx, t)
	run, err := load.Start(ctx, []*load.Client{ordered}, load.Options{InFlight: manyInFlight, Rate: sideRate / 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.Stop() })
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
	flows, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := run.Flowing(flows, orderedFull); err != nil {
		t.Errorf("those that need orderers alone: %v", err)
	}
	result := run.Stop()
	l.stop(ctx, t)
	l.errors(t)
	l.back(t, "healing", healed)
	back, _ := result.Back(healed, orderedFull)
	longest, fate := longestWaits(result)
	progress("%s: those that need orderers alone: %s; the full rate is back %.1f s after healing; "+
		"the longest wait for an error was %.1f s, for the fate of one on its way %.1f s",
		t.Name(), result, back.Seconds(), longest.Took().Seconds(), fate.Took().Seconds())
	if err := load.CheckKept(flows, []*load.Client{ordered}, result.Acks); err != nil {
		t.Errorf("acknowledged transactions were lost: %v", err)
	}
}

// orderedFull is the full rate of transactions that need orderers alone.
const orderedFull = 3
