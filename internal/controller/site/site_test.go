package site_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/site"
	"heddle.dev/heddle/internal/controller/sitelink"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/apiserver"
)

// TestMain runs the tests against an API server of their own: a cluster is one site, so that no other package may make one
// meanwhile.
func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// kubeconfig of that API server; empty where its program is not built.
var kubeconfig string

func run(m *testing.M) int {
	kube := apiserver.Program("../../../out/bin")
	if kube == "" {
		return m.Run()
	}
	s, err := apiserver.Start(context.Background(), kube)
	defer s.Stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	kubeconfig = s.Kubeconfig
	return m.Run()
}

// world is the controller, with a namespace in the place of the operator's.
type world struct {
	*controllertest.Space
	holder link.Holder
}

// Register makes the controller within the manager.
func (w *world) Register(mgr ctrl.Manager) error {
	return site.New(site.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"), Holder: &w.holder, System: w.Namespace,
		Links: specs.LinkSettings{Image: "nginx:1", DNS: []string{"10.96.0.10"}, Domain: "cluster.local"}, NewID: func() string { return "random1" },
		Overlap: time.Second, Settle: time.Hour,
	}).Register(mgr)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if kubeconfig == "" {
		t.Skip("needs an API server: build the program kube ('make images') or name its folder in HEDDLE_LIBEXEC")
	}
	t.Setenv(controllertest.KubeconfigVariable, kubeconfig)
	w := &world{Space: controllertest.NewSpace(t, operator.AddToScheme)}
	t.Cleanup(func() { w.remove(t) })
	w.Start(t, operator.CacheOptions, operator.ClientOptions(), w)
	return w
}

// remove takes the Site away when no operator runs any more.
func (w *world) remove(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	s := local("")
	_ = w.Patch(ctx, s, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
	_ = w.Delete(ctx, s)
}

func local(id string) *v1alpha1.Site {
	return &v1alpha1.Site{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName},
		Spec:       v1alpha1.SiteSpec{SiteID: id, DisplayName: "Bank A", Endpoints: []string{"gateway.bank-a.example:443"}},
	}
}

func (w *world) create(t *testing.T, o client.Object) {
	t.Helper()
	w.Eventually(t, "create "+o.GetName(), func() bool {
		o.SetResourceVersion("")
		err := w.Create(t.Context(), o)
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		return err == nil
	})
}

func (w *world) config(t *testing.T) string {
	t.Helper()
	var cm corev1.ConfigMap
	w.Read(t, &cm, specs.GatewayName)
	return cm.Data["nginx.conf"]
}

func TestASiteComesUp(t *testing.T) {
	w := newWorld(t)
	s := local("")
	w.create(t, s)
	w.AwaitReason(t, s, v1alpha1.ReasonWaitingForPod)
	if s.Spec.SiteID != "random1" || s.Status.SiteID != "random1" || len(s.Status.Certificates) != 1 {
		t.Errorf("%+v", s)
	}
	self, err := w.holder.Get(t.Context())
	if err != nil || self.SiteID != "random1" || self.DisplayName != "Bank A" || link.Pin(self.CA.Cert) != s.Status.Pin {
		t.Errorf("%+v, %v", self, err)
	}
	w.Serve(t, specs.GatewayName, true)
	w.AwaitReason(t, s, v1alpha1.ReasonReady)
	for _, o := range []client.Object{&corev1.Service{}, &appsv1.Deployment{}, &networkingv1.NetworkPolicy{}} {
		if !w.Read(t, o, specs.GatewayName) || !metav1.IsControlledBy(o, s) {
			t.Errorf("%T is not there, or not the Site's", o)
		}
	}
	if !strings.Contains(w.config(t), "join.random1 heddle-site."+w.Namespace+".svc.cluster.local:9445;") {
		t.Error(w.config(t))
	}
	t.Run("routes follow partners", func(t *testing.T) { routes(t, w) })
}

// routes: a partner's networks are open from when it is accepted to when it is revoked, and the gateway's pod hears of it.
func routes(t *testing.T, w *world) {
	pod := w.Run(t, specs.GatewayName, corev1.PodStatus{Phase: corev1.PodRunning})
	ca, err := link.NewCA("bankb1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	l := &v1alpha1.SiteLink{
		ObjectMeta: metav1.ObjectMeta{Name: "bank-b"},
		Spec: v1alpha1.SiteLinkSpec{
			SiteID: "bankb1", Endpoints: []string{"gateway.bank-b.example:30443"}, CACertificates: string(pki.EncodeCerts(ca.Cert)),
		},
	}
	w.Make(t, l)
	export := &v1alpha1.NodeExport{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: w.Namespace}, Spec: v1alpha1.NodeExportSpec{Links: []string{"bank-b"}, Nodes: []string{"peer0-banka"}},
	}
	w.Make(t, export)
	network := w.Namespace + ".bankb1.random1 link-bank-b." + w.Namespace + ".svc.cluster.local:8444;"
	api := "api.bankb1.random1 heddle-site."
	w.Eventually(t, "calls of the partner have a way", func() bool { return strings.Contains(w.config(t), api) })
	if strings.Contains(w.config(t), network) {
		t.Error("a partner that nobody accepted has a way to a network")
	}
	l.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: "Ready", LastTransitionTime: metav1.Now(),
	}}
	if err := w.Status().Update(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "the network is open", func() bool { return strings.Contains(w.config(t), network) })
	w.Eventually(t, "the kubelet is nudged", func() bool {
		var p corev1.Pod
		return w.Read(t, &p, pod.Name) && p.Annotations[v1alpha1.AnnotationConfig] != ""
	})
	controllertest.Change(t, w.Space, l, func(l *v1alpha1.SiteLink) { l.Spec.Partnership = v1alpha1.PartnershipRevoked })
	w.Eventually(t, "the network is shut", func() bool { return !strings.Contains(w.config(t), network) })
	if !strings.Contains(w.config(t), api) {
		t.Error("a revoked partner is not told so")
	}
}

// TestASiteKeepsItsIdentity: the CA outlives the Site, and another site cannot take it over.
func TestASiteKeepsItsIdentity(t *testing.T) {
	w := newWorld(t)
	s := local("banka1")
	w.create(t, s)
	w.AwaitReason(t, s, v1alpha1.ReasonWaitingForPod)
	pin := s.Status.Pin
	if err := w.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "nobody speaks for the site any more", func() bool {
		_, err := w.holder.Get(t.Context())
		return err != nil
	})
	again := local("")
	w.create(t, again)
	w.Eventually(t, "it is the same site", func() bool {
		return w.Read(t, again, again.Name) && again.Status.SiteID == "banka1" && again.Status.Pin == pin
	})
	if err := w.Delete(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	other := local("bankx1")
	w.create(t, other)
	c := w.AwaitReason(t, other, v1alpha1.ReasonConflict)
	if err := controllertest.Contains(c.Message, "banka1", "delete the Secret"); err != nil {
		t.Error(err)
	}
}

func TestALostKeyIsNotReplaced(t *testing.T) {
	w := newWorld(t)
	s := local("banka1")
	w.create(t, s)
	w.AwaitReason(t, s, v1alpha1.ReasonWaitingForPod)
	secret := &corev1.Secret{}
	if !w.Read(t, secret, specs.GatewayCASecret) {
		t.Fatal("there is no CA")
	}
	if err := w.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	c := w.AwaitReason(t, s, v1alpha1.ReasonKeyLost)
	if err := controllertest.Contains(c.Message, specs.GatewayCASecret, "restore it from a backup"); err != nil {
		t.Error(err)
	}
	secret.ResourceVersion, secret.UID = "", ""
	w.create(t, secret)
	controllertest.Change(t, w.Space, s, func(s *v1alpha1.Site) { s.Spec.DisplayName = "Bank A again" })
	w.AwaitReason(t, s, v1alpha1.ReasonWaitingForPod)
	// One that is damaged is left as it is, too.
	controllertest.Change(t, w.Space, secret, func(secret *corev1.Secret) { secret.Data[corev1.TLSPrivateKeyKey] = []byte("x") })
	w.AwaitReason(t, s, v1alpha1.ReasonKeyLost)
}

// TestRotationWaitsForLinks: the next CA does not take over as soon as partners know it, since their links hear of it later.
func TestRotationWaitsForLinks(t *testing.T) {
	w := newWorld(t)
	s := local("banka1")
	w.create(t, s)
	w.AwaitReason(t, s, v1alpha1.ReasonWaitingForPod)
	pin := s.Status.Pin
	l := &v1alpha1.SiteLink{
		ObjectMeta: metav1.ObjectMeta{Name: "bank-b"},
		Spec:       v1alpha1.SiteLinkSpec{SiteID: "bankb1", Endpoints: []string{"gateway.bank-b.example:30443"}},
	}
	w.Make(t, l)
	l.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: "Ready", LastTransitionTime: metav1.Now(),
	}}
	if err := w.Status().Update(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	controllertest.Change(t, w.Space, s, func(s *v1alpha1.Site) { s.Spec.CAGeneration = 1 })
	w.Eventually(t, "there is a next CA", func() bool { return w.Read(t, s, s.Name) && s.Status.NextPin != "" })
	next := &corev1.Secret{}
	w.Eventually(t, "the partner is told", func() bool {
		self, err := w.holder.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		controllertest.Change(t, w.Space, l, func(l *v1alpha1.SiteLink) {
			l.Annotations = map[string]string{v1alpha1.AnnotationAnnounced: sitelink.Announcement(self)}
		})
		return w.Read(t, next, specs.GatewayNextCASecret) && next.Annotations[v1alpha1.AnnotationChanged] != ""
	})
	w.Never(t, "the next CA takes over at once", func() bool { return w.Read(t, s, s.Name) && s.Status.Pin != pin })
	controllertest.Change(t, w.Space, next, func(next *corev1.Secret) {
		next.Annotations[v1alpha1.AnnotationChanged] = time.Now().Add(-2 * time.Hour).UTC().Format(time.RFC3339)
	})
	w.Eventually(t, "it takes over", func() bool { return w.Read(t, s, s.Name) && s.Status.Pin != pin })
}

// TestRotationWithoutPartners needs nobody's consent.
func TestRotationWithoutPartners(t *testing.T) {
	w := newWorld(t)
	s := local("banka1")
	w.create(t, s)
	w.AwaitReason(t, s, v1alpha1.ReasonWaitingForPod)
	pin := s.Status.Pin
	controllertest.Change(t, w.Space, s, func(s *v1alpha1.Site) { s.Spec.CAGeneration = 3 })
	w.Eventually(t, "there is another CA", func() bool {
		return w.Read(t, s, s.Name) && s.Status.CAGeneration == 3 && s.Status.Pin != pin && s.Status.NextPin == ""
	})
	w.Eventually(t, "the former one is dropped", func() bool { return w.Read(t, s, s.Name) && len(s.Status.Certificates) == 1 })
	if self, err := w.holder.Get(t.Context()); err != nil || link.Pin(self.CA.Cert) != s.Status.Pin || len(self.Trusted()) != 1 {
		t.Errorf("%v", err)
	}
	lowered := local("banka1")
	w.Read(t, lowered, lowered.Name)
	lowered.Spec.CAGeneration = 1
	if err := w.Update(t.Context(), lowered); !apierrors.IsInvalid(err) {
		t.Errorf("it was lowered: %v", err)
	}
}
