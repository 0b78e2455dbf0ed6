package cli

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli/export"
	"heddle.dev/heddle/internal/cli/tunnel"
	"heddle.dev/heddle/internal/specs"
)

func inNamespace(ns string) client.ListOption { return client.InNamespace(ns) }

// exported reads what the export package lays out.
func (c *cluster) exported(ctx context.Context, network string, o *networkObjects, f *exportFlags) (export.Network, error) {
	n := export.Network{Name: network}
	for i := range o.organizations.Items {
		org := &o.organizations.Items[i]
		if org.Spec.Remote != nil {
			continue // its nodes and users are at another site
		}
		e, err := c.exportedOrganization(ctx, org, o)
		if err != nil {
			return n, err
		}
		// Profiles name the nodes of every organisation; the folders hold the chosen ones and who orders.
		if f.layout == layoutTestNetwork {
			if !wanted(f.orgs, org.Name) {
				e.Peers = nil
			} else if e.Users, err = c.exportedUsers(ctx, org, o); err != nil {
				return n, err
			}
		}
		n.Organizations = append(n.Organizations, e)
	}
	for i := range o.channels.Items {
		ch := &o.channels.Items[i]
		n.Channels = append(n.Channels, export.Channel{ID: channelID(ch), Members: membersOf(ch, o)})
	}
	return n, nil
}

// membersOf are the channel's organisations of this site: all that have peers unless the spec names some.
func membersOf(ch *v1alpha1.Channel, o *networkObjects) []string {
	var members []string
	for i := range o.organizations.Items {
		org := &o.organizations.Items[i]
		if org.Spec.Remote != nil {
			continue
		}
		named := slices.Contains(ch.Spec.Organizations, org.Name)
		if named || len(ch.Spec.Organizations) == 0 && hasPeers(o, org.Name) {
			members = append(members, org.Name)
		}
	}
	return members
}

func (c *cluster) exportedOrganization(ctx context.Context, org *v1alpha1.Organization, o *networkObjects) (export.Organization, error) {
	e := export.Organization{Name: org.Name, MSPID: org.Spec.MSPID}
	var cm corev1.ConfigMap
	err := c.Get(ctx, client.ObjectKey{Namespace: org.Namespace, Name: specs.MSPConfigMap(org.Name)}, &cm)
	if apierrors.IsNotFound(err) {
		return e, notReadyErrorf("organisation %q of network %q has no certificates yet: wait until it is Ready", org.Name, org.Namespace)
	}
	if err != nil {
		return e, fmt.Errorf("read certificates of organisation %q: %w", org.Name, err)
	}
	if _, e.MSP, err = specs.MSPMaterial(&cm); err != nil {
		return e, fmt.Errorf("read certificates of organisation %q: %w", org.Name, err)
	}
	for i := range o.peers.Items {
		if p := &o.peers.Items[i]; p.Spec.Organization == org.Name {
			e.Peers = append(e.Peers, export.Node{
				Name: p.Name, Address: specs.Address(p.Name, org.Namespace, v1alpha1.PortPeer), SANs: p.Spec.ExtraSANs,
			})
		}
	}
	for i := range o.orderers.Items {
		if n := &o.orderers.Items[i]; n.Spec.Organization == org.Name {
			e.Orderers = append(e.Orderers, export.Node{
				Name: n.Name, Address: specs.Address(n.Name, org.Namespace, v1alpha1.PortOrderer), SANs: n.Spec.ExtraSANs,
			})
		}
	}
	if org.Spec.CA.Mode != v1alpha1.CANone {
		name := specs.CAName(org.Name)
		e.CAName = name
		e.CA = &export.Node{Name: name, Address: specs.Address(name, org.Namespace, v1alpha1.PortCA)}
	}
	return e, nil
}

// exportedUsers are the administrator and the users in the network's namespace. A user NAME-ORG becomes Name: the
// folder says the organisation already.
func (c *cluster) exportedUsers(ctx context.Context, org *v1alpha1.Organization, o *networkObjects) ([]export.User, error) {
	admin, err := c.user(ctx, org.Namespace, specs.AdminSecret(org.Name), "Admin")
	if err != nil {
		return nil, err
	}
	users := []export.User{admin}
	for i := range o.identities.Items {
		id := &o.identities.Items[i]
		if id.Spec.Organization != org.Name || !readinessOf(id).IsReady() {
			continue
		}
		name := strings.TrimSuffix(id.Name, "-"+org.Name)
		u, err := c.user(ctx, id.Namespace, identitySecret(id), strings.ToUpper(name[:1])+name[1:])
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(users, func(have export.User) bool { return have.Name == u.Name }) {
			users = append(users, u)
		}
	}
	return users, nil
}

func (c *cluster) user(ctx context.Context, namespace, secret, name string) (export.User, error) {
	var s corev1.Secret
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secret}, &s)
	if apierrors.IsNotFound(err) {
		return export.User{}, notReadyErrorf("the Secret %s/%s of user %s does not exist yet: wait until its owner is Ready", namespace, secret, name)
	}
	if err != nil {
		return export.User{}, fmt.Errorf("read Secret of user %s: %w", name, err)
	}
	return export.User{Name: name, Cert: s.Data[specs.KeyCert], Key: s.Data[specs.KeyKey]}, nil
}

// portStep is the distance between the ports of two nodes of a kind in test-network.
const portStep = 2000

// endpoint is a node with the pod that serves it.
type endpoint struct {
	node      *export.Node
	component string
	// owner is the node's name in the pod's labels: for a CA that of the organisation.
	owner  string
	remote int32
	step   int32
}

// endpoints lists peers, orderers and CAs, in this order.
func endpoints(n *export.Network, f *exportFlags) []endpoint {
	var out []endpoint
	for i := range n.Organizations {
		o := &n.Organizations[i]
		for j := range o.Peers {
			p := &o.Peers[j]
			out = append(out, endpoint{p, v1alpha1.ComponentPeer, p.Name, v1alpha1.PortPeer, portStep})
		}
		for j := range o.Orderers {
			p := &o.Orderers[j]
			out = append(out, endpoint{p, v1alpha1.ComponentOrderer, p.Name, v1alpha1.PortOrderer, portStep})
		}
		if o.CA != nil && wanted(f.orgs, o.Name) {
			out = append(out, endpoint{o.CA, v1alpha1.ComponentCA, o.Name, v1alpha1.PortCA, portStep / 2})
		}
	}
	return out
}

// forwardAll opens a port for every endpoint and writes it into the network.
func (a *app) forwardAll(ctx context.Context, cl *cluster, f *exportFlags, n *export.Network) ([]func(), error) {
	var closers []func()
	next := map[int32]int32{}
	for _, e := range endpoints(n, f) {
		t, err := openNear(ctx, tunnel.Options{
			Config: cl.config, Namespace: n.Name, Local: e.remote + next[e.remote]*e.step, Remote: e.remote,
			Pod:    func(ctx context.Context) (string, error) { return cl.podOf(ctx, n.Name, e.component, e.owner) },
			Failed: func(err error) { fmt.Fprintf(a.err, "%s: %v\n", e.owner, err) },
		})
		if err != nil {
			for _, c := range closers {
				c()
			}
			return nil, fmt.Errorf("open a port for %s: %w", e.node.Name, err)
		}
		next[e.remote]++
		closers = append(closers, t.Close)
		e.node.ServerName = specs.Host(e.node.Name, n.Name)
		e.node.Address = net.JoinHostPort("localhost", strconv.Itoa(int(t.Port())))
		fmt.Fprintf(a.err, "%s -> %s\n", e.node.Address, e.node.Name)
	}
	return closers, nil
}

// openNear takes the wanted port, or a free one where that is in use.
func openNear(ctx context.Context, opts tunnel.Options) (*tunnel.Tunnel, error) {
	t, err := tunnel.Open(ctx, opts)
	if err != nil && opts.Local != 0 && tunnel.InUse(err) {
		opts.Local = 0
		return tunnel.Open(ctx, opts)
	}
	return t, err
}
