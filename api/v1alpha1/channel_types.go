package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ChannelSettings is what a channel shall be; it is also what a Network holds inline.
type ChannelSettings struct {
	// channelID is the channel's name on the ledger; the object's name unless given. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=249
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z][a-z0-9.-]*$')",message="channelID must start with a lower-case letter and have lower-case letters, digits, '.' and '-' only"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="channelID is immutable: it stands in every block of the channel"
	ChannelID string `json:"channelID,omitempty"`
	// organizations that are members of the channel, by the name of their Organization object; every organization of
	// this site that has peers unless given. One of another site becomes a member when it is named. Members that other
	// sites have added need no mention.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=24
	Organizations []string `json:"organizations,omitempty"`
	// consenters are the orderers that order the channel, by name; every Orderer of the namespace unless given. One of
	// another site, by the name that its Organization tells, becomes a consenter when it is named. Consenters that other
	// sites have added need no mention.
	// Consenters change one per update, and the next waits until the last has caught up.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Consenters []string `json:"consenters,omitempty"`
	// batch says when a block is cut.
	// +optional
	// +kubebuilder:default={}
	Batch BatchSettings `json:"batch,omitempty,omitzero"`
	// policies replaces policies of the channel's configuration; what is not named keeps its default.
	// +optional
	// +listType=map
	// +listMapKey=group
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Policies []ChannelPolicy `json:"policies,omitempty"`
	// acls says which policy guards which of the peers' resources; what is not named keeps Fabric's default.
	// +optional
	// +listType=map
	// +listMapKey=resource
	// +kubebuilder:validation:MaxItems=64
	ACLs []ChannelACL `json:"acls,omitempty"`
	// capabilities of the channel. They can be raised, never lowered.
	// +optional
	// +kubebuilder:default={}
	Capabilities ChannelCapabilities `json:"capabilities,omitempty,omitzero"`
}

// BatchSettings says when a block is cut: at the first bound that is reached.
// +kubebuilder:validation:XValidation:rule="!has(self.preferredMaxKiB) || !has(self.absoluteMaxKiB) || self.preferredMaxKiB <= self.absoluteMaxKiB",message="batch.preferredMaxKiB must not be larger than batch.absoluteMaxKiB"
type BatchSettings struct {
	// maxMessageCount is the largest number of transactions in a block.
	// +optional
	// +kubebuilder:default=500
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxMessageCount int32 `json:"maxMessageCount,omitempty"`
	// timeoutMilliseconds is how long the first transaction of a block waits for more.
	// +optional
	// +kubebuilder:default=200
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	TimeoutMilliseconds int32 `json:"timeoutMilliseconds,omitempty"`
	// preferredMaxKiB is the size of a block, in KiB, that is not passed unless one transaction alone is larger.
	// +optional
	// +kubebuilder:default=2048
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=101376
	PreferredMaxKiB int32 `json:"preferredMaxKiB,omitempty"`
	// absoluteMaxKiB is the size of a block, in KiB, that is never passed; a larger transaction is refused.
	// +optional
	// +kubebuilder:default=101376
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=101376
	AbsoluteMaxKiB int32 `json:"absoluteMaxKiB,omitempty"`
}

// PolicyGroup is a group of a channel's configuration.
// +kubebuilder:validation:Enum=Channel;Application;Orderer
type PolicyGroup string

// ChannelPolicy is one policy of a channel's configuration.
type ChannelPolicy struct {
	// group of the configuration that holds the policy.
	// +required
	Group PolicyGroup `json:"group,omitempty"`
	// name of the policy, such as Admins, Writers, Endorsement or LifecycleEndorsement.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]+$')",message="policy name may have letters, digits, '.', '_' and '-'"
	Name string `json:"name,omitempty"`
	// rule in Fabric's syntax: "MAJORITY Admins" (of the groups below) or "OR('BankAMSP.admin', 'BankBMSP.admin')" (of identities).
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Rule string `json:"rule,omitempty"`
}

// ChannelACL guards one resource of the peers by a policy.
type ChannelACL struct {
	// resource of the peer, such as "qscc/GetBlockByNumber" or "event/Block".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Resource string `json:"resource,omitempty"`
	// policy that guards it: a path such as "/Channel/Application/Readers" or the name of an application policy.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Policy string `json:"policy,omitempty"`
}

// ChannelCapabilities are the levels of Fabric that every node of a channel must know.
// +kubebuilder:validation:XValidation:rule="(!has(oldSelf.channel) || has(self.channel)) && (!has(oldSelf.orderer) || has(self.orderer)) && (!has(oldSelf.application) || has(self.application))",message="capabilities cannot be removed once they are set, only raised"
type ChannelCapabilities struct {
	// channel level; V3_0 (needed by BFT) or V2_0. The network's version must know it.
	// +optional
	// +kubebuilder:validation:Enum=V2_0;V3_0
	// +kubebuilder:validation:XValidation:rule="oldSelf != 'V3_0' || self == 'V3_0'",message="capabilities.channel cannot be lowered"
	Channel string `json:"channel,omitempty"`
	// orderer level; V2_0.
	// +optional
	// +kubebuilder:validation:Enum=V2_0
	Orderer string `json:"orderer,omitempty"`
	// application level; V2_5 unless given.
	// +optional
	// +kubebuilder:validation:Enum=V2_0;V2_5
	// +kubebuilder:validation:XValidation:rule="oldSelf != 'V2_5' || self == 'V2_5'",message="capabilities.application cannot be lowered"
	Application string `json:"application,omitempty"`
}

// ChannelSpec describes one channel.
// +kubebuilder:validation:XValidation:rule="has(self.channelID) == has(oldSelf.channelID)",message="channelID is immutable: it stands in every block of the channel"
// +kubebuilder:validation:XValidation:rule="has(self.invitation) == has(oldSelf.invitation)",message="invitation is immutable: it says which ledger the channel is"
// +kubebuilder:validation:XValidation:rule="self.consensus != 'BFT' || has(self.invitation) || !has(self.consenters) || self.consenters.size() == 0 || self.consenters.size() >= 4",message="consensus BFT needs at least 4 consenters"
// +kubebuilder:validation:XValidation:rule="self.consensus != 'BFT' || !has(self.capabilities) || !has(self.capabilities.channel) || self.capabilities.channel == 'V3_0'",message="capabilities.channel must be V3_0 for consensus BFT"
type ChannelSpec struct {
	// consensus of the channel; Raft unless given. Immutable.
	// +optional
	// +kubebuilder:default=Raft
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="consensus is immutable"
	Consensus Consensus `json:"consensus,omitempty"`
	// timing profile of the ordering service's time-outs, written at the channel's birth; lan unless given. Immutable.
	// +optional
	// +kubebuilder:default=lan
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="timing is immutable: it is written into the genesis block"
	Timing TimingProfile `json:"timing,omitempty"`
	// invitation is what was accepted to take part in a channel that another site made: its first block is fetched from
	// there and nothing is made here. Immutable.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="invitation is immutable: it says which ledger the channel is"
	Invitation *ChannelInvitation `json:"invitation,omitempty"`

	ChannelSettings `json:",inline"`
}

// ChannelInvitation says which ledger of another site a channel is.
type ChannelInvitation struct {
	// link names the SiteLink of the partner that invited.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Link string `json:"link,omitempty"`
	// genesisHash is the hash of block 0's header, in hexadecimal. A ledger that begins otherwise is refused.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="genesisHash must be 64 hexadecimal digits"
	GenesisHash string `json:"genesisHash,omitempty"`
}

// ChannelNodeRole says what a node is to a channel.
// +kubebuilder:validation:Enum=Consenter;Follower;Peer
type ChannelNodeRole string

const (
	// RoleConsenter orders the channel.
	RoleConsenter ChannelNodeRole = "Consenter"
	// RoleFollower is an orderer that copies the channel's blocks and does not order.
	RoleFollower ChannelNodeRole = "Follower"
	// RolePeer is a member's peer.
	RolePeer ChannelNodeRole = "Peer"
)

// ChannelNodeState says how far a node is.
// +kubebuilder:validation:Enum=Active;Joining;CatchingUp;Unreachable;Remote
type ChannelNodeState string

const (
	// NodeActive has joined and is as high as the others.
	NodeActive ChannelNodeState = "Active"
	// NodeJoining has not joined yet.
	NodeJoining ChannelNodeState = "Joining"
	// NodeCatchingUp has joined and is behind.
	NodeCatchingUp ChannelNodeState = "CatchingUp"
	// NodeUnreachable did not answer.
	NodeUnreachable ChannelNodeState = "Unreachable"
	// NodeRemote stands at another site, which knows its state; its import here is Ready.
	NodeRemote ChannelNodeState = "Remote"
)

// ChannelNode is what was seen of a channel at one node.
type ChannelNode struct {
	// name of the Peer or Orderer.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// role of the node.
	// +required
	Role ChannelNodeRole `json:"role,omitempty"`
	// state of the node.
	// +required
	State ChannelNodeState `json:"state,omitempty"`
	// link names the SiteLink of the site that a node of another site stands at; empty for this site's own. Such a node is
	// joined and looked after there.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Link string `json:"link,omitempty"`
	// height of the node's ledger when last seen: the number of blocks.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Height *int64 `json:"height,omitempty"`
	// lag is by how many blocks the node is behind the highest one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Lag *int64 `json:"lag,omitempty"`
}

// ChannelStatus is what was seen of a channel.
type ChannelStatus struct {
	// conditions of the channel: Ready, Reconciling, Stalled, Diverged.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// channelID is the channel's name on the ledger.
	// +optional
	// +kubebuilder:validation:MaxLength=249
	ChannelID string `json:"channelID,omitempty"`
	// genesisHash is the hash of block 0's header, in hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	GenesisHash string `json:"genesisHash,omitempty"`
	// configSequence is the sequence of the ledger's configuration when last seen.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ConfigSequence *int64 `json:"configSequence,omitempty"`
	// appliedGeneration is the generation of the spec that last became the ledger's configuration.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AppliedGeneration int64 `json:"appliedGeneration,omitempty"`
	// appliedSpecHash is the SHA-256 of the settings that last became the ledger's configuration, in hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	AppliedSpecHash string `json:"appliedSpecHash,omitempty"`
	// height of the highest node.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Height *int64 `json:"height,omitempty"`
	// consenters as they stand in the ledger's configuration, as host:port.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=253
	Consenters []string `json:"consenters,omitempty"`
	// members counts the organizations in the ledger's configuration.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Members *int32 `json:"members,omitempty"`
	// proposal names the Proposal that carries the spec's newest change to the other members, while it waits for them.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Proposal string `json:"proposal,omitempty"`
	// nodes that take part in the channel.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Nodes []ChannelNode `json:"nodes,omitempty"`
}

// Channel is a channel of a network. The ledger's configuration is the truth; the spec is a wish:
// each change of the spec makes at most one update, and a change made elsewhere is never undone.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ch,categories=heddle
// +kubebuilder:printcolumn:name="Channel",type=string,JSONPath=`.status.channelID`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Consensus",type=string,JSONPath=`.spec.consensus`
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=`.status.members`
// +kubebuilder:printcolumn:name="Height",type=integer,JSONPath=`.status.height`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name must be a DNS label that starts with a letter; set spec.channelID for other letters"
type Channel struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what the channel shall be.
	// +required
	Spec ChannelSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status ChannelStatus `json:"status,omitempty,omitzero"`
}

// ChannelList is a list of Channels.
// +kubebuilder:object:root=true
type ChannelList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Channel `json:"items"`
}
