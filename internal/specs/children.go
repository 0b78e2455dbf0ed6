package specs

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
)

// InlineOrganizations are the network's inline organizations.
func InlineOrganizations(n *v1alpha1.Network) []*v1alpha1.Organization {
	var out []*v1alpha1.Organization
	for i := range n.Spec.Organizations {
		o := &n.Spec.Organizations[i]
		spec := *o.OrganizationSpec.DeepCopy()
		spec.CA.Version = first(spec.CA.Version, n.Spec.Fabric.CAVersion)
		spec.CA.Image = first(spec.CA.Image, n.Spec.Fabric.Images.CA)
		spec.CA.ImagePullPolicy = first(spec.CA.ImagePullPolicy, n.Spec.Fabric.ImagePullPolicy)
		if len(spec.CA.ImagePullSecrets) == 0 {
			spec.CA.ImagePullSecrets = n.Spec.Fabric.ImagePullSecrets
		}
		out = append(out, &v1alpha1.Organization{ObjectMeta: child(n, o.Name, o.Name), Spec: spec})
	}
	return out
}

// InlineOrderers are the network's inline orderers.
func InlineOrderers(n *v1alpha1.Network) []*v1alpha1.Orderer {
	var out []*v1alpha1.Orderer
	for i := range n.Spec.Organizations {
		o := &n.Spec.Organizations[i]
		for j := range Orderers(*o) {
			out = append(out, &v1alpha1.Orderer{
				ObjectMeta: child(n, OrdererName(o.Name, j), o.Name),
				Spec: v1alpha1.OrdererSpec{
					Organization: o.Name,
					NodeSettings: settings(n, &o.Orderers.Template, n.Spec.Fabric.Images.Orderer),
				},
			})
		}
	}
	return out
}

// InlinePeers are the network's inline peers.
func InlinePeers(n *v1alpha1.Network) []*v1alpha1.Peer {
	var out []*v1alpha1.Peer
	for i := range n.Spec.Organizations {
		o := &n.Spec.Organizations[i]
		for j := range Peers(*o) {
			out = append(out, &v1alpha1.Peer{
				ObjectMeta: child(n, PeerName(o.Name, j), o.Name),
				Spec: v1alpha1.PeerSpec{
					Organization: o.Name,
					NodeSettings: settings(n, &o.Peers.Template.NodeTemplate, n.Spec.Fabric.Images.Peer),
					PeerState:    peerState(n, &o.Peers.Template.PeerState),
				},
			})
		}
	}
	return out
}

// InlineChannels are the network's inline channels. Members and consenters are always named, so that a channel waits for
// all of them before its genesis block is made. The timing of a channel that lives stays as it was at its birth:
// living holds the channels that exist, by name.
func InlineChannels(n *v1alpha1.Network, living map[string]*v1alpha1.Channel) []*v1alpha1.Channel {
	var out []*v1alpha1.Channel
	for i := range n.Spec.Channels {
		c := &n.Spec.Channels[i]
		spec := v1alpha1.ChannelSpec{
			Consensus:       n.Spec.Ordering.Consensus,
			Timing:          n.Spec.Ordering.Timing,
			ChannelSettings: *c.ChannelSettings.DeepCopy(),
		}
		if was := living[c.Name]; was != nil {
			spec.Timing = was.Spec.Timing
		}
		if len(spec.Organizations) == 0 {
			spec.Organizations = withPeers(n)
		}
		if len(spec.Consenters) == 0 {
			spec.Consenters = allOrderers(n)
		}
		slices.Sort(spec.Organizations)
		out = append(out, &v1alpha1.Channel{ObjectMeta: child(n, c.Name, ""), Spec: spec})
	}
	return out
}

func withPeers(n *v1alpha1.Network) []string {
	var out []string
	for i := range n.Spec.Organizations {
		if o := &n.Spec.Organizations[i]; Peers(*o) > 0 {
			out = append(out, o.Name)
		}
	}
	return out
}

func allOrderers(n *v1alpha1.Network) []string {
	var out []string
	for _, o := range InlineOrderers(n) {
		out = append(out, o.Name)
	}
	return out
}

func child(n *v1alpha1.Network, name, organization string) metav1.ObjectMeta {
	labels := placeOfNetwork(n).labels(v1alpha1.LabelOrganization, organization, v1alpha1.LabelInline, n.Name)
	return metav1.ObjectMeta{Name: name, Namespace: n.Name, Labels: labels}
}

func settings(n *v1alpha1.Network, t *v1alpha1.NodeTemplate, image string) v1alpha1.NodeSettings {
	t = t.DeepCopy()
	return v1alpha1.NodeSettings{
		Version:          n.Spec.Fabric.Version,
		Image:            image,
		ImagePullPolicy:  n.Spec.Fabric.ImagePullPolicy,
		ImagePullSecrets: n.Spec.Fabric.ImagePullSecrets,
		Storage:          t.Storage,
		Resources:        t.Resources,
		ExtraSANs:        t.ExtraSANs,
		Logging:          t.Logging,
	}
}

// peerState names CouchDB's settings for every peer that has it, since they cannot be taken away again.
func peerState(n *v1alpha1.Network, t *v1alpha1.PeerState) v1alpha1.PeerState {
	state := *t.DeepCopy()
	if state.StateDatabase != v1alpha1.StateCouchDB {
		return state
	}
	if state.CouchDB == nil {
		state.CouchDB = &v1alpha1.CouchDB{}
	}
	state.CouchDB.Image = first(state.CouchDB.Image, n.Spec.Fabric.Images.CouchDB)
	return state
}

// first is the first of two values that is not empty.
func first[T ~string](a, b T) T {
	if a != "" {
		return a
	}
	return b
}

// SizeAdvice is a sentence if the number of orderers tolerates no more failures than one less would, else empty.
func SizeAdvice(n *v1alpha1.Network) string {
	all := len(allOrderers(n))
	switch {
	case n.Spec.Ordering.Consensus == v1alpha1.ConsensusBFT && all%3 != 1:
		return "The number of BFT orderers is not 3f+1: it tolerates no more failures than one orderer less"
	case n.Spec.Ordering.Consensus != v1alpha1.ConsensusBFT && all%2 == 0:
		return "The number of Raft orderers is even: it tolerates no more failures than one orderer less"
	default:
		return ""
	}
}
