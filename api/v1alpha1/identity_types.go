package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// IdentityType is the role that a certificate gives.
// +kubebuilder:validation:Enum=Client;Admin
type IdentityType string

const (
	// IdentityClient is an application user, enrolled with the organization's CA.
	IdentityClient IdentityType = "Client"
	// IdentityAdmin is an administrator of the organization.
	IdentityAdmin IdentityType = "Admin"
)

// IdentitySpec describes one user of an organization.
// +kubebuilder:validation:XValidation:rule="has(self.networkRef) == has(oldSelf.networkRef)",message="networkRef is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.enrollmentID) == has(oldSelf.enrollmentID)",message="enrollmentID is immutable"
// +kubebuilder:validation:XValidation:rule="has(self.secretName) == has(oldSelf.secretName)",message="secretName is immutable"
// +kubebuilder:validation:XValidation:rule="self.type != 'Admin' || !has(self.attributes) || self.attributes.size() == 0",message="attributes are for type Client only"
type IdentitySpec struct {
	// networkRef names the Network (= its namespace) of the organization; the object's own namespace unless given.
	// From another namespace it must be in the Network's spec.clientNamespaces. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="networkRef is immutable"
	NetworkRef string `json:"networkRef,omitempty"`
	// organization names the Organization that issues the certificate. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="organization is immutable"
	Organization string `json:"organization,omitempty"`
	// type of the identity; Client unless given. An Admin may stand in the network's own namespace only. Immutable.
	// +optional
	// +kubebuilder:default=Client
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type is immutable"
	Type IdentityType `json:"type,omitempty"`
	// enrollmentID is the common name in the certificate; NAMESPACE.NAME of the object unless given. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9][A-Za-z0-9._@-]*$')",message="enrollmentID may have letters, digits, '.', '_', '@' and '-'"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="enrollmentID is immutable"
	EnrollmentID string `json:"enrollmentID,omitempty"`
	// attributes are put into the certificate, where contracts can read them.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Attributes []IdentityAttribute `json:"attributes,omitempty"`
	// secretName names the Secret for certificate, key and connection profile; the object's name unless given. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="secretName is immutable"
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="secretName must be lower-case letters, digits, '.' and '-'"
	SecretName string `json:"secretName,omitempty"`
}

// IdentityAttribute is a name and a value in a certificate.
type IdentityAttribute struct {
	// name of the attribute; names that start with "hf." are the CA's own.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('hf.')",message="attribute names that start with 'hf.' give rights at the CA and cannot be set here"
	Name string `json:"name,omitempty"`
	// value of the attribute.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=256
	Value *string `json:"value,omitempty"`
}

// IdentityStatus is what was seen of an identity.
type IdentityStatus struct {
	// conditions of the identity: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// mspID of the organization.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	MSPID string `json:"mspID,omitempty"`
	// secretName names the Secret with certificate, key and connection profile.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
	// certificate is how long the certificate is still valid.
	// +optional
	Certificate *CertificateStatus `json:"certificate,omitempty"`
}

// Identity is a user of an organization: a certificate and key in a Secret, with a connection profile beside them.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=identities,shortName=id,categories=heddle
// +kubebuilder:printcolumn:name="MSP",type=string,JSONPath=`.status.mspID`
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Days-Left",type=integer,JSONPath=`.status.certificate.daysLeft`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type Identity struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what the identity shall be.
	// +required
	Spec IdentitySpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status IdentityStatus `json:"status,omitempty,omitzero"`
}

// IdentityList is a list of Identities.
// +kubebuilder:object:root=true
type IdentityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Identity `json:"items"`
}
