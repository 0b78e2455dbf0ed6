// Package pods tells in words why a Deployment of one pod does not serve yet:
// the image, the volume, the scheduler, or how the container last ended. It
// looks and never writes.
package pods

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

// Available tells whether the pod of a Deployment's present template serves.
func Available(d *appsv1.Deployment) bool {
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == 1 &&
		d.Status.Replicas == 1 && d.Status.AvailableReplicas == 1
}

// AvailableSince is when a Deployment became available; zero if it is not.
func AvailableSince(d *appsv1.Deployment) time.Time {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentAvailable && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// Await returns nil when the Deployment serves in the template that is wanted, and otherwise Waiting with the reason.
func Await(ctx context.Context, reader client.Reader, want *appsv1.Deployment) error {
	var live appsv1.Deployment
	err := reader.Get(ctx, client.ObjectKeyFromObject(want), &live)
	if apierrors.IsNotFound(err) {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, time.Second, "Deployment %q has just been made", want.Name)
	}
	if err != nil {
		return fmt.Errorf("read Deployment %q: %w", want.Name, err)
	}
	if Hash(&live) == Hash(want) && Available(&live) {
		return nil
	}
	return Explain(ctx, reader, want)
}

// Hash identifies the template of a Deployment.
func Hash(d *appsv1.Deployment) string {
	return d.Spec.Template.Annotations[v1alpha1.AnnotationConfigHash]
}

// Explain says why the pod of a Deployment does not serve.
func Explain(ctx context.Context, reader client.Reader, d *appsv1.Deployment) error {
	pod, err := newest(ctx, reader, d)
	if err != nil {
		return err
	}
	if pod == nil {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "The pod of Deployment %q is about to be made", d.Name)
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if err := explainContainer(s); err != nil {
			return err
		}
	}
	if err := explainScheduling(ctx, reader, pod); err != nil {
		return err
	}
	return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Pod %q is starting", pod.Name)
}

// Newest returns the newest pod of a Deployment that is not going away, or nil.
func Newest(ctx context.Context, reader client.Reader, d *appsv1.Deployment) (*corev1.Pod, error) {
	return newest(ctx, reader, d)
}

func newest(ctx context.Context, reader client.Reader, d *appsv1.Deployment) (*corev1.Pod, error) {
	var list corev1.PodList
	err := reader.List(ctx, &list, client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels))
	if err != nil {
		return nil, fmt.Errorf("list pods of Deployment %q: %w", d.Name, err)
	}
	live := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !p.DeletionTimestamp.IsZero() })
	if len(live) == 0 {
		return nil, nil //nolint:nilnil // no pod is an answer here, not an error
	}
	p := slices.MaxFunc(live, func(a, b corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return &p, nil
}

func explainContainer(s corev1.ContainerStatus) error {
	if w := s.State.Waiting; w != nil {
		switch w.Reason {
		case "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName":
			return kube.Waiting(v1alpha1.ReasonImageUnavailable, 0,
				"Image %q cannot be had (%s): load it, correct the version or image, or give imagePullSecrets", s.Image, w.Reason)
		case "CreateContainerConfigError", "CreateContainerError":
			return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Container %q cannot be made: %s", s.Name, brief(w.Message))
		}
	}
	ended := s.LastTerminationState.Terminated
	if s.State.Terminated != nil && s.State.Terminated.ExitCode != 0 {
		ended = s.State.Terminated
	}
	if s.Ready || ended == nil {
		return nil
	}
	if s.State.Running != nil && s.RestartCount < 2 {
		// One restart is no pattern: it is most likely about to come up.
		return nil
	}
	return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Container %q ended with %s after %d restarts%s",
		s.Name, exit(ended), s.RestartCount, last(ended))
}

func exit(t *corev1.ContainerStateTerminated) string {
	if t.Reason == "OOMKilled" {
		return "OOMKilled (raise the memory limit in resources)"
	}
	return fmt.Sprintf("exit code %d", t.ExitCode)
}

func last(t *corev1.ContainerStateTerminated) string {
	if t.Message == "" {
		return ": see its log"
	}
	return ": " + brief(t.Message)
}

// brief keeps the end of a text, where the cause stands, on one line.
func brief(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	const most = 200
	if r := []rune(s); len(r) > most {
		return "…" + string(r[len(r)-most:])
	}
	return s
}

func explainScheduling(ctx context.Context, reader client.Reader, pod *corev1.Pod) error {
	for _, c := range pod.Status.Conditions {
		if c.Type != corev1.PodScheduled || c.Status != corev1.ConditionFalse {
			continue
		}
		for _, v := range pod.Spec.Volumes {
			if v.PersistentVolumeClaim == nil {
				continue
			}
			if err := explainVolume(ctx, reader, pod.Namespace, v.PersistentVolumeClaim.ClaimName); err != nil {
				return err
			}
		}
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Pod %q finds no machine: %s", pod.Name, brief(c.Message))
	}
	return nil
}

func explainVolume(ctx context.Context, reader client.Reader, namespace, name string) error {
	var pvc corev1.PersistentVolumeClaim
	if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &pvc); err != nil {
		return client.IgnoreNotFound(err)
	}
	if pvc.Status.Phase == corev1.ClaimBound {
		return nil
	}
	class := "the default StorageClass"
	if pvc.Spec.StorageClassName != nil && *pvc.Spec.StorageClassName != "" {
		class = "StorageClass " + *pvc.Spec.StorageClassName
	}
	return kube.Waiting(v1alpha1.ReasonWaitingForVolume, 0,
		"Volume %q is not bound yet: if this lasts, see whether %s exists and provisions", name, class)
}
