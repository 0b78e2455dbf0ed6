package proposal_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/proposal"
)

// TestEndedProposalsGo: the newest ended ones of a channel and a site are kept, and nothing else is touched.
func TestEndedProposalsGo(t *testing.T) {
	env, _, network := receiver(t)
	r := proposal.New(proposal.Options{Client: env.Client, Reader: env.Client, Recorder: events.NewFakeRecorder(100)})
	add := func(name, channel, link string, state v1alpha1.ProposalState) {
		t.Helper()
		p := &v1alpha1.Proposal{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: name}, Spec: v1alpha1.ProposalSpec{
			Channel: channel, ChannelID: channel, Link: link, Update: "dXBkYXRl", BaseSequence: ptr.To[int64](1),
			ExpiresAt: metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second)),
		}}
		if err := env.Client.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		before := p.DeepCopy()
		p.Status.State = state
		if link != "" {
			p.Status.Delivered = []string{link}
		}
		if err := env.Client.Status().Patch(t.Context(), p, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	const kept = 20
	states := []v1alpha1.ProposalState{v1alpha1.ProposalRejected, v1alpha1.ProposalExpired, v1alpha1.ProposalSuperseded, v1alpha1.ProposalSubmitted}
	for i := range kept + 7 {
		add(fmt.Sprintf("a-%02d", i), "demo", "site-a", states[i%len(states)])
	}
	add("a-open", "demo", "site-a", v1alpha1.ProposalOpen)
	add("a-elsewhere", "other", "site-a", v1alpha1.ProposalRejected)
	add("c-ended", "demo", "site-c", v1alpha1.ProposalRejected)
	add("own-ended", "demo", "", v1alpha1.ProposalExpired)
	for _, name := range []string{"a-26", "own-ended"} {
		// A proposal that is over is a round's error, which waits for people.
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: network, Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	var all v1alpha1.ProposalList
	if err := env.Client.List(t.Context(), &all, client.InNamespace(network)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range all.Items {
		names = append(names, all.Items[i].Name)
	}
	if len(names) != kept+4 {
		t.Errorf("%d are left, want %d: %q", len(names), kept+4, names)
	}
	for _, name := range []string{"a-26", "a-open", "a-elsewhere", "c-ended", "own-ended"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is gone", name)
		}
	}
}
