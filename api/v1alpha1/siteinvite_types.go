package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SiteInviteState says what has become of an invitation.
// +kubebuilder:validation:Enum=Open;Used;Void;Expired
type SiteInviteState string

const (
	// InviteOpen: nobody has used the code yet.
	InviteOpen SiteInviteState = "Open"
	// InviteUsed: a site has used the code; its SiteLink waits for approval, or has it.
	InviteUsed SiteInviteState = "Used"
	// InviteVoid: the code was used twice, or the six digits did not match: somebody else may have the token.
	InviteVoid SiteInviteState = "Void"
	// InviteExpired: nobody used the code in time.
	InviteExpired SiteInviteState = "Expired"
)

// SiteInviteSpec describes a one-time invitation of another site.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an invitation is immutable: delete it and make another"
type SiteInviteSpec struct {
	// codeHash is the SHA-256 of the one-time code, in hexadecimal. The code itself is in the token and nowhere else.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="codeHash must be 64 hexadecimal digits"
	CodeHash string `json:"codeHash,omitempty"`
	// expiresAt is when the code stops being taken.
	// +required
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}

// SiteInviteStatus is what has become of an invitation.
type SiteInviteStatus struct {
	// conditions of the invitation: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// state of the invitation.
	// +optional
	State SiteInviteState `json:"state,omitempty"`
	// usedBy is the siteID of the site that used the code.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	UsedBy string `json:"usedBy,omitempty"`
	// usedAt is when it did.
	// +optional
	UsedAt *metav1.Time `json:"usedAt,omitempty"`
}

// SiteInvite is a one-time invitation of another site. Its name is how the partner is called here.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=heddle
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="Used By",type=string,JSONPath=`.status.usedBy`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 24 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 24 characters that starts with a letter"
type SiteInvite struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is the invitation.
	// +required
	Spec SiteInviteSpec `json:"spec,omitempty,omitzero"`
	// status is what has become of it.
	// +optional
	Status SiteInviteStatus `json:"status,omitempty,omitzero"`
}

// SiteInviteList is a list of SiteInvites.
// +kubebuilder:object:root=true
type SiteInviteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SiteInvite `json:"items"`
}
