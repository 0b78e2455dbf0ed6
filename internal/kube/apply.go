package kube

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"heddle.dev/heddle/api/v1alpha1"
)

// Applier makes objects be as wanted by server-side apply. It sets the owner, refuses objects of others, and skips
// the call when nothing has changed on either side since the last one. It is the one way in which controllers write.
type Applier struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself: what the cache does not hold may exist all the same.
	Reader client.Reader
	// FieldOwner is the controller's name in managedFields.
	FieldOwner string

	mu   sync.Mutex
	seen map[objectKey]applied
}

type objectKey struct {
	kind string
	name types.NamespacedName
}

// applied is what is remembered of the last call: what was wanted, the version that came of it, and what the object
// looked like then, its status apart.
type applied struct {
	want            [sha256.Size]byte
	resourceVersion string
	essence         [sha256.Size]byte
	generation      int64
}

// Apply makes obj be as it is given: fields it does not name are left to others. owner becomes the controller of obj
// and may be nil for objects that outlive their maker; those are known by their labels instead. obj is not changed.
// An object of that name which belongs to somebody else is refused with Stalled/InvalidOwnership.
func (a *Applier) Apply(ctx context.Context, owner client.Object, obj client.Object) error {
	want, err := a.intended(owner, obj)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(want.Object)
	if err != nil {
		return fmt.Errorf("encode %s %q: %w", want.GetKind(), want.GetName(), err)
	}
	key := objectKey{kind: want.GetKind(), name: client.ObjectKeyFromObject(obj)}
	sum := sha256.Sum256(raw)
	live, err := a.live(ctx, obj)
	if err != nil {
		return fmt.Errorf("read %s %q: %w", want.GetKind(), want.GetName(), err)
	}
	if live != nil {
		if err := mayTake(owner, want, live); err != nil {
			return err
		}
		if a.unchanged(key, sum, live) {
			return nil
		}
	}
	if err := a.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(want), client.ForceOwnership, client.FieldOwner(a.FieldOwner)); err != nil {
		if apierrors.IsInvalid(err) {
			return Stalled(v1alpha1.ReasonInvalidSpec, "The API server refuses %s %q, which follows from this spec: %s",
				want.GetKind(), want.GetName(), causes(err))
		}
		return fmt.Errorf("apply %s %q: %w", want.GetKind(), want.GetName(), err)
	}
	a.remember(key, applied{want: sum, resourceVersion: want.GetResourceVersion(), generation: want.GetGeneration()})
	return nil
}

// Current reports whether obj, as it was read, is no older than what the last Apply of it left. A cache may hold for a
// while what stood before, and a state that belongs to that.
func (a *Applier) Current(obj client.Object) bool {
	gvk, err := apiutil.GVKForObject(obj, a.Client.Scheme())
	if err != nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.seen[objectKey{kind: gvk.Kind, name: client.ObjectKeyFromObject(obj)}]
	return !ok || s.generation <= obj.GetGeneration()
}

// Delete removes an object if owner controls it, or, with a nil owner, if the labels say that it was made for the same
// as obj. An object that is not there is no error; one of somebody else is left alone.
func (a *Applier) Delete(ctx context.Context, owner client.Object, obj client.Object, opts ...client.DeleteOption) error {
	live, err := a.live(ctx, obj)
	if err != nil {
		return fmt.Errorf("read %T %q: %w", obj, obj.GetName(), err)
	}
	if live == nil || !live.GetDeletionTimestamp().IsZero() {
		return nil
	}
	if owner != nil && !metav1.IsControlledBy(live, owner) {
		return nil
	}
	if owner == nil && foreign(obj, live) {
		return nil
	}
	if err := a.Client.Delete(ctx, live, opts...); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %T %q: %w", obj, obj.GetName(), err)
	}
	return nil
}

// live reads the object from the cache and, as the cache may hold labelled objects only, from the API server.
func (a *Applier) live(ctx context.Context, obj client.Object) (client.Object, error) {
	got, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return nil, errors.New("copy object: unexpected type")
	}
	key := client.ObjectKeyFromObject(obj)
	err := a.Client.Get(ctx, key, got)
	if apierrors.IsNotFound(err) {
		err = a.Reader.Get(ctx, key, got)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absent is an answer here, not an error
	}
	return got, err
}

// intended turns obj into exactly the fields that the caller means: no status, no zero timestamps.
func (a *Applier) intended(owner, obj client.Object) (*unstructured.Unstructured, error) {
	gvk, err := apiutil.GVKForObject(obj, a.Client.Scheme())
	if err != nil {
		return nil, fmt.Errorf("find kind of %T: %w", obj, err)
	}
	c, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return nil, errors.New("copy object: unexpected type")
	}
	if owner != nil {
		if err := controllerutil.SetControllerReference(owner, c, a.Client.Scheme()); err != nil {
			return nil, fmt.Errorf("set owner of %s %q: %w", gvk.Kind, obj.GetName(), err)
		}
	}
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(c)
	if err != nil {
		return nil, fmt.Errorf("convert %s %q: %w", gvk.Kind, obj.GetName(), err)
	}
	u := &unstructured.Unstructured{Object: m}
	u.SetGroupVersionKind(gvk)
	unstructured.RemoveNestedField(u.Object, "status")
	for _, f := range []string{"creationTimestamp", "resourceVersion", "uid", "generation", "managedFields"} {
		unstructured.RemoveNestedField(u.Object, "metadata", f)
	}
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "creationTimestamp")
	return u, closeRules(u)
}

// closeRules says "no rules" where a NetworkPolicy has none. A list that is left out belongs to nobody in server-side
// apply, and a rule that somebody adds to it would stay and open what the policy shuts.
func closeRules(u *unstructured.Unstructured) error {
	if u.GroupVersionKind().GroupKind() != (schema.GroupKind{Group: networkingv1.GroupName, Kind: "NetworkPolicy"}) {
		return nil
	}
	for _, list := range []string{"ingress", "egress"} {
		if _, has, _ := unstructured.NestedFieldNoCopy(u.Object, "spec", list); has {
			continue
		}
		if err := unstructured.SetNestedSlice(u.Object, []any{}, "spec", list); err != nil {
			return fmt.Errorf("close NetworkPolicy %q: %w", u.GetName(), err)
		}
	}
	return nil
}

// mayTake refuses objects that somebody else made.
func mayTake(owner client.Object, want *unstructured.Unstructured, live client.Object) error {
	if !live.GetDeletionTimestamp().IsZero() {
		return Waiting(v1alpha1.ReasonDeleting, time.Second, "%s %q is still being deleted", want.GetKind(), want.GetName())
	}
	ctl := metav1.GetControllerOf(live)
	if ctl != nil && owner != nil && ctl.UID != owner.GetUID() && ctl.Name == owner.GetName() && ctl.Kind == want.GetOwnerReferences()[0].Kind {
		return Waiting(v1alpha1.ReasonDeleting, time.Second, "%s %q of the former %s %q is still being collected",
			want.GetKind(), want.GetName(), ctl.Kind, ctl.Name)
	}
	if ctl != nil && (owner == nil || ctl.UID != owner.GetUID()) {
		return Stalled(v1alpha1.ReasonInvalidOwnership, "%s %q belongs to %s %q: delete or rename one of them",
			want.GetKind(), want.GetName(), ctl.Kind, ctl.Name)
	}
	if ctl != nil {
		return nil
	}
	return mayTakeByLabel(want, live)
}

// mayTakeByLabel looks at an object that nobody controls: only the labels tell whom it was made for.
func mayTakeByLabel(want *unstructured.Unstructured, live client.Object) error {
	have, wanted := live.GetLabels(), want.GetLabels()
	if have[v1alpha1.LabelNetwork] != wanted[v1alpha1.LabelNetwork] {
		return Stalled(v1alpha1.ReasonInvalidOwnership, "%s %q exists and was not made by Heddle: delete or rename it",
			want.GetKind(), want.GetName())
	}
	if a, b := have[v1alpha1.LabelNetworkID], wanted[v1alpha1.LabelNetworkID]; a != "" && b != "" && a != b {
		return Stalled(v1alpha1.ReasonNamespaceRetained, "%s %q is left over from the network with networkID %q: set that networkID or delete it",
			want.GetKind(), want.GetName(), a)
	}
	for _, label := range []string{v1alpha1.LabelOrganization, v1alpha1.LabelNode, v1alpha1.LabelComponent, v1alpha1.LabelChannel} {
		if a, b := have[label], wanted[label]; a != "" && b != "" && a != b {
			return Stalled(v1alpha1.ReasonInvalidOwnership, "%s %q was made for %s %q: rename one of the two objects that need this name",
				want.GetKind(), want.GetName(), label, a)
		}
	}
	return nil
}

// Owned checks that an object which was read is the one that is wanted and not somebody else's of the same name. Both
// have no owner: labels tell.
func Owned(want, live client.Object) error {
	u := &unstructured.Unstructured{}
	u.SetKind(kindOf(live))
	u.SetName(want.GetName())
	u.SetLabels(want.GetLabels())
	return mayTake(nil, u, live)
}

// foreign tells whether an object without an owner was made for somebody else than the one that is meant.
func foreign(meant, live client.Object) bool {
	if live.GetLabels()[v1alpha1.LabelNetwork] == "" {
		return true
	}
	i, refused := AsIntent(Owned(meant, live))
	return refused && i.Stalled
}

func kindOf(obj client.Object) string {
	name := fmt.Sprintf("%T", obj)
	return name[strings.LastIndex(name, ".")+1:]
}

// unchanged tells whether an object needs no call: the same is wanted as last time, and it is still what came of that.
// A new version of which only the status is new does not count; Deployments have many of those.
func (a *Applier) unchanged(key objectKey, want [sha256.Size]byte, live client.Object) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, ok := a.seen[key]
	if !ok || s.want != want {
		return false
	}
	same := live.GetResourceVersion() == s.resourceVersion
	if same && s.essence != [sha256.Size]byte{} {
		return true
	}
	now, err := essence(live)
	if err != nil || !same && now != s.essence {
		return false
	}
	s.resourceVersion, s.essence = live.GetResourceVersion(), now
	a.seen[key] = s
	return true
}

// essence identifies an object without what changes when nobody changes it.
func essence(live client.Object) ([sha256.Size]byte, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(live)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	unstructured.RemoveNestedField(m, "status")
	for _, f := range []string{"resourceVersion", "generation", "managedFields"} {
		unstructured.RemoveNestedField(m, "metadata", f)
	}
	raw, err := json.Marshal(m)
	return sha256.Sum256(raw), err
}

func (a *Applier) remember(key objectKey, s applied) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen == nil {
		a.seen = map[objectKey]applied{}
	}
	a.seen[key] = s
}

// causes lists what the API server finds wrong, without the object's name, which the caller tells.
func causes(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return err.Error()
	}
	var out []string
	for _, c := range status.Status().Details.Causes {
		out = append(out, c.Field+": "+c.Message)
	}
	return strings.Join(out, "; ")
}
