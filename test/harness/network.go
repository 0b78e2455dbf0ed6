package harness

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/test/load"
)

// Admin is the administrator of an organization, as a user of the load generator.
func (c *Cluster) Admin(ctx context.Context, network, organization string) (load.User, error) {
	var org v1alpha1.Organization
	if err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: organization}, &org); err != nil {
		return load.User{}, fmt.Errorf("read organization %q: %w", organization, err)
	}
	return c.User(ctx, network, organization+"-admin", org.Spec.MSPID)
}

// User is the user whose certificate and key a Secret holds.
func (c *Cluster) User(ctx context.Context, namespace, secret, mspID string) (load.User, error) {
	var s corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secret}, &s); err != nil {
		return load.User{}, fmt.Errorf("read user: %w", err)
	}
	return load.User{MSPID: mspID, Cert: s.Data["cert.pem"], Key: s.Data["key.pem"]}, nil
}

// TLSRoots is what verifies the nodes of an organization.
func (c *Cluster) TLSRoots(ctx context.Context, network, organization string) ([]byte, error) {
	var cm corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: organization + "-msp"}, &cm); err != nil {
		return nil, fmt.Errorf("read TLS roots of %q: %w", organization, err)
	}
	return []byte(cm.Data["tlsca.pem"]), nil
}

// Client connects to one peer as the administrator of its organization.
func (c *Cluster) Client(ctx context.Context, network, peer, organization, channel, chaincode string) (*load.Client, error) {
	user, err := c.Admin(ctx, network, organization)
	if err != nil {
		return nil, err
	}
	roots, err := c.TLSRoots(ctx, network, organization)
	if err != nil {
		return nil, err
	}
	return load.Connect(load.Target{
		Name: peer, Address: fmt.Sprintf("%s.%s:%d", peer, network, v1alpha1.PortPeer), ServerName: peer + "." + network,
		Roots: roots, Dial: c.Dial, Channel: channel, Chaincode: chaincode,
	}, user)
}

// Clients connects to every peer of a network. The second result closes them all.
func (c *Cluster) Clients(ctx context.Context, network, channel, chaincode string) ([]*load.Client, func(), error) {
	var peers v1alpha1.PeerList
	if err := c.List(ctx, &peers, client.InNamespace(network)); err != nil {
		return nil, nil, fmt.Errorf("list peers of %q: %w", network, err)
	}
	var out []*load.Client
	closeAll := func() {
		for _, cl := range out {
			_ = cl.Close()
		}
	}
	for i := range peers.Items {
		p := &peers.Items[i]
		cl, err := c.Client(ctx, network, p.Name, p.Spec.Organization, channel, chaincode)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		out = append(out, cl)
	}
	if len(out) == 0 {
		return nil, nil, fmt.Errorf("connect to peers of %q: %w", network, errors.New("it has none"))
	}
	return out, closeAll, nil
}

// Orderers names the orderers of a network.
func (c *Cluster) Orderers(ctx context.Context, network string) ([]string, error) {
	var list v1alpha1.OrdererList
	if err := c.List(ctx, &list, client.InNamespace(network)); err != nil {
		return nil, fmt.Errorf("list orderers of %q: %w", network, err)
	}
	var out []string
	for i := range list.Items {
		out = append(out, list.Items[i].Name)
	}
	return out, nil
}
