package nodeimport_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/nodeimport"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

const node = "peer0-bankb"

// world has a partner whose node is a TLS server of the test: links and gateways are others' tests.
type world struct {
	*controllertest.Space
	link *v1alpha1.SiteLink

	mu     sync.Mutex
	server string
	dialed []string
}

func start(t *testing.T) *world {
	t.Helper()
	e := controllertest.NewSpace(t, operator.AddToScheme)
	w := &world{Space: e, link: &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: controllertest.Name("p")}}}
	w.link.Spec.SiteID, w.link.Spec.Endpoints = "bankb2", []string{"192.0.2.7:30443"}
	e.Make(t, w.link)
	d := specs.LinkDeployment(specs.Link{Place: specs.Place{Network: e.Namespace}, Name: w.link.Name, Settings: specs.LinkSettings{Image: "nginx:1"}}, true)
	e.Make(t, d)
	e.Serve(t, d.Name, true)
	e.Start(t, operator.CacheOptions, operator.ClientOptions(), nodeimport.New(nodeimport.Options{Dial: w.dial}))
	return w
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	server := w.server
	w.mu.Unlock()
	if server == "" {
		server = "127.0.0.1:1"
	}
	return (&net.Dialer{}).DialContext(ctx, network, server)
}

// answer lets the node answer with a certificate for a host from now on, and returns what verifies it.
func (w *world) answer(t *testing.T, host string) (roots string, leaf []byte) {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.IssuerRequest{CommonName: "bankb", Key: key, Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueTLS(pki.TLSRequest{CommonName: host, SANs: []string{host}, Public: key.Public(), Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = c.Read(make([]byte, 1))
			}()
		}
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server = l.Addr().String()
	return string(pki.EncodeCerts(ca.Cert)), cert.Raw
}

// partner sets what the partner's controller says of it.
func (w *world) partner(t *testing.T, state v1alpha1.SiteLinkState, offered ...v1alpha1.OfferedNode) {
	t.Helper()
	w.Eventually(t, "set status", func() bool {
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(w.link), w.link); err != nil {
			t.Fatal(err)
		}
		w.link.Status.State, w.link.Status.Offered = state, offered
		return w.Status().Update(t.Context(), w.link) == nil
	})
}

func (w *world) offer() v1alpha1.OfferedNode {
	return v1alpha1.OfferedNode{Network: w.Namespace, Name: node, Port: 7051, NetworkID: "id-12345678", MSPID: "BankBMSP"}
}

func (w *world) want(roots string) *v1alpha1.NodeImport {
	i := &v1alpha1.NodeImport{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: w.Namespace}}
	i.Spec.Link, i.Spec.Port, i.Spec.TLSRoots = w.link.Name, 7051, roots
	return i
}

func (w *world) condition(i *v1alpha1.NodeImport, kind string) string {
	if c := meta.FindStatusCondition(i.Status.Conditions, kind); c != nil {
		return string(c.Status) + " " + c.Reason
	}
	return ""
}

func TestImport(t *testing.T) {
	w := start(t)
	roots, leaf := w.answer(t, node+"."+w.Namespace)
	i := w.want(roots)
	w.Make(t, i)
	e := w.Space
	e.AwaitReason(t, i, v1alpha1.ReasonPendingApproval)
	w.partner(t, v1alpha1.LinkUp)
	if c := e.AwaitReason(t, i, v1alpha1.ReasonNotOffered); !strings.Contains(c.Message, "heddle node export "+node) {
		t.Errorf("it says %q", c.Message)
	}
	if e.Read(t, &corev1.Service{}, node) {
		t.Error("there is a Service for a node that is not offered")
	}
	w.partner(t, v1alpha1.LinkUp, w.offer())
	e.AwaitReason(t, i, v1alpha1.ReasonReady)
	var svc corev1.Service
	if !e.Read(t, &svc, node) || svc.Spec.Ports[0].Port != 7051 || svc.Spec.Ports[0].TargetPort.IntValue() != 8443 ||
		svc.Spec.Selector[v1alpha1.LabelLink] != w.link.Name || svc.Spec.Selector[v1alpha1.LabelComponent] != v1alpha1.ComponentLink {
		t.Errorf("the Service is %+v", svc.Spec)
	}
	sum := sha256.Sum256(leaf)
	if i.Status.Certificate != hex.EncodeToString(sum[:]) || i.Status.Address != node+"."+w.Namespace+":7051" {
		t.Errorf("status %+v", i.Status)
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionConnected, v1alpha1.ConditionTrustVerified} {
		if got := w.condition(i, kind); got != "True Ready" {
			t.Errorf("%s is %s", kind, got)
		}
	}
	w.mu.Lock()
	first, last := w.dialed[0], w.dialed[len(w.dialed)-1]
	w.mu.Unlock()
	if first != specs.LinkName(w.link.Name)+"."+w.Namespace+":8443" || last != i.Status.Address {
		t.Errorf("it looked at %s first and %s last", first, last)
	}
	w.partner(t, v1alpha1.LinkDown, w.offer())
	e.AwaitReason(t, i, v1alpha1.ReasonUnreachable)
	if !e.Read(t, &svc, node) {
		t.Error("the Service went while the partner is away: names would not resolve")
	}
	w.partner(t, v1alpha1.LinkRevoked, w.offer())
	e.AwaitReason(t, i, v1alpha1.ReasonRevoked)
	if e.Read(t, &svc, node) {
		t.Error("the Service of a revoked partner's node is still there")
	}
}

// TestUntrusted: a node with another organization's certificate, or with another name, is not let in.
func TestUntrusted(t *testing.T) {
	w := start(t)
	other, _ := w.answer(t, node+"."+w.Namespace)
	roots, _ := w.answer(t, node+"."+w.Namespace)
	i := w.want(other)
	w.partner(t, v1alpha1.LinkUp, w.offer())
	w.Make(t, i)
	w.AwaitReason(t, i, v1alpha1.ReasonUntrusted)
	if got := w.condition(i, v1alpha1.ConditionTrustVerified); got != "False Untrusted" || w.condition(i, v1alpha1.ConditionConnected) != "True Ready" {
		t.Errorf("TrustVerified is %s", got)
	}
	if w.Read(t, &corev1.Service{}, node) {
		t.Error("a node that nobody vouches for has a Service")
	}
	controllertest.Change(t, w.Space, i, func(i *v1alpha1.NodeImport) { i.Spec.TLSRoots = roots })
	w.AwaitReason(t, i, v1alpha1.ReasonReady)
	roots, _ = w.answer(t, "peer1-bankb."+w.Namespace)
	controllertest.Change(t, w.Space, i, func(i *v1alpha1.NodeImport) { i.Spec.TLSRoots = roots })
	w.AwaitReason(t, i, v1alpha1.ReasonUntrusted)
}

// TestRootsOfTheOrganization: without roots of its own, an import takes those that the organization publishes here.
func TestRootsOfTheOrganization(t *testing.T) {
	w := start(t)
	roots, _ := w.answer(t, node+"."+w.Namespace)
	i := w.want("")
	i.Spec.MSPID = "BankBMSP"
	w.partner(t, v1alpha1.LinkUp, w.offer())
	w.Make(t, i)
	w.AwaitReason(t, i, v1alpha1.ReasonUntrusted)
	o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Name: "bankb", Namespace: w.Namespace}}
	o.Spec.MSPID = "BankBMSP"
	w.Make(t, o)
	w.Make(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: specs.MSPConfigMap("bankb"), Namespace: w.Namespace, Labels: map[string]string{v1alpha1.LabelNetwork: w.Namespace, v1alpha1.LabelOrganization: "bankb"}},
		Data:       map[string]string{specs.KeyTLSRoots: roots},
	})
	w.AwaitReason(t, i, v1alpha1.ReasonReady)
}

func TestConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		before func(t *testing.T, w *world)
		offer  func(*v1alpha1.OfferedNode)
		says   string
	}{
		"a peer of this site": {before: func(t *testing.T, w *world) {
			p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: w.Namespace}}
			p.Spec.Organization, p.Spec.Version = "bankb", "3.1.5"
			w.Make(t, p)
		}, says: "Peer"},
		"somebody's Service": {before: func(t *testing.T, w *world) {
			w.Make(t, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: node, Namespace: w.Namespace}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}}})
		}, says: "Service"},
		"another network": {before: func(t *testing.T, w *world) {
			ns := &corev1.Namespace{}
			if err := w.Get(t.Context(), client.ObjectKey{Name: w.Namespace}, ns); err != nil {
				t.Fatal(err)
			}
			ns.Labels[v1alpha1.LabelNetworkID] = "id-another"
			if err := w.Update(t.Context(), ns); err != nil {
				t.Fatal(err)
			}
		}, says: "networkID"},
		"another port":         {offer: func(o *v1alpha1.OfferedNode) { o.Port = 7050 }, says: "port 7050"},
		"another organization": {offer: func(o *v1alpha1.OfferedNode) { o.MSPID = "BankCMSP" }, says: "BankCMSP"},
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			roots, _ := w.answer(t, node+"."+w.Namespace)
			offer := w.offer()
			if c.before != nil {
				c.before(t, w)
			}
			if c.offer != nil {
				c.offer(&offer)
			}
			w.partner(t, v1alpha1.LinkUp, offer)
			i := w.want(roots)
			i.Spec.MSPID = "BankBMSP"
			w.Make(t, i)
			got := w.AwaitReason(t, i, v1alpha1.ReasonConflict)
			if !strings.Contains(got.Message, c.says) || w.condition(i, v1alpha1.ConditionConflict) != "True Conflict" {
				t.Errorf("it says %q, Conflict is %s", got.Message, w.condition(i, v1alpha1.ConditionConflict))
			}
			var svc corev1.Service
			if w.Read(t, &svc, node) && len(svc.OwnerReferences) > 0 {
				t.Errorf("the Service was taken: %+v", svc)
			}
			version := i.ResourceVersion
			w.Never(t, "the status flaps", func() bool { return w.Read(t, i, node) && i.ResourceVersion != version })
		})
	}
}
