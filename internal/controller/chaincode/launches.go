package chaincode

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs/launch"
)

const (
	maxLaunches = 64
	maxReason   = 512
	// reasonUnseen stands where nobody saw the end.
	reasonUnseen  = v1alpha1.LaunchUnknown + ": it ended while the operator was away"
	reasonDeleted = v1alpha1.LaunchDeleted
	reasonIdle    = v1alpha1.LaunchIdle + ": nobody called it; the next call launches it again"
	// reasonMemory is the kubelet's word.
	reasonMemory = "OOMKilled"
)

// endings remembers why contracts' pods ended until that is written into a status: pods are deleted at once.
type endings struct {
	mu   sync.Mutex
	seen map[types.NamespacedName]string
	// there are the pods whose end is still to be told. The cache loses a pod a moment before that is told.
	there map[types.NamespacedName]bool
}

func (e *endings) note(pod *corev1.Pod, gone bool) {
	reason := ending(pod)
	if reason == "" && gone {
		reason = reasonDeleted
	}
	key := client.ObjectKeyFromObject(pod)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen, e.there = map[types.NamespacedName]string{}, map[types.NamespacedName]bool{}
	}
	if delete(e.there, key); !gone {
		e.there[key] = true
	}
	if reason == "" {
		return
	}
	if outranks(reason, e.seen[key]) {
		e.seen[key] = reason
	}
}

// outranks tells which of two reasons says more. That a contract was idle says all: the exit code that comes after it is
// that of a program told to end.
func outranks(reason, before string) bool {
	return before == "" || before != reasonIdle && reason != reasonDeleted
}

// of returns what was noted of a contract's pods.
func (e *endings) of(namespace string, launches []v1alpha1.ChaincodeLaunch) map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]string{}
	for i := range launches {
		if reason := e.seen[types.NamespacedName{Namespace: namespace, Name: launches[i].Pod}]; reason != "" {
			out[launches[i].Pod] = reason
		}
	}
	return out
}

// untold are the pods of which word is still to come.
func (e *endings) untold(namespace string, launches []v1alpha1.ChaincodeLaunch) map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]bool{}
	for i := range launches {
		if e.there[types.NamespacedName{Namespace: namespace, Name: launches[i].Pod}] {
			out[launches[i].Pod] = true
		}
	}
	return out
}

// forget drops what the status tells, as it was read: what was only written may be read once more without.
func (e *endings) forget(namespace string, launches []v1alpha1.ChaincodeLaunch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range launches {
		if launches[i].EndedAt != nil {
			delete(e.seen, types.NamespacedName{Namespace: namespace, Name: launches[i].Pod})
		}
	}
}

// ending says why a contract's pod does not run; empty while it does or may.
func ending(pod *corev1.Pod) string {
	if g := pod.DeletionGracePeriodSeconds; g != nil && *g == launch.IdleGraceSeconds {
		return reasonIdle
	}
	for i := range pod.Status.ContainerStatuses {
		s := &pod.Status.ContainerStatuses[i].State
		if t := s.Terminated; t != nil {
			said := strings.TrimSpace(t.Message)
			if t.Reason == reasonMemory && said == "" {
				said = "it needs more memory than spec.resources allows"
			}
			return clip(fmt.Sprintf("%s: exit code %d: %s", t.Reason, t.ExitCode, said))
		}
		if w := s.Waiting; w != nil && hopeless(w.Reason) {
			return clip(w.Reason + ": " + w.Message)
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return clip(pod.Status.Reason + ": " + pod.Status.Message)
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return clip(c.Reason + ": " + c.Message)
		}
	}
	return ""
}

// hopeless reasons keep a contract from starting.
func hopeless(reason string) bool {
	word, _, _ := strings.Cut(reason, ":")
	return slices.Contains(launch.HopelessReasons(), word) || word == corev1.PodReasonUnschedulable
}

func remedy(reason string) string {
	word, _, _ := strings.Cut(reason, ":")
	switch {
	case strings.Contains(word, "Image") || word == "RegistryUnavailable":
		return "see that its machine can pull the image; the next call tries again"
	case word == corev1.PodReasonUnschedulable:
		return "add a machine, or lower spec.resources; the next call tries again"
	}
	return "see the events of the pod; the next call tries again"
}

func clip(s string) string {
	r := []rune(strings.TrimRight(strings.ToValidUTF8(s, ""), ": "))
	if len(r) <= maxReason {
		return string(r)
	}
	return string(r[:maxReason-1]) + "…"
}

// recall puts launches and their ends into the status, from where the steps after it go on.
func (r *Reconciler) recall(ctx context.Context, w *world) error {
	before := slices.Clone(w.chaincode.Status.Launches)
	// In this order: what is told meanwhile is in one of them.
	w.untold = r.endings.untold(w.network, before)
	w.endings = r.endings.of(w.network, before)
	r.endings.forget(w.network, before)
	w.record(&w.chaincode.Status)
	w.audit(ctx, before)
	return nil
}

// audit writes what is new in the list of launches to the log, which keeps it when the object is gone or its list is full.
func (w *world) audit(ctx context.Context, before []v1alpha1.ChaincodeLaunch) {
	log := ctrl.LoggerFrom(ctx)
	for i := range w.chaincode.Status.Launches {
		l := &w.chaincode.Status.Launches[i]
		j := slices.IndexFunc(before, func(b v1alpha1.ChaincodeLaunch) bool { return b.Pod == l.Pod })
		facts := []any{"pod", l.Pod, "peer", l.Peer, "channel", w.channelID, "packageID", l.PackageID, "image", l.Image, "startedAt", l.StartedAt.Time}
		switch {
		case l.EndedAt != nil && (j < 0 || before[j].EndedAt == nil):
			log.Info("a contract launched by a peer ended", append(facts, "endedAt", l.EndedAt.Time, "reason", l.Reason)...)
		case j < 0:
			log.Info("a peer launched a contract", facts...)
		}
	}
}

// record brings the list of launches up to what was seen.
func (w *world) record(s *v1alpha1.ChaincodeStatus) {
	alive := map[string]bool{}
	for _, pod := range w.launches {
		reason := ending(pod)
		if reason == "" && !pod.DeletionTimestamp.IsZero() {
			reason = reasonDeleted
		}
		alive[pod.Name] = reason == ""
		i := slices.IndexFunc(s.Launches, func(l v1alpha1.ChaincodeLaunch) bool { return l.Pod == pod.Name })
		if i < 0 {
			s.Launches = append(s.Launches, newLaunch(pod))
			i = len(s.Launches) - 1
		}
		if l := &s.Launches[i]; outranks(reason, l.Reason) {
			l.Reason = reason
		}
	}
	for i := range s.Launches {
		w.close(&s.Launches[i], alive[s.Launches[i].Pod])
	}
	slices.SortStableFunc(s.Launches, func(a, b v1alpha1.ChaincodeLaunch) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt.Time), cmp.Compare(a.Pod, b.Pod))
	})
	s.Launches = s.Launches[:min(len(s.Launches), maxLaunches)]
}

// close writes down the end of a launch whose pod does not run.
func (w *world) close(l *v1alpha1.ChaincodeLaunch, alive bool) {
	told := w.endings[l.Pod]
	switch {
	case alive:
		l.EndedAt, l.Reason = nil, "" // no machine took it at first, or its image could not be pulled
	case l.EndedAt != nil:
		if told != "" && (l.Reason == reasonDeleted || l.Reason == reasonUnseen) {
			l.Reason = told // the kubelet's last word, which came after the deletion
		}
	case l.Reason == "" && told == "" && w.untold[l.Pod]:
		// Its end is told in a moment.
	default:
		l.EndedAt = ptr.To(metav1.NewTime(w.now))
		l.Reason = cmp.Or(l.Reason, told, reasonUnseen)
	}
}

func newLaunch(pod *corev1.Pod) v1alpha1.ChaincodeLaunch {
	l := v1alpha1.ChaincodeLaunch{
		Pod: pod.Name, Peer: pod.Labels[v1alpha1.LabelNode], StartedAt: pod.CreationTimestamp,
		PackageID: pod.Annotations[launch.AnnotationPackageID],
	}
	if len(pod.Spec.Containers) > 0 {
		l.Image = pod.Spec.Containers[0].Image
	}
	return l
}

// onPods wakes the contract that a pod was launched for, and notes how the pod ended.
func (r *Reconciler) onPods() handler.EventHandler {
	wake := func(obj client.Object, gone bool, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		pod, ok := obj.(*corev1.Pod)
		name := obj.GetLabels()[v1alpha1.LabelChaincode]
		if !ok || name == "" || pod.Annotations[launch.AnnotationPackageID] == "" {
			return
		}
		r.endings.note(pod, gone)
		q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: pod.Namespace, Name: name}})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			wake(e.Object, false, q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			wake(e.ObjectNew, false, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			wake(e.Object, true, q)
		},
	}
}
