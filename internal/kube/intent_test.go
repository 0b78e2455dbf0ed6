package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"heddle.dev/heddle/api/v1alpha1"
)

func TestJudge(t *testing.T) {
	resource := schema.GroupResource{Resource: "things"}
	for name, c := range map[string]struct {
		err    error
		reason string
		want   outcome
	}{
		"nothing":    {nil, v1alpha1.ReasonReady, outcome{ready: true}},
		"look again": {LookAgain(time.Hour), v1alpha1.ReasonReady, outcome{ready: true, after: time.Hour}},
		"waiting":    {Waiting(v1alpha1.ReasonWaitingForPod, time.Second, "Wait"), v1alpha1.ReasonWaitingForPod, outcome{reconciling: true, after: time.Second}},
		"stalled":    {fmt.Errorf("step: %w", Stalled(v1alpha1.ReasonInvalidSpec, "No")), v1alpha1.ReasonInvalidSpec, outcome{stalled: true, after: stalledAfter}},
		"error":      {errors.New("dial: refused"), v1alpha1.ReasonRetrying, outcome{reconciling: true}},
		"forbidden":  {apierrors.NewForbidden(resource, "a", errors.New("no")), v1alpha1.ReasonForbidden, outcome{reconciling: true}},
		"conflict":   {apierrors.NewConflict(resource, "a", errors.New("moved")), "", outcome{keep: true}},
	} {
		t.Run(name, func(t *testing.T) {
			got := judge(c.err)
			if got.reason != c.reason || got.ready != c.want.ready || got.reconciling != c.want.reconciling ||
				got.stalled != c.want.stalled || got.after != c.want.after || got.keep != c.want.keep {
				t.Errorf("got %+v, want %+v with reason %s", got, c.want, c.reason)
			}
			if _, intent := AsIntent(c.err); c.err != nil && !intent && got.retry == nil {
				t.Error("the error is not tried again")
			}
		})
	}
}

func TestMessagesStartWithACapitalAndEnd(t *testing.T) {
	if got := judge(errors.New("dial: refused")).message; got != "Dial: refused" {
		t.Errorf("message %q", got)
	}
	if got := judge(errors.New(strings.Repeat("ä", 1000))).message; len([]rune(got)) != maxMessage {
		t.Errorf("the message has %d letters", len([]rune(got)))
	}
}

func TestRunAllTellsTheMostTelling(t *testing.T) {
	wait, stall, plain, again := Waiting("W", 0, "w"), Stalled("S", "s"), errors.New("p"), LookAgain(time.Hour)
	step := func(err error) Step[atomic.Int32] {
		return func(_ context.Context, ran *atomic.Int32) error {
			ran.Add(1)
			return err
		}
	}
	for name, c := range map[string]struct {
		errs []error
		want error
	}{
		"none": {[]error{nil, nil}, nil}, "plain first": {[]error{wait, plain, stall}, plain},
		"then stalled": {[]error{wait, stall, nil}, stall}, "then waiting": {[]error{again, wait}, wait}, "then again": {[]error{nil, again}, again},
	} {
		t.Run(name, func(t *testing.T) {
			var ran atomic.Int32
			var steps []Step[atomic.Int32]
			for _, err := range c.errs {
				steps = append(steps, step(err))
			}
			if got := RunAll(t.Context(), &ran, steps...); !errors.Is(got, c.want) || int(ran.Load()) != len(c.errs) {
				t.Errorf("got %v after %d steps, want %v", got, ran.Load(), c.want)
			}
			first := error(nil)
			for _, err := range c.errs {
				if first = err; err != nil {
					break
				}
			}
			if got := Run(t.Context(), &ran, steps...); !errors.Is(got, first) {
				t.Errorf("Run: got %v, want %v", got, first)
			}
		})
	}
}
