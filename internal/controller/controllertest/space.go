package controllertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

const beat = 50 * time.Millisecond

// Registrar is a controller that can be added to a manager.
type Registrar interface {
	Register(mgr ctrl.Manager) error
}

// Space is one namespace of the API server, for one test. Controllers that run in it see nothing of the others, so
// that packages can be tested at once; the parts of Kubernetes that a bare API server lacks (a Deployment that becomes
// available, a pod) are played by the test.
type Space struct {
	client.Client
	env *Env
	// Namespace of the test; it bears a network's label.
	Namespace string
}

// NewSpace connects to the API server and makes a namespace, or skips the test where there is no server.
func NewSpace(t *testing.T, scheme func(*runtime.Scheme) error) *Space {
	t.Helper()
	env := New(t, scheme)
	e := &Space{Client: env.Client, env: env, Namespace: Name("t")}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: e.Namespace, Labels: map[string]string{v1alpha1.LabelNetwork: e.Namespace},
	}}
	if err := e.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Delete(context.WithoutCancel(t.Context()), ns) })
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: e.Namespace}}
	if err := e.Create(t.Context(), account); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	return e
}

// Start runs controllers for this namespace until the test ends, with a cache and a client like the operator's.
func (e *Space) Start(t *testing.T, cached func(namespaces []string) cache.Options, uncached client.Options, controllers ...Registrar) {
	t.Helper()
	mgr, err := ctrl.NewManager(e.env.Rest, ctrl.Options{
		Scheme: e.Scheme(), Cache: cached([]string{e.Namespace}), Client: uncached,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range controllers {
		if err := c.Register(mgr); err != nil {
			t.Fatal(err)
		}
	}
	e.env.Run(t, mgr.Start)
}

// Eventually polls until the condition holds, and fails the test when it does not in time.
func (e *Space) Eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if !poll(t.Context(), patience, holds) {
		t.Fatalf("%s: not after %s", what, patience)
	}
}

// Never looks for a second and fails the test when the condition holds.
func (e *Space) Never(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if poll(t.Context(), time.Second, holds) {
		t.Fatalf("%s: it happened", what)
	}
}

// poll asks until the answer is yes, and tells whether it was in time.
func poll(ctx context.Context, within time.Duration, holds func() bool) bool {
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// Make creates an object, and takes it away when the test ends.
func (e *Space) Make(t *testing.T, obj client.Object) {
	t.Helper()
	if err := e.Create(t.Context(), obj); err != nil {
		t.Fatalf("create %T %q: %v", obj, obj.GetName(), err)
	}
	t.Cleanup(func() {
		// No controller is left that could lift a finalizer.
		ctx, stop := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer stop()
		live, ok := obj.DeepCopyObject().(client.Object)
		if !ok || e.Get(ctx, client.ObjectKeyFromObject(obj), live) != nil {
			return
		}
		_ = e.Patch(ctx, live, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
		_ = e.Delete(ctx, live)
	})
}

// Read fills obj with what is there, and tells whether it is there.
func (e *Space) Read(t *testing.T, obj client.Object, name string) bool {
	t.Helper()
	err := e.Get(t.Context(), client.ObjectKey{Namespace: e.Namespace, Name: name}, obj)
	if client.IgnoreNotFound(err) != nil {
		t.Fatalf("read %T %q: %v", obj, name, err)
	}
	return err == nil
}

// Change reads an object, changes it and writes it back, again while others write too.
func Change[T client.Object](t *testing.T, e *Space, obj T, change func(T)) {
	t.Helper()
	e.Eventually(t, fmt.Sprintf("change %T %q", obj, obj.GetName()), func() bool {
		if err := e.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			t.Fatal(err)
		}
		change(obj)
		err := e.Update(t.Context(), obj)
		if err != nil && !apierrors.IsConflict(err) {
			t.Fatalf("change %T %q: %v", obj, obj.GetName(), err)
		}
		return err == nil
	})
}

// AwaitReason waits until the Ready condition of an object has a reason, and returns the condition.
func (e *Space) AwaitReason(t *testing.T, obj kube.Object, reason string) metav1.Condition {
	t.Helper()
	var last *metav1.Condition
	found := poll(t.Context(), patience, func() bool {
		if err := e.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			t.Fatal(err)
		}
		last = meta.FindStatusCondition(*obj.GetConditions(), v1alpha1.ConditionReady)
		return last != nil && last.Reason == reason && last.ObservedGeneration == obj.GetGeneration()
	})
	if !found {
		t.Fatalf("%T %q: not %s after %s; its condition is %+v", obj, obj.GetName(), reason, patience, last)
	}
	return *last
}

// Serve makes a Deployment available, as the kubelet and the Deployment controller would.
func (e *Space) Serve(t *testing.T, name string, available bool) {
	t.Helper()
	e.Eventually(t, "serve Deployment "+name, func() bool {
		var d appsv1.Deployment
		if !e.Read(t, &d, name) {
			return false
		}
		status := corev1.ConditionFalse
		ready := int32(0)
		if available {
			status, ready = corev1.ConditionTrue, 1
		}
		d.Status = appsv1.DeploymentStatus{
			ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: ready, AvailableReplicas: ready,
			Conditions: []appsv1.DeploymentCondition{{
				Type: appsv1.DeploymentAvailable, Status: status, Reason: "Test", LastTransitionTime: metav1.NewTime(time.Now().Add(-time.Hour)),
				LastUpdateTime: metav1.Now(),
			}},
		}
		return e.Status().Update(t.Context(), &d) == nil
	})
}

// Run puts a pod beside a Deployment, with a status, as the kubelet would.
func (e *Space) Run(t *testing.T, deployment string, status corev1.PodStatus) *corev1.Pod {
	t.Helper()
	var d appsv1.Deployment
	e.Eventually(t, "Deployment "+deployment, func() bool { return e.Read(t, &d, deployment) })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: deployment + "-", Namespace: e.Namespace, Labels: d.Spec.Template.Labels},
		Spec:       d.Spec.Template.Spec,
	}
	no := false
	pod.Spec.AutomountServiceAccountToken = &no
	if err := e.Create(t.Context(), pod); err != nil {
		t.Fatalf("create pod of %q: %v", deployment, err)
	}
	made := pod.DeepCopy()
	pod.Status = status
	// A patch, since controllers may have written to the pod meanwhile.
	if err := e.Status().Patch(t.Context(), pod, client.MergeFrom(made)); err != nil {
		t.Fatal(err)
	}
	return pod
}
