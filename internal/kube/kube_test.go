package kube_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/kube"
)

func space(t *testing.T) (*controllertest.Space, *kube.Applier) {
	t.Helper()
	e := controllertest.NewSpace(t, func(s *runtime.Scheme) error {
		return errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s))
	})
	return e, &kube.Applier{Client: e.Client, Reader: e.Client, FieldOwner: "kube-test"}
}

func configMap(e *controllertest.Space, labels map[string]string, data map[string]string) *corev1.ConfigMap {
	all := map[string]string{v1alpha1.LabelNetwork: e.Namespace}
	for k, v := range labels {
		all[k] = v
	}
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "thing", Namespace: e.Namespace, Labels: all}, Data: data}
}

func peer(t *testing.T, e *controllertest.Space, name string) *v1alpha1.Peer {
	t.Helper()
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace}}
	p.Spec.Organization = "banka"
	e.Make(t, p)
	return p
}

func reason(t *testing.T, err error) string {
	t.Helper()
	i, ok := kube.AsIntent(err)
	if !ok {
		t.Fatalf("got %v, want an intent", err)
	}
	return i.Reason
}

func TestApplyKeepsWhatItMeansAndNothingElse(t *testing.T) {
	e, a := space(t)
	owner := peer(t, e, "peer0-banka")
	if err := a.Apply(t.Context(), owner, configMap(e, nil, map[string]string{"a": "1", "b": "2"})); err != nil {
		t.Fatal(err)
	}
	var live corev1.ConfigMap
	e.Read(t, &live, "thing")
	if !metav1.IsControlledBy(&live, owner) {
		t.Error("the owner was not set")
	}
	live.Data["a"], live.Data["foreign"] = "drift", "stays"
	if err := e.Update(t.Context(), &live); err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(t.Context(), owner, configMap(e, nil, map[string]string{"a": "1"})); err != nil {
		t.Fatal(err)
	}
	e.Read(t, &live, "thing")
	if live.Data["a"] != "1" || live.Data["foreign"] != "stays" || len(live.Data) != 2 {
		t.Errorf("data %v", live.Data)
	}
	version := live.ResourceVersion
	for range 2 {
		if err := a.Apply(t.Context(), owner, configMap(e, nil, map[string]string{"a": "1"})); err != nil {
			t.Fatal(err)
		}
	}
	if e.Read(t, &live, "thing"); live.ResourceVersion != version {
		t.Error("an unchanged object was written again")
	}
}

// countingClient counts the calls by which objects are applied.
type countingClient struct {
	client.Client
	applies int
}

func (c *countingClient) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	c.applies++
	return c.Client.Apply(ctx, obj, opts...)
}

func TestApplyDoesNotCareForStatus(t *testing.T) {
	e, a := space(t)
	c := &countingClient{Client: e.Client}
	a.Client = c
	want := peer(t, e, "peer0-banka").DeepCopy()
	want.Name, want.ResourceVersion, want.UID = "peer1-banka", "", ""
	want.Labels = map[string]string{v1alpha1.LabelNetwork: e.Namespace}
	apply := func(after string, calls int) {
		t.Helper()
		c.applies = 0
		if err := a.Apply(t.Context(), nil, want); err != nil {
			t.Fatal(err)
		}
		if c.applies != calls {
			t.Errorf("%s: %d calls, want %d", after, c.applies, calls)
		}
	}
	apply("nothing", 1)
	apply("the first call", 0)
	var live v1alpha1.Peer
	for range 2 {
		e.Read(t, &live, "peer1-banka")
		live.Status.Address += "x"
		if err := e.Status().Update(t.Context(), &live); err != nil {
			t.Fatal(err)
		}
		apply("a change of the status", 0)
	}
	live.Spec.Logging = "debug"
	live.Labels["foreign"] = "yes"
	if err := e.Update(t.Context(), &live); err != nil {
		t.Fatal(err)
	}
	apply("a change of the object", 1)
	apply("that", 0)
}

func TestApplyRefusesWhatBelongsToOthers(t *testing.T) {
	e, a := space(t)
	one, other := peer(t, e, "peer0-banka"), peer(t, e, "peer1-banka")
	for name, c := range map[string]struct {
		live  func() *corev1.ConfigMap
		owner client.Object
		want  *corev1.ConfigMap
		says  string
	}{
		"made by hand": {
			func() *corev1.ConfigMap {
				cm := configMap(e, nil, nil)
				cm.Labels = nil
				return cm
			}, one, configMap(e, nil, nil), v1alpha1.ReasonInvalidOwnership,
		},
		"owned by another": {
			func() *corev1.ConfigMap {
				cm := configMap(e, nil, nil)
				cm.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(other, v1alpha1.GroupVersion.WithKind("Peer"))}
				return cm
			}, one, configMap(e, nil, nil), v1alpha1.ReasonInvalidOwnership,
		},
		"owned where none is wanted": {
			func() *corev1.ConfigMap {
				cm := configMap(e, nil, nil)
				cm.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(other, v1alpha1.GroupVersion.WithKind("Peer"))}
				return cm
			}, nil, configMap(e, nil, nil), v1alpha1.ReasonInvalidOwnership,
		},
		"of another organization": {
			func() *corev1.ConfigMap {
				return configMap(e, map[string]string{v1alpha1.LabelOrganization: "peer0"}, nil)
			},
			nil, configMap(e, map[string]string{v1alpha1.LabelOrganization: "root"}, nil), v1alpha1.ReasonInvalidOwnership,
		},
		"of a former network": {
			func() *corev1.ConfigMap { return configMap(e, map[string]string{v1alpha1.LabelNetworkID: "old"}, nil) },
			nil, configMap(e, map[string]string{v1alpha1.LabelNetworkID: "new"}, nil), v1alpha1.ReasonNamespaceRetained,
		},
	} {
		t.Run(name, func(t *testing.T) {
			live := c.live()
			if err := e.Create(t.Context(), live); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Delete(context.WithoutCancel(t.Context()), live) })
			if got := reason(t, a.Apply(t.Context(), c.owner, c.want)); got != c.says {
				t.Errorf("Apply: reason %s, want %s", got, c.says)
			}
			if _, err := a.CreateOnce(t.Context(), c.owner, c.want.DeepCopy()); reason(t, err) != c.says {
				t.Errorf("CreateOnce: %v, want %s", err, c.says)
			}
			if c.owner == nil {
				if got := reason(t, kube.Owned(c.want, live)); got != c.says {
					t.Errorf("Owned: reason %s, want %s", got, c.says)
				}
			}
			var after corev1.ConfigMap
			if e.Read(t, &after, "thing"); after.ResourceVersion != live.ResourceVersion {
				t.Error("it was changed all the same")
			}
		})
	}
}

func TestApplyTellsWhatTheServerRefuses(t *testing.T) {
	e, a := space(t)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "thing", Namespace: e.Namespace, Labels: map[string]string{v1alpha1.LabelNetwork: e.Namespace}}}
	s.Spec.Ports = []corev1.ServicePort{{Name: "a", Port: 70000}}
	err := a.Apply(t.Context(), nil, s)
	if reason(t, err) != v1alpha1.ReasonInvalidSpec || !strings.Contains(err.Error(), "spec.ports[0].port") {
		t.Errorf("got %v, want InvalidSpec that names the field", err)
	}
}

func TestCreateOnceDoesNotWriteOver(t *testing.T) {
	e, a := space(t)
	first := configMap(e, nil, map[string]string{"key": "first"})
	if created, err := a.CreateOnce(t.Context(), nil, first); err != nil || !created {
		t.Fatalf("created %t, %v", created, err)
	}
	second := configMap(e, nil, map[string]string{"key": "second"})
	if created, err := a.CreateOnce(t.Context(), nil, second); err != nil || created || second.Data["key"] != "first" {
		t.Errorf("created %t with %v, %v: want what was there", created, second.Data, err)
	}
}

func TestDeleteTakesItsOwnOnly(t *testing.T) {
	e, a := space(t)
	owner, other := peer(t, e, "peer0-banka"), peer(t, e, "peer1-banka")
	if err := a.Apply(t.Context(), owner, configMap(e, nil, nil)); err != nil {
		t.Fatal(err)
	}
	if err := a.Delete(t.Context(), other, configMap(e, nil, nil)); err != nil {
		t.Fatal(err)
	}
	if !e.Read(t, &corev1.ConfigMap{}, "thing") {
		t.Fatal("somebody else's object was deleted")
	}
	for range 2 {
		if err := a.Delete(t.Context(), owner, configMap(e, nil, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if e.Read(t, &corev1.ConfigMap{}, "thing") {
		t.Error("its own object was not deleted")
	}
	unlabelled := configMap(e, nil, nil)
	unlabelled.Labels = nil
	if err := e.Create(t.Context(), unlabelled); err != nil {
		t.Fatal(err)
	}
	if err := a.Delete(t.Context(), nil, unlabelled); err != nil || !e.Read(t, &corev1.ConfigMap{}, "thing") {
		t.Errorf("an object without a network's label was deleted (%v)", err)
	}
}

// TestDataOfOthersIsLeftAlone: what outlives its maker is known by its labels; a name alone takes nothing away.
func TestDataOfOthersIsLeftAlone(t *testing.T) {
	e, a := space(t)
	of := func(component string) *corev1.ConfigMap {
		return configMap(e, map[string]string{v1alpha1.LabelNode: "node0-banka", v1alpha1.LabelComponent: component}, nil)
	}
	if _, err := a.CreateOnce(t.Context(), nil, of("orderer")); err != nil {
		t.Fatal(err)
	}
	var live corev1.ConfigMap
	if err := a.Retain(t.Context(), of("peer")); err != nil || !e.Read(t, &live, "thing") || live.Labels[v1alpha1.LabelRetained] != "" {
		t.Errorf("somebody else's object was labelled %v (%v)", live.Labels, err)
	}
	if err := a.Delete(t.Context(), nil, of("peer")); err != nil || !e.Read(t, &live, "thing") {
		t.Errorf("somebody else's object was deleted (%v)", err)
	}
	if err := a.Retain(t.Context(), of("orderer")); err != nil || !e.Read(t, &live, "thing") || live.Labels[v1alpha1.LabelRetained] == "" {
		t.Errorf("an own object was not labelled (%v)", err)
	}
	if err := a.Delete(t.Context(), nil, of("orderer")); err != nil || e.Read(t, &live, "thing") {
		t.Errorf("an own object was not deleted (%v)", err)
	}
}

func TestRetainAndRelease(t *testing.T) {
	e, a := space(t)
	if err := a.Retain(t.Context(), configMap(e, nil, nil)); err != nil {
		t.Errorf("nothing to retain: %v", err)
	}
	if _, err := a.CreateOnce(t.Context(), nil, configMap(e, nil, nil)); err != nil {
		t.Fatal(err)
	}
	var live corev1.ConfigMap
	for _, want := range []string{"true", ""} {
		for range 2 {
			err := a.Retain(t.Context(), configMap(e, nil, nil))
			if want == "" {
				e.Read(t, &live, "thing")
				err = a.Release(t.Context(), &live)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if e.Read(t, &live, "thing"); live.Labels[v1alpha1.LabelRetained] != want {
			t.Errorf("label %q, want %q", live.Labels[v1alpha1.LabelRetained], want)
		}
	}
}

func TestVolumesGrowAndNeverShrink(t *testing.T) {
	e, a := space(t)
	volume := func(size, class string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: "thing", Namespace: e.Namespace, Labels: map[string]string{v1alpha1.LabelNetwork: e.Namespace}},
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: ptr.To(class),
				Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
			},
		}
	}
	if err := a.Volume(t.Context(), volume("2Gi", "fast")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]*corev1.PersistentVolumeClaim{"smaller": volume("1Gi", "fast"), "another class": volume("2Gi", "slow")} {
		if err := a.Volume(t.Context(), want); reason(t, err) != v1alpha1.ReasonInvalidSpec || !strings.Contains(err.Error(), "storage.") {
			t.Errorf("%s: got %v, want InvalidSpec that names the field", name, err)
		}
	}
	foreign := volume("1Gi", "slow")
	foreign.Labels[v1alpha1.LabelNetwork] = "other"
	if err := a.Volume(t.Context(), foreign); reason(t, err) != v1alpha1.ReasonInvalidOwnership {
		t.Errorf("somebody else's volume: got %v, want InvalidOwnership", err)
	}
	if err := a.Retain(t.Context(), volume("2Gi", "fast")); err != nil {
		t.Fatal(err)
	}
	if err := a.Volume(t.Context(), volume("2Gi", "fast")); err != nil {
		t.Fatal(err)
	}
	var live corev1.PersistentVolumeClaim
	if e.Read(t, &live, "thing"); live.Labels[v1alpha1.LabelRetained] != "" {
		t.Error("a volume in use is still labelled as retained")
	}
}

// rounds runs single rounds for a Peer, with steps of the test's own.
type rounds struct {
	*kube.Rounds
	req  ctrl.Request
	flow kube.Flow[*v1alpha1.Peer]
}

func (r *rounds) round(t *testing.T) (ctrl.Result, error) {
	t.Helper()
	return kube.Reconcile(t.Context(), r.Rounds, r.req, &v1alpha1.Peer{}, r.flow)
}

func TestRounds(t *testing.T) {
	e, _ := space(t)
	p := peer(t, e, "peer0-banka")
	recorder := events.NewFakeRecorder(16)
	var step, final error
	r := &rounds{
		Rounds: &kube.Rounds{Client: e.Client, Recorder: recorder}, req: ctrl.Request{NamespacedName: client.ObjectKeyFromObject(p)},
		flow: kube.Flow[*v1alpha1.Peer]{
			Steps:    func(context.Context, *v1alpha1.Peer) error { return step },
			Finalize: func(context.Context, *v1alpha1.Peer) error { return final },
			Status:   func(p *v1alpha1.Peer) { p.Status.Address = "here" },
		},
	}
	for _, c := range []struct {
		err   error
		ready metav1.ConditionStatus
		want  string
		after time.Duration
		fails bool
	}{
		{kube.Waiting(v1alpha1.ReasonWaitingForPod, time.Second, "Wait"), metav1.ConditionFalse, v1alpha1.ReasonWaitingForPod, time.Second, false},
		{errors.New("broken"), metav1.ConditionFalse, v1alpha1.ReasonRetrying, 0, true},
		{kube.LookAgain(time.Hour), metav1.ConditionTrue, v1alpha1.ReasonReady, time.Hour, false},
		{kube.Stalled(v1alpha1.ReasonInvalidSpec, "No"), metav1.ConditionFalse, v1alpha1.ReasonInvalidSpec, time.Minute, false},
	} {
		step = c.err
		res, err := r.round(t)
		if (err != nil) != c.fails || res.RequeueAfter != c.after {
			t.Errorf("%s: %+v, %v", c.want, res, err)
		}
		e.Read(t, p, p.Name)
		got := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		if got == nil || got.Status != c.ready || got.Reason != c.want || p.Status.Address != "here" || len(p.Finalizers) != 1 {
			t.Errorf("%s: condition %+v, finalizers %v", c.want, got, p.Finalizers)
		}
		if told := <-recorder.Events; !strings.Contains(told, c.want) {
			t.Errorf("event %q, want %s", told, c.want)
		}
	}
	if kube.IsReady(p) || kube.ReadyMessage(p) != "No" {
		t.Errorf("ready %t, message %q", kube.IsReady(p), kube.ReadyMessage(p))
	}
	controllertest.Change(t, e, p, func(p *v1alpha1.Peer) { p.Annotations = map[string]string{v1alpha1.AnnotationPaused: "maintenance"} })
	if _, err := r.round(t); err != nil {
		t.Fatal(err)
	}
	if e.Read(t, p, p.Name); !strings.Contains(kube.ReadyMessage(p), "maintenance") {
		t.Errorf("message %q of a paused object", kube.ReadyMessage(p))
	}
	if err := e.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	final = kube.Waiting(v1alpha1.ReasonDeleting, time.Second, "Not yet")
	if res, err := r.round(t); err != nil || res.RequeueAfter != time.Second || !e.Read(t, p, p.Name) {
		t.Errorf("an object went before its finalizer was done: %+v, %v", res, err)
	}
	final = nil
	if _, err := r.round(t); err != nil || e.Read(t, &v1alpha1.Peer{}, p.Name) {
		t.Errorf("the object is still there (%v)", err)
	}
	if res, err := r.round(t); err != nil || res.RequeueAfter != 0 {
		t.Errorf("a round for what is gone: %+v, %v", res, err)
	}
}
