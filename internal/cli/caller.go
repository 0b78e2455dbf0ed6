package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/tunnel"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/specs"
)

// peerGateway is a gateway with the connection and the tunnel that carry it.
type peerGateway struct {
	*gateway.Gateway
	conn   *grpc.ClientConn
	tunnel *tunnel.Tunnel
}

// Close ends all three. What is being closed has nothing left to say.
func (g *peerGateway) Close() {
	if g.Gateway != nil {
		_ = g.Gateway.Close()
	}
	if g.conn != nil {
		_ = g.conn.Close()
	}
	if g.tunnel != nil {
		g.tunnel.Close()
	}
}

// openGateway finds the caller's keys and a peer, and connects. The names in the call become those on the ledger.
func (c *cluster) openGateway(ctx context.Context, f *txFlags, call *gateway.Call, ref contractRef) (*peerGateway, error) {
	if _, err := c.getNetwork(ctx, ref.network); err != nil {
		return nil, err
	}
	ch, err := c.getChannel(ctx, ref.network, ref.channel)
	if err != nil {
		return nil, err
	}
	call.Channel = channelID(ch)
	if call.Contract, err = c.contractName(ctx, ch, ref.contract); err != nil {
		return nil, err
	}
	org, signer, err := c.caller(ctx, f, ref.network, ch)
	if err != nil {
		return nil, err
	}
	return c.gatewayFor(ctx, f, ref.network, org, signer)
}

// gatewayFor connects to a peer of the organisation in the signer's name.
func (c *cluster) gatewayFor(ctx context.Context, f *txFlags, network, org string, signer *identity.Identity) (*peerGateway, error) {
	peer, err := c.choosePeer(ctx, f, network, org)
	if err != nil {
		return nil, err
	}
	roots, err := c.tlsRoots(ctx, network, peer.Spec.Organization)
	if err != nil {
		return nil, err
	}
	g := &peerGateway{}
	target := admin.Target{Address: specs.Address(peer.Name, network, v1alpha1.PortPeer), Roots: roots}
	if !f.inCluster {
		g.tunnel, err = tunnel.Open(ctx, tunnel.Options{
			Config: c.config, Namespace: network, Remote: v1alpha1.PortPeer,
			Pod: func(ctx context.Context) (string, error) {
				return c.podOf(ctx, network, v1alpha1.ComponentPeer, peer.Name)
			},
		})
		if err != nil {
			return nil, err
		}
		target.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, g.tunnel.Address())
		}
	}
	if g.conn, err = target.Connect(); err == nil {
		g.Gateway, err = gateway.New(g.conn, signer)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// contractName is the contract's name on the channel: of the Chaincode object of that name or contract name.
// A contract that was deployed by other means has no object and keeps its name.
func (c *cluster) contractName(ctx context.Context, ch *v1alpha1.Channel, name string) (string, error) {
	var list v1alpha1.ChaincodeList
	if err := c.List(ctx, &list, client.InNamespace(ch.Namespace)); err != nil {
		return "", fmt.Errorf("list contracts of channel %q: %w", ch.Name, err)
	}
	byObject := ""
	for i := range list.Items {
		cc := &list.Items[i]
		if cc.Spec.Channel != ch.Name {
			continue
		}
		if cc.Spec.ChaincodeName == name {
			return name, nil
		}
		if cc.Name == name {
			byObject = cc.Spec.ChaincodeName
		}
	}
	if byObject != "" {
		return byObject, nil
	}
	return name, nil
}

// caller finds who calls: an Identity, or the administrator of an organisation.
func (c *cluster) caller(ctx context.Context, f *txFlags, network string, ch *v1alpha1.Channel) (string, *identity.Identity, error) {
	if f.identity != "" {
		return c.identityCaller(ctx, f.identity, network)
	}
	name := f.as
	if name == "" {
		var err error
		if name, err = c.firstMember(ctx, network, ch); err != nil {
			return "", nil, err
		}
	}
	org, err := c.getOrganization(ctx, network, name)
	if err != nil {
		return "", nil, err
	}
	s, err := c.signer(ctx, network, specs.AdminSecret(name), org.Spec.MSPID)
	return name, s, err
}

// identityCaller reads an Identity's Secret.
func (c *cluster) identityCaller(ctx context.Context, ref, network string) (string, *identity.Identity, error) {
	namespace, name, ok := strings.Cut(ref, "/")
	if !ok {
		namespace, name = network, ref
	}
	var id v1alpha1.Identity
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &id)
	if apierrors.IsNotFound(err) {
		return "", nil, notFoundErrorf("identity %s/%s does not exist: 'identity enroll' makes one", namespace, name)
	}
	if err != nil {
		return "", nil, fmt.Errorf("read identity %s/%s: %w", namespace, name, err)
	}
	if of := identityNetwork(&id); of != network {
		return "", nil, usageErrorf("identity %s/%s belongs to network %q, not to %q", namespace, name, of, network)
	}
	if r := readinessOf(&id); !r.IsReady() {
		return "", nil, notReadyErrorf("identity %s/%s is not ready (%s): %s", namespace, name, r.Reason, r.Message)
	}
	s, err := c.signer(ctx, namespace, identitySecret(&id), id.Status.MSPID)
	return id.Spec.Organization, s, err
}

// identityNetwork is the network that an Identity belongs to.
func identityNetwork(id *v1alpha1.Identity) string {
	if id.Spec.NetworkRef != "" {
		return id.Spec.NetworkRef
	}
	return id.Namespace
}

// identitySecret names the Secret of an Identity.
func identitySecret(id *v1alpha1.Identity) string {
	switch {
	case id.Status.SecretName != "":
		return id.Status.SecretName
	case id.Spec.SecretName != "":
		return id.Spec.SecretName
	}
	return id.Name
}

// firstMember is the channel's first organisation that has peers.
func (c *cluster) firstMember(ctx context.Context, network string, ch *v1alpha1.Channel) (string, error) {
	var peers v1alpha1.PeerList
	if err := c.List(ctx, &peers, client.InNamespace(network)); err != nil {
		return "", fmt.Errorf("list peers of network %q: %w", network, err)
	}
	first := ""
	for i := range peers.Items {
		org := peers.Items[i].Spec.Organization
		// Members of other sites have no peers here, and cannot be called for.
		member := len(ch.Spec.Organizations) == 0 || slices.Contains(ch.Spec.Organizations, org)
		if member && (first == "" || org < first) {
			first = org
		}
	}
	if first == "" {
		return "", notReadyErrorf("network %q has no peer of channel %q yet", network, ch.Name)
	}
	return first, nil
}

// choosePeer is the peer that --peer names, or a Ready one of the organisation.
func (c *cluster) choosePeer(ctx context.Context, f *txFlags, network, org string) (*v1alpha1.Peer, error) {
	if f.peer != "" {
		var p v1alpha1.Peer
		err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: f.peer}, &p)
		if apierrors.IsNotFound(err) {
			return nil, notFoundErrorf("network %q has no peer %q", network, f.peer)
		}
		if err != nil {
			return nil, fmt.Errorf("read peer %q: %w", f.peer, err)
		}
		return &p, nil
	}
	peers, err := c.peersOf(ctx, network, org)
	if err != nil {
		return nil, err
	}
	if len(peers) == 0 {
		return nil, notFoundErrorf("organisation %q of network %q has no peer: choose another with --as, or name one with --peer", org, network)
	}
	var causes []error
	for i := range peers {
		// A peer that is not Ready as an object may still serve: a running pod is what counts.
		if _, err := c.podOf(ctx, network, v1alpha1.ComponentPeer, peers[i].Name); err != nil && !f.inCluster {
			causes = append(causes, err)
			continue
		}
		return &peers[i], nil
	}
	return nil, withCode(ExitNotReady, errors.Join(causes...))
}
