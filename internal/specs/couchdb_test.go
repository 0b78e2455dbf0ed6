package specs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"heddle.dev/heddle/api/v1alpha1"
)

// TestCouchDBStandsApart: what is changed of CouchDB changes nothing of the peer's own container, and the other way round.
func TestCouchDBStandsApart(t *testing.T) {
	pod := func(change func(*v1alpha1.Peer)) corev1.PodSpec {
		p := couchDBPeer()
		change(p)
		return NodeOfPeer(p).Deployment(inputs()).Spec.Template.Spec
	}
	before := pod(func(*v1alpha1.Peer) {})
	couch := pod(func(p *v1alpha1.Peer) {
		p.Spec.CouchDB.Image, p.Spec.CouchDB.Resources = "registry.example/couchdb:2", nil
	})
	if diff := cmp.Diff(before.Containers, couch.Containers); diff != "" {
		t.Errorf("the peer's container changed with CouchDB's image:\n%s", diff)
	}
	if cmp.Equal(before.InitContainers, couch.InitContainers) {
		t.Error("CouchDB's container did not change")
	}
	peer := pod(func(p *v1alpha1.Peer) { p.Spec.Image, p.Spec.Resources = "registry.example/peer:2", nil })
	if diff := cmp.Diff(before.InitContainers, peer.InitContainers); diff != "" {
		t.Errorf("CouchDB's container changed with the peer's image:\n%s", diff)
	}
}

// TestCouchDBPasswordIsNowhereElse: the Secret holds it, and both containers read it from there.
func TestCouchDBPasswordIsNowhereElse(t *testing.T) {
	n := NodeOfPeer(couchDBPeer())
	spec := n.Deployment(inputs()).Spec.Template.Spec
	for _, c := range []corev1.Container{spec.InitContainers[1], spec.Containers[0]} {
		read := 0
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && e.ValueFrom.SecretKeyRef.Name == CouchDBName(n.Name) {
				read++
			} else if strings.Contains(e.Name, "PASSWORD") || strings.Contains(e.Name, "USER") {
				t.Errorf("%s of container %s does not come from the Secret", e.Name, c.Name)
			}
		}
		if read != 2 {
			t.Errorf("container %s reads %d values of the Secret, want user and password", c.Name, read)
		}
	}
	if n.CouchDBSecret("").Data != nil {
		t.Error("a Secret without a password has content")
	}
}

// TestCouchDBIsOpenToNobody: no Service, no policy and no port of a container names CouchDB's port.
func TestCouchDBIsOpenToNobody(t *testing.T) {
	n := NodeOfPeer(couchDBPeer())
	for _, p := range n.Service().Spec.Ports {
		if p.Port == 5984 {
			t.Error("the Service has CouchDB's port")
		}
	}
	for _, np := range append(Policies(network(), operator), PeerPolicy(couchDBPeer())) {
		for _, rule := range np.Spec.Ingress {
			for _, p := range rule.Ports {
				if p.Port.IntValue() == 5984 {
					t.Errorf("policy %s opens CouchDB's port", np.Name)
				}
			}
		}
	}
	if !strings.Contains(couchDBSettings, "\nbind_address = 127.0.0.1\n") {
		t.Error("CouchDB listens on more than localhost")
	}
}
