package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"heddle.dev/heddle/api/v1alpha1"
)

// Object is a kind of api/v1alpha1: something with conditions.
type Object interface {
	client.Object
	// GetConditions returns a pointer to the conditions in the object's status.
	GetConditions() *[]metav1.Condition
	// SetObservedGeneration notes the generation that the status speaks of.
	SetObservedGeneration(generation int64)
}

// Step is one part of bringing an object about. It returns nil to go on to the next, Waiting or Stalled to end the
// round with that intent, or any other error to be tried again.
type Step[S any] func(ctx context.Context, scope *S) error

// Run runs steps in order until one of them returns an error.
func Run[S any](ctx context.Context, scope *S, steps ...Step[S]) error {
	for _, step := range steps {
		if err := step(ctx, scope); err != nil {
			return err
		}
	}
	return nil
}

// atOnce is how many steps RunAll has under way: enough to hide the API server's answering time, too few to swamp it.
const atOnce = 8

// RunAll runs every step, several at once, and returns the most telling of their errors: a plain error before Stalled
// before Waiting, and the first in order of two alike. It is for steps that do not build on one another.
func RunAll[S any](ctx context.Context, scope *S, steps ...Step[S]) error {
	errs := make([]error, len(steps))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, step := range steps {
		group.Go(func() error {
			errs[i] = step(ctx, scope)
			return nil
		})
	}
	_ = group.Wait() // each error has its place in errs
	var worst error
	for _, err := range errs {
		if rank(err) > rank(worst) {
			worst = err
		}
	}
	return worst
}

func rank(err error) int {
	if err == nil {
		return 0
	}
	i, ok := AsIntent(err)
	switch {
	case !ok:
		return 4
	case i.Stalled:
		return 3
	case !i.Ready:
		return 2
	default:
		return 1
	}
}

// Flow is one kind's way through a round of reconciliation.
type Flow[T Object] struct {
	// Steps brings the object about.
	Steps func(ctx context.Context, obj T) error
	// Finalize takes the object down; nil if nothing needs an order. It returns Waiting until it is done, then nil.
	Finalize func(ctx context.Context, obj T) error
	// Status writes what was observed into the object's status, conditions apart; it may be nil.
	Status func(obj T)
}

// Rounds runs rounds of reconciliation for one kind.
type Rounds struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Recorder tells users what happened.
	Recorder events.EventRecorder
}

// Reconcile runs one round for the object of the request: get, deleted?, finalizer, paused?, steps; and in the end
// one patch of the status. obj is an empty value of the kind.
func Reconcile[T Object](ctx context.Context, r *Rounds, req ctrl.Request, obj T, flow Flow[T]) (ctrl.Result, error) {
	if err := r.Client.Get(ctx, req.NamespacedName, obj); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before, ok := obj.DeepCopyObject().(T)
	if !ok {
		return ctrl.Result{}, fmt.Errorf("copy %s: unexpected type", req)
	}
	if why, paused := obj.GetAnnotations()[v1alpha1.AnnotationPaused]; paused && obj.GetDeletionTimestamp().IsZero() {
		return r.finish(ctx, before, obj, outcome{reason: v1alpha1.ReasonPaused, message: clip("Paused by annotation: " + why)})
	}
	if !obj.GetDeletionTimestamp().IsZero() {
		return r.takeDown(ctx, before, obj, func() error {
			if flow.Finalize == nil {
				return nil
			}
			return flow.Finalize(ctx, obj)
		}, func() { note(flow, obj) })
	}
	if flow.Finalize != nil && !controllerutil.ContainsFinalizer(obj, v1alpha1.Finalizer) {
		if err := r.setFinalizer(ctx, obj, true); err != nil {
			return quiet(err)
		}
		before.SetResourceVersion(obj.GetResourceVersion())
	}
	err := flow.Steps(ctx, obj)
	note(flow, obj)
	return r.finish(ctx, before, obj, judge(err))
}

func note[T Object](flow Flow[T], obj T) {
	if flow.Status != nil {
		flow.Status(obj)
	}
}

func (r *Rounds) takeDown(ctx context.Context, before, obj Object, finalize func() error, note func()) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(obj, v1alpha1.Finalizer) {
		return ctrl.Result{}, nil
	}
	if err := finalize(); err != nil {
		note()
		o := judge(err)
		if o.reason == v1alpha1.ReasonReady || o.reason == "" {
			o.reason = v1alpha1.ReasonDeleting
		}
		return r.finish(ctx, before, obj, o)
	}
	return quiet(r.setFinalizer(ctx, obj, false))
}

// soon is when a round that met another writer is run again.
const soon = 200 * time.Millisecond

// quiet drops the errors that only say that the object has changed or gone since it was read.
func quiet(err error) (ctrl.Result, error) {
	if silent(err) {
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

// setFinalizer patches nothing but the finalizers, and leaves what is in memory otherwise as it is.
func (r *Rounds) setFinalizer(ctx context.Context, obj Object, present bool) error {
	base, ok := obj.DeepCopyObject().(Object)
	if !ok {
		return errors.New("copy object: unexpected type")
	}
	changed, _ := obj.DeepCopyObject().(Object)
	if present {
		controllerutil.AddFinalizer(changed, v1alpha1.Finalizer)
	} else {
		controllerutil.RemoveFinalizer(changed, v1alpha1.Finalizer)
	}
	patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	if err := r.Client.Patch(ctx, changed, patch); err != nil {
		return fmt.Errorf("set finalizer of %q: %w", obj.GetName(), err)
	}
	obj.SetFinalizers(changed.GetFinalizers())
	obj.SetResourceVersion(changed.GetResourceVersion())
	return nil
}

// finish writes conditions, patches the status if it changed, tells an event if the reason changed, and maps the
// outcome to a requeue.
func (r *Rounds) finish(ctx context.Context, before, obj Object, o outcome) (ctrl.Result, error) {
	if !o.keep {
		setConditions(obj, o)
	}
	if !equality.Semantic.DeepEqual(before, obj) {
		if err := r.Client.Status().Patch(ctx, obj, client.MergeFrom(before)); err != nil {
			if apierrors.IsNotFound(err) {
				return ctrl.Result{}, nil
			}
			return ctrl.Result{}, errors.Join(o.retry, fmt.Errorf("patch status of %q: %w", obj.GetName(), err))
		}
		r.tell(before, obj)
	}
	if silent(o.retry) {
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	return ctrl.Result{RequeueAfter: o.after}, o.retry
}

// tell records an event when the reason of Ready changed.
func (r *Rounds) tell(before, obj Object) {
	was := meta.FindStatusCondition(*before.GetConditions(), v1alpha1.ConditionReady)
	is := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionReady)
	if r.Recorder == nil || is == nil || (was != nil && was.Reason == is.Reason) {
		return
	}
	kind := corev1.EventTypeNormal
	if is.Reason == v1alpha1.ReasonRetrying || meta.IsStatusConditionTrue(*obj.GetConditions(), v1alpha1.ConditionStalled) {
		kind = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(obj, nil, kind, is.Reason, "Reconcile", "%s", is.Message)
}

func setConditions(obj Object, o outcome) {
	obj.SetObservedGeneration(obj.GetGeneration())
	for _, c := range []struct {
		kind string
		on   bool
	}{
		{v1alpha1.ConditionReady, o.ready},
		{v1alpha1.ConditionReconciling, o.reconciling},
		{v1alpha1.ConditionStalled, o.stalled},
	} {
		status := metav1.ConditionFalse
		if c.on {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(obj.GetConditions(), metav1.Condition{
			Type: c.kind, Status: status, Reason: o.reason, Message: o.message, ObservedGeneration: obj.GetGeneration(),
		})
	}
}

// IsReady reports whether an object is Ready for the generation of its spec.
func IsReady(obj Object) bool {
	c := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionReady)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == obj.GetGeneration()
}

// ReadyMessage returns the message of an object's Ready condition, or an empty string.
func ReadyMessage(obj Object) string {
	if c := meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionReady); c != nil {
		return c.Message
	}
	return ""
}
