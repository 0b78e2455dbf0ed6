package specs

import (
	"maps"

	"heddle.dev/heddle/api/v1alpha1"
)

// Place says which network an object stands in.
type Place struct {
	// Network is the name of the network, which is its namespace.
	Network string
	// NetworkID is the network's identity; empty where it is not known.
	NetworkID string
}

// PlaceOf reads the place from an object's namespace and labels.
func PlaceOf(namespace string, labels map[string]string) Place {
	return Place{Network: namespace, NetworkID: labels[v1alpha1.LabelNetworkID]}
}

// labels of everything that stands in a network, with pairs of further labels; empty values are left out.
func (p Place) labels(pairs ...string) map[string]string {
	out := map[string]string{v1alpha1.LabelNetwork: p.Network, "app.kubernetes.io/managed-by": "heddle"}
	if p.NetworkID != "" {
		out[v1alpha1.LabelNetworkID] = p.NetworkID
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out[pairs[i]] = pairs[i+1]
		}
	}
	return out
}

// Labels are the labels of an object in the network, with the organization and node it belongs to, if any.
func (p Place) Labels(organization, node, component string) map[string]string {
	return p.labels(v1alpha1.LabelOrganization, organization, v1alpha1.LabelNode, node, v1alpha1.LabelComponent, component)
}

// selects are the labels by which Services and Deployments find the pods of one node. They never change.
func (p Place) selects(node, component string) map[string]string {
	return map[string]string{
		v1alpha1.LabelNetwork: p.Network, v1alpha1.LabelNode: node, v1alpha1.LabelComponent: component,
	}
}

func merge(base map[string]string, more ...map[string]string) map[string]string {
	out := maps.Clone(base)
	for _, m := range more {
		maps.Copy(out, m)
	}
	return out
}
