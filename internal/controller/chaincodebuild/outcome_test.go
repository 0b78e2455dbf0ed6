package chaincodebuild

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
)

// TestFailed: what stopped a build from outside is told, not what its containers say of having been stopped.
func TestFailed(t *testing.T) {
	stopped := func(change func(*corev1.Pod)) *corev1.Pod {
		pod := &corev1.Pod{Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{
			Name: "compile", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "it was stopped"}},
		}}}}
		if change != nil {
			change(pod)
		}
		return pod
	}
	deleted := stopped(func(p *corev1.Pod) { p.DeletionTimestamp = ptr.To(metav1.Now()) })
	evicted := stopped(func(p *corev1.Pod) {
		p.Status.Phase, p.Status.Reason, p.Status.Message = corev1.PodFailed, "Evicted", "Usage of volume exceeds 2Gi"
	})
	job := func(kind batchv1.JobConditionType, reason string) *batchv1.Job {
		return &batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: "m"}}}}
	}
	const deadline, limit = batchv1.JobReasonDeadlineExceeded, batchv1.JobReasonBackoffLimitExceeded
	for name, c := range map[string]struct {
		job  *batchv1.Job
		pod  *corev1.Pod
		want string
	}{
		"nothing yet":                    {nil, nil, ""},
		"at work":                        {&batchv1.Job{}, &corev1.Pod{}, ""},
		"a container failed":             {&batchv1.Job{}, stopped(nil), "it was stopped"},
		"and the Job after it":           {job(batchv1.JobFailed, limit), stopped(nil), "it was stopped"},
		"deleted, nobody knows why yet":  {&batchv1.Job{}, deleted, ""},
		"too late, about to be stopped":  {job(batchv1.JobFailureTarget, deadline), deleted, "spec.timeoutSeconds"},
		"too late":                       {job(batchv1.JobFailed, deadline), stopped(nil), "spec.timeoutSeconds"},
		"too late, and gone":             {job(batchv1.JobFailed, deadline), nil, "spec.timeoutSeconds"},
		"deleted by somebody":            {job(batchv1.JobFailed, limit), nil, "BackoffLimitExceeded"},
		"deleted by somebody, just now":  {job(batchv1.JobFailureTarget, limit), deleted, ""},
		"evicted":                        {&batchv1.Job{}, evicted, "Evicted: Usage of volume exceeds 2Gi"},
		"evicted, and the Job after it":  {job(batchv1.JobFailed, limit), evicted, "Evicted: Usage of volume exceeds 2Gi"},
		"evicted, and deleted by itself": {job(batchv1.JobFailed, limit), stopped(func(p *corev1.Pod) { p.Status = evicted.Status; p.DeletionTimestamp = deleted.DeletionTimestamp }), "Evicted"},
		"a child out of memory": {&batchv1.Job{}, stopped(func(p *corev1.Pod) {
			p.Status.InitContainerStatuses[0].State.Terminated = &corev1.ContainerStateTerminated{Reason: "OOMKilled"}
		}), "spec.resources"},
	} {
		t.Run(name, func(t *testing.T) {
			got := failed(c.job, c.pod, &v1alpha1.ChaincodeBuild{})
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
