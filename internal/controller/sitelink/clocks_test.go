package sitelink_test

import (
	"testing"
	"time"

	"heddle.dev/heddle/api/v1alpha1"
)

// TestClocks: two sites whose clocks are twenty minutes apart become partners, change a CA, and tell each other
// that one of them moved; leaves are taken that were made by the other's clock.
func TestClocks(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": 20 * time.Minute, "behind": -20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			a, b := linkedAt(t, ahead)
			rotates(t, a, b)
			moves(t, a, b)
		})
	}
}

// TestClocksTooFarApart: at three quarters of an hour documents are refused, which shows that the clocks above count.
func TestClocksTooFarApart(t *testing.T) {
	_, b := linkedAt(t, 45*time.Minute)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if told := b.link(t, "bank-a").Annotations[v1alpha1.AnnotationTold]; told != "" {
			t.Fatalf("the partner told of itself: %s", told)
		}
	}
}
