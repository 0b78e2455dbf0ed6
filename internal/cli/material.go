package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// tlsRoots reads the TLS authorities of an organisation.
func (c *cluster) tlsRoots(ctx context.Context, network, org string) ([]byte, error) {
	var cm corev1.ConfigMap
	err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: specs.MSPConfigMap(org)}, &cm)
	if apierrors.IsNotFound(err) {
		return nil, notReadyErrorf("organisation %q of network %q has no certificates yet: wait until it is Ready", org, network)
	}
	if err != nil {
		return nil, fmt.Errorf("read certificates of organisation %q: %w", org, err)
	}
	if cm.Data[specs.KeyTLSRoots] == "" {
		return nil, fmt.Errorf("read certificates of organisation %q: ConfigMap %s/%s has no key %s", org, network, cm.Name, specs.KeyTLSRoots)
	}
	return []byte(cm.Data[specs.KeyTLSRoots]), nil
}

// signer reads certificate and key from a Secret.
func (c *cluster) signer(ctx context.Context, namespace, secret, mspID string) (*identity.Identity, error) {
	var s corev1.Secret
	err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secret}, &s)
	if apierrors.IsNotFound(err) {
		return nil, notReadyErrorf("the Secret %s/%s with the caller's key does not exist yet: wait until its owner is Ready", namespace, secret)
	}
	if err != nil {
		return nil, fmt.Errorf("read the caller's key: %w", err)
	}
	key, err := pki.ParseKey(s.Data[specs.KeyKey])
	if err != nil {
		return nil, fmt.Errorf("read key %s of Secret %s/%s: %w", specs.KeyKey, namespace, secret, err)
	}
	id, err := identity.New(mspID, s.Data[specs.KeyCert], key)
	if err != nil {
		return nil, fmt.Errorf("use Secret %s/%s: %w", namespace, secret, err)
	}
	return id, nil
}

// getOrganization reads an Organization of a network.
func (c *cluster) getOrganization(ctx context.Context, network, name string) (*v1alpha1.Organization, error) {
	var o v1alpha1.Organization
	err := c.Get(ctx, client.ObjectKey{Namespace: network, Name: name}, &o)
	if apierrors.IsNotFound(err) {
		var list v1alpha1.OrganizationList
		if err := c.List(ctx, &list, client.InNamespace(network)); err != nil {
			return nil, fmt.Errorf("list organisations of network %q: %w", network, err)
		}
		names := make([]string, 0, len(list.Items))
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
		return nil, notFoundErrorf("network %q has no organisation %q: it has %s", network, name, orNone(names))
	}
	if err != nil {
		return nil, fmt.Errorf("read organisation %q: %w", name, err)
	}
	return &o, nil
}

// getChannel finds a Channel by the name of the object or by its name on the ledger.
func (c *cluster) getChannel(ctx context.Context, network, name string) (*v1alpha1.Channel, error) {
	var list v1alpha1.ChannelList
	if err := c.List(ctx, &list, client.InNamespace(network)); err != nil {
		return nil, fmt.Errorf("list channels of network %q: %w", network, err)
	}
	var names []string
	for i := range list.Items {
		ch := &list.Items[i]
		if ch.Name == name || channelID(ch) == name {
			return ch, nil
		}
		names = append(names, ch.Name)
	}
	return nil, notFoundErrorf("network %q has no channel %q: it has %s", network, name, orNone(names))
}

// channelID is the channel's name on the ledger.
func channelID(ch *v1alpha1.Channel) string {
	if ch.Spec.ChannelID != "" {
		return ch.Spec.ChannelID
	}
	return ch.Name
}

// peersOf lists the peers of an organisation, Ready ones first.
func (c *cluster) peersOf(ctx context.Context, network, org string) ([]v1alpha1.Peer, error) {
	var list v1alpha1.PeerList
	if err := c.List(ctx, &list, client.InNamespace(network)); err != nil {
		return nil, fmt.Errorf("list peers of network %q: %w", network, err)
	}
	peers := slices.DeleteFunc(list.Items, func(p v1alpha1.Peer) bool { return p.Spec.Organization != org })
	slices.SortStableFunc(peers, func(a, b v1alpha1.Peer) int {
		return order(readinessOf(&a).IsReady()) - order(readinessOf(&b).IsReady())
	})
	return peers, nil
}

func order(first bool) int {
	if first {
		return 0
	}
	return 1
}

// podOf names the running pod of a node: a Peer, an Orderer, or the CA of the Organization of that name.
func (c *cluster) podOf(ctx context.Context, network, component, node string) (string, error) {
	var pods corev1.PodList
	err := c.List(ctx, &pods, client.InNamespace(network), client.MatchingLabels{
		v1alpha1.LabelNode: node, v1alpha1.LabelComponent: component,
	})
	if err != nil {
		return "", fmt.Errorf("list pods of node %q: %w", node, err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			return p.Name, nil
		}
	}
	return "", notReadyErrorf("%s %q of network %q has no running pod", component, node, network)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
