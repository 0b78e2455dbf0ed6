package link_test

import (
	"context"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/link"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

const partnerCA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

// world is a namespace with a link's controller, whose gateway CA stands in the namespace, too.
type world struct {
	*controllertest.Space
	link *v1alpha1.SiteLink
}

func start(t *testing.T) *world { return startAt(t, nil) }

// startAt is a world whose operator has another clock.
func startAt(t *testing.T, now func() time.Time) *world {
	t.Helper()
	e := controllertest.NewSpace(t, operator.AddToScheme)
	w := &world{Space: e, link: &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: strings.ReplaceAll(controllertest.Name("p"), "0", "a")}}}
	w.link.Spec.SiteID, w.link.Spec.Endpoints, w.link.Spec.CACertificates = "bankb2", []string{"192.0.2.7:30443"}, partnerCA
	e.Make(t, w.link)
	w.renewCA(t)
	e.Start(t, operator.CacheOptions, operator.ClientOptions(), link.New(link.Options{
		Settings: specs.LinkSettings{Image: "nginx:1", DNS: []string{"10.96.0.10"}, Domain: "cluster.local"}, System: e.Namespace,
		Site: func(context.Context) (string, string, error) { return "banka1", "", nil },
		Now:  now,
	}))
	return w
}

// renewCA makes the site's gateway CA, or replaces it.
func (w *world) renewCA(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.IssuerRequest{CommonName: "gateway", Key: key, Lifetime: time.Hour * 10000, Now: time.Now().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	private, err := pki.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{"tls.crt": pki.EncodeCerts(ca.Cert), "tls.key": private}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: specs.GatewayCASecret, Namespace: w.Namespace}, Data: data}
	if w.Read(t, &corev1.Secret{}, s.Name) {
		controllertest.Change(t, w.Space, s, func(s *corev1.Secret) { s.Data = data })
	} else {
		w.Make(t, s)
	}
	return ca.Cert
}

func (w *world) state(t *testing.T, state v1alpha1.SiteLinkState) {
	t.Helper()
	w.Eventually(t, "set state", func() bool {
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(w.link), w.link); err != nil {
			t.Fatal(err)
		}
		w.link.Status.State = state
		return w.Status().Update(t.Context(), w.link) == nil
	})
}

// export offers nodes, as the controller of NodeExports would say.
func (w *world) export(t *testing.T, names ...string) *v1alpha1.NodeExport {
	t.Helper()
	e := &v1alpha1.NodeExport{ObjectMeta: metav1.ObjectMeta{Name: "all", Namespace: w.Namespace}}
	e.Spec.Links, e.Spec.Nodes = []string{w.link.Name}, names
	if !w.Read(t, &v1alpha1.NodeExport{}, e.Name) {
		w.Make(t, e)
	}
	w.Eventually(t, "export", func() bool {
		w.Read(t, e, e.Name)
		e.Status.Nodes = nil
		for _, n := range names {
			e.Status.Nodes = append(e.Status.Nodes, v1alpha1.ExportedNode{Name: n, Port: v1alpha1.PortPeer})
		}
		return w.Status().Update(t.Context(), e) == nil
	})
	return e
}

func (w *world) name() string { return specs.LinkName(w.link.Name) }

func (w *world) config(t *testing.T) string {
	t.Helper()
	var cm corev1.ConfigMap
	w.Read(t, &cm, w.name())
	return cm.Data[nginx.ConfigFile]
}

func (w *world) replicas(t *testing.T) int32 {
	t.Helper()
	var d appsv1.Deployment
	if !w.Read(t, &d, w.name()) {
		return -1
	}
	return *d.Spec.Replicas
}

// gone tells whether nothing of the link is left.
func (w *world) gone(t *testing.T) bool {
	t.Helper()
	for _, obj := range []client.Object{&appsv1.Deployment{}, &corev1.Service{}, &corev1.ConfigMap{}, &corev1.Secret{}, &networkingv1.NetworkPolicy{}} {
		if w.Read(t, obj, w.name()) {
			return false
		}
	}
	var pods corev1.PodList
	if err := w.List(t.Context(), &pods, client.InNamespace(w.Namespace)); err != nil {
		t.Fatal(err)
	}
	return len(pods.Items) == 0
}

func TestLinkFollowsThePartner(t *testing.T) {
	w := start(t)
	w.export(t, "peer0-banka")
	w.state(t, v1alpha1.LinkPendingApproval)
	w.Never(t, "something is there before the partner is agreed", func() bool { return !w.gone(t) })
	w.state(t, v1alpha1.LinkUp)
	w.Eventually(t, "the link runs", func() bool { return w.replicas(t) == 1 })
	var secret corev1.Secret
	if !w.Read(t, &secret, w.name()) || string(secret.Data[specs.KeyPartnerCA]) != partnerCA {
		t.Errorf("the Secret has for the partner's CA: %q", secret.Data[specs.KeyPartnerCA])
	}
	if !strings.Contains(w.config(t), "peer0-banka."+w.Namespace+" peer0-banka."+w.Namespace+".svc.cluster.local:7051;") || strings.Contains(w.config(t), "192.0.2.7") {
		t.Errorf("the configuration is\n%s", w.config(t))
	}
	pod := w.Run(t, w.name(), corev1.PodStatus{Phase: corev1.PodRunning})

	w.state(t, v1alpha1.LinkDown)
	w.Eventually(t, "the tunnels are cut", func() bool { return w.replicas(t) == 0 && !w.Read(t, &corev1.Pod{}, pod.Name) })
	if !w.Read(t, &corev1.Service{}, w.name()) {
		t.Error("the Service went with the tunnels")
	}
	w.state(t, v1alpha1.LinkUp)
	w.Eventually(t, "the link runs again", func() bool { return w.replicas(t) == 1 })
	w.Run(t, w.name(), corev1.PodStatus{Phase: corev1.PodRunning})

	w.state(t, v1alpha1.LinkRevoked)
	w.Eventually(t, "nothing is left of a revoked link", func() bool { return w.gone(t) })
}

func TestSpecRevokesAtOnce(t *testing.T) {
	w := start(t)
	w.export(t, "peer0-banka")
	w.state(t, v1alpha1.LinkUp)
	w.Eventually(t, "the link runs", func() bool { return w.replicas(t) == 1 })
	controllertest.Change(t, w.Space, w.link, func(l *v1alpha1.SiteLink) { l.Spec.Partnership = v1alpha1.PartnershipRevoked })
	w.Eventually(t, "nothing is left of a revoked link", func() bool { return w.gone(t) })
}

// TestExportsCutNothing: exports come and go by a reload; the pod's template stays, and the kubelet is told to look.
func TestExportsCutNothing(t *testing.T) {
	w := start(t)
	e := w.export(t, "peer0-banka")
	w.state(t, v1alpha1.LinkUp)
	w.Eventually(t, "the link runs", func() bool { return w.replicas(t) == 1 })
	pod := w.Run(t, w.name(), corev1.PodStatus{Phase: corev1.PodRunning})
	annotation := func() string {
		w.Read(t, pod, pod.Name)
		return pod.Annotations[v1alpha1.AnnotationConfig]
	}
	w.Eventually(t, "the pod knows its files", func() bool { return annotation() != "" })
	first := annotation()
	var before, after appsv1.Deployment
	w.Read(t, &before, w.name())
	w.export(t, "peer0-banka", "peer1-banka")
	w.Eventually(t, "the second node is exported", func() bool { return strings.Contains(w.config(t), "peer1-banka") })
	w.Eventually(t, "the kubelet is told", func() bool { return annotation() != first })
	w.Read(t, &after, w.name())
	if before.Generation != after.Generation {
		t.Error("another export changed the Deployment")
	}
	if err := w.Delete(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "a link that nobody needs goes", func() bool { return w.gone(t) })
}

func TestCertificateFollowsTheCA(t *testing.T) {
	w := start(t)
	i := &v1alpha1.NodeImport{ObjectMeta: metav1.ObjectMeta{Name: "peer0-bankb", Namespace: w.Namespace}}
	i.Spec.Link, i.Spec.Port = w.link.Name, v1alpha1.PortPeer
	w.Make(t, i)
	w.state(t, v1alpha1.LinkUp)
	w.Eventually(t, "the link runs", func() bool { return w.replicas(t) == 1 })
	if !strings.Contains(w.config(t), "default 192.0.2.7:30443;") || !strings.Contains(w.config(t), "proxy_ssl_name "+w.Namespace+".banka1.bankb2;") {
		t.Errorf("the configuration is\n%s", w.config(t))
	}
	leaf := func() *x509.Certificate {
		var s corev1.Secret
		w.Read(t, &s, w.name())
		c, err := pki.ParseCert(s.Data["tls.crt"])
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if name := w.Namespace + ".bankb2.banka1"; leaf().VerifyHostname(name) != nil || leaf().Subject.CommonName != name {
		t.Errorf("the certificate is for %q, %q", leaf().Subject.CommonName, leaf().DNSNames)
	}
	if d := leaf().NotAfter.Sub(leaf().NotBefore); d < 29*24*time.Hour || d > 31*24*time.Hour {
		t.Errorf("the certificate lasts %s", d)
	}
	aged := w.age(t)
	w.Eventually(t, "a certificate that ends soon is renewed", func() bool {
		w.wake(t)
		return !leaf().Equal(aged)
	})
	ca := w.renewCA(t)
	controllertest.Change(t, w.Space, w.link, func(l *v1alpha1.SiteLink) { l.Spec.CACertificates = partnerCA + partnerCA })
	w.Eventually(t, "the certificate is the new CA's", func() bool { return leaf().CheckSignatureFrom(ca) == nil })
	w.Eventually(t, "both CAs of the partner are trusted", func() bool {
		var s corev1.Secret
		w.Read(t, &s, w.name())
		return string(s.Data[specs.KeyPartnerCA]) == partnerCA+partnerCA
	})
}

// wake has the controller look.
func (w *world) wake(t *testing.T) {
	t.Helper()
	controllertest.Change(t, w.Space, w.link, func(l *v1alpha1.SiteLink) { l.Spec.DisplayName = controllertest.Name("woken") })
}

// age replaces the link's certificate by one that has ten minutes left of an hour.
func (w *world) age(t *testing.T) *x509.Certificate {
	t.Helper()
	var ca, secret corev1.Secret
	if !w.Read(t, &ca, specs.GatewayCASecret) || !w.Read(t, &secret, w.name()) {
		t.Fatal("a Secret is missing")
	}
	issuer, err := pki.LoadIssuer(ca.Data["tls.crt"], ca.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.ParseKey(secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	name := w.Namespace + ".bankb2.banka1"
	old, err := issuer.IssueTLS(pki.TLSRequest{CommonName: name, SANs: []string{name}, Public: key.Public(), Lifetime: time.Hour, Now: time.Now().Add(-50 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	controllertest.Change(t, w.Space, &secret, func(s *corev1.Secret) { s.Data["tls.crt"] = pki.EncodeCerts(old) })
	return old
}

// TestOthersAreLeftAlone: what bears the link's name and was not made for it stays as it is.
func TestOthersAreLeftAlone(t *testing.T) {
	w := start(t)
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: w.name(), Namespace: w.Namespace}, Data: map[string]string{"mine": "yes"}}
	w.Make(t, foreign)
	w.export(t, "peer0-banka")
	w.state(t, v1alpha1.LinkUp)
	w.Eventually(t, "the Secret is there", func() bool { return w.Read(t, &corev1.Secret{}, w.name()) })
	w.Never(t, "the link runs with somebody else's ConfigMap", func() bool { return w.replicas(t) >= 0 })
	w.state(t, v1alpha1.LinkRevoked)
	w.Eventually(t, "the Secret goes", func() bool { return !w.Read(t, &corev1.Secret{}, w.name()) })
	var cm corev1.ConfigMap
	if !w.Read(t, &cm, w.name()) || cm.Data["mine"] != "yes" {
		t.Errorf("somebody else's ConfigMap is %v", cm.Data)
	}
}
