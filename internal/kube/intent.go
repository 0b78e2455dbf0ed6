// Package kube is what every controller shares: how a step tells its intent, how that becomes conditions and a
// requeue, how objects are applied, and how one round of reconciliation goes. It knows Kubernetes and the
// conditions of api/v1alpha1, and nothing of Fabric. Controllers (the room above) hold the steps.
package kube

import (
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"heddle.dev/heddle/api/v1alpha1"
)

// Intent is what a step wants when it cannot go on: to wait, or to stop until a person changes something.
// Any other error means: try again with back-off, and show the cause.
type Intent struct {
	// Reason is one of the reasons of api/v1alpha1.
	Reason string
	// Message is one sentence for a person: first letter capital, no full stop.
	Message string
	// After is when to look again; 0 relies on watches alone.
	After time.Duration
	// Stalled says that only a change by a person helps.
	Stalled bool
	// Ready says that all is well, and After when to look again all the same.
	Ready bool
}

// Error makes an Intent an error, so that steps can return it.
func (i *Intent) Error() string { return i.Reason + ": " + i.Message }

// Waiting says that a step has to wait; after is when to look again if no watch wakes the controller before.
func Waiting(reason string, after time.Duration, format string, args ...any) error {
	return &Intent{Reason: reason, Message: fmt.Sprintf(format, args...), After: after}
}

// stalledAfter is when a stalled object is looked at again: what a person changes is not always watched.
const stalledAfter = time.Minute

// Stalled says that nothing can go on until a person changes what the message names.
func Stalled(reason, format string, args ...any) error {
	return &Intent{Reason: reason, Message: fmt.Sprintf(format, args...), After: stalledAfter, Stalled: true}
}

// LookAgain says that all is as the spec asks, and when to look again, as at the time of a renewal.
func LookAgain(after time.Duration) error {
	return &Intent{Reason: v1alpha1.ReasonReady, Message: readyMessage, After: max(after, time.Second), Ready: true}
}

const readyMessage = "All is as the spec asks"

// AsIntent finds the Intent in an error, if it has one.
func AsIntent(err error) (*Intent, bool) {
	var i *Intent
	ok := errors.As(err, &i)
	return i, ok
}

// silent reports whether an error is the usual noise of concurrent writers, which is retried and never shown.
func silent(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

// outcome is what a round of reconciliation came to.
type outcome struct {
	ready, reconciling, stalled bool
	reason, message             string
	after                       time.Duration
	retry                       error
	// keep says that the conditions of the round before stay as they are.
	keep bool
}

// judge maps the error of a round to its outcome; nil is Ready.
func judge(err error) outcome {
	if err == nil {
		return outcome{ready: true, reason: v1alpha1.ReasonReady, message: readyMessage}
	}
	if i, ok := AsIntent(err); ok {
		return outcome{ready: i.Ready, reconciling: !i.Stalled && !i.Ready, stalled: i.Stalled, reason: i.Reason, message: clip(i.Message), after: i.After}
	}
	if silent(err) {
		return outcome{keep: true, retry: err}
	}
	if apierrors.IsForbidden(err) {
		return outcome{reconciling: true, reason: v1alpha1.ReasonForbidden, message: clip(sentence(err)), retry: err}
	}
	return outcome{reconciling: true, reason: v1alpha1.ReasonRetrying, message: clip(sentence(err)), retry: err}
}

// maxMessage bounds a condition's message: longer ones are not read.
const maxMessage = 400

func clip(s string) string {
	r := []rune(s)
	if len(r) <= maxMessage {
		return s
	}
	return string(r[:maxMessage-1]) + "…"
}

// sentence turns an error's text into the start of a sentence.
func sentence(err error) string {
	s := err.Error()
	if s == "" {
		return "Unknown error"
	}
	if c := s[0]; c >= 'a' && c <= 'z' {
		return string(c-'a'+'A') + s[1:]
	}
	return s
}
