package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// StateDatabase is what keeps a peer's world state.
// +kubebuilder:validation:Enum=LevelDB;CouchDB
type StateDatabase string

const (
	// StateLevelDB is a part of the peer itself.
	StateLevelDB StateDatabase = "LevelDB"
	// StateCouchDB runs beside the peer in the same pod, and answers rich queries.
	StateCouchDB StateDatabase = "CouchDB"
)

// PeerState says where a peer keeps the world state.
type PeerState struct {
	// stateDatabase of the peer: LevelDB, or CouchDB as a second container of the same pod, for rich queries; LevelDB
	// unless given. All peers that endorse a contract with rich queries need CouchDB. Immutable.
	// +optional
	// +kubebuilder:default=LevelDB
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="stateDatabase is immutable: the state of a peer cannot move to another database in place; make a new peer with the other one, and delete this one when it has caught up"
	StateDatabase StateDatabase `json:"stateDatabase,omitempty"`
	// couchDB describes the container with CouchDB; only for stateDatabase CouchDB. A change of it replaces the pod and
	// leaves the peer's own image as it is.
	// +optional
	CouchDB *CouchDB `json:"couchDB,omitempty"`
}

// CouchDB describes the container that keeps a peer's world state. It listens on localhost alone, with a password that
// the operator makes; its volume is called after the peer, with "-couchdb" behind.
// +kubebuilder:validation:MinProperties=1
type CouchDB struct {
	// image of CouchDB; docker.io/library/couchdb:3.4 unless given.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// imagePullPolicy of the container; that of the peer unless given.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// storage asks for the volume of the world state.
	// +optional
	// +kubebuilder:default={}
	Storage NodeStorage `json:"storage,omitempty,omitzero"`
	// resources of the container. Requests of 50m CPU and 128Mi and a memory limit of 2Gi unless given.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}
