package node_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/specs"
)

func (w *world) couchDBPeer(t *testing.T, name string, policy v1alpha1.DeletionPolicy) *v1alpha1.Peer {
	t.Helper()
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Namespace}}
	p.Spec.Organization, p.Spec.StateDatabase, p.Spec.DeletionPolicy = "banka", v1alpha1.StateCouchDB, policy
	p.Spec.CouchDB = &v1alpha1.CouchDB{Image: "example.org/couchdb:1"}
	w.Make(t, p)
	return p
}

func (w *world) pod(t *testing.T, name string) corev1.PodSpec {
	t.Helper()
	var d appsv1.Deployment
	if !w.Read(t, &d, name) {
		t.Fatalf("Deployment %s is not there", name)
	}
	return d.Spec.Template.Spec
}

// password is what CouchDB's Secret holds; empty where there is none.
func (w *world) password(t *testing.T, peer string) string {
	t.Helper()
	var s corev1.Secret
	if !w.Read(t, &s, specs.CouchDBName(peer)) {
		return ""
	}
	return string(s.Data[specs.KeyPassword])
}

func TestPeerWithCouchDB(t *testing.T) {
	w := start(t)
	p, other, plain := w.couchDBPeer(t, "peer0-banka", ""), w.couchDBPeer(t, "peer1-banka", ""), w.peer(t, "peer2-banka")
	w.up(t, p)
	w.up(t, other)
	w.up(t, plain)
	password := w.password(t, p.Name)
	if len(password) < 20 || password == w.password(t, other.Name) {
		t.Errorf("the password has %d letters, or two peers have the same", len(password))
	}
	var d appsv1.Deployment
	w.Read(t, &d, p.Name)
	if strings.Contains(d.String(), password) {
		t.Error("the Deployment holds the password")
	}
	var pvc corev1.PersistentVolumeClaim
	if !w.Read(t, &pvc, specs.CouchDBName(p.Name)) || len(pvc.OwnerReferences) != 0 || len(w.secret(t, specs.CouchDBName(p.Name)).OwnerReferences) != 0 {
		t.Error("CouchDB's volume is not there, or it or the Secret has an owner and would go with it")
	}
	if w.Read(t, &pvc, specs.CouchDBName(plain.Name)) || w.password(t, plain.Name) != "" || len(w.pod(t, plain.Name).InitContainers) != 1 {
		t.Error("a peer with LevelDB has something of CouchDB")
	}
}

// TestCouchDBIsUpgradedApart: its image changes, the peer's does not, and the password stays.
func TestCouchDBIsUpgradedApart(t *testing.T) {
	w := start(t)
	p := w.couchDBPeer(t, "peer0-banka", "")
	w.up(t, p)
	before, password := w.pod(t, p.Name), w.password(t, p.Name)
	controllertest.Change(t, w.Space, p, func(p *v1alpha1.Peer) {
		p.Spec.CouchDB.Image = "example.org/couchdb:2"
		p.Spec.CouchDB.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("3Gi")}}
	})
	w.Eventually(t, "CouchDB's image changes", func() bool { return w.pod(t, p.Name).InitContainers[1].Image == "example.org/couchdb:2" })
	after := w.pod(t, p.Name)
	if got := after.InitContainers[1].Resources.Limits.Memory().String(); got != "3Gi" {
		t.Errorf("CouchDB's memory limit is %s, want 3Gi", got)
	}
	if before.Containers[0].String() != after.Containers[0].String() || w.password(t, p.Name) != password {
		t.Error("the peer's own container, or the password, changed as well")
	}
	w.Serve(t, p.Name, true)
	w.AwaitReason(t, p, v1alpha1.ReasonReady)
}

// TestLostCouchDBPasswordIsMadeAnew: no ledger and no volume knows it, so both containers simply get another one.
func TestLostCouchDBPasswordIsMadeAnew(t *testing.T) {
	w := start(t)
	p := w.couchDBPeer(t, "peer0-banka", "")
	w.up(t, p)
	hash, password := w.hash(t, p.Name), w.password(t, p.Name)
	w.lose(t, specs.CouchDBName(p.Name))
	w.Eventually(t, "there is another password", func() bool { now := w.password(t, p.Name); return now != "" && now != password })
	w.Eventually(t, "the pod is to read it", func() bool { return w.hash(t, p.Name) != hash })
}

func TestEditedCouchDBSettingsAreHealed(t *testing.T) {
	w := start(t)
	p := w.couchDBPeer(t, "peer0-banka", "")
	w.up(t, p)
	var cm corev1.ConfigMap
	if !w.Read(t, &cm, specs.CouchDBName(p.Name)) {
		t.Fatal("there are no settings")
	}
	want := cm.Data["heddle.ini"]
	cm.Data["heddle.ini"] = strings.ReplaceAll(want, "127.0.0.1", "any")
	if err := w.Update(t.Context(), &cm); err != nil {
		t.Fatal(err)
	}
	w.Eventually(t, "CouchDB listens on localhost only", func() bool { return w.Read(t, &cm, cm.Name) && cm.Data["heddle.ini"] == want })
}

func TestCouchDBGoesAndLeavesItsData(t *testing.T) {
	w := start(t)
	for name, policy := range map[string]v1alpha1.DeletionPolicy{"peer0-banka": v1alpha1.DeletionRetain, "peer1-banka": v1alpha1.DeletionDelete} {
		t.Run(string(policy), func(t *testing.T) {
			p := w.couchDBPeer(t, name, policy)
			w.up(t, p)
			password := w.password(t, name)
			if err := w.Delete(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			w.Eventually(t, "the peer goes", func() bool { return !w.Read(t, &v1alpha1.Peer{}, name) })
			couch := specs.CouchDBName(name)
			if w.Read(t, &corev1.ConfigMap{}, couch) {
				t.Error("the settings are left")
			}
			var s corev1.Secret
			kept := w.Read(t, &s, couch)
			var pvc corev1.PersistentVolumeClaim
			volume := w.Read(t, &pvc, couch) && pvc.DeletionTimestamp.IsZero()
			if policy == v1alpha1.DeletionDelete {
				if kept || volume {
					t.Error("Secret or volume are left")
				}
				return
			}
			if s.Labels[v1alpha1.LabelRetained] != "true" || pvc.Labels[v1alpha1.LabelRetained] != "true" {
				t.Error("Secret or volume are gone or not labelled as retained")
			}
			again := w.couchDBPeer(t, name, policy)
			w.up(t, again)
			if w.password(t, name) != password || w.secret(t, couch).Labels[v1alpha1.LabelRetained] != "" {
				t.Error("the peer came back with another password, or the Secret is still labelled as retained")
			}
		})
	}
}

func TestCouchDBVolumeCannotShrink(t *testing.T) {
	w := start(t)
	p := w.couchDBPeer(t, "peer0-banka", "")
	w.up(t, p)
	controllertest.Change(t, w.Space, p, func(p *v1alpha1.Peer) { p.Spec.CouchDB.Storage.Size = ptr.To(resource.MustParse("1Gi")) })
	if c := w.AwaitReason(t, p, v1alpha1.ReasonInvalidSpec); !strings.Contains(c.Message, specs.CouchDBName(p.Name)) {
		t.Errorf("message %q does not name the volume", c.Message)
	}
}
