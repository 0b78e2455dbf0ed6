package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/test/harness"
)

// TestTwoNetworks: two networks with the same names of organizations run side by side, and no pod of one can open a
// connection to the other. The last part shows that the test would notice: without the policy agent it can.
func TestTwoNetworks(t *testing.T) {
	ctx, c := start(t, 8*time.Minute)
	one, two := raft3("side-one"), raft3("side-two")
	up(ctx, t, c, one)
	up(ctx, t, c, two)
	first, second := clients(ctx, t, c, one.Name, "demo"), clients(ctx, t, c, two.Name, "demo")
	keys := submit(ctx, t, first, "one")
	submit(ctx, t, second, "two")
	if _, err := second[0].Read(ctx, "Read", keys[0]); err == nil {
		t.Error("an asset of one network can be read in the other")
	}

	foreign := []string{
		"peer0-banka.side-two:7051", "peer0-banka.side-two:7052", "orderer0-ord.side-two:7050", "orderer0-ord.side-two:7053",
		"cc-demo-asset.side-two:9999",
	}
	for _, target := range foreign {
		if connects(ctx, t, c, one.Name, "peer", target) {
			t.Errorf("a pod with a peer's labels in %q connects to %s", one.Name, target)
		}
		// Nothing holds a pod of this namespace back but the network's own policies.
		if connects(ctx, t, c, "default", "", target) {
			t.Errorf("a pod of a namespace without policies connects to %s", target)
		}
	}
	if !connects(ctx, t, c, one.Name, "peer", "orderer0-ord.side-one:7050") {
		t.Error("a pod with a peer's labels does not connect to an orderer of its own network: the test proves nothing")
	}
	if c.Lab == nil {
		return
	}
	if err := c.Lab.SetPolicy(ctx, false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Lab.SetPolicy(context.WithoutCancel(ctx), true); err != nil {
			t.Error(err)
		}
	})
	for _, target := range foreign {
		if !connects(ctx, t, c, one.Name, "peer", target) {
			t.Errorf("without the policy agent a pod in %q still does not connect to %s: the test would not notice a missing policy", one.Name, target)
		}
	}
}

// connects starts a pod that carries the labels of a component and tells whether it can open a connection.
func connects(ctx context.Context, t *testing.T, c *harness.Cluster, namespace, component, target string) bool {
	t.Helper()
	pod := probe(namespace, "connect", target)
	if component != "" {
		pod.Labels = map[string]string{"heddle.dev/network": namespace, "heddle.dev/component": component}
	}
	ok, log := runPod(ctx, t, c, pod)
	progress("%s -> %s: %v (%s)", namespace, target, ok, log)
	return ok
}

// probe is a pod of the test program, as restricted as every other one.
func probe(namespace string, args ...string) *corev1.Pod {
	yes, no, user := true, false, int64(65532)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "probe-"},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever,
			AutomountServiceAccountToken:  &no,
			EnableServiceLinks:            &no,
			TerminationGracePeriodSeconds: new(int64),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: "heddle.dev/testbox:dev", Args: args, ImagePullPolicy: corev1.PullNever,
				SecurityContext: restricted(),
			}},
		},
	}
}

func restricted() *corev1.SecurityContext {
	no := false
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no,
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// runPod runs a pod to its end and tells whether it succeeded and what its last container said.
func runPod(ctx context.Context, t *testing.T, c *harness.Cluster, pod *corev1.Pod) (ok bool, log string) {
	t.Helper()
	if err := c.Create(ctx, pod); err != nil {
		t.Fatalf("create pod: %v", err)
	}
	defer func() {
		_ = c.Delete(context.WithoutCancel(ctx), pod)
	}()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		if err := c.Get(ctx, harness.Key(pod), pod); err != nil {
			return err
		}
		if p := pod.Status.Phase; p != corev1.PodSucceeded && p != corev1.PodFailed {
			return fmt.Errorf("pod %q is %s", pod.Name, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return pod.Status.Phase == corev1.PodSucceeded, c.Log(ctx, pod, pod.Spec.Containers[len(pod.Spec.Containers)-1].Name)
}
