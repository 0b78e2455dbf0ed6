package chaincode

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/specs/launch"
)

var (
	imageDigest = "sha256:" + strings.Repeat("0a", 32)
	metaDigest  = "sha256:" + strings.Repeat("0b", 32)
)

func newSpace(t *testing.T) *controllertest.Space {
	t.Helper()
	return controllertest.NewSpace(t, func(s *runtime.Scheme) error {
		return errors.Join(v1alpha1.AddToScheme(s), corev1.AddToScheme(s), appsv1.AddToScheme(s))
	})
}

func newChaincode(e *controllertest.Space, spec v1alpha1.ChaincodeSpec) *v1alpha1.Chaincode {
	spec.Channel, spec.ChaincodeName = "demo", "basic"
	return &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: "asset"}, Spec: spec}
}

func TestResolveImage(t *testing.T) {
	e := newSpace(t)
	r := New(Options{Client: e, Reader: e})
	now := metav1.Now()
	for name, status := range map[string]v1alpha1.ChaincodeBuildStatus{
		"running": {}, "failed": {FinishedAt: &now, Failure: "no main"},
		"done": {FinishedAt: &now, Image: &v1alpha1.ChaincodeImage{Name: "registry.local/asset", Digest: imageDigest, Meta: metaDigest}},
	} {
		b := &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Namespace: e.Namespace, Name: name}, Spec: v1alpha1.ChaincodeBuildSpec{
			Source: v1alpha1.ChaincodeSource{Digest: imageDigest, SizeBytes: 1}, Language: v1alpha1.LanguageGo,
		}}
		if err := e.Create(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		b.Status = status
		if err := e.Status().Update(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spec                v1alpha1.ChaincodeSpec
		image, meta, reason string
		stalled             bool
	}{
		"an image":  {v1alpha1.ChaincodeSpec{Image: "a:1"}, "a:1", "", "", false},
		"missing":   {v1alpha1.ChaincodeSpec{Build: "missing"}, "", "", v1alpha1.ReasonWaitingForDependency, false},
		"running":   {v1alpha1.ChaincodeSpec{Build: "running"}, "", "", v1alpha1.ReasonWaitingForDependency, false},
		"failed":    {v1alpha1.ChaincodeSpec{Build: "failed"}, "", "", v1alpha1.ReasonBuildFailed, true},
		"completed": {v1alpha1.ChaincodeSpec{Build: "done"}, "registry.local/asset@" + imageDigest, metaDigest, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{chaincode: newChaincode(e, c.spec), network: e.Namespace}
			err := r.resolveImage(t.Context(), w)
			i, ok := kube.AsIntent(err)
			if c.reason == "" && err != nil || c.reason != "" && (!ok || i.Reason != c.reason || i.Stalled != c.stalled || !strings.Contains(i.Message, c.spec.Build)) {
				t.Errorf("got %v, want %q", err, c.reason)
			}
			if w.image != c.image || w.meta != c.meta {
				t.Errorf("image %q, meta %q", w.image, w.meta)
			}
		})
	}
}

// meta is a META-INF folder as a build leaves it.
func metaOf(t *testing.T, name, text string) []byte {
	t.Helper()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return raw.Bytes()
}

func TestPack(t *testing.T) {
	const index = "META-INF/statedb/couchdb/indexes/a.json"
	var asked []string
	answer, failure := metaOf(t, index, "{}"), error(nil)
	r := New(Options{Meta: func(_ context.Context, image, digest string) ([]byte, error) {
		asked = append(asked, image+" "+digest)
		return answer, failure
	}})
	scene := func(spec v1alpha1.ChaincodeSpec, image, meta string) *world {
		spec.ChaincodeName = "basic"
		return &world{network: "trade", image: image, meta: meta, chaincode: &v1alpha1.Chaincode{
			ObjectMeta: metav1.ObjectMeta{Namespace: "trade", Name: "asset"}, Spec: spec,
		}}
	}
	read := func(w *world) *ccpackage.Package {
		t.Helper()
		if err := r.pack(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		p, err := ccpackage.Read(w.pkg)
		if err != nil || p.ID != w.packageID {
			t.Fatalf("package %q, %v", w.packageID, err)
		}
		return p
	}
	built := "registry.local/asset@" + imageDigest
	t.Run("launched by peers", func(t *testing.T) {
		p := read(scene(v1alpha1.ChaincodeSpec{Build: "asset"}, built, metaDigest))
		image, err := p.Image()
		if diff := cmp.Diff(ccpackage.Image{Name: "registry.local/asset", Digest: imageDigest}, image); diff != "" || err != nil {
			t.Error(err, diff)
		}
		if len(p.Meta()) != 1 || p.Meta()[0].Path != index || p.Label != "asset" {
			t.Errorf("label %q with %+v", p.Label, p.Meta())
		}
		if diff := cmp.Diff([]string{"registry.local/asset " + metaDigest}, asked); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a service", func(t *testing.T) {
		p := read(scene(v1alpha1.ChaincodeSpec{Image: "a:1"}, "a:1", ""))
		c, err := p.Connection()
		if err != nil || c.Address != "cc-asset.trade:9999" || p.Label != "basic" || len(p.Meta()) > 0 {
			t.Errorf("label %q, %+v, %v", p.Label, c, err)
		}
	})
	t.Run("an image by tag is not launched", func(t *testing.T) {
		err := r.pack(t.Context(), scene(v1alpha1.ChaincodeSpec{Runtime: v1alpha1.RuntimePeer}, "a:1", ""))
		if i, ok := kube.AsIntent(err); !ok || !i.Stalled || i.Reason != v1alpha1.ReasonInvalidSpec {
			t.Errorf("got %v", err)
		}
	})
	for name, spoil := range map[string]func(){
		"the registry is away": func() { failure = errors.New("no route") },
		"no archive":           func() { answer, failure = []byte("hello"), nil },
		"a file elsewhere":     func() { answer = metaOf(t, "a", "") },
	} {
		t.Run(name, func(t *testing.T) {
			spoil()
			if err := r.pack(t.Context(), scene(v1alpha1.ChaincodeSpec{Build: "asset"}, built, metaDigest)); err == nil {
				t.Error("packed")
			}
			answer, failure = metaOf(t, index, "{}"), nil
		})
	}
	t.Run("nobody reads indexes", func(t *testing.T) {
		r.opts.Meta = nil
		if p := read(scene(v1alpha1.ChaincodeSpec{Build: "asset"}, built, metaDigest)); len(p.Meta()) > 0 {
			t.Errorf("%+v", p.Meta())
		}
	})
}

// TestServe changes the runtime of a contract, there and back.
func TestServe(t *testing.T) {
	e := newSpace(t)
	r := New(Options{Client: e, Reader: e})
	cc := newChaincode(e, v1alpha1.ChaincodeSpec{Image: "registry.local/asset@" + imageDigest, Runtime: v1alpha1.RuntimeService})
	if err := e.Create(t.Context(), cc); err != nil {
		t.Fatal(err)
	}
	serve := func() *world {
		t.Helper()
		w := &world{chaincode: cc, channel: &v1alpha1.Channel{}, network: e.Namespace, image: cc.Spec.Image, packageID: "asset:00"}
		if err := r.serve(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		return w
	}
	at := metav1.ObjectMeta{Namespace: e.Namespace, Name: specs.ChaincodeName(cc.Name)}
	there := func(o client.Object) bool {
		t.Helper()
		err := e.Get(t.Context(), client.ObjectKeyFromObject(&metav1.PartialObjectMetadata{ObjectMeta: at}), o)
		if client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return err == nil && o.GetDeletionTimestamp().IsZero()
	}
	if w := serve(); w.deployment == nil || !there(&corev1.Service{}) || there(&corev1.ConfigMap{}) {
		t.Error("a service wants a Deployment and a Service, and no settings")
	}

	cc.Spec.Runtime, cc.Spec.IdleSeconds = v1alpha1.RuntimePeer, ptr.To[int32](60)
	for _, name := range []string{"launched", "other"} {
		pod := launchPod(name, 0, corev1.PodStatus{})
		pod.Namespace = e.Namespace
		pod.Labels[v1alpha1.LabelComponent] = v1alpha1.ComponentChaincode
		pod.Spec.Containers[0].Name = "contract"
		if name == "other" {
			pod.Annotations = nil // of a Deployment
		}
		if err := e.Create(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	w := serve()
	if w.deployment != nil || there(&appsv1.Deployment{}) || there(&corev1.Service{}) {
		t.Error("what ran the contract as a service is still there")
	}
	if len(w.launches) != 1 || w.launches[0].Name != "launched" {
		t.Errorf("launches %v", w.launches)
	}
	settings := &corev1.ConfigMap{}
	if !there(settings) {
		t.Fatal("there are no settings")
	}
	var got launch.Settings
	if err := json.Unmarshal([]byte(settings.Data[launch.SettingsKey]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(launch.Settings{Chaincode: "asset", Channel: "demo", Contract: "basic", IdleSeconds: 60}, got); diff != "" {
		t.Error(diff)
	}
	if !metav1.IsControlledBy(settings, cc) {
		t.Error("the settings are not the contract's own")
	}

	cc.Spec.Runtime = v1alpha1.RuntimeService
	if w := serve(); w.deployment == nil || !there(&corev1.Service{}) {
		t.Error("it does not run as a service again")
	}
}
