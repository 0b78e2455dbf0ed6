package v1alpha1

import (
	"encoding/base64"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Decision is what a site says to a proposal.
// +kubebuilder:validation:Enum=Sign;Reject
type Decision string

const (
	// DecisionSign lets the administrators of this site's organizations sign.
	DecisionSign Decision = "Sign"
	// DecisionReject turns the proposal down.
	DecisionReject Decision = "Reject"
)

// ProposalState says how far a proposal has come.
// +kubebuilder:validation:Enum=Open;Met;Submitted;Superseded;Rejected;Expired
type ProposalState string

const (
	// ProposalOpen waits for signatures.
	ProposalOpen ProposalState = "Open"
	// ProposalMet has the signatures that the channel's policy asks for; the site that made it hands it to an orderer.
	ProposalMet ProposalState = "Met"
	// ProposalSubmitted became the channel's configuration.
	ProposalSubmitted ProposalState = "Submitted"
	// ProposalSuperseded was made for a configuration that is not the newest any more.
	ProposalSuperseded ProposalState = "Superseded"
	// ProposalRejected was turned down by somebody without whom the policy cannot be met.
	ProposalRejected ProposalState = "Rejected"
	// ProposalExpired did not get its signatures in time.
	ProposalExpired ProposalState = "Expired"
)

// ProposalSpec is a change of a channel's configuration that needs signatures of several organizations. All of it but
// decision, reason and answers is immutable.
// +kubebuilder:validation:XValidation:rule="self.channel == oldSelf.channel && self.channelID == oldSelf.channelID",message="channel and channelID are immutable"
// +kubebuilder:validation:XValidation:rule="self.update == oldSelf.update && self.baseSequence == oldSelf.baseSequence && self.expiresAt == oldSelf.expiresAt",message="update, baseSequence and expiresAt are immutable: make another proposal"
// +kubebuilder:validation:XValidation:rule="has(self.link) == has(oldSelf.link) && (!has(self.link) || self.link == oldSelf.link)",message="link is immutable: it says who made the proposal"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.decision) || oldSelf.decision != 'Sign' || has(self.decision) && self.decision == 'Sign'",message="decision: a signature that was given cannot be taken back"
type ProposalSpec struct {
	// channel names the Channel object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Channel string `json:"channel,omitempty"`
	// channelID of the channel on the ledger.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=249
	ChannelID string `json:"channelID,omitempty"`
	// link names the SiteLink of the site that made the proposal; unset for one of this site.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Link string `json:"link,omitempty"`
	// update is the configuration update that administrators sign: Fabric's message, in base64.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=699052
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]+={0,2}$`
	Update string `json:"update,omitempty"`
	// baseSequence is the sequence of the configuration that the update changes.
	// +required
	// +kubebuilder:validation:Minimum=0
	BaseSequence *int64 `json:"baseSequence,omitempty"`
	// expiresAt is when the proposal is given up.
	// +required
	ExpiresAt metav1.Time `json:"expiresAt,omitempty,omitzero"`
	// decision of this site; unset until somebody has decided. A proposal of this site is signed unless it is Reject.
	// +optional
	Decision Decision `json:"decision,omitempty"`
	// reason for the decision, which the others get to see.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`
	// answers of the other sites, as they came in: the operator writes them and checks every signature before it counts.
	// +optional
	// +listType=map
	// +listMapKey=link
	// +kubebuilder:validation:MaxItems=16
	Answers []ProposalAnswer `json:"answers,omitempty"`
}

// UpdateBytes is the update as Fabric has it; nil where the text is no base64.
func (s *ProposalSpec) UpdateBytes() []byte {
	// The field is a text because rules of the API server read fields of bytes in another alphabet of base64.
	raw, err := base64.StdEncoding.DecodeString(s.Update)
	if err != nil {
		return nil
	}
	return raw
}

// ProposalAnswer is what another site says to a proposal.
type ProposalAnswer struct {
	// link names the SiteLink of the site.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Link string `json:"link,omitempty"`
	// decision of the site.
	// +required
	Decision Decision `json:"decision,omitempty"`
	// reason that it gives.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`
	// signatures of the site's organizations.
	// +optional
	// +listType=map
	// +listMapKey=mspID
	// +kubebuilder:validation:MaxItems=32
	Signatures []ConfigSignature `json:"signatures,omitempty"`
}

// ConfigSignature is an administrator's signature of a configuration update: Fabric's message in two parts.
type ConfigSignature struct {
	// mspID of the administrator's organization.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MSPID string `json:"mspID,omitempty"`
	// header names the administrator, in base64.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Header []byte `json:"header,omitempty"`
	// signature in base64.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Signature []byte `json:"signature,omitempty"`
}

// ProposalMember is an organization that has said something to a proposal.
type ProposalMember struct {
	// mspID of the organization.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MSPID string `json:"mspID,omitempty"`
	// link names the SiteLink of its site; empty for this site.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Link string `json:"link,omitempty"`
	// decision of the organization.
	// +required
	Decision Decision `json:"decision,omitempty"`
}

// ProposalStatus is what has become of a proposal.
type ProposalStatus struct {
	// conditions of the proposal: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// state of the proposal.
	// +optional
	State ProposalState `json:"state,omitempty"`
	// digest of the update, SHA-256 in hexadecimal: the proposal's name at every site.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Digest string `json:"digest,omitempty"`
	// changes says in words what the update does to the ledger's configuration. It is worked out here, from the update
	// itself and from this site's own view of the ledger.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=1024
	Changes []string `json:"changes,omitempty"`
	// settings are the changed settings, by the names that the condition Diverged of a Channel uses.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=512
	Settings []string `json:"settings,omitempty"`
	// members that have signed or turned it down; a signature that does not hold is not among them.
	// +optional
	// +listType=map
	// +listMapKey=mspID
	// +kubebuilder:validation:MaxItems=64
	Members []ProposalMember `json:"members,omitempty"`
	// missing are the policies of the channel that are not satisfied yet.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	Missing []string `json:"missing,omitempty"`
	// delivered names the partners that have the proposal, or this site's answer to it.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=63
	Delivered []string `json:"delivered,omitempty"`
}

// Proposal is a change of a channel's configuration that this site's organizations cannot make alone. Every member's
// site has one of its own: people see what it changes, sign or reject it at home, and the site that made it hands it to
// the orderers when the channel's policy is met.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=prop,categories=heddle
// +kubebuilder:printcolumn:name="Channel",type=string,JSONPath=`.spec.channelID`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="From",type=string,JSONPath=`.spec.link`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Decision",type=string,JSONPath=`.spec.decision`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Proposal struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what is proposed, and what this site says to it.
	// +required
	Spec ProposalSpec `json:"spec,omitempty,omitzero"`
	// status is what has become of it.
	// +optional
	Status ProposalStatus `json:"status,omitempty,omitzero"`
}

// ProposalList is a list of Proposals.
// +kubebuilder:object:root=true
type ProposalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Proposal `json:"items"`
}
