package chaincodebuild

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// What a status holds at most.
const (
	maxFailure   = 4096
	maxImageName = 512
)

// observe finds the build's pod.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	var pods corev1.PodList
	err := r.opts.Client.List(ctx, &pods, client.InNamespace(s.build.Namespace), client.MatchingLabels{
		v1alpha1.LabelComponent: v1alpha1.ComponentBuild, v1alpha1.LabelBuild: s.build.Name,
	})
	if err != nil {
		return fmt.Errorf("list the build's pods: %w", err)
	}
	for i := range pods.Items {
		// One of a former build of the same name may still be there.
		if s.job != nil && metav1.IsControlledBy(&pods.Items[i], s.job) {
			s.pod = &pods.Items[i]
			break
		}
	}
	return nil
}

// conclude reads the result, or says what is waited for.
func (r *Reconciler) conclude(_ context.Context, s *scope) error {
	if result := resultOf(s.pod); result != nil {
		if result.Digest == "" {
			return r.end(s, result.Failure)
		}
		s.build.Status.Image = &v1alpha1.ChaincodeImage{
			Name: result.Name, Digest: result.Digest, SBOM: result.SBOM, Provenance: result.Provenance, Meta: result.Meta, Log: result.Log,
		}
		s.build.Status.FinishedAt = ptr.To(metav1.NewTime(r.opts.Now()))
		return nil
	}
	if why := failed(s.job, s.pod, s.build); why != "" {
		return r.end(s, why)
	}
	return waiting(s.pod)
}

// reasonMemory is the kubelet's word.
const reasonMemory = "OOMKilled"

// end writes down that there is no image.
func (r *Reconciler) end(s *scope, why string) error {
	if why = strings.ToValidUTF8(why, ""); len(why) > maxFailure {
		why = strings.ToValidUTF8(why[len(why)-maxFailure:], "")
	}
	s.build.Status.Failure = why
	s.build.Status.FinishedAt = ptr.To(metav1.NewTime(r.opts.Now()))
	return outcome(s.build)
}

// outcome is what a build that has ended says for ever.
func outcome(b *v1alpha1.ChaincodeBuild) error {
	if b.Status.Image != nil {
		return nil
	}
	return kube.Stalled(v1alpha1.ReasonBuildFailed, "The source did not become an image: %s", firstLine(b.Status.Failure))
}

func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return "nothing more is known"
}

// finished takes the key away: the registry takes it no more.
func (r *Reconciler) finished(ctx context.Context, s *scope) error {
	if err := r.applier.Delete(ctx, s.build, specs.BuildSecret(s.build, "")); err != nil {
		return err
	}
	return outcome(s.build)
}

// resultOf is what the container that pushes left; nil while there is nothing.
func resultOf(pod *corev1.Pod) *specs.BuildResult {
	if pod == nil {
		return nil
	}
	for i := range pod.Status.ContainerStatuses {
		t := pod.Status.ContainerStatuses[i].State.Terminated
		if t == nil {
			continue
		}
		var result specs.BuildResult
		if json.Unmarshal([]byte(t.Message), &result) != nil || !credible(result) {
			return &specs.BuildResult{Failure: ended("push", t)}
		}
		return &result
	}
	return nil
}

var digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// credible tells whether a result can stand in a status: that of a failure, or of an image.
func credible(r specs.BuildResult) bool {
	if r.Digest == "" {
		return r.Failure != ""
	}
	for _, beside := range []string{r.SBOM, r.Provenance, r.Meta, r.Log} {
		if beside != "" && !digestPattern.MatchString(beside) {
			return false
		}
	}
	return digestPattern.MatchString(r.Digest) && r.Name != "" && len(r.Name) <= maxImageName
}

// failed says why a build ended without a result; empty while it has not. What stopped a pod from outside comes before what
// its containers say of that: they only know that they were stopped.
func failed(job *batchv1.Job, pod *corev1.Pod, b *v1alpha1.ChaincodeBuild) string {
	why := failedJob(job, b)
	if why != "" && pod == nil || strings.HasPrefix(why, tooLong) {
		return why
	}
	if pod == nil || !pod.DeletionTimestamp.IsZero() && why == "" {
		return "" // the Job says soon why it deletes it
	}
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return fmt.Sprintf("The build's pod was stopped: %s: %s", pod.Status.Reason, pod.Status.Message)
	}
	for i := range pod.Status.InitContainerStatuses {
		s := &pod.Status.InitContainerStatuses[i]
		if t := s.State.Terminated; t != nil && (t.ExitCode != 0 || t.Reason == reasonMemory) {
			return ended(s.Name, t)
		}
	}
	return why
}

const tooLong = "The build took more than"

func failedJob(job *batchv1.Job, b *v1alpha1.ChaincodeBuild) string {
	if job == nil {
		return ""
	}
	for _, c := range job.Status.Conditions {
		if c.Status != corev1.ConditionTrue || c.Type != batchv1.JobFailed && c.Type != batchv1.JobFailureTarget {
			continue
		}
		if c.Reason == batchv1.JobReasonDeadlineExceeded {
			return fmt.Sprintf(tooLong+" %d s (spec.timeoutSeconds) and was stopped", specs.BuildTimeout(b))
		}
		if c.Type == batchv1.JobFailed {
			return fmt.Sprintf("The build's pod failed: %s: %s", c.Reason, c.Message)
		}
	}
	return ""
}

func ended(container string, t *corev1.ContainerStateTerminated) string {
	if t.Reason == reasonMemory {
		return fmt.Sprintf("Container %q of the build ran out of memory: set a higher limit in spec.resources of another ChaincodeBuild", container)
	}
	return strings.TrimSpace(fmt.Sprintf("Container %q of the build ended with exit code %d: %s", container, t.ExitCode, t.Message))
}

// waiting says what a build that goes on is doing.
func waiting(pod *corev1.Pod) error {
	if pod == nil {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for the build's pod")
	}
	for _, s := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if w := s.State.Waiting; w != nil && strings.Contains(w.Reason, "Image") {
			return kube.Waiting(v1alpha1.ReasonImageUnavailable, 0, "The image for builds cannot be had: %s: %s; see docs/images.md, make build-images", w.Reason, w.Message)
		}
		if s.State.Running == nil {
			continue
		}
		if s.Name == "fetch" {
			return kube.Waiting(v1alpha1.ReasonWaitingForSource, 0, "Waiting for the source to be uploaded")
		}
		return kube.Waiting(v1alpha1.ReasonProgressing, 0, "Container %q is at work", s.Name)
	}
	return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for pod %q to start", pod.Name)
}
