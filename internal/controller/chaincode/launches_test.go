package chaincode

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs/launch"
)

var launched = metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))

// launchPod is a contract's pod, so many seconds after the first.
func launchPod(name string, after int, status corev1.PodStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "trade", Name: name, CreationTimestamp: metav1.NewTime(launched.Add(time.Duration(after) * time.Second)),
			Labels:      map[string]string{v1alpha1.LabelNode: "peer0-banka", v1alpha1.LabelChaincode: "asset"},
			Annotations: map[string]string{launch.AnnotationPackageID: "asset:00"},
		},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Image: "asset@sha256:00"}}},
		Status: status,
	}
}

func containerIs(s corev1.ContainerState) corev1.PodStatus {
	return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: s}}}
}

func waiting(reason, message string) corev1.PodStatus {
	return containerIs(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}})
}

func exited(code int32, message string) corev1.PodStatus {
	return containerIs(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: code, Message: message}})
}

func unschedulable() corev1.PodStatus {
	return corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "no room",
	}}}
}

func TestEnding(t *testing.T) {
	for name, c := range map[string]struct {
		status corev1.PodStatus
		want   string
	}{
		"new":                  {corev1.PodStatus{}, ""},
		"runs":                 {containerIs(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), ""},
		"is being made":        {waiting("ContainerCreating", ""), ""},
		"no image":             {waiting("ErrImagePull", "not found"), "ErrImagePull: not found"},
		"no image, no message": {waiting("ImagePullBackOff", ""), "ImagePullBackOff"},
		"ended":                {exited(3, " boom\n"), "Error: exit code 3: boom"},
		"out of memory": {
			containerIs(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}}),
			"OOMKilled: exit code 137: it needs more memory than spec.resources allows",
		},
		"ended without a word": {exited(3, ""), "Error: exit code 3"},
		"evicted":              {corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "low on memory"}, "Evicted: low on memory"},
		"no machine":           {unschedulable(), "Unschedulable: no room"},
		"not looked for yet": {corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated,
		}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ending(launchPod("a", 0, c.status)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestClip(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"short":       {"a", "a"},
		"an end":      {"a: ", "a"},
		"full":        {strings.Repeat("ä", maxReason), strings.Repeat("ä", maxReason)},
		"long":        {strings.Repeat("ä", maxReason+1), strings.Repeat("ä", maxReason-1) + "…"},
		"not letters": {"a\xffb", "ab"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clip(c.in); got != c.want || utf8.RuneCountInString(got) > maxReason {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestRemedy(t *testing.T) {
	for reason, want := range map[string]string{
		"ErrImagePull: x": "pull the image", "RegistryUnavailable": "pull the image", "Unschedulable: no Image": "add a machine",
		"CreateContainerError: Image": "events of the pod",
	} {
		if got := remedy(reason); !strings.Contains(got, want) || !hopeless(reason) {
			t.Errorf("%s: %q, want %q", reason, got, want)
		}
	}
	if hopeless("Error: exit code 3") || hopeless("") {
		t.Error("a contract that ran could not start")
	}
}

func TestRecord(t *testing.T) {
	now := metav1.NewTime(launched.Add(time.Minute))
	entry := func(pod string, ended bool, reason string) v1alpha1.ChaincodeLaunch {
		l := v1alpha1.ChaincodeLaunch{
			Pod: pod, Peer: "peer0-banka", PackageID: "asset:00", Image: "asset@sha256:00", StartedAt: launched, Reason: reason,
		}
		if ended {
			l.EndedAt = &now
		}
		return l
	}
	before := entry("a", true, "Error: exit code 1")
	before.EndedAt = &launched
	deleted := launchPod("a", 0, corev1.PodStatus{})
	deleted.DeletionTimestamp = &now
	broken := deleted.DeepCopy()
	broken.Status = exited(3, "")
	idle := broken.DeepCopy()
	idle.DeletionGracePeriodSeconds = ptr.To[int64](launch.IdleGraceSeconds)
	type list = []v1alpha1.ChaincodeLaunch
	for name, c := range map[string]struct {
		before  list
		pods    []*corev1.Pod
		endings map[string]string
		want    list
	}{
		"nothing":                  {nil, nil, nil, nil},
		"it is gone, to be told":   {list{entry("untold", false, "")}, nil, nil, list{entry("untold", false, "")}},
		"it is gone, just told":    {list{entry("untold", false, "")}, nil, map[string]string{"untold": "Deleted"}, list{entry("untold", true, "Deleted")}},
		"it could not start":       {list{entry("untold", false, "ErrImagePull: x")}, nil, nil, list{entry("untold", true, "ErrImagePull: x")}},
		"a launch":                 {nil, []*corev1.Pod{launchPod("a", 0, corev1.PodStatus{})}, nil, list{entry("a", false, "")}},
		"it goes on":               {list{entry("a", false, "")}, []*corev1.Pod{launchPod("a", 0, corev1.PodStatus{})}, nil, list{entry("a", false, "")}},
		"it ended":                 {list{entry("a", false, "")}, []*corev1.Pod{launchPod("a", 0, exited(3, "boom"))}, nil, list{entry("a", true, "Error: exit code 3: boom")}},
		"it is gone":               {list{entry("a", false, "")}, nil, map[string]string{"a": "Error: exit code 3"}, list{entry("a", true, "Error: exit code 3")}},
		"it is gone, unseen":       {list{entry("a", false, "")}, nil, nil, list{entry("a", true, reasonUnseen)}},
		"the kubelet's last word":  {list{entry("a", true, reasonDeleted)}, nil, map[string]string{"a": "OOMKilled"}, list{entry("a", true, "OOMKilled")}},
		"no word after all":        {list{entry("a", true, reasonUnseen)}, nil, map[string]string{"a": "Deleted"}, list{entry("a", true, reasonDeleted)}},
		"it is long gone":          {list{before}, nil, map[string]string{"a": "Deleted"}, list{before}},
		"it is being deleted":      {list{entry("a", false, "")}, []*corev1.Pod{deleted}, nil, list{entry("a", true, reasonDeleted)}},
		"it ends while deleted":    {list{entry("a", true, reasonDeleted)}, []*corev1.Pod{broken}, nil, list{entry("a", true, "Error: exit code 3")}},
		"nobody calls it":          {list{entry("a", false, "")}, []*corev1.Pod{idle}, nil, list{entry("a", true, reasonIdle)}},
		"idle, and its end":        {list{entry("a", true, reasonIdle)}, []*corev1.Pod{broken}, nil, list{entry("a", true, reasonIdle)}},
		"it ended and is deleted":  {list{entry("a", true, "Error: exit code 1")}, []*corev1.Pod{deleted}, nil, list{entry("a", true, "Error: exit code 1")}},
		"a machine was found":      {list{entry("a", true, "Unschedulable: no room")}, []*corev1.Pod{launchPod("a", 0, corev1.PodStatus{})}, nil, list{entry("a", false, "")}},
		"the newest comes first":   {list{entry("a", false, "")}, []*corev1.Pod{launchPod("b", 1, corev1.PodStatus{}), launchPod("a", 0, corev1.PodStatus{})}, nil, nil},
		"of one second, by name":   {nil, []*corev1.Pod{launchPod("b", 0, corev1.PodStatus{}), launchPod("a", 0, corev1.PodStatus{})}, nil, list{entry("a", false, ""), entry("b", false, "")}},
		"a pod without containers": {nil, []*corev1.Pod{{ObjectMeta: launchPod("a", 0, corev1.PodStatus{}).ObjectMeta}}, nil, list{{Pod: "a", Peer: "peer0-banka", PackageID: "asset:00", StartedAt: launched}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{launches: c.pods, endings: c.endings, untold: map[string]bool{"untold": true}, now: now.Time}
			s := &v1alpha1.ChaincodeStatus{Launches: c.before}
			w.record(s)
			if name == "the newest comes first" {
				if len(s.Launches) != 2 || s.Launches[0].Pod != "b" {
					t.Errorf("got %+v", s.Launches)
				}
				return
			}
			if diff := cmp.Diff(c.want, s.Launches); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("bounded", func(t *testing.T) {
		w, s := &world{now: now.Time}, &v1alpha1.ChaincodeStatus{}
		for i := range maxLaunches + 1 {
			w.launches = append(w.launches, launchPod(strings.Repeat("a", i+1), i, corev1.PodStatus{}))
		}
		w.record(s)
		if len(s.Launches) != maxLaunches || len(s.Launches[0].Pod) != maxLaunches+1 || s.Launches[maxLaunches-1].Pod != "aa" {
			t.Errorf("%d launches, the first %+v", len(s.Launches), s.Launches[0])
		}
	})
}

// TestRecall: an end that was written into the status is still known in a round that reads the status as it was before.
func TestRecall(t *testing.T) {
	r := &Reconciler{}
	pod := launchPod("a", 0, corev1.PodStatus{})
	r.endings.note(pod, false)
	pod.Status = exited(3, "")
	r.endings.note(pod, true)
	stale := v1alpha1.ChaincodeStatus{Launches: []v1alpha1.ChaincodeLaunch{newLaunch(pod)}}
	for range 2 {
		w := &world{chaincode: &v1alpha1.Chaincode{Status: *stale.DeepCopy()}, network: "trade", now: launched.Time}
		if err := r.recall(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		if l := w.chaincode.Status.Launches[0]; l.EndedAt == nil || l.Reason != "Error: exit code 3" {
			t.Errorf("got %+v", l)
		}
	}
}

func TestEndings(t *testing.T) {
	var e endings
	status := []v1alpha1.ChaincodeLaunch{{Pod: "a"}, {Pod: "b", EndedAt: &launched}, {Pod: "c"}}
	e.note(launchPod("a", 0, corev1.PodStatus{}), false)
	if got := e.of("trade", status); len(got) > 0 {
		t.Errorf("a pod that runs has ended: %v", got)
	}
	if diff := cmp.Diff(map[string]bool{"a": true}, e.untold("trade", status)); diff != "" {
		t.Error(diff)
	}
	e.note(launchPod("a", 0, exited(3, "")), false)
	e.note(launchPod("a", 0, corev1.PodStatus{}), true)
	if got := e.untold("trade", status); len(got) > 0 {
		t.Errorf("the end of a pod that is gone is still to come: %v", got)
	}
	e.note(launchPod("b", 0, corev1.PodStatus{}), true)
	e.note(launchPod("b", 0, exited(4, "")), true)
	want := map[string]string{"a": "Error: exit code 3", "b": "Error: exit code 4"}
	if diff := cmp.Diff(want, e.of("trade", status)); diff != "" {
		t.Error(diff)
	}
	if got := e.of("other", status); len(got) > 0 {
		t.Errorf("another namespace has %v", got)
	}
	rested := launchPod("c", 0, exited(2, ""))
	rested.DeletionGracePeriodSeconds = ptr.To[int64](launch.IdleGraceSeconds)
	e.note(rested, false)
	// The kubelet's own deletion has no grace.
	e.note(launchPod("c", 0, exited(2, "")), true)
	if got := e.of("trade", status)["c"]; got != reasonIdle {
		t.Errorf("an idle contract ended by %q", got)
	}
	want["c"] = reasonIdle
	e.forget("trade", status)
	delete(want, "b")
	if diff := cmp.Diff(want, e.of("trade", status)); diff != "" {
		t.Error(diff)
	}
}

func TestLaunchable(t *testing.T) {
	l := func(peer, id, reason string) v1alpha1.ChaincodeLaunch {
		return v1alpha1.ChaincodeLaunch{Peer: peer, PackageID: id, Reason: reason}
	}
	type list = []v1alpha1.ChaincodeLaunch
	for name, c := range map[string]struct {
		launches list
		want     string
	}{
		"never called":       {nil, ""},
		"runs":               {list{l("peer0-banka", "asset:00", "")}, ""},
		"ended by itself":    {list{l("peer0-banka", "asset:00", "Error: exit code 3")}, ""},
		"no image":           {list{l("peer0-banka", "asset:00", "ErrImagePull: x")}, "peer0-banka could not launch the contract (ErrImagePull): see that its machine can pull the image; the next call tries again. x"},
		"no image before":    {list{l("peer0-banka", "asset:00", ""), l("peer0-banka", "asset:00", "ErrImagePull: x")}, ""},
		"of another package": {list{l("peer0-banka", "asset:11", "ErrImagePull: x")}, ""},
		"at the second peer": {list{l("peer0-banka", "asset:00", ""), l("peer0-bankb", "asset:00", "Unschedulable: x")}, "peer0-bankb could not launch"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{packageID: "asset:00", chaincode: &v1alpha1.Chaincode{
				Spec:   v1alpha1.ChaincodeSpec{Runtime: v1alpha1.RuntimePeer, IdleSeconds: ptr.To[int32](1)},
				Status: v1alpha1.ChaincodeStatus{Launches: c.launches},
			}}
			err := w.serves()
			i, ok := kube.AsIntent(err)
			if c.want == "" && err != nil || c.want != "" && (!ok || i.Reason != v1alpha1.ReasonLaunchFailed || !strings.Contains(i.Message, c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
