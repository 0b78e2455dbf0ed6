package cli

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
)

func schemeForTest(s *runtime.Scheme) error {
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return err
	}
	return v1alpha1.AddToScheme(s)
}

// testCluster is a connection to the API server for tests, and a namespace of the test's own.
func testCluster(t *testing.T) (*cluster, string) {
	t.Helper()
	env := controllertest.New(t, schemeForTest)
	c, err := client.NewWithWatch(env.Rest, client.Options{Scheme: env.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{WithWatch: c, config: env.Rest}, testNamespace(t, c)
}

func testNamespace(t *testing.T, c client.Client) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: controllertest.Name("cli")}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

func testDeployment(c *cluster, namespace string) *deployment {
	kube := genericclioptions.NewConfigFlags(true)
	return &deployment{
		app: &app{out: io.Discard, err: io.Discard, kube: kube, quiet: true}, cluster: c, namespace: namespace, name: "asset",
		flags: &deployFlags{channel: "demo"}, source: &contractSource{digest: "sha256:" + strings.Repeat("0", 64), content: []byte("x"), language: "Go"},
	}
}

func (d *deployment) object() *v1alpha1.ChaincodeBuild {
	b := &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Namespace: d.namespace, Name: d.buildName()}}
	b.Spec.Source = v1alpha1.ChaincodeSource{Digest: d.source.digest, SizeBytes: 1}
	b.Spec.Language = v1alpha1.LanguageGo
	return b
}

// TestCreateBuild: a build that goes on or has an image is taken as it is, and one that failed is made anew.
func TestCreateBuild(t *testing.T) {
	c, namespace := testCluster(t)
	d := testDeployment(c, namespace)
	first := d.object()
	if err := d.create(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	again := func(want bool) *v1alpha1.ChaincodeBuild {
		t.Helper()
		b := d.object()
		if err := d.create(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if same := b.UID == first.UID; same != want {
			t.Errorf("the same build: %t, want %t", same, want)
		}
		return b
	}
	again(true)
	finish := func(b *v1alpha1.ChaincodeBuild, image *v1alpha1.ChaincodeImage) {
		t.Helper()
		base := b.DeepCopy()
		b.Status.FinishedAt, b.Status.Image, b.Status.Failure = ptr.To(metav1.Now()), image, "why"
		if err := c.Status().Patch(t.Context(), b, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
	}
	finish(first, nil)
	first = again(false)
	finish(first, &v1alpha1.ChaincodeImage{Name: "n", Digest: "sha256:" + strings.Repeat("0", 64)})
	if b := again(true); b.Status.Image == nil {
		t.Error("the image was not read")
	}
	// With an image there is nothing to upload.
	if err := d.buildSource(t.Context()); err != nil || d.build.Status.Image == nil {
		t.Errorf("build source: %v", err)
	}
	wrong := d.object()
	wrong.Name, wrong.Spec.Source.Digest = "wrong", "sha256:1"
	if err := d.create(t.Context(), wrong); !apierrors.IsInvalid(err) {
		t.Errorf("an impossible build: %v", err)
	}
}

func TestApplyChaincode(t *testing.T) {
	c, namespace := testCluster(t)
	d := testDeployment(c, namespace)
	apply := func(build string) error {
		d.build = &v1alpha1.ChaincodeBuild{ObjectMeta: metav1.ObjectMeta{Name: build}}
		return d.apply(t.Context())
	}
	for _, step := range []struct{ build, version string }{{"b1", "1.0"}, {"b1", "1.0"}, {"b2", "1.1"}} {
		if err := apply(step.build); err != nil {
			t.Fatal(err)
		}
		var got v1alpha1.Chaincode
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "demo-asset"}, &got); err != nil {
			t.Fatal(err)
		}
		if got.Spec.Build != step.build || got.Spec.Version != step.version {
			t.Errorf("build %q, version %q, want %v", got.Spec.Build, got.Spec.Version, step)
		}
	}
	d.name = "Asset"
	if err := apply("b3"); exitCode(t.Context(), err) != ExitUsage {
		t.Errorf("another contract under the name of the object: %v", err)
	}
	d.name = "asset"
	d.flags.version = "not a version"
	if err := apply("b3"); !apierrors.IsInvalid(err) {
		t.Errorf("an impossible version: %v", err)
	}
	// Somebody else changes the object between reading and writing.
	d.flags.version = ""
	d.cluster = &cluster{WithWatch: meddler{c.WithWatch}}
	if err := apply("b4"); err == nil || controllertest.Contains(err.Error(), "changed by somebody else") != nil {
		t.Errorf("a conflict: %v", err)
	}
	// Who wanted the very same has it.
	if err := apply("b2"); err != nil {
		t.Errorf("a conflict over the same: %v", err)
	}
	for name, build := range map[string]string{"theirs": "b0", "same": "b1"} {
		d = testDeployment(&cluster{WithWatch: creator{c, build}}, namespace)
		d.name = name
		if err := apply("b1"); (err == nil) != (build == "b1") || err != nil && controllertest.Contains(err.Error(), "changed by somebody else") != nil {
			t.Errorf("somebody else made the object with %s: %v", build, err)
		}
	}
}

// creator is a second person, who makes what was just found missing.
type creator struct {
	client.WithWatch
	build string
}

func (p creator) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	err := p.WithWatch.Get(ctx, key, obj, opts...)
	if !apierrors.IsNotFound(err) {
		return err
	}
	cc := &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	cc.Spec = v1alpha1.ChaincodeSpec{Channel: "demo", ChaincodeName: strings.TrimPrefix(key.Name, "demo-"), Build: p.build, Version: "1.0"}
	if e := p.Create(ctx, cc); e != nil {
		return e
	}
	return err
}

// meddler is a second person, who changes what was just read.
type meddler struct{ client.WithWatch }

func (m meddler) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if err := m.WithWatch.Get(ctx, key, obj, opts...); err != nil {
		return err
	}
	return m.Patch(ctx, &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}},
		client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"touched":"yes"}}}`)))
}

func TestNetworkOfChannel(t *testing.T) {
	c, first := testCluster(t)
	second := testNamespace(t, c)
	shared, lone := controllertest.Name("ch"), controllertest.Name("ch")
	for _, key := range []client.ObjectKey{{Namespace: first, Name: shared}, {Namespace: second, Name: shared}, {Namespace: second, Name: lone}} {
		ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		ch.Spec.Consensus = v1alpha1.ConsensusRaft
		if err := c.Create(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Delete(context.WithoutCancel(t.Context()), ch) })
	}
	for name, tc := range map[string]struct {
		channel, namespace, want string
		exit                     int
	}{
		"one":             {lone, "", second, ExitOK},
		"one of several":  {shared, first, first, ExitOK},
		"several":         {shared, "", "", ExitUsage},
		"none":            {"no-such-channel", "", "", ExitNotFound},
		"not in this one": {lone, first, "", ExitNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.networkOf(t.Context(), tc.channel, tc.namespace)
			if diff := cmp.Diff(tc.want, got); diff != "" || exitCode(t.Context(), err) != tc.exit {
				t.Errorf("%v, %s", err, diff)
			}
		})
	}
}
