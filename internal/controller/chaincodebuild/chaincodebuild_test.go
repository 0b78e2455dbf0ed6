package chaincodebuild_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/chaincodebuild"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/specs"
)

// controller makes the controller once there is a manager to take clients from.
type controller struct{ opts chaincodebuild.Options }

func (c controller) Register(mgr ctrl.Manager) error {
	c.opts.Client, c.opts.Reader, c.opts.Recorder = mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder("test")
	return chaincodebuild.New(c.opts).Register(mgr)
}

func settings() specs.BuildSettings {
	return specs.BuildSettings{Registry: "registry.example:5000", GoImage: "go:1", NodeImage: "node:1"}
}

const authority = "the registry's certificate\n"

// world is a namespace with the controller at work, and one of the registry.
type world struct {
	*controllertest.Space
	system string
	ahead  atomic.Int64
}

// start runs the controller; the clock can be put ahead.
func start(t *testing.T, in specs.BuildSettings, trust bool) *world {
	t.Helper()
	w := &world{Space: controllertest.NewSpace(t, operator.AddToScheme), system: controllertest.Name("system")}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.system}}
	w.Make(t, ns)
	if trust {
		w.trust(t)
	}
	w.Start(t, operator.CacheOptions, operator.ClientOptions(), controller{chaincodebuild.Options{
		Settings: in, System: w.system, Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) },
	}})
	return w
}

func (w *world) trust(t *testing.T) {
	t.Helper()
	w.Make(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.system, Name: specs.RegistryCAConfigMap}, Data: map[string]string{specs.KeyRegistryCA: authority},
	})
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (w *world) build(t *testing.T) *v1alpha1.ChaincodeBuild {
	t.Helper()
	b := &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "asset"}}
	b.Spec.Source = v1alpha1.ChaincodeSource{Digest: digestOf("source"), SizeBytes: 6}
	b.Spec.Language = v1alpha1.LanguageGo
	w.Make(t, b)
	return b
}

// run puts a pod beside the Job, as the Job controller would, with a status, as the kubelet would.
func (w *world) run(t *testing.T, status corev1.PodStatus) *corev1.Pod {
	t.Helper()
	var job batchv1.Job
	w.Eventually(t, "Job", func() bool { return w.Read(t, &job, "build-asset") })
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace, GenerateName: "build-asset-", Labels: job.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(&job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: job.Spec.Template.Spec,
	}
	w.Make(t, pod)
	w.become(t, pod, status)
	return pod
}

func (w *world) become(t *testing.T, pod *corev1.Pod, status corev1.PodStatus) {
	t.Helper()
	base := pod.DeepCopy()
	pod.Status = status
	if err := w.Status().Patch(t.Context(), pod, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
}

func waits(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func runs() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
}

func ends(code int32, reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message}}
}

// states is the status of a pod whose containers fetch, compile and push are in these states.
func states(fetch, compile, push corev1.ContainerState) corev1.PodStatus {
	return corev1.PodStatus{
		Phase: corev1.PodPending,
		InitContainerStatuses: []corev1.ContainerStatus{
			{Name: "fetch", Image: "go:1", State: fetch}, {Name: "compile", Image: "go:1", State: compile},
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "push", Image: "go:1", State: push}},
	}
}

var (
	idle = waits("PodInitializing", "")
	done = ends(0, "Completed", "")
)

func (w *world) says(t *testing.T, b *v1alpha1.ChaincodeBuild, reason string, parts ...string) {
	t.Helper()
	c := w.AwaitReason(t, b, reason)
	w.Eventually(t, fmt.Sprintf("%s with %q", reason, parts), func() bool {
		c = w.AwaitReason(t, b, reason)
		return controllertest.Contains(c.Message, parts...) == nil
	})
}

func TestNotInstalled(t *testing.T) {
	w := start(t, specs.BuildSettings{}, true)
	b := w.build(t)
	w.says(t, b, v1alpha1.ReasonBuildsNotInstalled, "heddle install --builds")
	if w.Read(t, &batchv1.Job{}, "build-asset") || w.Read(t, &corev1.Secret{}, "build-asset") {
		t.Error("something was made all the same")
	}
}

func TestNotInstalledWell(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*specs.BuildSettings)
		trust  bool
		parts  []string
	}{
		"no certificate":   {func(*specs.BuildSettings) {}, false, []string{specs.RegistryCAConfigMap, "is missing", "heddle install --builds"}},
		"registry no port": {func(s *specs.BuildSettings) { s.Registry = "registry" }, true, []string{"host:port", "heddle install --builds"}},
		"proxy no URL": {
			func(s *specs.BuildSettings) { s.ModuleProxy, s.ModuleProxyCIDR = "proxy", "10.0.0.0/8" }, true,
			[]string{"module proxy", "heddle install --builds"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := settings()
			c.change(&in)
			w := start(t, in, c.trust)
			b := w.build(t)
			w.says(t, b, v1alpha1.ReasonBuildsNotInstalled, c.parts...)
			if w.Read(t, &batchv1.Job{}, "build-asset") {
				t.Error("the Job was made all the same")
			}
			if name != "no certificate" {
				return
			}
			// What an administrator does not say aloud is seen when somebody touches the build.
			w.trust(t)
			w.touch(t, b)
			w.says(t, b, v1alpha1.ReasonWaitingForPod)
		})
	}
}

func (w *world) touch(t *testing.T, b *v1alpha1.ChaincodeBuild) {
	t.Helper()
	controllertest.Change(t, w.Space, b, func(b *v1alpha1.ChaincodeBuild) { b.Annotations = map[string]string{"touched": time.Now().String()} })
}

// versions of all that belongs to a build.
func (w *world) versions(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for what, o := range map[string]client.Object{
		"build-asset/Secret": &corev1.Secret{}, "build-asset/ConfigMap": &corev1.ConfigMap{}, "build-asset/Job": &batchv1.Job{},
		specs.BuildCacheName + "/PVC": &corev1.PersistentVolumeClaim{}, specs.PolicyBuilds + "/NetworkPolicy": &networkingv1.NetworkPolicy{},
	} {
		name, _, _ := strings.Cut(what, "/")
		if !w.Read(t, o, name) {
			t.Errorf("%s is missing", what)
		}
		out[what] = o.GetResourceVersion()
	}
	return out
}

// TestImage follows a build from the first look to its image.
func TestImage(t *testing.T) {
	w := start(t, settings(), true)
	b := w.build(t)
	w.says(t, b, v1alpha1.ReasonWaitingForPod, "Waiting for the build's pod")
	before, versions := b.Status, w.versions(t)
	w.checkKey(t, b)
	var cm corev1.ConfigMap
	if w.Read(t, &cm, "build-asset"); cm.Data[specs.KeyRegistryCA] != authority {
		t.Errorf("the build trusts %q", cm.Data)
	}
	if before.StartedAt == nil || before.FinishedAt != nil {
		t.Errorf("started %v, finished %v", before.StartedAt, before.FinishedAt)
	}

	// A second round changes nothing.
	w.touch(t, b)
	w.Never(t, "another round changes something", func() bool { return !cmp.Equal(versions, w.versions(t)) })
	if w.Read(t, b, b.Name); !cmp.Equal(before, b.Status) {
		t.Error(cmp.Diff(before, b.Status))
	}

	pod := w.run(t, corev1.PodStatus{Phase: corev1.PodPending})
	w.says(t, b, v1alpha1.ReasonWaitingForPod, pod.Name, "to start")
	w.become(t, pod, states(waits("ImagePullBackOff", "no such image"), idle, idle))
	w.says(t, b, v1alpha1.ReasonImageUnavailable, "no such image", "make build-images")
	w.become(t, pod, states(runs(), idle, idle))
	w.says(t, b, v1alpha1.ReasonWaitingForSource, "to be uploaded")
	w.become(t, pod, states(done, runs(), idle))
	w.says(t, b, v1alpha1.ReasonProgressing, `"compile"`)
	w.become(t, pod, states(done, done, runs()))
	w.says(t, b, v1alpha1.ReasonProgressing, `"push"`)
	image, sbom := digestOf("image"), digestOf("sbom")
	w.become(t, pod, states(done, done, ends(0, "Completed", fmt.Sprintf(`{"name":"r/asset","digest":%q,"sbom":%q,"log":%q}`, image, sbom, sbom))))
	w.AwaitReason(t, b, v1alpha1.ReasonReady)
	want := &v1alpha1.ChaincodeImage{Name: "r/asset", Digest: image, SBOM: sbom, Log: sbom}
	if diff := cmp.Diff(want, b.Status.Image); diff != "" || b.Status.FinishedAt == nil {
		t.Errorf("finished %v, image (-want +got):\n%s", b.Status.FinishedAt, diff)
	}

	// What has ended stays as it is, and the key goes.
	w.touch(t, b)
	w.Eventually(t, "the key is gone", func() bool { return !w.Read(t, &corev1.Secret{}, "build-asset") })
	if err := w.Delete(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	w.touch(t, b)
	w.Never(t, "the image is forgotten", func() bool { return w.Read(t, b, b.Name) && b.Status.Image == nil })
}

func (w *world) checkKey(t *testing.T, b *v1alpha1.ChaincodeBuild) {
	t.Helper()
	var secret corev1.Secret
	if !w.Read(t, &secret, "build-asset") || secret.Type != corev1.SecretTypeBasicAuth || !metav1.IsControlledBy(&secret, b) {
		t.Fatalf("Secret of type %q, owners %v", secret.Type, secret.OwnerReferences)
	}
	key := secret.Data[corev1.BasicAuthPasswordKey]
	if sum := sha256.Sum256(key); len(key) < 20 || b.Status.PushKeyHash != hex.EncodeToString(sum[:]) {
		t.Errorf("key of %d bytes, hash %q", len(key), b.Status.PushKeyHash)
	}
}

// TestFailure: each way in which there is no image, and what the build says of it.
func TestFailure(t *testing.T) {
	for name, c := range map[string]struct {
		status  corev1.PodStatus
		message string
		failure string
	}{
		"compiler": {
			states(done, done, ends(0, "Completed", `{"failure":"\n./main.go:7: undefined: x\nmore\n"}`)),
			"./main.go:7: undefined: x", "\n./main.go:7: undefined: x\nmore\n",
		},
		"fetch":         {states(ends(3, "Error", "no source came"), idle, idle), `"fetch" of the build ended with exit code 3: no source came`, ""},
		"compile":       {states(done, ends(1, "Error", ""), idle), `"compile" of the build ended with exit code 1:`, ""},
		"out of memory": {states(done, ends(137, "OOMKilled", ""), idle), "spec.resources", ""},
		"push":          {states(done, done, ends(1, "Error", "disk full")), `"push" of the build ended with exit code 1: disk full`, ""},
		"garbage":       {states(done, done, ends(0, "Completed", "{{{")), `exit code 0: {{{`, ""},
		"nothing":       {states(done, done, ends(0, "Completed", "{}")), `exit code 0: {}`, ""},
		"no digest":     {states(done, done, ends(0, "Completed", `{"name":"n","digest":"sha256:1"}`)), `exit code 0`, ""},
		"no name":       {states(done, done, ends(0, "Completed", `{"digest":"`+digestOf("a")+`"}`)), `exit code 0`, ""},
		"no digest of a log": {
			states(done, done, ends(0, "Completed", `{"name":"n","log":"l","digest":"`+digestOf("a")+`"}`)), `exit code 0`, "",
		},
		"long": {
			states(done, done, ends(0, "Completed", `{"failure":"`+strings.Repeat("ä", 2100)+`"}`)),
			"ääää", strings.Repeat("ä", 2048),
		},
		"blank": {states(done, done, ends(0, "Completed", `{"failure":" \n"}`)), "nothing more is known", " \n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, settings(), true)
			b := w.build(t)
			w.run(t, c.status)
			w.says(t, b, v1alpha1.ReasonBuildFailed, "The source did not become an image: ", c.message)
			if b.Status.FinishedAt == nil || b.Status.Image != nil || b.Status.Failure == "" {
				t.Errorf("finished %v, image %v, failure %q", b.Status.FinishedAt, b.Status.Image, b.Status.Failure)
			}
			if c.failure != "" && c.failure != b.Status.Failure {
				t.Errorf("failure %q, want %q", b.Status.Failure, c.failure)
			}
		})
	}
}

// TestJobFailed: the Job itself ends, without a word of its containers.
func TestJobFailed(t *testing.T) {
	for name, c := range map[string]struct{ reason, message string }{
		"deadline": {batchv1.JobReasonDeadlineExceeded, "more than 900 s (spec.timeoutSeconds)"},
		"evicted":  {batchv1.JobReasonBackoffLimitExceeded, "The build's pod failed: BackoffLimitExceeded: too often"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t, settings(), true)
			b := w.build(t)
			w.AwaitReason(t, b, v1alpha1.ReasonWaitingForPod)
			var job batchv1.Job
			w.Eventually(t, "fail the Job", func() bool {
				if !w.Read(t, &job, "build-asset") {
					return false
				}
				job.Status.StartTime = ptr.To(metav1.Now())
				for _, kind := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
					job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
						Type: kind, Status: corev1.ConditionTrue, Reason: c.reason, Message: "too often", LastTransitionTime: metav1.Now(),
					})
				}
				return w.Status().Update(t.Context(), &job) == nil
			})
			w.says(t, b, v1alpha1.ReasonBuildFailed, c.message)
		})
	}
}

func TestJobDeleted(t *testing.T) {
	w := start(t, settings(), true)
	b := w.build(t)
	w.AwaitReason(t, b, v1alpha1.ReasonWaitingForPod)
	w.deleteJob(t)
	// A Job that was just made may be missing from the cache: it is made again.
	w.Eventually(t, "the Job is there again", func() bool { return w.Read(t, &batchv1.Job{}, "build-asset") })
	w.ahead.Store(int64(time.Minute))
	w.deleteJob(t)
	w.says(t, b, v1alpha1.ReasonBuildFailed, "deleted before it ended")
	w.Never(t, "the Job comes back", func() bool { return w.Read(t, &batchv1.Job{}, "build-asset") })
}

func (w *world) deleteJob(t *testing.T) {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "build-asset"}}
	if err := w.Delete(t.Context(), job, client.PropagationPolicy(metav1.DeletePropagationBackground)); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
}

// TestForeignJob: a Job of somebody else is left alone.
func TestForeignJob(t *testing.T) {
	w := start(t, settings(), true)
	job := w.job(nil)
	w.Make(t, job)
	b := w.build(t)
	w.says(t, b, v1alpha1.ReasonInvalidOwnership, `Job "build-asset"`, "delete it")
	w.Never(t, "the Job is changed", func() bool { return !w.Read(t, job, job.Name) || len(job.OwnerReferences) > 0 })
}

// job is one that a build of the name left, or anybody.
func (w *world) job(owner *metav1.OwnerReference) *batchv1.Job {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "build-asset", Labels: map[string]string{v1alpha1.LabelNetwork: w.Namespace}}}
	if owner != nil {
		job.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}}
	return job
}

// TestMadeAnew: a build that failed was deleted and made again, and what belonged to it is not collected yet.
func TestMadeAnew(t *testing.T) {
	w := start(t, settings(), true)
	owner := &metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "ChaincodeBuild", Name: "asset", UID: "6f1cbb1e-0000-4000-8000-000000000000", Controller: ptr.To(true),
	}
	// The collector of the API server must not be faster than the test.
	keep := []string{"heddle.dev/test"}
	job := w.job(owner)
	job.Finalizers = keep
	w.Make(t, job)
	no := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace, Name: "former", Finalizers: keep,
			Labels: map[string]string{
				v1alpha1.LabelNetwork: w.Namespace, v1alpha1.LabelComponent: v1alpha1.ComponentBuild, v1alpha1.LabelBuild: "asset",
			},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
		},
		Spec: job.Spec.Template.Spec,
	}
	pod.Spec.AutomountServiceAccountToken = &no
	w.Make(t, pod)
	w.become(t, pod, states(done, done, ends(0, "Completed", `{"failure":"of the former"}`)))
	b := w.build(t)
	w.says(t, b, v1alpha1.ReasonDeleting, "former build", "still being collected")
	w.deleteJob(t)
	controllertest.Change(t, w.Space, job, func(j *batchv1.Job) { j.Finalizers = nil })
	w.says(t, b, v1alpha1.ReasonWaitingForPod, "Waiting for the build's pod")
	w.Never(t, "the former's failure counts", func() bool { return w.Read(t, b, b.Name) && b.Status.FinishedAt != nil })
}
