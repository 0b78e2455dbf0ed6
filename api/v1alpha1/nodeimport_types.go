package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeImportSpec says whose node an import stands for. The node's name is the object's own.
type NodeImportSpec struct {
	// link names the SiteLink of the partner that has the node. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="link is immutable: delete the NodeImport and make it anew"
	Link string `json:"link,omitempty"`
	// port of the node, and of the Service that stands for it: 7051 of a peer, 7050 of an orderer. Immutable.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="port is immutable: it stands in the ledger"
	Port int32 `json:"port,omitempty"`
	// mspID of the node's organization, as the partner says.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MSPID string `json:"mspID,omitempty"`
	// tlsRoots in PEM verify the node's certificate when it is probed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	TLSRoots string `json:"tlsRoots,omitempty"`
}

// NodeImportStatus is what was seen of an import.
type NodeImportStatus struct {
	// conditions of the import: Accepted, Connected, TrustVerified, Conflict, Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=12
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// address at which the node is reached from every pod of the network, such as peer0-bankb.trade:7051.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Address string `json:"address,omitempty"`
	// certificate that the node showed when it was last probed: SHA-256 in hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Certificate string `json:"certificate,omitempty"`
}

// NodeImport stands for a partner's node: a Service of the same name and port leads there.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=nimp,categories=heddle
// +kubebuilder:printcolumn:name="Link",type=string,JSONPath=`.spec.link`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.address`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name is the node's name and becomes a Service: a DNS label that starts with a letter"
type NodeImport struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is whose node it is.
	// +required
	Spec NodeImportSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status NodeImportStatus `json:"status,omitempty,omitzero"`
}

// NodeImportList is a list of NodeImports.
// +kubebuilder:object:root=true
type NodeImportList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeImport `json:"items"`
}
