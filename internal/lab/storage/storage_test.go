package storage

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
)

// within bounds every wait; nothing asserts how fast something was.
const within = 30 * time.Second

// env is a server under test beside whatever the cluster has: its class and provisioner
// have names of their own.
type env struct {
	t      *testing.T
	config *rest.Config
	client kubernetes.Interface
	server *Server
	ns     string
	stop   func()
}

func newEnv(t *testing.T) *env {
	t.Helper()
	path := cmp.Or(os.Getenv("HEDDLE_TEST_KUBECONFIG"), os.Getenv("KUBECONFIG"))
	if path == "" {
		t.Skip("needs a cluster: set HEDDLE_TEST_KUBECONFIG or KUBECONFIG (heddle lab up, then heddle lab kubeconfig)")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = 200, 400
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "storage-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, config: config, client: client, ns: ns.Name}
	e.server = &Server{Config: config, Dir: filepath.Join(t.TempDir(), "volumes"), Class: "test-" + ns.Name, Provisioner: "heddle.dev/" + ns.Name}
	// The default class of the cluster must stay the only one.
	c := class(e.server.Class, e.server.Provisioner)
	c.Annotations = nil
	if _, err := client.StorageV1().StorageClasses().Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.clean)
	e.start()
	return e
}

func (e *env) start() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.server.Run(ctx) }()
	e.stop = func() {
		e.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			e.t.Errorf("the server ended with %v", err)
		}
	}
}

// clean runs while the server still serves, so that volumes can go.
func (e *env) clean() {
	ctx := context.Background()
	if err := e.client.CoreV1().Namespaces().Delete(ctx, e.ns, metav1.DeleteOptions{}); err != nil {
		e.t.Error(err)
	}
	classes, err := e.client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	e.until("all volumes are gone", func() bool {
		left := 0
		for _, pv := range e.volumes() {
			left++
			if pv.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimRetain && pv.DeletionTimestamp == nil {
				_ = e.client.CoreV1().PersistentVolumes().Delete(ctx, pv.Name, metav1.DeleteOptions{})
			}
		}
		return left == 0
	})
	e.stop()
	for _, c := range classes.Items {
		if c.Provisioner == e.server.Provisioner {
			if err := e.client.StorageV1().StorageClasses().Delete(ctx, c.Name, metav1.DeleteOptions{}); err != nil {
				e.t.Error(err)
			}
		}
	}
}

func (e *env) volumes() []corev1.PersistentVolume {
	list, err := e.client.CoreV1().PersistentVolumes().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(pv corev1.PersistentVolume) bool {
		return pv.Annotations[provisionedBy] != e.server.Provisioner
	})
}

func (e *env) until(what string, ok func() bool) {
	e.t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// claim makes a claim of the test's class.
func (e *env) claim(name string, change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	e.t.Helper()
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.ns},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &e.server.Class,
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
	for _, f := range change {
		f(c)
	}
	out, err := e.client.CoreV1().PersistentVolumeClaims(e.ns).Create(e.t.Context(), c, metav1.CreateOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// bound waits for a claim's volume and returns it with its folder.
func (e *env) bound(name string) (*corev1.PersistentVolume, string) {
	e.t.Helper()
	var c *corev1.PersistentVolumeClaim
	e.until("claim "+name+" is bound", func() bool {
		var err error
		if c, err = e.client.CoreV1().PersistentVolumeClaims(e.ns).Get(e.t.Context(), name, metav1.GetOptions{}); err != nil {
			e.t.Fatal(err)
		}
		return c.Status.Phase == corev1.ClaimBound && c.Spec.VolumeName != ""
	})
	pv, err := e.client.CoreV1().PersistentVolumes().Get(e.t.Context(), c.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	return pv, pv.Spec.HostPath.Path
}

func (e *env) remove(claim string) {
	e.t.Helper()
	if err := e.client.CoreV1().PersistentVolumeClaims(e.ns).Delete(e.t.Context(), claim, metav1.DeleteOptions{}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) gone(volume, folder string) {
	e.t.Helper()
	e.until("volume and folder are gone", func() bool {
		_, err := e.client.CoreV1().PersistentVolumes().Get(e.t.Context(), volume, metav1.GetOptions{})
		return apierrors.IsNotFound(err) && !exists(folder)
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (e *env) class(name string, change func(*storagev1.StorageClass)) string {
	e.t.Helper()
	c := class(name+"-"+e.ns, e.server.Provisioner)
	c.Annotations = nil
	change(c)
	if _, err := e.client.StorageV1().StorageClasses().Create(e.t.Context(), c, metav1.CreateOptions{}); err != nil {
		e.t.Fatal(err)
	}
	return c.Name
}

// testPhaseFirst looks at every state of claims: with a volume but not Bound, a kubelet would turn the pod away.
func (e *env) testPhaseFirst() {
	e.t.Helper()
	claims := e.client.CoreV1().PersistentVolumeClaims(e.ns)
	states, err := claims.Watch(e.t.Context(), metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	defer states.Stop()
	for i := range 20 {
		e.claim(fmt.Sprintf("phase-%d", i))
	}
	done := map[string]bool{}
	deadline := time.After(within)
	for len(done) < 20 {
		select {
		case <-deadline:
			e.t.Fatalf("%d of 20 claims have a volume", len(done))
		case s := <-states.ResultChan():
			c, ok := s.Object.(*corev1.PersistentVolumeClaim)
			if !ok || c.Spec.VolumeName == "" {
				continue
			}
			if c.Status.Phase != corev1.ClaimBound {
				e.t.Errorf("claim %q has volume %q and is %s", c.Name, c.Spec.VolumeName, c.Status.Phase)
			}
			done[c.Name] = true
		}
	}
}

func TestServer(t *testing.T) {
	e := newEnv(t)
	t.Run("delete", func(t *testing.T) {
		e := e.in(t)
		claim := e.claim("data")
		pv, folder := e.bound("data")
		if want := "pvc-" + string(claim.UID); pv.Name != want || folder != filepath.Join(e.server.Dir, want) {
			t.Errorf("volume %q at %q, want %q in %q", pv.Name, folder, want, e.server.Dir)
		}
		info, err := os.Stat(folder)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o777 {
			t.Errorf("folder has mode %o, so pods of other users cannot write", info.Mode().Perm())
		}
		if pv.Spec.NodeAffinity != nil {
			t.Error("the volume is tied to a node: pods of a drained node could not move")
		}
		if err := os.WriteFile(filepath.Join(folder, "file"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		e.remove("data")
		e.gone(pv.Name, folder)
	})
	t.Run("retain", func(t *testing.T) { e.in(t).testRetain() })
	t.Run("many at once", func(t *testing.T) {
		e := e.in(t)
		for i := range 20 {
			e.claim(fmt.Sprintf("many-%d", i))
		}
		seen := map[string]bool{}
		for i := range 20 {
			pv, _ := e.bound(fmt.Sprintf("many-%d", i))
			seen[pv.Name] = true
		}
		if len(seen) != 20 {
			t.Errorf("20 claims have %d volumes", len(seen))
		}
	})
	t.Run("no volume before the phase", func(t *testing.T) { e.in(t).testPhaseFirst() })
	t.Run("one pod", func(t *testing.T) {
		e := e.in(t)
		e.claim("once", func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
		})
		pv, _ := e.bound("once")
		if !slices.Equal(pv.Spec.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}) {
			t.Errorf("access modes %v: the scheduler could not keep a second pod away", pv.Spec.AccessModes)
		}
	})
	t.Run("one pod: a second one waits", func(t *testing.T) { e.in(t).testSecondPod() })
	t.Run("a volume that fits is taken", func(t *testing.T) { e.in(t).testStatic() })
	t.Run("volume deleted before its claim", func(t *testing.T) {
		e := e.in(t)
		e.claim("early")
		pv, folder := e.bound("early")
		if err := e.client.CoreV1().PersistentVolumes().Delete(t.Context(), pv.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		e.claim("later") // by the time this one is served, the deletion has been seen
		e.bound("later")
		if !exists(folder) {
			t.Fatal("the folder of a bound volume was removed")
		}
		e.remove("early")
		e.gone(pv.Name, folder)
	})
	t.Run("refused", func(t *testing.T) { e.in(t).testRefused() })
	t.Run("class made after the claim", func(t *testing.T) {
		e := e.in(t)
		name := "late-" + e.ns
		e.claim("patient", func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name })
		e.class("late", func(*storagev1.StorageClass) {})
		e.bound("patient")
	})
	t.Run("killed half-way", func(t *testing.T) { e.testRestart(t) })
}

// in is the same environment, reporting to a subtest.
func (e *env) in(t *testing.T) *env {
	out := *e
	out.t = t
	return &out
}

func (e *env) testRetain() {
	keep := e.class("keep", func(c *storagev1.StorageClass) { c.ReclaimPolicy = ptr.To(corev1.PersistentVolumeReclaimRetain) })
	e.claim("kept", func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &keep })
	pv, folder := e.bound("kept")
	e.remove("kept")
	e.until("the volume is released", func() bool {
		got, err := e.client.CoreV1().PersistentVolumes().Get(e.t.Context(), pv.Name, metav1.GetOptions{})
		if err != nil {
			e.t.Fatal(err)
		}
		return got.Status.Phase == corev1.VolumeReleased
	})
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("x"), 0o600); err != nil {
		e.t.Fatalf("the folder of a retained volume: %v", err)
	}
	if err := e.client.CoreV1().PersistentVolumes().Delete(e.t.Context(), pv.Name, metav1.DeleteOptions{}); err != nil {
		e.t.Fatal(err)
	}
	e.until("the volume's object can be deleted", func() bool {
		_, err := e.client.CoreV1().PersistentVolumes().Get(e.t.Context(), pv.Name, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	if !exists(filepath.Join(folder, "file")) {
		e.t.Error("retained data is gone")
	}
}

// testSecondPod asks the scheduler, on a cluster that has nodes; nothing needs to run there.
func (e *env) testSecondPod() {
	nodes, err := e.client.CoreV1().Nodes().List(e.t.Context(), metav1.ListOptions{})
	if err != nil {
		e.t.Fatal(err)
	}
	if len(nodes.Items) == 0 {
		e.t.Skip("needs a cluster with a node")
	}
	e.claim("single", func(c *corev1.PersistentVolumeClaim) {
		c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOncePod}
	})
	e.bound("single")
	pod := func(name string) *corev1.Pod {
		e.t.Helper()
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.ns},
			Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: ptr.To[int64](0),
				Containers:                    []corev1.Container{{Name: "c", Image: "localhost/none:none", ImagePullPolicy: corev1.PullNever}},
				Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "single"},
				}}},
			},
		}
		if _, err := e.client.CoreV1().Pods(e.ns).Create(e.t.Context(), p, metav1.CreateOptions{}); err != nil {
			e.t.Fatal(err)
		}
		var got *corev1.Pod
		e.until("the scheduler has looked at pod "+name, func() bool {
			var err error
			got, err = e.client.CoreV1().Pods(e.ns).Get(e.t.Context(), name, metav1.GetOptions{})
			return err == nil && slices.ContainsFunc(got.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodScheduled })
		})
		return got
	}
	if first := pod("first"); first.Spec.NodeName == "" {
		e.t.Fatalf("the first pod found no node: %v", first.Status.Conditions)
	}
	if second := pod("second"); second.Spec.NodeName != "" {
		e.t.Error("a second pod got the volume as well")
	}
	for _, name := range []string{"first", "second"} {
		if err := e.client.CoreV1().Pods(e.ns).Delete(e.t.Context(), name, metav1.DeleteOptions{}); err != nil {
			e.t.Error(err)
		}
	}
}

// testStatic offers a volume made by hand: no new one must be made for the claim.
func (e *env) testStatic() {
	class := e.class("static", func(*storagev1.StorageClass) {})
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "hand-" + e.ns},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("2Gi")},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(e.server.Dir, "by-hand")}},
		},
	}
	if _, err := e.client.CoreV1().PersistentVolumes().Create(e.t.Context(), pv, metav1.CreateOptions{}); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		if err := e.client.CoreV1().PersistentVolumes().Delete(context.Background(), pv.Name, metav1.DeleteOptions{}); err != nil {
			e.t.Error(err)
		}
	})
	e.until("the volume is available", func() bool {
		got, err := e.client.CoreV1().PersistentVolumes().Get(e.t.Context(), pv.Name, metav1.GetOptions{})
		return err == nil && got.Status.Phase == corev1.VolumeAvailable
	})
	claim := e.claim("static", func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &class })
	if got, _ := e.bound("static"); got.Name != pv.Name {
		e.t.Errorf("bound to %q, want %q", got.Name, pv.Name)
	}
	if exists(filepath.Join(e.server.Dir, volumeName(claim.UID))) {
		e.t.Error("a folder was made for a claim that had a volume")
	}
	e.remove("static")
}

func (e *env) testRefused() {
	parameters := e.class("parameters", func(c *storagev1.StorageClass) { c.Parameters = map[string]string{"type": "ssd"} })
	options := e.class("options", func(c *storagev1.StorageClass) { c.MountOptions = []string{"noatime"} })
	tests := map[string]struct {
		change func(*corev1.PersistentVolumeClaim)
		want   string // a word that tells what to change
	}{
		"many-writers": {func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}
		}, "ReadWriteOnce"},
		"many-readers": {func(c *corev1.PersistentVolumeClaim) {
			c.Spec.AccessModes = append(c.Spec.AccessModes, corev1.ReadOnlyMany)
		}, "ReadOnlyMany"},
		"block":      {func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock) }, "volumeMode"},
		"parameters": {func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &parameters }, "parameters"},
		"options":    {func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &options }, "mountOptions"},
		"selector": {func(c *corev1.PersistentVolumeClaim) {
			c.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}, "spec.selector"},
		"clone": {func(c *corev1.PersistentVolumeClaim) {
			c.Spec.DataSource = &corev1.TypedLocalObjectReference{Kind: "PersistentVolumeClaim", Name: "other"}
		}, "dataSource"},
	}
	for name, tc := range tests {
		e.t.Run(name, func(t *testing.T) {
			e := e.in(t)
			claim := e.claim("bad-"+name, tc.change)
			e.until("an event says why", func() bool {
				list, err := e.client.EventsV1().Events(e.ns).List(t.Context(), metav1.ListOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, ev := range list.Items {
					if ev.Regarding.UID == claim.UID && ev.Reason == reasonRefused && strings.Contains(ev.Note, tc.want) {
						return true
					}
				}
				return false
			})
			if exists(filepath.Join(e.server.Dir, volumeName(claim.UID))) {
				t.Error("a refused claim has a folder")
			}
		})
	}
}

// testRestart stops the server and leaves behind what one killed at bad moments would.
func (e *env) testRestart(t *testing.T) {
	sub := e.in(t)
	sub.claim("before")
	pv, folder := sub.bound("before")
	e.stop()

	orphan, retained := filepath.Join(e.server.Dir, "pvc-orphan"), filepath.Join(e.server.Dir, "pvc-retained")
	for _, dir := range []string{orphan, filepath.Join(retained, "data")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	half := sub.claim("half") // its folder is there, its volume is not
	if err := os.Mkdir(filepath.Join(e.server.Dir, volumeName(half.UID)), 0o700); err != nil {
		t.Fatal(err)
	}
	sub.remove("before")

	e.start()
	_, at := sub.bound("half")
	if info, err := os.Stat(at); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("folder of a half-made volume: %v, %v", info, err)
	}
	sub.gone(pv.Name, folder)
	sub.until("the empty folder of nobody is gone", func() bool { return !exists(orphan) })
	if !exists(filepath.Join(retained, "data")) {
		t.Error("a folder with data was removed")
	}
}

// TestDefaultClass checks what a user gets who says nothing about storage.
func TestDefaultClass(t *testing.T) {
	c := class(ClassName, Provisioner)
	if c.Annotations["storageclass.kubernetes.io/is-default-class"] != "true" {
		t.Error("the class is not the default")
	}
	if *c.VolumeBindingMode != storagev1.VolumeBindingImmediate {
		t.Error("volumes wait for pods")
	}
}
