package builder

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/specs/launch"
)

// TestRun launches contracts whose pods end in all ways, one after the other at the same peer.
func TestRun(t *testing.T) {
	l := newLab(t)
	for name, c := range map[string]struct {
		play func(*corev1.Pod, context.CancelFunc)
		// want is the error's end; empty where the peer is told of none.
		want, logged string
	}{
		"it ends": {func(pod *corev1.Pod, _ context.CancelFunc) {
			l.bind(t, pod)
			l.status(t, pod, running())
			l.status(t, pod, terminated("cannot open store"))
		}, `contract "asset" ended: Error, exit code 3: cannot open store`, ""},
		"it ends without a word": {func(pod *corev1.Pod, _ context.CancelFunc) {
			l.status(t, pod, terminated(""))
		}, `contract "asset" ended: Error, exit code 3`, ""},
		"no image": {func(pod *corev1.Pod, _ context.CancelFunc) {
			l.bind(t, pod)
			l.status(t, pod, state(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}))
			l.status(t, pod, state(corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "not found"}}))
		}, `contract "asset" cannot start: ErrImagePull: not found`, ""},
		"evicted": {func(pod *corev1.Pod, _ context.CancelFunc) {
			l.status(t, pod, func(s *corev1.PodStatus) {
				s.Phase, s.Reason, s.Message = corev1.PodFailed, "Evicted", "low on memory"
			})
		}, `contract "asset" ended: Evicted low on memory`, ""},
		"deleted": {func(pod *corev1.Pod, _ context.CancelFunc) {
			l.bind(t, pod)
			l.status(t, pod, running())
			l.delete(t, pod)
		}, "", ""},
		"the peer ends it": {func(_ *corev1.Pod, stop context.CancelFunc) { stop() }, "", ""},
		"the peer ends one that runs": {func(pod *corev1.Pod, stop context.CancelFunc) {
			l.bind(t, pod)
			l.status(t, pod, running())
			stop()
		}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod, stop := l.start(t)
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
			l.Get(t, secret)
			if string(secret.Data["client.crt"]) != l.contract.Cert {
				t.Errorf("the Secret's certificate is %q", secret.Data["client.crt"])
			}
			c.play(pod, stop)
			err := l.ended(t, pod)
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("ended with %v, want %q", err, c.want)
			}
			if err := controllertest.Contains(l.log.String(), "heddle-builder: launches "+packageID+" as pod "+pod.Name); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRunSaysThatThereIsNoLog: there is no kubelet that has one, which is no reason to end.
func TestRunSaysThatThereIsNoLog(t *testing.T) {
	l := newLab(t)
	x := l.launcher(t)
	pod, err := x.create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.bind(t, pod)
	l.status(t, pod, running())
	f := &follower{launcher: x, created: time.Now()}
	if err := f.look(t.Context(), pod); err != nil {
		t.Error(err)
	}
	<-f.logged
	if err := controllertest.Contains(l.log.String(), "cannot read the log of "+pod.Name); err != nil {
		t.Error(err)
	}
}

func TestRunSweeps(t *testing.T) {
	l := newLab(t)
	leave := func(node, id string, ended bool) []client.Object {
		p, c := l.peer, l.contract
		p.Node, c.PackageID, c.Image = node, id, "registry.local/asset@sha256:"+strings.Repeat("0", 64)
		pod, secret := launch.Pod(p, c, launch.Settings{}), launch.Secret(p, c, launch.Settings{})
		for _, o := range []client.Object{pod, secret} {
			if err := l.Client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		l.status(t, pod, func(s *corev1.PodStatus) {
			if s.Phase = corev1.PodRunning; ended {
				s.Phase = corev1.PodSucceeded
			}
		})
		return []client.Object{pod, secret}
	}
	gone := append(leave(node, packageID, false), leave(node, "old:00", true)...)
	stays := append(leave(node, "other:00", false), leave("peer1-banka", packageID, true)...)
	pod, stop := l.start(t)
	for _, o := range gone {
		if err := l.Gone(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
	for _, o := range stays {
		l.Get(t, o)
	}
	stop()
	if err := l.ended(t, pod); err != nil {
		t.Error(err)
	}
	for _, o := range stays {
		l.Get(t, o)
	}
}

func TestRunTakesSettings(t *testing.T) {
	l := newLab(t)
	settings := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.peer.Network, Name: launch.SettingsConfigMap("asset")},
		Data: map[string]string{launch.SettingsKey: `{"chaincode":"asset","imagePullPolicy":"Always",
			"imagePullSecrets":["pull"],"resources":{"limits":{"memory":"1Gi"}}}`},
	}
	if err := l.Client.Create(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	pod, stop := l.start(t)
	stop()
	if err := l.ended(t, pod); err != nil {
		t.Error(err)
	}
	c := pod.Spec.Containers[0]
	if pod.Labels[v1alpha1.LabelChaincode] != "asset" || c.ImagePullPolicy != corev1.PullAlways || pod.Spec.ImagePullSecrets[0].Name != "pull" {
		t.Errorf("the settings are not in %+v", pod)
	}
	if got := c.Resources.Limits[corev1.ResourceMemory]; got.Cmp(resource.MustParse("1Gi")) != 0 {
		t.Errorf("memory %s", got.String())
	}

	for name, c := range map[string]struct {
		data map[string]string
		want string
	}{
		"no JSON":     {map[string]string{launch.SettingsKey: "{"}, `parse settings of contract "asset"`},
		"another key": {map[string]string{"a": "{"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			settings.Data = c.data
			if err := l.Client.Update(t.Context(), settings); err != nil {
				t.Fatal(err)
			}
			err := l.launcher(t).configure(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestRunWithoutRights: what the API server refuses is told, whichever step it is.
func TestRunWithoutRights(t *testing.T) {
	l := newLab(t)
	x := l.launcher(t)
	t.Run("a pod that is there", func(t *testing.T) {
		if _, err := x.create(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.contract.PackageID = "another:00" // which is not swept
		_, err := x.create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
	})
	x.peer.Network = "default"
	for name, do := range map[string]func(context.Context) error{
		"read settings": x.configure, "list contracts": x.sweep, "delete pods": x.clean,
		"list": func(ctx context.Context) error { _, err := x.create(ctx); return err },
	} {
		t.Run(name, func(t *testing.T) {
			err := do(t.Context())
			if err == nil || !isCode(err, 403) || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("the fence", func(t *testing.T) {
		x.peer.Network = l.peer.Network
		x.peer.PodUID = "another"
		if _, err := x.create(t.Context()); err == nil || !strings.Contains(err.Error(), "create Secret") {
			t.Errorf("got %v", err)
		}
	})
}

func TestFollowThroughBrokenWatches(t *testing.T) {
	l := newLab(t)
	w := newWire(t, l)
	t.Run("it ended meanwhile", func(t *testing.T) {
		pod, _ := l.start(t)
		l.bind(t, pod)
		l.status(t, pod, running())
		w.cut()
		l.status(t, pod, terminated("boom"))
		if err := l.ended(t, pod); err == nil || !strings.Contains(err.Error(), "exit code 3: boom") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("it was deleted meanwhile", func(t *testing.T) {
		pod, _ := l.start(t)
		w.cut()
		l.delete(t, pod)
		if err := l.ended(t, pod); err != nil {
			t.Errorf("got %v", err)
		}
	})
}

// TestWatchOfALongLife begins where a watch is opened anew, long after the pod was made.
func TestWatchOfALongLife(t *testing.T) {
	l := newLab(t)
	x := l.launcher(t)
	pod, err := x.create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{launcher: x, created: time.Now().Add(-time.Hour)}
	if err := f.watch(t.Context(), pod); err == nil || err.Error() != errUnplaced.Error() {
		t.Errorf("a pod without a machine: %v", err)
	}
	l.status(t, pod, func(s *corev1.PodStatus) {
		s.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/1 nodes are available",
		}}
	})
	if err := f.watch(t.Context(), pod); err == nil || err.Error() != errUnplaced.Error()+": 0/1 nodes are available" {
		t.Errorf("a pod for which no machine has room: %v", err)
	}
	l.bind(t, pod)
	l.Get(t, pod)
	done := make(chan error, 1)
	go func() { done <- f.watch(t.Context(), pod) }()
	l.delete(t, pod.DeepCopy())
	if err := <-done; err != errGone { //nolint:errorlint // it is that one
		t.Errorf("a pod with a machine that was deleted: %v", err)
	}
}

func TestRunRefuses(t *testing.T) {
	good := `{"chaincode_id":"asset:00","peer_address":"peer:7052"}`
	for name, c := range map[string]struct {
		spoil func(t *testing.T, output, metadata, folder string)
		want  string
	}{
		"no output":   {func(t *testing.T, output, _, _ string) { remove(t, output) }, "open output"},
		"no metadata": {func(t *testing.T, _, metadata, _ string) { remove(t, metadata) }, "open metadata"},
		"no type":     {func(t *testing.T, output, _, _ string) { remove(t, filepath.Join(output, metadataFile)) }, "metadata.json"},
		"a service": {func(t *testing.T, output, _, _ string) {
			write(t, filepath.Join(output, metadataFile), `{"type":"ccaas"}`)
		}, "ccaas is not launched"},
		"no image": {func(t *testing.T, output, _, _ string) { remove(t, filepath.Join(output, imageFile)) }, "image.json"},
		"an image by tag": {func(t *testing.T, output, _, _ string) {
			write(t, filepath.Join(output, imageFile), `{"name":"a","digest":"latest"}`)
		}, `read image.json: "digest"`},
		"no contract":      {func(t *testing.T, _, metadata, _ string) { remove(t, filepath.Join(metadata, chaincodeFile)) }, "chaincode.json"},
		"contract no JSON": {func(t *testing.T, _, metadata, _ string) { write(t, filepath.Join(metadata, chaincodeFile), `{`) }, "parse chaincode.json"},
		"contract no id":   {func(t *testing.T, _, metadata, _ string) { write(t, filepath.Join(metadata, chaincodeFile), `{}`) }, "chaincode_id or peer_address"},
		"no node":          {func(t *testing.T, _, _, _ string) { t.Setenv(launch.EnvNode, "") }, launch.EnvNode},
		"no network":       {func(t *testing.T, _, _, _ string) { t.Setenv(launch.EnvNetwork, "") }, launch.EnvNetwork},
		"no pod":           {func(t *testing.T, _, _, _ string) { t.Setenv(launch.EnvPodName, "") }, launch.EnvPodName},
		"no UID":           {func(t *testing.T, _, _, _ string) { t.Setenv(launch.EnvPodUID, "") }, launch.EnvPodUID},
		"no host":          {func(t *testing.T, _, _, _ string) { t.Setenv("KUBERNETES_SERVICE_HOST", "") }, "propagateEnvironment"},
		"no port":          {func(t *testing.T, _, _, _ string) { t.Setenv("KUBERNETES_SERVICE_PORT", "") }, "propagateEnvironment"},
		"no roots":         {func(t *testing.T, _, _, folder string) { remove(t, filepath.Join(folder, rootsFile)) }, "read the API server's roots"},
		"roots no PEM":     {func(t *testing.T, _, _, folder string) { write(t, filepath.Join(folder, rootsFile), "x") }, "there is no certificate"},
		"no token":         {func(t *testing.T, _, _, folder string) { remove(t, filepath.Join(folder, tokenFile)) }, "read the peer's token"},
		"nobody listens":   {func(*testing.T, string, string, string) {}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			output, metadata := t.TempDir(), t.TempDir()
			server, folder := fakeAPI(t, nil)
			server.Close()
			write(t, filepath.Join(output, metadataFile), `{"type":"k8s"}`)
			write(t, filepath.Join(output, imageFile), imageJSON)
			write(t, filepath.Join(metadata, chaincodeFile), good)
			for _, v := range []string{launch.EnvNode, launch.EnvNetwork, launch.EnvPodName, launch.EnvPodUID} {
				t.Setenv(v, "x")
			}
			c.spoil(t, output, metadata, folder)
			err := Run(t.Context(), []string{"run", output, metadata}, new(bytes.Buffer))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}
