package node

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// subject is an Orderer or a Peer, seen as what the two have in common.
type subject struct {
	obj  kube.Object
	node specs.Node
	// address, version and certificates point into the object's status.
	address, version, build *string
	certificates            *[]v1alpha1.CertificateStatus
}

func ofOrderer(o *v1alpha1.Orderer) subject {
	return subject{
		obj: o, node: specs.NodeOfOrderer(o),
		address: &o.Status.Address, version: &o.Status.Version, build: &o.Status.Build, certificates: &o.Status.Certificates,
	}
}

func ofPeer(p *v1alpha1.Peer) subject {
	return subject{
		obj: p, node: specs.NodeOfPeer(p),
		address: &p.Status.Address, version: &p.Status.Version, build: &p.Status.Build, certificates: &p.Status.Certificates,
	}
}

// list returns all nodes of one component in a namespace.
func (r *Reconciler) list(ctx context.Context, namespace, component string) ([]subject, error) {
	var out []subject
	if component == v1alpha1.ComponentOrderer {
		var l v1alpha1.OrdererList
		if err := r.client.List(ctx, &l, client.InNamespace(namespace)); err != nil {
			return nil, fmt.Errorf("list orderers: %w", err)
		}
		for i := range l.Items {
			out = append(out, ofOrderer(&l.Items[i]))
		}
		return out, nil
	}
	var l v1alpha1.PeerList
	if err := r.client.List(ctx, &l, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	for i := range l.Items {
		out = append(out, ofPeer(&l.Items[i]))
	}
	return out, nil
}

// siblings are the nodes that must serve while this one is changed: all orderers of the network, and the peers of the
// same organization. Those that are going away do not count.
func (r *Reconciler) siblings(ctx context.Context, s subject) ([]subject, error) {
	all, err := r.list(ctx, s.obj.GetNamespace(), s.node.Component)
	if err != nil {
		return nil, err
	}
	var out []subject
	for _, n := range all {
		same := s.node.Component == v1alpha1.ComponentOrderer || n.node.Organization == s.node.Organization
		if same && n.node.Name != s.node.Name && n.obj.GetDeletionTimestamp().IsZero() {
			out = append(out, n)
		}
	}
	return out, nil
}
