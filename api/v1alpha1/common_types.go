package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// DeletionPolicy says what becomes of keys and ledgers when an object is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

const (
	// DeletionRetain keeps volumes, key Secrets and genesis blocks, labelled heddle.dev/retained.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionDelete removes them with the object.
	DeletionDelete DeletionPolicy = "Delete"
)

// Consensus is the kind of ordering.
// +kubebuilder:validation:Enum=Raft;BFT
type Consensus string

const (
	// ConsensusRaft tolerates crashed orderers: (n-1)/2 of n.
	ConsensusRaft Consensus = "Raft"
	// ConsensusBFT (SmartBFT) tolerates orderers that lie: (n-1)/3 of n; needs at least four.
	ConsensusBFT Consensus = "BFT"
)

// TimingProfile is a set of time-outs of the ordering service.
// +kubebuilder:validation:Enum=lan;wan
type TimingProfile string

const (
	// TimingLAN is for consenters that reach each other within a few milliseconds.
	TimingLAN TimingProfile = "lan"
	// TimingWAN is for consenters in different places.
	TimingWAN TimingProfile = "wan"
)

// NodeStorage asks for a node's volume.
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName)",message="storageClassName is immutable: a volume cannot change its class"
// +kubebuilder:validation:XValidation:rule="!has(self.size) || quantity(string(self.size)).isGreaterThan(quantity('0'))",message="size must be more than 0, such as 5Gi"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.size) || (has(self.size) && quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0)",message="size can grow only: a volume does not shrink"
type NodeStorage struct {
	// size of the volume; 5Gi unless given. It can grow later where the storage class allows it.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=20
	Size *resource.Quantity `json:"size,omitempty"`
	// storageClassName names the StorageClass; the cluster's default one unless given. It cannot change later.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="storageClassName is immutable: a volume cannot change its class"
	StorageClassName string `json:"storageClassName,omitempty"`
}

// PullSecret names a Secret in the network's namespace with credentials for an image registry.
type PullSecret struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// NodeSettings are what an orderer and a peer have in common.
type NodeSettings struct {
	// version is the Fabric version of the node, such as 3.1.5; the lines 2.5 and 3.1 are known.
	// A change rolls the nodes one at a time.
	// +optional
	// +kubebuilder:default="3.1.5"
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^(2[.]5|3[.]1)[.][0-9]{1,3}$')",message="version must be 2.5.x or 3.1.x, such as 3.1.5"
	// +kubebuilder:validation:XValidation:rule="!oldSelf.startsWith('3.') || !self.startsWith('2.')",message="version cannot go from 3.1 back to 2.5: ledgers are not converted back"
	Version string `json:"version,omitempty"`
	// image replaces the image that follows from version.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// imagePullPolicy of the node's containers; IfNotPresent unless given.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// imagePullSecrets are used to pull the node's images.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	ImagePullSecrets []PullSecret `json:"imagePullSecrets,omitempty"`
	// storage asks for the node's volume.
	// +optional
	// +kubebuilder:default={}
	Storage NodeStorage `json:"storage,omitempty,omitzero"`
	// resources of the node's container. Requests of 50m CPU and 96Mi and a memory limit of 2Gi unless given.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// extraSANs are further DNS names or IP addresses in the node's TLS certificate.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="isIP(self) || self.matches('^([*][.])?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$')",message="extraSANs must be DNS names or IP addresses"
	ExtraSANs []string `json:"extraSANs,omitempty"`
	// logging is the node's logging specification, such as "info" or "warn:gossip=debug"; unless given, info without a
	// line for every call.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Logging string `json:"logging,omitempty"`
	// deletionPolicy says what becomes of the node's volume and keys when the node is deleted; Retain unless given.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}
