package harness

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

// pollPause is the pause between two looks at something that cannot be watched.
const pollPause = 200 * time.Millisecond

// Poll calls check until it returns no error or ctx ends; then the last error tells why.
func Poll(ctx context.Context, check func(context.Context) error) error {
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// Object is a kind of Heddle's.
type Object interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// Until watches an object until done says so, and tells each change of its conditions. obj is filled with what was seen.
func (c *Cluster) Until(ctx context.Context, obj Object, done func() bool) error {
	key := client.ObjectKeyFromObject(obj)
	said := ""
	for {
		err := c.Get(ctx, key, obj)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read %s: %w", what(obj), err)
		}
		if err == nil && done() {
			return nil
		}
		said, err = c.watchUntil(ctx, obj, done, said)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

// errWatchEnded says that the API server ended a watch, as it does now and then.
var errWatchEnded = errors.New("watch ended")

func (c *Cluster) watchUntil(ctx context.Context, obj Object, done func() bool, said string) (string, error) {
	list, err := c.listFor(obj)
	if err != nil {
		return said, err
	}
	w, err := c.Watch(ctx, list, &client.ListOptions{Namespace: obj.GetNamespace(), FieldSelector: fields.OneTermEqualSelector("metadata.name", obj.GetName())})
	if err != nil {
		return said, fmt.Errorf("watch %s: %w", what(obj), err)
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.ResultChan():
			if !ok || e.Type == watch.Error {
				return said, errWatchEnded
			}
			if err := assign(obj, e.Object); err != nil {
				return said, err
			}
			if line := Describe(obj); line != said {
				said = line
				c.progress("%s %s", what(obj), line)
			}
			if e.Type != watch.Deleted && done() {
				return said, nil
			}
		case <-ctx.Done():
			return said, fmt.Errorf("wait for %s: %w; last seen: %s", what(obj), context.Cause(ctx), Describe(obj))
		}
	}
}

func (c *Cluster) listFor(obj Object) (client.ObjectList, error) {
	gvk, err := c.GroupVersionKindFor(obj)
	if err != nil {
		return nil, fmt.Errorf("find kind of %T: %w", obj, err)
	}
	o, err := c.Scheme().New(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err != nil {
		return nil, fmt.Errorf("find list of %T: %w", obj, err)
	}
	list, ok := o.(client.ObjectList)
	if !ok {
		return nil, fmt.Errorf("find list of %T: %T is none", obj, o)
	}
	return list, nil
}

// assign makes obj what a watch brought, with nothing left of what was there before.
func assign(obj Object, seen any) error {
	to, from := reflect.ValueOf(obj), reflect.ValueOf(seen)
	if to.Type() != from.Type() {
		return fmt.Errorf("watch %T: unexpected %T", obj, seen)
	}
	to.Elem().Set(from.Elem())
	return nil
}

// WaitReady waits until the object's spec, as it stands now, has become real.
func (c *Cluster) WaitReady(ctx context.Context, obj Object) error {
	return c.Until(ctx, obj, func() bool { return IsReady(obj) })
}

// WaitStalled waits until the operator says that it cannot go on, and returns what it says.
func (c *Cluster) WaitStalled(ctx context.Context, obj Object) (reason, message string, err error) {
	err = c.Until(ctx, obj, func() bool {
		s := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionStalled)
		if s == nil || s.Status != metav1.ConditionTrue {
			return false
		}
		reason, message = s.Reason, s.Message
		return true
	})
	return reason, message, err
}

// IsReady tells whether the object is Ready at its present generation.
func IsReady(obj Object) bool {
	r := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionReady)
	return r != nil && r.Status == metav1.ConditionTrue && r.ObservedGeneration == obj.GetGeneration() && obj.GetDeletionTimestamp().IsZero()
}

// Describe is the state of an object in a few words.
func Describe(obj Object) string {
	r := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionReady)
	if r == nil {
		return "has no condition yet"
	}
	if r.Status == metav1.ConditionTrue {
		return "is Ready"
	}
	return fmt.Sprintf("%s: %s", r.Reason, r.Message)
}

func what(obj client.Object) string {
	return fmt.Sprintf("%T %s", obj, client.ObjectKeyFromObject(obj))
}

// WaitRefused waits until the operator says what is wrong with an object: Stalled, or waiting for something that a
// person has to make. What it says must have stood for a while, so that a passing state is not taken for it.
func (c *Cluster) WaitRefused(ctx context.Context, obj Object) (reason, message string, err error) {
	refusal := func() *metav1.Condition {
		if s := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionStalled); s != nil && s.Status == metav1.ConditionTrue {
			return s
		}
		s := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionReady)
		if s != nil && s.Status == metav1.ConditionFalse && s.Reason == v1alpha1.ReasonWaitingForDependency {
			return s
		}
		return nil
	}
	for {
		if err := c.Until(ctx, obj, func() bool { return refusal() != nil }); err != nil {
			return "", "", err
		}
		said := *refusal()
		timer := time.NewTimer(steady)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return "", "", context.Cause(ctx)
		}
		if err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
			return "", "", err
		}
		if now := refusal(); now != nil && now.Message == said.Message && now.Reason == said.Reason {
			return said.Reason, said.Message, nil
		}
	}
}

// steady is how long a refusal must stand.
const steady = 3 * time.Second
