package harness

import (
	"context"
	"fmt"
	"net"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// Contract is a contract that a test takes through its life cycle by itself: one whose package holds more than an image's
// does.
type Contract struct {
	// Network and Channel it stands on.
	Network, Channel string
	// Name on the channel.
	Name string
	// Image serves it, as with a Chaincode of runtime Service.
	Image string
	// Meta are files for the package, such as indexes.
	Meta []ccpackage.File
}

// DeployContract runs a contract, installs its package on every peer, has every organization with peers approve, and
// commits.
func (c *Cluster) DeployContract(ctx context.Context, contract Contract) error {
	cc := &v1alpha1.Chaincode{}
	cc.Name, cc.Namespace, cc.Spec.Image = contract.Name, contract.Network, contract.Image
	pkg, err := ccpackage.CCAAS(contract.Name, ccpackage.Connection{
		Address: specs.Address(specs.ChaincodeName(cc.Name), contract.Network, v1alpha1.PortChaincode), DialTimeout: "2s",
	}, contract.Meta...)
	if err != nil {
		return err
	}
	d := admin.Definition{Channel: contract.Channel, Name: contract.Name, Version: "1", Sequence: 1}
	if d.PackageID, err = ccpackage.ID(pkg); err != nil {
		return err
	}
	objects := specs.Chaincode{Place: specs.PlaceOf(contract.Network, nil), Chaincode: cc, PackageID: d.PackageID, Image: cc.Spec.Image}
	if err := c.serve(ctx, specs.ChaincodeDeployment(objects), specs.ChaincodeService(objects)); err != nil {
		return err
	}
	return c.DeployPackage(ctx, contract.Network, pkg, d)
}

// DeployPackage takes a package through the life cycle, as Fabric's own tools do, without a Chaincode: it is installed on
// every peer of a network, approved by every organization with peers, and committed. The definition's package id is the package's.
func (c *Cluster) DeployPackage(ctx context.Context, network string, pkg []byte, d admin.Definition) error {
	var err error
	if d.PackageID, err = ccpackage.ID(pkg); err != nil {
		return err
	}
	var peers v1alpha1.PeerList
	if err := c.List(ctx, &peers, client.InNamespace(network)); err != nil {
		return fmt.Errorf("list peers of %q: %w", network, err)
	}
	approved := map[string]bool{}
	var last *admin.Peer
	for i := range peers.Items {
		p := &peers.Items[i]
		peer, closePeer, err := c.peerAdmin(ctx, p)
		if err != nil {
			return err
		}
		defer closePeer()
		if _, err := peer.Install(ctx, pkg); err != nil {
			return fmt.Errorf("install %q on %q: %w", d.Name, p.Name, err)
		}
		if !approved[p.Spec.Organization] {
			if err := Poll(ctx, func(ctx context.Context) error { return peer.Approve(ctx, d) }); err != nil {
				return fmt.Errorf("approve %q at %q: %w", d.Name, p.Name, err)
			}
		}
		approved[p.Spec.Organization], last = true, peer
	}
	if last == nil {
		return fmt.Errorf("commit %q: network %q has no peers", d.Name, network)
	}
	return last.CommitRetry(ctx, d, pollPause)
}

// serve applies a contract's objects as they are made for a Chaincode.
func (c *Cluster) serve(ctx context.Context, d *appsv1.Deployment, s *corev1.Service) error {
	d.APIVersion, d.Kind, s.APIVersion, s.Kind = "apps/v1", "Deployment", "v1", "Service"
	for _, obj := range []client.Object{d, s} {
		raw, err := yaml.Marshal(obj)
		if err != nil {
			return err
		}
		if err := c.Apply(ctx, string(raw)); err != nil {
			return err
		}
	}
	return nil
}

// peerAdmin speaks to a peer as the administrator of its organization.
func (c *Cluster) peerAdmin(ctx context.Context, p *v1alpha1.Peer) (*admin.Peer, func(), error) {
	user, err := c.Admin(ctx, p.Namespace, p.Spec.Organization)
	if err != nil {
		return nil, nil, err
	}
	roots, err := c.TLSRoots(ctx, p.Namespace, p.Spec.Organization)
	if err != nil {
		return nil, nil, err
	}
	key, err := pki.ParseKey(user.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("read administrator of %q: %w", p.Spec.Organization, err)
	}
	id, err := identity.New(user.MSPID, user.Cert, key)
	if err != nil {
		return nil, nil, fmt.Errorf("use administrator of %q: %w", p.Spec.Organization, err)
	}
	conn, err := admin.Target{
		Address: specs.Address(p.Name, p.Namespace, v1alpha1.PortPeer), ServerName: specs.Host(p.Name, p.Namespace), Roots: roots,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) { return c.Dial(ctx, address) },
	}.Connect()
	if err != nil {
		return nil, nil, err
	}
	return admin.NewPeer(conn, id, time.Now), func() { _ = conn.Close() }, nil
}
