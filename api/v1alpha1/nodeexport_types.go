package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NodeExportSpec says which nodes are offered to which partners.
// +kubebuilder:validation:XValidation:rule="has(self.nodes) != has(self.selector)",message="give either nodes, by name, or a selector"
type NodeExportSpec struct {
	// links name the SiteLinks of the partners.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=24
	Links []string `json:"links,omitempty"`
	// nodes names Peers and Orderers of the namespace.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Nodes []string `json:"nodes,omitempty"`
	// selector chooses Peers and Orderers of the namespace by their labels; an empty one chooses all.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// ExportedNode is a node that partners can reach.
type ExportedNode struct {
	// name of the node.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// port of the node.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
}

// NodeExportStatus is what was seen of an export.
type NodeExportStatus struct {
	// conditions of the export: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// nodes that partners can reach now.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Nodes []ExportedNode `json:"nodes,omitempty"`
}

// NodeExport offers nodes of a network to partners: peers on 7051 and orderers on 7050, and no other port.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=nexp,categories=heddle
// +kubebuilder:printcolumn:name="Links",type=string,JSONPath=`.spec.links`
// +kubebuilder:printcolumn:name="Nodes",type=string,JSONPath=`.status.nodes[*].name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type NodeExport struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what is offered to whom.
	// +required
	Spec NodeExportSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status NodeExportStatus `json:"status,omitempty,omitzero"`
}

// NodeExportList is a list of NodeExports.
// +kubebuilder:object:root=true
type NodeExportList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NodeExport `json:"items"`
}
