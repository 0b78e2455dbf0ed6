package cli

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTroubleOf(t *testing.T) {
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "why"}}
	}
	ended := func(code int32) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "Error"}}
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	for name, c := range map[string]struct {
		status  corev1.PodStatus
		want    string
		crashed bool
		image   bool
	}{
		"runs":        {status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: running, Ready: true}}}},
		"on its way":  {status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: waiting("ContainerCreating")}}}},
		"init was ok": {status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "i", State: ended(0)}}}},
		"no room": {
			status: corev1.PodStatus{Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes"},
			}},
			want: "pod p: Unschedulable: 0/1 nodes",
		},
		"no image": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: waiting("ImagePullBackOff")}}},
			want:   "pod p, container c: ImagePullBackOff: why", image: true,
		},
		"crashes": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: waiting("CrashLoopBackOff")}}},
			want:   "pod p, container c: CrashLoopBackOff: why", crashed: true,
		},
		"between two crashes": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: running, RestartCount: 3, LastTerminationState: ended(1)}}},
			want:   "pod p, container c: Error: ended with exit code 1, was started again 3 times", crashed: true,
		},
		"crashed long ago, runs": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", State: running, Ready: true, RestartCount: 3, LastTerminationState: ended(1)}}},
		},
		"init failed": {
			status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "i", State: ended(2)}}},
			want:   "pod p, container i: Error: ended with exit code 2", crashed: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := troubleOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: c.status})
			if got == nil {
				if c.want != "" {
					t.Fatalf("nothing was seen, want %q", c.want)
				}
				return
			}
			if got.String() != c.want || got.crashed() != c.crashed || got.image() != c.image {
				t.Errorf("got %q, crashed %v, image %v", got, got.crashed(), got.image())
			}
		})
	}
}

func TestCauseIn(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"the last error":           {"start\nERROR one\nfatal: two\nbye", "fatal: two"},
		"no error":                 {"one\n two \n", "two"},
		"a panic before its stack": {"panic: no key\n\ngoroutine 1 [running]:\nmain.main()", "panic: no key"},
		"nothing":                  {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := causeIn(c.log); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
