package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
)

func (d *doctor) checkNetwork(ctx context.Context, n *v1alpha1.Network) error {
	d.checkReady("network "+n.Name, n)
	var ns corev1.Namespace
	err := d.cluster.Get(ctx, client.ObjectKey{Name: n.Name}, &ns)
	if apierrors.IsNotFound(err) {
		d.problem("namespace "+n.Name, "look at the operator above: it makes the namespace", "does not exist yet")
		return nil
	}
	if err != nil {
		d.unknown("namespace "+n.Name, err)
		return nil
	}
	d.checkPodSecurity(&ns)
	o, err := d.cluster.objectsOf(ctx, n.Name)
	if err != nil {
		return err
	}
	d.checkObjects(o)
	d.checkPods(ctx, n.Name, o)
	d.checkVolumes(ctx, n.Name)
	d.checkCertificates(n, o)
	for i := range o.channels.Items {
		d.checkChannel(&o.channels.Items[i])
	}
	return nil
}

// checkReady reports the object's own word on its state.
func (d *doctor) checkReady(check string, o conditioned) {
	r := readinessOf(o)
	if r.IsReady() {
		d.ok(check, "%s", dash(r.Message))
		return
	}
	d.problem(check, remedyOf(r), "%s: %s", r.Reason, r.Message)
}

// remedyOf says what helps for a reason; the message of a stalled object says it itself.
func remedyOf(r readiness) string {
	switch r.Reason {
	case v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonUnsafeChange:
		return "change the spec as the message says"
	case v1alpha1.ReasonInvalidOwnership:
		return "delete or rename the object that is in the way"
	case v1alpha1.ReasonNamespaceTaken:
		return "choose another name for the network: this namespace belongs to somebody else"
	case v1alpha1.ReasonNamespaceRetained:
		return "set spec.networkID to that of the retained data, or take the data away with 'network delete NAME --purge-data NAME'"
	case v1alpha1.ReasonForbidden:
		return "give the right that the message names"
	case v1alpha1.ReasonImageUnavailable:
		return "make the image available, or set spec.fabric.images"
	case v1alpha1.ReasonNeedsSignatures:
		return "have the other organisations sign"
	case v1alpha1.ReasonPaused:
		return "remove the annotation " + v1alpha1.AnnotationPaused
	case v1alpha1.ReasonRetrying:
		return "it is tried again with growing pauses; the message has the cause"
	case v1alpha1.ReasonDeleting:
		return "wait until it is gone"
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonWaitingForDependency, v1alpha1.ReasonWaitingForPod, v1alpha1.ReasonWaitingForVolume,
		v1alpha1.ReasonRollingOut, v1alpha1.ReasonCatchingUp:
		return "wait, or look at the crosses below for what it waits for"
	}
	return ""
}

// checkObjects reports every object that is not Ready, and counts the others.
func (d *doctor) checkObjects(o *networkObjects) {
	good := 0
	see := func(kind string, c conditioned) {
		if readinessOf(c).IsReady() {
			good++
			return
		}
		d.checkReady(kind+" "+c.GetName(), c)
	}
	for i := range o.organizations.Items {
		see("organisation", &o.organizations.Items[i])
	}
	for i := range o.orderers.Items {
		see("orderer", &o.orderers.Items[i])
	}
	for i := range o.peers.Items {
		see("peer", &o.peers.Items[i])
	}
	for i := range o.channels.Items {
		see("channel", &o.channels.Items[i])
	}
	for i := range o.chaincodes.Items {
		see("contract", &o.chaincodes.Items[i])
	}
	for i := range o.identities.Items {
		see("identity", &o.identities.Items[i])
	}
	if good > 0 {
		d.ok("objects", "%d are Ready", good)
	}
}

func (d *doctor) checkPodSecurity(ns *corev1.Namespace) {
	const label = "pod-security.kubernetes.io/enforce"
	check := "Pod Security of " + ns.Name
	switch level := ns.Labels[label]; level {
	case "restricted":
		d.ok(check, "restricted")
	case "":
		d.warn(check, "remove what took the label away: the operator sets it", "the namespace has no label %s", label)
	default:
		d.warn(check, "the operator sets restricted: somebody changed it", "is %s", level)
	}
}

// checkPods looks for the pod of every node and for what keeps it from running.
func (d *doctor) checkPods(ctx context.Context, network string, o *networkObjects) {
	var pods corev1.PodList
	if err := d.cluster.List(ctx, &pods, client.InNamespace(network), client.HasLabels{v1alpha1.LabelNode}); err != nil {
		d.unknown("pods of "+network, err)
		return
	}
	seen := map[string]bool{}
	good := 0
	for i := range pods.Items {
		p := &pods.Items[i]
		node := p.Labels[v1alpha1.LabelNode]
		seen[p.Labels[v1alpha1.LabelComponent]+"/"+node] = true
		if podReady(p) {
			good++
			continue
		}
		d.checkPod(ctx, "pod of "+node, p)
	}
	for _, want := range wantedPods(o) {
		if !seen[want.component+"/"+want.name] {
			cause := d.eventOf(ctx, network, "ReplicaSet", want.workload)
			d.problem("pod of "+want.name, "look at the object above and at the events of the namespace: a quota or a policy may refuse it",
				"there is none: %s", dash(cause))
		}
	}
	if good > 0 {
		d.ok("pods of "+network, "%d are ready", good)
	}
}

// wantedPod is a pod that has to be there.
type wantedPod struct{ component, name, workload string }

func wantedPods(o *networkObjects) []wantedPod {
	var out []wantedPod
	for i := range o.orderers.Items {
		n := o.orderers.Items[i].Name
		out = append(out, wantedPod{v1alpha1.ComponentOrderer, n, n})
	}
	for i := range o.peers.Items {
		n := o.peers.Items[i].Name
		out = append(out, wantedPod{v1alpha1.ComponentPeer, n, n})
	}
	return out
}

func podReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// imageRemedy is for images that cannot be had.
const imageRemedy = "check the image's name, that the cluster reaches the registry, and imagePullSecrets"

// checkPod says what keeps one pod from being ready.
func (d *doctor) checkPod(ctx context.Context, check string, p *corev1.Pod) {
	t := troubleOf(p)
	switch {
	case p.DeletionTimestamp != nil:
		d.warn(check, "wait until its successor is there", "pod %s is ending", p.Name)
	case t == nil:
		cause := d.eventOf(ctx, p.Namespace, "Pod", p.Name)
		if strings.Contains(cause, "pull image") {
			d.problem(check, imageRemedy, "pod %s: %s", p.Name, cause)
			return
		}
		d.problem(check, "wait, or look at its log: kubectl -n "+p.Namespace+" logs "+p.Name, "pod %s is not ready yet: %s", p.Name, dash(cause))
	case t.image():
		d.problem(check, imageRemedy, "%s", t)
	case t.crashed():
		d.problem(check, "kubectl -n "+p.Namespace+" logs --previous "+p.Name, "%s; its last words: %s", t, dash(d.lastWords(ctx, p, t.container)))
	case t.reason == corev1.PodReasonUnschedulable:
		d.problem(check, "give the cluster room, or lower the requests in the node's template", "%s", t)
	default:
		d.problem(check, "kubectl -n "+p.Namespace+" describe pod "+p.Name, "%s", t)
	}
}

const (
	lastLines    = 60
	lastWordsMax = 300
)

// lastWords is the line of a container's log that most likely names the cause of its end.
func (d *doctor) lastWords(ctx context.Context, p *corev1.Pod, container string) string {
	lines := int64(lastLines)
	for _, previous := range []bool{true, false} {
		opts := &corev1.PodLogOptions{Container: container, Previous: previous, TailLines: &lines}
		b, err := d.cluster.clientset.CoreV1().Pods(p.Namespace).GetLogs(p.Name, opts).DoRaw(ctx)
		if err == nil && len(b) > 0 {
			return causeIn(string(b))
		}
	}
	return ""
}

// causeIn picks the last line that speaks of an error, else the last one.
func causeIn(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	best := lines[len(lines)-1]
	for _, line := range slices.Backward(lines) {
		low := strings.ToLower(line)
		if strings.Contains(low, "panic:") || strings.Contains(low, "fatal") || strings.Contains(low, "error") || strings.Contains(low, "failed") {
			best = line
			break
		}
	}
	best = strings.TrimSpace(best)
	if r := []rune(best); len(r) > lastWordsMax {
		best = string(r[:lastWordsMax]) + "…"
	}
	return best
}

// eventOf is the newest warning about an object whose name starts so.
func (d *doctor) eventOf(ctx context.Context, namespace, kind, name string) string {
	var list corev1.EventList
	if err := d.cluster.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return ""
	}
	var newest *corev1.Event
	for i := range list.Items {
		e := &list.Items[i]
		if e.Type != corev1.EventTypeWarning || e.InvolvedObject.Kind != kind || !strings.HasPrefix(e.InvolvedObject.Name, name) {
			continue
		}
		if newest == nil || eventTime(e).After(eventTime(newest)) {
			newest = e
		}
	}
	if newest == nil {
		return ""
	}
	return newest.Reason + ": " + newest.Message
}

func eventTime(e *corev1.Event) time.Time {
	if !e.EventTime.IsZero() {
		return e.EventTime.Time
	}
	return e.LastTimestamp.Time
}

func (d *doctor) checkVolumes(ctx context.Context, network string) {
	check := "volumes of " + network
	var list corev1.PersistentVolumeClaimList
	if err := d.cluster.List(ctx, &list, client.InNamespace(network)); err != nil {
		d.unknown(check, err)
		return
	}
	bound := 0
	for i := range list.Items {
		c := &list.Items[i]
		if c.Status.Phase == corev1.ClaimBound {
			bound++
			continue
		}
		class := "the default StorageClass"
		if c.Spec.StorageClassName != nil {
			class = "StorageClass " + *c.Spec.StorageClassName
		}
		d.problem("volume "+c.Name, fmt.Sprintf("check that %s exists and that its provisioner runs", class),
			"is %s (%s): %s", c.Status.Phase, class, dash(d.eventOf(ctx, network, "PersistentVolumeClaim", c.Name)))
	}
	if bound > 0 {
		d.ok(check, "%d are bound", bound)
	}
}
