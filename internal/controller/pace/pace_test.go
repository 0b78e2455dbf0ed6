package pace

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
)

func TestNext(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	p := &Pace{Now: func() time.Time { return now }}
	key := types.NamespacedName{Namespace: "trade", Name: "demo"}
	cause := errors.New("no")
	for _, step := range []struct {
		name        string
		at          time.Duration
		res         ctrl.Result
		err         error
		fingerprint string
		ready       bool
		want        time.Duration
		resting     bool
	}{
		{name: "just moved", fingerprint: "a", want: shortest},
		{name: "still young", at: time.Second, fingerprint: "a", want: shortest},
		{name: "slower", at: 40 * time.Second, fingerprint: "a", want: 5 * time.Second},
		{name: "slowest", at: time.Hour, fingerprint: "a", want: longest},
		{name: "moved again", at: time.Hour + time.Second, fingerprint: "b", want: shortest},
		{name: "somebody knows better", at: 2 * time.Hour, fingerprint: "b", res: ctrl.Result{RequeueAfter: time.Minute}, want: time.Minute},
		{name: "ready", at: 2 * time.Hour, fingerprint: "c", ready: true, want: Rest, resting: true},
		{name: "ready for a while", at: 2*time.Hour + 40*time.Second, fingerprint: "c", ready: true, want: 40 * time.Second, resting: true},
		{name: "quiet", at: 2*time.Hour + 10*time.Minute, fingerprint: "c", ready: true, want: Quiet, resting: true},
		{name: "busy again", at: 2*time.Hour + 11*time.Minute, fingerprint: "d", ready: true, want: Rest, resting: true},
		{name: "failed", at: 3 * time.Hour, fingerprint: "c", ready: true, err: cause},
	} {
		t.Run(step.name, func(t *testing.T) {
			now = start.Add(step.at)
			res, err := p.Next(key, step.res, step.err, step.fingerprint, step.ready)
			if !errors.Is(err, step.err) || res.RequeueAfter != step.want {
				t.Errorf("got %s, %v; want %s, %v", res.RequeueAfter, err, step.want, step.err)
			}
			if got := p.Resting(key); got != step.resting {
				t.Errorf("resting %t", got)
			}
		})
	}
	p.Forget(key)
	if len(p.seen) > 0 {
		t.Error("not forgotten")
	}
}
