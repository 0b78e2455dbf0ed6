package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PeerSpec describes one peer.
// +kubebuilder:validation:XValidation:rule="!has(self.couchDB) || (has(self.stateDatabase) && self.stateDatabase == 'CouchDB')",message="couchDB is for stateDatabase CouchDB only: set that, or leave couchDB out"
// +kubebuilder:validation:XValidation:rule="has(self.couchDB) || !has(oldSelf.couchDB)",message="couchDB cannot be removed: change its fields"
type PeerSpec struct {
	// organization names the Organization that runs the peer. The peer's name must end in "-" and this name. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="organization is immutable: the node's certificates name it"
	Organization string `json:"organization,omitempty"`

	NodeSettings `json:",inline"`
	PeerState    `json:",inline"`
}

// PeerStatus is what was seen of a peer.
type PeerStatus struct {
	// conditions of the peer: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// address of the peer as it stands in channel configurations: NODE.NETWORK:PORT.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Address string `json:"address,omitempty"`
	// version that the running peer reports.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Version string `json:"version,omitempty"`
	// build is what the node's program says it was built from: a commit of Fabric, or "simulated" for a stand-in.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Build string `json:"build,omitempty"`
	// certificates of the peer with their end.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Certificates []CertificateStatus `json:"certificates,omitempty"`
}

// Peer is one peer: a Deployment of one pod, a Service, a volume and a Secret of the same name, and with CouchDB a second
// volume and Secret.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=heddle
// +kubebuilder:printcolumn:name="Organization",type=string,JSONPath=`.spec.organization`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.address`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Build",type=string,JSONPath=`.status.build`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.spec.stateDatabase`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 40 characters that starts with a letter, without dots"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.endsWith('-' + self.spec.organization)",message="metadata.name must end in '-' and spec.organization, such as peer0-banka"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.startsWith('ca-') && !self.metadata.name.startsWith('cc-')",message="metadata.name must not start with ca- or cc-: the CAs' and contracts' objects are named so"
type Peer struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what the peer shall be.
	// +required
	Spec PeerSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status PeerStatus `json:"status,omitempty,omitzero"`
}

// PeerList is a list of Peers.
// +kubebuilder:object:root=true
type PeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Peer `json:"items"`
}
