package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ChaincodeRuntime says how a contract's container comes to run.
// +kubebuilder:validation:Enum=Peer;Service
type ChaincodeRuntime string

const (
	// RuntimePeer has each peer launch the contract as a pod of its own, at the first call.
	RuntimePeer ChaincodeRuntime = "Peer"
	// RuntimeService runs the contract as a Deployment behind a Service that the peers dial (chaincode as a service).
	RuntimeService ChaincodeRuntime = "Service"
)

// ChaincodeInit says whether a contract has to be initialised.
// +kubebuilder:validation:Enum=Required;NotRequired
type ChaincodeInit string

const (
	// InitRequired: the first transaction has to be sent as the initialising one.
	InitRequired ChaincodeInit = "Required"
	// InitNotRequired: it need not.
	InitNotRequired ChaincodeInit = "NotRequired"
)

// ChaincodeTLS says whether the connection between peers and a contract is secured.
// +kubebuilder:validation:Enum=Required;Disabled
type ChaincodeTLS string

const (
	// TLSRequired: peer and contract show each other certificates.
	TLSRequired ChaincodeTLS = "Required"
	// TLSDisabled: the connection is plain text, for contracts that speak nothing else.
	TLSDisabled ChaincodeTLS = "Disabled"
)

// ChaincodeSpec describes one contract on one channel.
// +kubebuilder:validation:XValidation:rule="has(self.image) != has(self.build)",message="give either image or build"
// +kubebuilder:validation:XValidation:rule="!has(self.runtime) || self.runtime != 'Peer' || !has(self.image) || self.image.matches('@sha256:[0-9a-f]{64}$')",message="image must be given by digest (name@sha256:…) where peers launch it"
// +kubebuilder:validation:XValidation:rule="!has(self.tls) || self.tls != 'Disabled' || (has(self.runtime) ? self.runtime == 'Service' : has(self.image) && !self.image.contains('@sha256:'))",message="tls may be Disabled with runtime Service only: the connection of a contract that peers launch is always secured"
type ChaincodeSpec struct {
	// channel names the Channel object that the contract stands on. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="channel is immutable: make another Chaincode for another channel"
	Channel string `json:"channel,omitempty"`
	// chaincodeName is the contract's name on the channel. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9]+([-_][A-Za-z0-9]+)*$')",message="chaincodeName must be letters and digits, with single '-' or '_' between them"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="chaincodeName is immutable: it is the contract's name on the ledger"
	ChaincodeName string `json:"chaincodeName,omitempty"`
	// version is free text that stands in the definition; "1.0" unless given.
	// +optional
	// +kubebuilder:default="1.0"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_.+-]+$')",message="version may have letters, digits, '_', '.', '+' and '-'"
	Version string `json:"version,omitempty"`
	// image of the contract; by digest (name@sha256:…) where peers launch it. As a Service it must run as a chaincode
	// server: CHAINCODE_SERVER_ADDRESS and CHAINCODE_ID are set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// build names the ChaincodeBuild that makes the image, instead of image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Build string `json:"build,omitempty"`
	// imagePullPolicy of the contract's container; IfNotPresent unless given.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// imagePullSecrets are used to pull the contract's image.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	ImagePullSecrets []PullSecret `json:"imagePullSecrets,omitempty"`
	// runtime says how the contract's container comes to run: Peer unless given where there is a build or the image is
	// given by digest, else Service.
	// +optional
	Runtime ChaincodeRuntime `json:"runtime,omitempty"`
	// tls between the peers and a contract of the runtime Service; Required unless given: the contract gets
	// CHAINCODE_TLS_CERT, CHAINCODE_TLS_KEY and CHAINCODE_TLS_CLIENT_CACERT, and peers show their own certificates.
	// Disabled is for images that speak plain text only.
	// +optional
	TLS ChaincodeTLS `json:"tls,omitempty"`
	// replicas of the contract's Deployment, for the runtime Service; 1 unless given.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Replicas *int32 `json:"replicas,omitempty"`
	// endorsementPolicy in Fabric's syntax, such as "AND('BankAMSP.peer', 'BankBMSP.peer')", or the path of a
	// channel policy that starts with "/"; the channel's Endorsement policy unless given.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	EndorsementPolicy string `json:"endorsementPolicy,omitempty"`
	// collections of private data, as JSON in the form of Fabric's collections files.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=65536
	Collections string `json:"collections,omitempty"`
	// init says whether the contract has to be initialised by a transaction before it is used; NotRequired unless given.
	// +optional
	Init ChaincodeInit `json:"init,omitempty"`
	// runtimeClassName of the pods that peers launch, such as that of a sandbox.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	RuntimeClassName string `json:"runtimeClassName,omitempty"`
	// idleSeconds without a call after which a pod that a peer launched goes; the next call brings it back. 0, the
	// default, keeps it. At least 30 otherwise: a call may take that long.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self == 0 || self >= 30",message="idleSeconds must be 0 or at least 30: a call may take that long"
	// +kubebuilder:validation:Maximum=604800
	IdleSeconds *int32 `json:"idleSeconds,omitempty"`
	// resources of the contract's container. Requests of 20m CPU and 32Mi and a memory limit of 256Mi unless given.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
}

// ChaincodeApproval tells whether an organization has approved the definition.
// +kubebuilder:validation:Enum=Approved;Pending
type ChaincodeApproval string

const (
	// ApprovalApproved: the organization approved the definition that the spec asks for.
	ApprovalApproved ChaincodeApproval = "Approved"
	// ApprovalPending: it has not yet.
	ApprovalPending ChaincodeApproval = "Pending"
)

// ChaincodeOrganization is what was seen of a contract at one organization.
type ChaincodeOrganization struct {
	// mspID of the organization.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MSPID string `json:"mspID,omitempty"`
	// approval of the definition.
	// +required
	Approval ChaincodeApproval `json:"approval,omitempty"`
	// installed counts the organization's peers that hold the package, as DONE/ALL.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Installed string `json:"installed,omitempty"`
}

// First words of a launch's reason where the contract did not end by itself.
const (
	// LaunchDeleted: somebody deleted the pod, or the peer did because it ended.
	LaunchDeleted = "Deleted"
	// LaunchIdle: nobody called the contract for idleSeconds.
	LaunchIdle = "Idle"
	// LaunchUnknown: the operator did not see the end.
	LaunchUnknown = "Unknown"
)

// LaunchEndings are the first words of reasons that are no failure of the contract.
func LaunchEndings() []string { return []string{LaunchDeleted, LaunchIdle, LaunchUnknown} }

// ChaincodeLaunch is one launch of a contract by a peer.
type ChaincodeLaunch struct {
	// pod that ran the contract.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pod string `json:"pod,omitempty"`
	// peer that launched it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Peer string `json:"peer,omitempty"`
	// packageID that it served.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	PackageID string `json:"packageID,omitempty"`
	// image by digest.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image,omitempty"`
	// startedAt is when the pod was made.
	// +required
	StartedAt metav1.Time `json:"startedAt,omitempty,omitzero"`
	// endedAt is when it was gone; not set while it runs.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
	// reason why it ended, or what keeps it from running.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason,omitempty"`
}

// ChaincodeStatus is what was seen of a contract.
type ChaincodeStatus struct {
	// conditions of the contract: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// packageID of the installed package.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	PackageID string `json:"packageID,omitempty"`
	// sequence of the committed definition.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Sequence *int64 `json:"sequence,omitempty"`
	// committedVersion is the version in the committed definition.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	CommittedVersion string `json:"committedVersion,omitempty"`
	// image that runs, by digest where it is known.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image,omitempty"`
	// certificates of a contract of the runtime Service.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=4
	Certificates []CertificateStatus `json:"certificates,omitempty"`
	// launches by peers, the newest first: the record of what ran.
	// +optional
	// +listType=map
	// +listMapKey=pod
	// +kubebuilder:validation:MaxItems=64
	Launches []ChaincodeLaunch `json:"launches,omitempty"`
	// organizations of the channel with their approvals.
	// +optional
	// +listType=map
	// +listMapKey=mspID
	// +kubebuilder:validation:MaxItems=64
	Organizations []ChaincodeOrganization `json:"organizations,omitempty"`
}

// Chaincode is a contract on a channel: packaged, installed on every peer, approved, committed and running.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cc,categories=heddle
// +kubebuilder:printcolumn:name="Channel",type=string,JSONPath=`.spec.channel`
// +kubebuilder:printcolumn:name="Contract",type=string,JSONPath=`.spec.chaincodeName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Sequence",type=integer,JSONPath=`.status.sequence`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.committedVersion`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 58 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 58 characters that starts with a letter"
type Chaincode struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what the contract shall be.
	// +required
	Spec ChaincodeSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status ChaincodeStatus `json:"status,omitempty,omitzero"`
}

// ChaincodeList is a list of Chaincodes.
// +kubebuilder:object:root=true
type ChaincodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Chaincode `json:"items"`
}
