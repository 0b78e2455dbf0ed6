package node_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/node"
	"heddle.dev/heddle/internal/controller/organization"
	"heddle.dev/heddle/internal/controller/watch"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// world is a namespace with an organization, in which nodes are kept.
type world struct {
	*controllertest.Space
	// now is the clock, in seconds.
	now atomic.Int64
	// version is what every node says it is.
	version atomic.Value
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{Space: controllertest.NewSpace(t, operator.AddToScheme)}
	w.now.Store(time.Now().Unix())
	w.version.Store("3.1.5")
	operations := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte(`{"CommitSHA":"abc","Version":"v` + w.version.Load().(string) + `"}`))
	}))
	t.Cleanup(operations.Close)
	clock := func() time.Time { return time.Unix(w.now.Load(), 0) }
	secrets := watch.NewSecrets([]string{w.Namespace})
	w.Start(t, operator.CacheOptions, operator.ClientOptions(), secrets, organization.New(organization.Options{Now: clock}), node.New(node.Options{
		Secrets:      secrets,
		BuilderImage: "heddle.dev/heddle-builder:test", Now: clock, Settle: time.Second,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, operations.Listener.Addr().String())
		},
	}))
	for _, name := range []string{"ord", "banka"} {
		o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Namespace}}
		o.Spec.MSPID, o.Spec.CA.Mode = name+"MSP", v1alpha1.CANone
		w.Make(t, o)
	}
	return w
}

func (w *world) peer(t *testing.T, name string) *v1alpha1.Peer {
	t.Helper()
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Namespace}}
	p.Spec.Organization = "banka"
	w.Make(t, p)
	return p
}

func (w *world) orderer(t *testing.T, name string) *v1alpha1.Orderer {
	t.Helper()
	o := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Namespace}}
	o.Spec.Organization = "ord"
	w.Make(t, o)
	return o
}

// up serves a node until it is Ready; it gets a pod too, which is where the version comes from.
func (w *world) up(t *testing.T, o kube.Object) {
	t.Helper()
	w.AwaitReason(t, o, v1alpha1.ReasonWaitingForPod)
	w.Run(t, o.GetName(), corev1.PodStatus{Phase: corev1.PodRunning})
	w.Serve(t, o.GetName(), true)
	w.AwaitReason(t, o, v1alpha1.ReasonReady)
}

func (w *world) hash(t *testing.T, name string) string {
	t.Helper()
	var d appsv1.Deployment
	if !w.Read(t, &d, name) {
		return ""
	}
	return d.Spec.Template.Annotations[v1alpha1.AnnotationConfigHash]
}

func (w *world) secret(t *testing.T, name string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if !w.Read(t, &s, name) {
		t.Fatalf("Secret %s is not there", name)
	}
	return &s
}

func TestPeerAndOrdererBecomeReady(t *testing.T) {
	w := start(t)
	p, o := w.peer(t, "peer0-banka"), w.orderer(t, "orderer0-ord")
	w.up(t, p)
	w.up(t, o)
	if p.Status.Address != "peer0-banka."+w.Namespace+":7051" || o.Status.Address != "orderer0-ord."+w.Namespace+":7050" {
		t.Errorf("addresses %s, %s", p.Status.Address, o.Status.Address)
	}
	w.Eventually(t, "the version is told", func() bool { return w.Read(t, p, p.Name) && p.Status.Version == "3.1.5" })
	if p.Status.Build != "abc" {
		t.Errorf("the build is %q, want what the node tells", p.Status.Build)
	}
	var pvc corev1.PersistentVolumeClaim
	w.Eventually(t, "the volume notes the version", func() bool {
		return w.Read(t, &pvc, "peer0-banka") && pvc.Annotations[specs.AnnotationRan] == "3.1.5"
	})
	if len(p.Status.Certificates) != 2 || *p.Status.Certificates[0].DaysLeft < 360 {
		t.Errorf("certificates %+v", p.Status.Certificates)
	}
	if len(pvc.OwnerReferences) != 0 || len(w.secret(t, "peer0-banka").OwnerReferences) != 0 {
		t.Error("volume or keys have an owner and would go with it")
	}
	sign, err := pki.ParseCert(w.secret(t, "orderer0-ord").Data[specs.KeyCert])
	if err != nil || pki.RoleOf(sign) != pki.RoleOrderer {
		t.Errorf("the orderer's role is %q (%v)", pki.RoleOf(sign), err)
	}
	tls, err := pki.ParseCert(w.secret(t, "peer0-banka").Data[specs.KeyNodeTLSCert])
	if err != nil || tls.VerifyHostname("peer0-banka."+w.Namespace) != nil {
		t.Errorf("the TLS certificate does not name the node (%v)", err)
	}
}

func TestMissingOrganizationIsTold(t *testing.T) {
	w := start(t)
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: "peer0-nobody", Namespace: w.Namespace}}
	p.Spec.Organization = "nobody"
	w.Make(t, p)
	c := w.AwaitReason(t, p, v1alpha1.ReasonWaitingForDependency)
	if err := controllertest.Contains(c.Message, `"nobody"`, "spec.organization", "create it"); err != nil {
		t.Error(err)
	}
	made := func() bool {
		return w.Read(t, &corev1.PersistentVolumeClaim{}, p.Name) || w.Read(t, &corev1.Service{}, p.Name) || w.Read(t, &corev1.Secret{}, p.Name)
	}
	w.Never(t, "something is made for it all the same", made)

	// Its controller leaves a paused Organization alone: it has no certificates.
	o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{
		Name: "nobody", Namespace: w.Namespace, Annotations: map[string]string{v1alpha1.AnnotationPaused: "for the test"},
	}}
	o.Spec.MSPID, o.Spec.CA.Mode = "NobodyMSP", v1alpha1.CANone
	w.Make(t, o)
	w.Eventually(t, "the volume is asked for before there are certificates", func() bool {
		return w.Read(t, &corev1.PersistentVolumeClaim{}, p.Name)
	})
	if w.Read(t, &corev1.Secret{}, p.Name) {
		t.Error("certificates were made by nobody")
	}
	controllertest.Change(t, w.Space, o, func(o *v1alpha1.Organization) { o.Annotations = nil })
	w.up(t, p)
}

func TestNodeOfAnotherSitesOrganization(t *testing.T) {
	w := start(t)
	o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "bankx"}}
	o.Spec.MSPID = "BankXMSP"
	o.Spec.Remote = &v1alpha1.RemoteOrganization{Link: "site-x", CACertificates: "PEM", TLSCACertificates: "PEM"}
	w.Make(t, o)
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "peer0-bankx"}, Spec: v1alpha1.PeerSpec{Organization: "bankx"}}
	w.Make(t, p)
	if c := w.AwaitReason(t, p, v1alpha1.ReasonInvalidSpec); !strings.Contains(c.Message, "site-x") {
		t.Errorf("message %q", c.Message)
	}
	if w.Read(t, &corev1.Secret{}, "peer0-bankx") {
		t.Error("keys were made for a node of another site's organization")
	}
}

func TestNameOfAnotherNode(t *testing.T) {
	w := start(t)
	o := w.orderer(t, "orderer0-ord")
	w.up(t, o)
	// What it asks for would be refused anyway; whose the name is has to be said first.
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: o.Name, Namespace: w.Namespace}}
	p.Spec.Organization, p.Spec.Version, p.Spec.DeletionPolicy = "ord", "2.5.16", v1alpha1.DeletionDelete
	p.Spec.Storage.Size = ptr.To(resource.MustParse("1Gi"))
	w.Make(t, p)
	if c := w.AwaitReason(t, p, v1alpha1.ReasonInvalidOwnership); !strings.Contains(c.Message, o.Name) || !strings.Contains(c.Message, "rename") {
		t.Errorf("message %q names neither the node nor the remedy", c.Message)
	}
	if err := w.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "the peer goes", func() bool { return !w.Read(t, &v1alpha1.Peer{}, p.Name) })
	var pvc corev1.PersistentVolumeClaim
	for kind, obj := range map[string]client.Object{"volume": &pvc, "keys": &corev1.Secret{}, "Deployment": &appsv1.Deployment{}} {
		if !w.Read(t, obj, o.Name) || obj.GetDeletionTimestamp() != nil || obj.GetLabels()[v1alpha1.LabelRetained] != "" {
			t.Errorf("the peer took the orderer's %s with it", kind)
		}
	}
}

func TestDriftIsHealed(t *testing.T) {
	w := start(t)
	w.up(t, w.peer(t, "peer0-banka"))
	var d appsv1.Deployment
	w.Read(t, &d, "peer0-banka")
	d.Spec.Replicas = ptr.To[int32](0)
	if err := w.Update(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "the replica comes back", func() bool { return w.Read(t, &d, "peer0-banka") && *d.Spec.Replicas == 1 })
	var s corev1.Service
	w.Read(t, &s, "peer0-banka")
	if err := w.Delete(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "the Service comes back", func() bool {
		var again corev1.Service
		return w.Read(t, &again, "peer0-banka") && again.UID != s.UID
	})
}

func TestChangesRollOneAtATime(t *testing.T) {
	w := start(t)
	names := []string{"orderer0-ord", "orderer1-ord", "orderer2-ord"}
	before := map[string]string{}
	for _, name := range names {
		w.up(t, w.orderer(t, name))
		before[name] = w.hash(t, name)
	}
	for _, name := range names {
		o := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Namespace}}
		controllertest.Change(t, w.Space, o, func(o *v1alpha1.Orderer) { o.Spec.Logging = "debug" })
	}
	changed := func() []string {
		var out []string
		for _, name := range names {
			if w.hash(t, name) != before[name] {
				out = append(out, name)
			}
		}
		return out
	}
	for i := range names {
		w.Eventually(t, "another orderer changes", func() bool { return len(changed()) == i+1 })
		w.Never(t, "two change at once", func() bool { return len(changed()) > i+1 })
		for _, name := range changed() {
			w.Serve(t, name, true)
		}
	}
	for _, name := range names {
		o := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Namespace}}
		w.AwaitReason(t, o, v1alpha1.ReasonReady)
	}
}

func TestChangeWaitsForALaggingSibling(t *testing.T) {
	w := start(t)
	a, b := w.peer(t, "peer0-banka"), w.peer(t, "peer1-banka")
	w.up(t, a)
	w.up(t, b)
	ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Name: "demo", Namespace: w.Namespace}}
	ch.Spec.Consensus = v1alpha1.ConsensusRaft
	w.Make(t, ch)
	lag := func(state v1alpha1.ChannelNodeState) {
		ch.Status.Nodes = []v1alpha1.ChannelNode{{Name: "peer1-banka", Role: v1alpha1.RolePeer, State: state}}
		if err := w.Status().Update(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
	}
	lag(v1alpha1.NodeCatchingUp)
	before := w.hash(t, a.Name)
	controllertest.Change(t, w.Space, a, func(p *v1alpha1.Peer) { p.Spec.Logging = "debug" })
	if c := w.AwaitReason(t, a, v1alpha1.ReasonRollingOut); !strings.Contains(c.Message, "peer1-banka") || !strings.Contains(c.Message, "demo") {
		t.Errorf("message %q names neither node nor channel", c.Message)
	}
	if w.hash(t, a.Name) != before {
		t.Error("the peer was changed while its sibling is behind")
	}
	lag(v1alpha1.NodeActive)
	w.Eventually(t, "the peer is changed", func() bool { return w.hash(t, a.Name) != before })
}

func TestAFixDoesNotWaitForItself(t *testing.T) {
	w := start(t)
	a, b := w.peer(t, "peer0-banka"), w.peer(t, "peer1-banka")
	w.AwaitReason(t, a, v1alpha1.ReasonWaitingForPod)
	w.AwaitReason(t, b, v1alpha1.ReasonWaitingForPod)
	w.Run(t, a.Name, corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		Name: "peer", Image: "nowhere/peer:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}},
	}}})
	if c := w.AwaitReason(t, a, v1alpha1.ReasonImageUnavailable); !strings.Contains(c.Message, "nowhere/peer:1") {
		t.Errorf("message %q does not name the image", c.Message)
	}
	before := w.hash(t, a.Name)
	controllertest.Change(t, w.Space, a, func(p *v1alpha1.Peer) { p.Spec.Image = "somewhere/peer:1" })
	w.Eventually(t, "the peer is changed though none serves", func() bool { return w.hash(t, a.Name) != before })
}

func TestDowngradeIsRefused(t *testing.T) {
	w := start(t)
	p := w.peer(t, "peer0-banka")
	w.up(t, p)
	if p.Status.Build != "abc" {
		t.Errorf("the build is %q, want what the node tells", p.Status.Build)
	}
	var pvc corev1.PersistentVolumeClaim
	w.Eventually(t, "the volume notes the version", func() bool {
		return w.Read(t, &pvc, p.Name) && pvc.Annotations[specs.AnnotationRan] == "3.1.5"
	})
	if err := w.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "the peer goes", func() bool { return !w.Read(t, &v1alpha1.Peer{}, p.Name) })
	again := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: w.Namespace}}
	again.Spec.Organization, again.Spec.Version = "banka", "2.5.16"
	w.Make(t, again)
	if c := w.AwaitReason(t, again, v1alpha1.ReasonUnsafeChange); !strings.Contains(c.Message, "2.5.16") {
		t.Errorf("message %q does not name the version", c.Message)
	}
	if w.Read(t, &appsv1.Deployment{}, p.Name) {
		t.Error("the older version runs on the newer one's volume")
	}
	controllertest.Change(t, w.Space, again, func(p *v1alpha1.Peer) { p.Spec.Version = "3.1.4" })
	w.AwaitReason(t, again, v1alpha1.ReasonWaitingForPod)
}

func TestCertificatesAreRenewedForTheSameKeys(t *testing.T) {
	w := start(t)
	o := w.orderer(t, "orderer0-ord")
	w.up(t, o)
	old, before := w.secret(t, o.Name), w.hash(t, o.Name)
	w.now.Add(int64((300 * 24 * time.Hour).Seconds()))
	controllertest.Change(t, w.Space, o, func(o *v1alpha1.Orderer) { o.Annotations = map[string]string{"touched": "yes"} })
	w.Eventually(t, "both certificates are renewed", func() bool {
		s := w.secret(t, o.Name)
		return string(s.Data[specs.KeyCert]) != string(old.Data[specs.KeyCert]) &&
			string(s.Data[specs.KeyNodeTLSCert]) != string(old.Data[specs.KeyNodeTLSCert])
	})
	s := w.secret(t, o.Name)
	if string(s.Data[specs.KeyKey]) != string(old.Data[specs.KeyKey]) || string(s.Data[specs.KeyNodeTLSKey]) != string(old.Data[specs.KeyNodeTLSKey]) {
		t.Error("the renewal changed a key that channels have pinned")
	}
	w.Eventually(t, "the pod is to read them", func() bool { return w.hash(t, o.Name) != before })
}

func TestFurtherAddressesAreNamed(t *testing.T) {
	w := start(t)
	p := w.peer(t, "peer0-banka")
	w.up(t, p)
	controllertest.Change(t, w.Space, p, func(p *v1alpha1.Peer) { p.Spec.ExtraSANs = []string{"peer.example.org"} })
	w.Eventually(t, "the certificate names it", func() bool {
		cert, err := pki.ParseCert(w.secret(t, p.Name).Data[specs.KeyNodeTLSCert])
		return err == nil && cert.VerifyHostname("peer.example.org") == nil
	})
}

func TestVolumeCannotShrink(t *testing.T) {
	w := start(t)
	p := w.peer(t, "peer0-banka")
	w.up(t, p)
	controllertest.Change(t, w.Space, p, func(p *v1alpha1.Peer) { p.Spec.Storage.Size = ptr.To(resource.MustParse("1Gi")) })
	if c := w.AwaitReason(t, p, v1alpha1.ReasonInvalidSpec); !strings.Contains(c.Message, "storage.size") {
		t.Errorf("message %q does not name the field", c.Message)
	}
}

func TestForeignObjectsAreRefused(t *testing.T) {
	w := start(t)
	w.Make(t, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "peer0-banka", Namespace: w.Namespace},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	})
	p := w.peer(t, "peer0-banka")
	if c := w.AwaitReason(t, p, v1alpha1.ReasonInvalidOwnership); !strings.Contains(c.Message, `Service "peer0-banka"`) {
		t.Errorf("message %q does not name the Service", c.Message)
	}
}

func TestPeerGoesAndLeavesItsData(t *testing.T) {
	w := start(t)
	for name, policy := range map[string]v1alpha1.DeletionPolicy{"peer0-banka": v1alpha1.DeletionRetain, "peer1-banka": v1alpha1.DeletionDelete} {
		t.Run(string(policy), func(t *testing.T) {
			p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Namespace}}
			p.Spec.Organization, p.Spec.DeletionPolicy = "banka", policy
			w.Make(t, p)
			w.up(t, p)
			if err := w.Delete(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			w.Eventually(t, "the peer goes", func() bool { return !w.Read(t, &v1alpha1.Peer{}, name) })
			if w.Read(t, &appsv1.Deployment{}, name) || w.Read(t, &corev1.Service{}, name) {
				t.Error("Deployment or Service are left")
			}
			var s corev1.Secret
			kept := w.Read(t, &s, name)
			var pvc corev1.PersistentVolumeClaim
			volume := w.Read(t, &pvc, name) && pvc.DeletionTimestamp.IsZero()
			if policy == v1alpha1.DeletionDelete {
				if kept || volume {
					t.Error("keys or volume are left")
				}
				return
			}
			if s.Labels[v1alpha1.LabelRetained] != "true" || pvc.Labels[v1alpha1.LabelRetained] != "true" {
				t.Error("keys or volume are gone or not labelled as retained")
			}
			again := w.peer(t, name)
			w.up(t, again)
			if now := w.secret(t, name); string(now.Data[specs.KeyKey]) != string(s.Data[specs.KeyKey]) || now.Labels[v1alpha1.LabelRetained] != "" {
				t.Error("the peer came back without its keys, or they are still labelled as retained")
			}
		})
	}
}

func TestOrdererWaitsForItsChannels(t *testing.T) {
	w := start(t)
	a, b := w.orderer(t, "orderer0-ord"), w.orderer(t, "orderer1-ord")
	w.up(t, a)
	w.up(t, b)
	ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Name: "demo", Namespace: w.Namespace}}
	ch.Spec.Consensus = v1alpha1.ConsensusRaft
	w.Make(t, ch)
	consenters := func(of ...*v1alpha1.Orderer) {
		ch.Status.Consenters = nil
		for _, o := range of {
			ch.Status.Consenters = append(ch.Status.Consenters, o.Status.Address)
		}
		if err := w.Status().Update(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
	}
	consenters(a, b)
	if err := w.Delete(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if c := w.AwaitReason(t, a, v1alpha1.ReasonDeleting); !strings.Contains(c.Message, "demo") {
		t.Errorf("message %q does not name the channel", c.Message)
	}
	w.Never(t, "the orderer goes", func() bool { return !w.Read(t, &appsv1.Deployment{}, a.Name) })
	consenters(b)
	w.Eventually(t, "the orderer goes", func() bool { return !w.Read(t, &v1alpha1.Orderer{}, a.Name) })
	if err := w.Delete(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if c := w.AwaitReason(t, b, v1alpha1.ReasonUnsafeChange); !strings.Contains(c.Message, "demo") {
		t.Errorf("message %q does not name the channel", c.Message)
	}
	if err := w.Delete(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "the last one goes with its channel", func() bool { return !w.Read(t, &v1alpha1.Orderer{}, b.Name) })
}
