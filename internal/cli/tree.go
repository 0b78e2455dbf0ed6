package cli

import (
	"fmt"
	"strings"

	"heddle.dev/heddle/api/v1alpha1"
)

// networkTree puts the objects of a network below one another: nodes below their organisation,
// contracts and heights below their channel.
func networkTree(n *v1alpha1.Network, o *networkObjects) treeNode {
	root := treeNode{Kind: "network", Name: n.Name, readiness: readinessOf(n), Details: networkDetails(n)}
	known := map[string]bool{}
	for i := range o.organizations.Items {
		org := &o.organizations.Items[i]
		known[org.Name] = true
		root.Children = append(root.Children, organizationTree(org, o))
	}
	// Nodes of an organisation that is not there yet must be seen too.
	root.Children = append(root.Children, nodesOf(o, func(org string) bool { return !known[org] })...)
	for i := range o.channels.Items {
		root.Children = append(root.Children, channelTree(&o.channels.Items[i], o))
	}
	channels := map[string]bool{}
	for i := range o.channels.Items {
		channels[o.channels.Items[i].Name] = true
	}
	for i := range o.chaincodes.Items {
		if cc := &o.chaincodes.Items[i]; !channels[cc.Spec.Channel] {
			root.Children = append(root.Children, chaincodeNode(cc))
		}
	}
	for i := range o.identities.Items {
		id := &o.identities.Items[i]
		certs := certificates(id.Status.Certificate)
		root.Children = append(root.Children, treeNode{
			Kind: "identity", Name: id.Name, readiness: readinessOf(id),
			Details: joined(string(id.Spec.Type)+" of "+id.Spec.Organization, daysLeft(certs)),
		})
	}
	return root
}

func networkDetails(n *v1alpha1.Network) string {
	return joined(
		"Fabric "+dash(n.Spec.Fabric.Version), string(n.Spec.Ordering.Consensus),
		counted("orderers", n.Status.Orderers), counted("peers", n.Status.Peers), counted("channels", n.Status.Channels),
		daysLeft(certificates(n.Status.SoonestExpiry)))
}

func organizationTree(org *v1alpha1.Organization, o *networkObjects) treeNode {
	return treeNode{
		Kind: "organization", Name: org.Name, readiness: readinessOf(org),
		Details:  joined(org.Spec.MSPID, counted("CA", org.Status.CAAddress), daysLeft(org.Status.Certificates)),
		Children: nodesOf(o, func(name string) bool { return name == org.Name }),
	}
}

// nodesOf lists orderers and peers of the organisations that want says.
func nodesOf(o *networkObjects, want func(org string) bool) []treeNode {
	var nodes []treeNode
	for i := range o.orderers.Items {
		if n := &o.orderers.Items[i]; want(n.Spec.Organization) {
			nodes = append(nodes, treeNode{
				Kind: "orderer", Name: n.Name, readiness: readinessOf(n),
				Details: joined(n.Status.Address, running(n.Status.Version, n.Status.Build), daysLeft(n.Status.Certificates)),
			})
		}
	}
	for i := range o.peers.Items {
		if n := &o.peers.Items[i]; want(n.Spec.Organization) {
			nodes = append(nodes, treeNode{
				Kind: "peer", Name: n.Name, readiness: readinessOf(n),
				Details: joined(n.Status.Address, running(n.Status.Version, n.Status.Build), stateOf(n), daysLeft(n.Status.Certificates)),
			})
		}
	}
	return nodes
}

func channelTree(ch *v1alpha1.Channel, o *networkObjects) treeNode {
	t := treeNode{Kind: "channel", Name: ch.Name, readiness: readinessOf(ch)}
	var facts []string
	if ch.Status.ChannelID != "" && ch.Status.ChannelID != ch.Name {
		facts = append(facts, "ID "+ch.Status.ChannelID)
	}
	if ch.Status.Height != nil {
		facts = append(facts, fmt.Sprintf("height %d", *ch.Status.Height))
	}
	if n := len(ch.Status.Consenters); n > 0 {
		facts = append(facts, fmt.Sprintf("%d consenters", n))
	}
	if ch.Status.Members != nil {
		facts = append(facts, fmt.Sprintf("%d members", *ch.Status.Members))
	}
	t.Details = joined(facts...)
	for _, n := range ch.Status.Nodes {
		t.Children = append(t.Children, treeNode{Name: n.Name, Details: channelNodeDetails(n)})
	}
	for i := range o.chaincodes.Items {
		if cc := &o.chaincodes.Items[i]; cc.Spec.Channel == ch.Name {
			t.Children = append(t.Children, chaincodeNode(cc))
		}
	}
	return t
}

func channelNodeDetails(n v1alpha1.ChannelNode) string {
	height, lag := "", ""
	if n.Height != nil {
		height = fmt.Sprintf("height %d", *n.Height)
	}
	if n.Lag != nil && *n.Lag > 0 {
		lag = fmt.Sprintf("%d behind", *n.Lag)
	}
	return joined(string(n.Role), string(n.State), height, lag)
}

func chaincodeNode(cc *v1alpha1.Chaincode) treeNode {
	sequence := ""
	if cc.Status.Sequence != nil {
		sequence = fmt.Sprintf("sequence %d", *cc.Status.Sequence)
	}
	return treeNode{
		Kind: "chaincode", Name: cc.Name, readiness: readinessOf(cc),
		Details: joined(cc.Spec.ChaincodeName, counted("version", cc.Status.CommittedVersion), sequence),
	}
}

func certificates(one *v1alpha1.CertificateStatus) []v1alpha1.CertificateStatus {
	if one == nil {
		return nil
	}
	return []v1alpha1.CertificateStatus{*one}
}

// daysLeft speaks of the certificate that ends first.
func daysLeft(certs []v1alpha1.CertificateStatus) string {
	var first *v1alpha1.CertificateStatus
	for i := range certs {
		if c := &certs[i]; c.DaysLeft != nil && (first == nil || *c.DaysLeft < *first.DaysLeft) {
			first = c
		}
	}
	if first == nil {
		return ""
	}
	return fmt.Sprintf("certificate %s: %d days left", first.Name, *first.DaysLeft)
}

func counted(what, n string) string {
	if n == "" {
		return ""
	}
	return what + " " + n
}

// running tells a node's version, and the build where it is a word and not a commit: a stand-in calls itself simulated.
func running(version, build string) string {
	if version == "" || build == "" || strings.ContainsAny(build, "0123456789") {
		return counted("runs", version)
	}
	return fmt.Sprintf("runs %s (%s)", version, build)
}

// stateOf tells a peer's state database. A peer of a release without the field has LevelDB.
func stateOf(p *v1alpha1.Peer) string {
	if p.Spec.StateDatabase == "" {
		return string(v1alpha1.StateLevelDB)
	}
	return string(p.Spec.StateDatabase)
}

func joined(facts ...string) string {
	var kept []string
	for _, f := range facts {
		if f != "" {
			kept = append(kept, f)
		}
	}
	return strings.Join(kept, ", ")
}
