package harness

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// Processes are those of a container. It needs a lab.
func (c *Cluster) Processes(pod *corev1.Pod, container string) ([]int, error) {
	if c.Lab == nil {
		return nil, fmt.Errorf("%w: seeing processes needs a lab", ErrUnavailable)
	}
	id := containerID(pod, container)
	if id == "" {
		return nil, fmt.Errorf("find processes of container %q of pod %q: it does not run", container, pod.Name)
	}
	return processesOf(id)
}
