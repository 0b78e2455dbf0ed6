package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Condition types. Every kind has the first three.
const (
	// ConditionReady is True when the object is what its spec asks for and serves.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the operator works on the object or waits for something.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when the operator cannot go on until a person changes something; the message says what.
	ConditionStalled = "Stalled"
	// ConditionDiverged is True on a Channel whose ledger configuration was changed elsewhere; it is never changed back.
	ConditionDiverged = "Diverged"
	// ConditionAccepted is True on a SiteLink that both sites have agreed to, and on a NodeImport that this site wants and
	// the partner offers.
	ConditionAccepted = "Accepted"
	// ConditionTrustVerified is True on a SiteLink whose partner proved its key, and on a NodeImport whose node showed a
	// certificate of its organization.
	ConditionTrustVerified = "TrustVerified"
	// ConditionConnected is True while a partner, or a partner's node, answers.
	ConditionConnected = "Connected"
	// ConditionConflict is True on a NodeImport whose name is taken here by something else.
	ConditionConflict = "Conflict"
)

// Reasons of conditions and of events. One set for all kinds: the same word means the same thing everywhere.
const (
	// ReasonReady: all is as the spec asks.
	ReasonReady = "Ready"
	// ReasonProgressing: a step is under way.
	ReasonProgressing = "Progressing"
	// ReasonWaitingForDependency: another object has to be made or to get Ready first.
	ReasonWaitingForDependency = "WaitingForDependency"
	// ReasonWaitingForPod: the node's pod is not Ready yet.
	ReasonWaitingForPod = "WaitingForPod"
	// ReasonWaitingForVolume: the node's volume is not bound yet.
	ReasonWaitingForVolume = "WaitingForVolume"
	// ReasonRollingOut: a changed version or setting is being rolled over the nodes, one at a time.
	ReasonRollingOut = "RollingOut"
	// ReasonCatchingUp: a node has to reach the height of the others first.
	ReasonCatchingUp = "CatchingUp"
	// ReasonRetrying: a step ended in an error and is tried again with growing pauses; the message has the cause.
	ReasonRetrying = "Retrying"
	// ReasonPaused: the annotation heddle.dev/paused is set.
	ReasonPaused = "Paused"
	// ReasonDeleting: the object is being taken down.
	ReasonDeleting = "Deleting"
	// ReasonInvalidSpec: the spec cannot be brought about; the message names the field and the remedy.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonInvalidOwnership: an object of the name that is needed exists and belongs to somebody else.
	ReasonInvalidOwnership = "InvalidOwnership"
	// ReasonNamespaceTaken: the network's namespace exists and was not made by Heddle.
	ReasonNamespaceTaken = "NamespaceTaken"
	// ReasonNamespaceRetained: the namespace holds the retained data of a network with another networkID.
	ReasonNamespaceRetained = "NamespaceRetained"
	// ReasonForbidden: the operator or the user's namespace lacks a permission.
	ReasonForbidden = "Forbidden"
	// ReasonUnsafeChange: the change would cost quorum or data and is refused.
	ReasonUnsafeChange = "UnsafeChange"
	// ReasonDiverged: the ledger's configuration differs from the spec by somebody else's update.
	ReasonDiverged = "Diverged"
	// ReasonInSync: the ledger's configuration is what the spec asks for.
	ReasonInSync = "InSync"
	// ReasonNeedsSignatures: the channel's policy asks for signatures of organisations that are not local.
	ReasonNeedsSignatures = "NeedsSignatures"
	// ReasonNeedsDecision: a person at this site has to sign or to reject a proposal.
	ReasonNeedsDecision = "NeedsDecision"
	// ReasonSuperseded: the ledger's configuration has moved on since the proposal was made.
	ReasonSuperseded = "Superseded"
	// ReasonRejected: a proposal was turned down by somebody without whom it cannot be carried out.
	ReasonRejected = "Rejected"
	// ReasonExpired: a proposal's deadline has passed.
	ReasonExpired = "Expired"
	// ReasonImageUnavailable: a container image cannot be had.
	ReasonImageUnavailable = "ImageUnavailable"
	// ReasonBuildFailed: a contract's source did not become an image; the build's status has the compiler's words.
	ReasonBuildFailed = "BuildFailed"
	// ReasonBuildsNotInstalled: this installation has no registry to build with.
	ReasonBuildsNotInstalled = "BuildsNotInstalled"
	// ReasonWaitingForSource: a build's source has not been uploaded yet.
	ReasonWaitingForSource = "WaitingForSource"
	// ReasonLaunchFailed: a peer could not start a contract's pod.
	ReasonLaunchFailed = "LaunchFailed"
	// ReasonCertificateRenewed: a certificate was renewed.
	ReasonCertificateRenewed = "CertificateRenewed"
	// ReasonPendingApproval: a person at the inviting site has to compare six digits and to approve.
	ReasonPendingApproval = "PendingApproval"
	// ReasonCheckMismatch: the six digits that were heard from the partner are not those that are shown here.
	ReasonCheckMismatch = "CheckMismatch"
	// ReasonInviteVoid: an invitation's code counts no more, since somebody else may have it.
	ReasonInviteVoid = "InviteVoid"
	// ReasonInviteExpired: nobody used an invitation in time.
	ReasonInviteExpired = "InviteExpired"
	// ReasonJoinRefused: the inviting site does not take the code.
	ReasonJoinRefused = "JoinRefused"
	// ReasonKeyLost: a key that others know is gone: it has to be restored, or a person has to begin anew.
	ReasonKeyLost = "KeyLost"
	// ReasonRotating: a CA is being changed.
	ReasonRotating = "Rotating"
	// ReasonRevoked: the partnership of two sites is over.
	ReasonRevoked = "Revoked"
	// ReasonUnreachable: a partner, or its node, does not answer.
	ReasonUnreachable = "Unreachable"
	// ReasonUntrusted: a partner, or its node, showed a certificate that is not the agreed one.
	ReasonUntrusted = "Untrusted"
	// ReasonConflict: a name is taken by something else.
	ReasonConflict = "Conflict"
	// ReasonNotOffered: the partner does not export the node to this site.
	ReasonNotOffered = "NotOffered"
	// ReasonQuorumRisk: the number of consenters is allowed but tolerates fewer failures than one less would.
	ReasonQuorumRisk = "QuorumRisk"
)

// CertificateStatus tells how long a certificate of the object is still valid.
type CertificateStatus struct {
	// name says what the certificate is for, such as "sign", "tls" or "ops-ca".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// notAfter is when the certificate stops being valid.
	// +required
	NotAfter metav1.Time `json:"notAfter,omitempty,omitzero"`
	// daysLeft is the number of whole days until notAfter when status was last written.
	// +optional
	DaysLeft *int32 `json:"daysLeft,omitempty"`
}
