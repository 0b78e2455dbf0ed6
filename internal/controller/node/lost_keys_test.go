package node_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
)

// lose deletes a Secret and returns what it was.
func (w *world) lose(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	s := w.secret(t, name)
	if err := w.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLostKeysAreMadeAnew: nobody has pinned the keys of a peer, nor those of an orderer that orders for no channel.
func TestLostKeysAreMadeAnew(t *testing.T) {
	w := start(t)
	p, o := w.peer(t, "peer0-banka"), w.orderer(t, "orderer0-ord")
	w.up(t, p)
	w.up(t, o)
	for _, name := range []string{p.Name, o.Name} {
		hash, lost := w.hash(t, name), w.lose(t, name)
		w.Eventually(t, "the Secret comes back", func() bool {
			var s corev1.Secret
			return w.Read(t, &s, name) && s.UID != lost.UID && len(s.Data[specs.KeyKey]) > 0
		})
		w.Eventually(t, "the pod is to read it", func() bool { return w.hash(t, name) != hash })
	}
}

// TestPinnedKeysAreNotReplaced: an orderer with other keys than its channel knows would be outside of it.
func TestPinnedKeysAreNotReplaced(t *testing.T) {
	w := start(t)
	o := w.orderer(t, "orderer0-ord")
	w.up(t, o)
	ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Name: "demo", Namespace: w.Namespace}}
	ch.Spec.Consensus = v1alpha1.ConsensusRaft
	w.Make(t, ch)
	ch.Status.Consenters = []string{o.Status.Address}
	if err := w.Status().Update(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	hash, lost := w.hash(t, o.Name), w.lose(t, o.Name)
	c := w.AwaitReason(t, o, v1alpha1.ReasonUnsafeChange)
	if !strings.Contains(c.Message, "demo") || !strings.Contains(c.Message, "backup") {
		t.Errorf("message %q names neither the channel nor the remedy", c.Message)
	}
	if w.Read(t, &corev1.Secret{}, o.Name) {
		t.Error("the orderer got other keys")
	}
	if !w.Read(t, &appsv1.Deployment{}, o.Name) || w.hash(t, o.Name) != hash {
		t.Error("the orderer that still serves was touched")
	}
	restored := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: o.Name, Namespace: w.Namespace, Labels: lost.Labels}, Data: lost.Data}
	if err := w.Create(t.Context(), restored); err != nil {
		t.Fatal(err)
	}
	w.AwaitReason(t, o, v1alpha1.ReasonReady)
}
