package cli

import (
	"time"

	"heddle.dev/heddle/api/v1alpha1"
)

// Days before its end at which a certificate is worth a word, and at which it is a problem. The operator renews
// leaves long before: one that gets here is not being renewed.
const (
	certificateSoon = 30
	certificateLate = 7
)

func (d *doctor) checkCertificates(n *v1alpha1.Network, o *networkObjects) {
	good := 0
	see := func(owner string, certs []v1alpha1.CertificateStatus) {
		for _, c := range certs {
			// Status may be old: the end itself is what counts.
			days := int(c.NotAfter.Sub(d.now()) / (24 * time.Hour))
			check := "certificate " + c.Name + " of " + owner
			switch {
			case c.NotAfter.Time.Before(d.now()):
				d.problem(check, "look at the operator: it renews certificates long before", "ended on %s", c.NotAfter.UTC().Format(time.DateOnly))
			case days < certificateLate:
				d.problem(check, "look at the operator: it renews certificates long before", "ends in %d days", days)
			case days < certificateSoon:
				d.warn(check, "an issuer made elsewhere has to be renewed there", "ends in %d days", days)
			default:
				good++
			}
		}
	}
	for i := range o.organizations.Items {
		see(o.organizations.Items[i].Name, o.organizations.Items[i].Status.Certificates)
	}
	for i := range o.orderers.Items {
		see(o.orderers.Items[i].Name, o.orderers.Items[i].Status.Certificates)
	}
	for i := range o.peers.Items {
		see(o.peers.Items[i].Name, o.peers.Items[i].Status.Certificates)
	}
	for i := range o.identities.Items {
		see(o.identities.Items[i].Name, certificates(o.identities.Items[i].Status.Certificate))
	}
	if good > 0 {
		d.ok("certificates of "+n.Name, "%d are valid for %d days and more", good, certificateSoon)
	}
}

// checkChannel looks at heights and at the orderers' majority.
func (d *doctor) checkChannel(ch *v1alpha1.Channel) {
	check := "channel " + ch.Name
	consenters, active, behind := 0, 0, 0
	for _, n := range ch.Status.Nodes {
		up := n.State == v1alpha1.NodeActive || n.State == v1alpha1.NodeCatchingUp
		if n.Role == v1alpha1.RoleConsenter {
			consenters++
			if up {
				active++
			}
		}
		switch {
		case n.State == v1alpha1.NodeUnreachable:
			d.problem(check+" at "+n.Name, "look at the node's pod", "the node does not answer")
		case n.Lag != nil && *n.Lag > 0:
			behind++
			d.warn(check+" at "+n.Name, "wait; when it stays behind, look at the node's log", "is %d blocks behind", *n.Lag)
		}
	}
	if consenters == 0 {
		return
	}
	need := quorum(ch.Spec.Consensus, consenters)
	if active < need {
		d.problem(check+" quorum", "bring orderers back: nothing is ordered until then", "%d of %d consenters are up, %d are needed", active, consenters, need)
		return
	}
	if behind == 0 {
		d.ok(check, "%d of %d consenters are up (%d needed), all nodes at the same height", active, consenters, need)
		return
	}
	d.ok(check, "%d of %d consenters are up (%d needed)", active, consenters, need)
}

// quorum is how many of n consenters have to be up: a majority for Raft, ceil((n+f+1)/2) with f = (n-1)/3 for BFT.
func quorum(c v1alpha1.Consensus, n int) int {
	if c == v1alpha1.ConsensusBFT {
		f := (n - 1) / 3
		return (n + f + 2) / 2
	}
	return n/2 + 1
}
