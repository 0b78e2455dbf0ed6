package pods

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

var labels = map[string]string{v1alpha1.LabelNode: "peer0"}

func deployment(hash string, available bool) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "peer0", Namespace: "trade", Generation: 2}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Annotations = map[string]string{v1alpha1.AnnotationConfigHash: hash}
	if available {
		d.Status = appsv1.DeploymentStatus{
			ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1,
			Conditions: []appsv1.DeploymentCondition{{
				Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Unix(1000, 0)),
			}},
		}
	}
	return d
}

func pod(status corev1.PodStatus) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "peer0-abc", Namespace: "trade", Labels: labels}, Status: status}
	p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "peer0"},
	}}}
	return p
}

func claim(phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "peer0", Namespace: "trade"},
		Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: ptr.To("fast")},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: phase},
	}
}

func container(s corev1.ContainerStatus) corev1.PodStatus {
	s.Name, s.Image = "peer", "registry.example/peer:1"
	return corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{s}}
}

func waiting(reason string) corev1.PodStatus {
	return container(corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "no key"}}})
}

func ended(code int32, reason, message string) corev1.PodStatus {
	return container(corev1.ContainerStatus{
		RestartCount:         3,
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}},
	})
}

func unscheduled() corev1.PodStatus {
	return corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes are available: 1 Insufficient cpu",
	}}}
}

func TestAwait(t *testing.T) {
	for name, c := range map[string]struct {
		objects []client.Object
		reason  string
		says    string
	}{
		"serves":          {[]client.Object{deployment("a", true)}, "", ""},
		"older template":  {[]client.Object{deployment("b", true)}, v1alpha1.ReasonWaitingForPod, "about to be made"},
		"not there":       {nil, v1alpha1.ReasonWaitingForPod, "just been made"},
		"no pod":          {[]client.Object{deployment("a", false)}, v1alpha1.ReasonWaitingForPod, "about to be made"},
		"starting":        {[]client.Object{deployment("a", false), pod(corev1.PodStatus{})}, v1alpha1.ReasonWaitingForPod, "starting"},
		"image":           {[]client.Object{deployment("a", false), pod(waiting("ErrImagePull"))}, v1alpha1.ReasonImageUnavailable, "registry.example/peer:1"},
		"container":       {[]client.Object{deployment("a", false), pod(waiting("CreateContainerConfigError"))}, v1alpha1.ReasonWaitingForPod, "no key"},
		"crash":           {[]client.Object{deployment("a", false), pod(ended(2, "Error", "cannot open ledger"))}, v1alpha1.ReasonWaitingForPod, "cannot open ledger"},
		"crash, no words": {[]client.Object{deployment("a", false), pod(ended(2, "Error", ""))}, v1alpha1.ReasonWaitingForPod, "exit code 2"},
		"out of memory":   {[]client.Object{deployment("a", false), pod(ended(137, "OOMKilled", ""))}, v1alpha1.ReasonWaitingForPod, "raise the memory limit"},
		"long last words": {[]client.Object{deployment("a", false), pod(ended(1, "Error", strings.Repeat("x ", 500)+"cause"))}, v1alpha1.ReasonWaitingForPod, "cause"},
		"no machine": {
			[]client.Object{deployment("a", false), pod(unscheduled()), claim(corev1.ClaimBound)},
			v1alpha1.ReasonWaitingForPod, "Insufficient cpu",
		},
		"volume": {
			[]client.Object{deployment("a", false), pod(unscheduled()), claim(corev1.ClaimPending)},
			v1alpha1.ReasonWaitingForVolume, "StorageClass fast",
		},
		"restarted once": {
			[]client.Object{deployment("a", false), pod(container(corev1.ContainerStatus{
				RestartCount: 1, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}},
			}))},
			v1alpha1.ReasonWaitingForPod, "starting",
		},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			if err := corev1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			if err := appsv1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			err := Await(t.Context(), fake.NewClientBuilder().WithScheme(scheme).WithObjects(c.objects...).Build(), deployment("a", false))
			if c.reason == "" {
				if err != nil {
					t.Errorf("got %v, want nothing to wait for", err)
				}
				return
			}
			i, ok := kube.AsIntent(err)
			if !ok || i.Reason != c.reason || !strings.Contains(i.Message, c.says) || i.Stalled {
				t.Errorf("got %v, want to wait for %s with %q", err, c.reason, c.says)
			}
			if ok && len(i.Message) > 350 {
				t.Errorf("the message has %d bytes", len(i.Message))
			}
		})
	}
}

func TestAvailableSince(t *testing.T) {
	if got := AvailableSince(deployment("a", true)); !got.Equal(time.Unix(1000, 0)) {
		t.Errorf("since %s", got)
	}
	if got := AvailableSince(deployment("a", false)); !got.IsZero() {
		t.Errorf("since %s, though it is not available", got)
	}
}
