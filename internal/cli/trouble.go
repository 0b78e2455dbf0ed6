package cli

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// trouble is what keeps a pod from running.
type trouble struct {
	pod       string
	container string
	reason    string
	message   string
}

func (t *trouble) String() string {
	where := "pod " + t.pod
	if t.container != "" {
		where += ", container " + t.container
	}
	return strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", where, t.reason, t.message), ": ")
}

// crashed says that the container runs and ends again and again.
func (t *trouble) crashed() bool {
	return t.reason == "CrashLoopBackOff" || t.reason == "Error" || t.reason == "OOMKilled"
}

// image says that the container's image cannot be had.
func (t *trouble) image() bool {
	switch t.reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError", "RegistryUnavailable":
		return true
	}
	return false
}

// troubleOf reads a pod's status; nil where it runs or is on its way.
func troubleOf(p *corev1.Pod) *trouble {
	for _, cond := range p.Status.Conditions {
		if cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse {
			return &trouble{pod: p.Name, reason: cond.Reason, message: cond.Message}
		}
	}
	all := append(append([]corev1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...)
	for _, s := range all {
		if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return &trouble{pod: p.Name, container: s.Name, reason: w.Reason, message: w.Message}
		}
		if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
			return &trouble{pod: p.Name, container: s.Name, reason: t.Reason, message: fmt.Sprintf("ended with exit code %d", t.ExitCode)}
		}
		// Between two crashes a container looks well for a moment.
		if t := s.LastTerminationState.Terminated; t != nil && !s.Ready && s.RestartCount > 0 {
			message := fmt.Sprintf("ended with exit code %d, was started again %d times", t.ExitCode, s.RestartCount)
			return &trouble{pod: p.Name, container: s.Name, reason: t.Reason, message: message}
		}
	}
	return nil
}
