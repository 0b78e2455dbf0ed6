package chaincode

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
)

// report writes what was seen into the status. What was not looked at in this round stays.
func (w *world) report(cc *v1alpha1.Chaincode) {
	s := &cc.Status
	if w.packageID != "" {
		s.PackageID, s.Image = w.packageID, w.image
	}
	switch {
	case w.security != nil:
		s.Certificates = w.security.certificates
	case !specs.ChaincodeSecure(cc):
		s.Certificates = nil
	}
	if w.committed != nil {
		s.Sequence, s.CommittedVersion = ptr.To(w.committed.Sequence), w.committed.Version
	}
	if w.members == nil || w.deaf() {
		return
	}
	d := w.definition()
	var now []v1alpha1.ChaincodeOrganization
	for _, m := range w.members {
		o := v1alpha1.ChaincodeOrganization{
			MSPID: m.org.MSPID, Approval: v1alpha1.ApprovalPending, Installed: fmt.Sprintf("%d/%d", m.installed(), len(m.peers)),
		}
		if m.agrees(d) || m.silent() && w.approvedBefore(m) {
			o.Approval = v1alpha1.ApprovalApproved
		}
		now = append(now, o)
	}
	s.Organizations = now
	slices.SortFunc(s.Organizations, func(a, b v1alpha1.ChaincodeOrganization) int { return strings.Compare(a.MSPID, b.MSPID) })
}

// deaf tells that no peer answered: then nothing new is known.
func (w *world) deaf() bool {
	for _, m := range w.members {
		for _, p := range m.peers {
			if p.seen {
				return false
			}
		}
	}
	return true
}

// fingerprint changes with every progress.
func (w *world) fingerprint() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d ", w.chaincode.Generation)
	for _, m := range w.members {
		for _, p := range m.peers {
			fmt.Fprintf(&b, "%s:%t:%t:%t ", p.name, p.seen, p.installed, p.known)
		}
	}
	if c := meta.FindStatusCondition(w.chaincode.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		b.WriteString(c.Reason + c.Message)
	}
	return b.String()
}
