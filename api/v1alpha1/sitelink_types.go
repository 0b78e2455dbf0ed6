package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SiteLinkState says how far a partnership has come.
// +kubebuilder:validation:Enum=Joining;PendingApproval;Up;Down;Revoked
type SiteLinkState string

const (
	// LinkJoining: this site is about to use the partner's invitation.
	LinkJoining SiteLinkState = "Joining"
	// LinkPendingApproval: the inviting site has to compare the six digits and to approve.
	LinkPendingApproval SiteLinkState = "PendingApproval"
	// LinkUp: the partner answers.
	LinkUp SiteLinkState = "Up"
	// LinkDown: the partner did not answer three probes in a row; its tunnels are cut.
	LinkDown SiteLinkState = "Down"
	// LinkRevoked: the partnership is over, by this site's or the partner's word.
	LinkRevoked SiteLinkState = "Revoked"
)

// Partnership says whether a partner is wanted.
// +kubebuilder:validation:Enum=Active;Revoked
type Partnership string

const (
	// PartnershipActive: the partner is wanted.
	PartnershipActive Partnership = "Active"
	// PartnershipRevoked: it is over, for good.
	PartnershipRevoked Partnership = "Revoked"
)

// SiteLinkSpec describes a partner: another site.
// +kubebuilder:validation:XValidation:rule="oldSelf.?partnership.orValue('Active') != 'Revoked' || self.?partnership.orValue('Active') == 'Revoked'",message="a revoked partnership stays so: delete the SiteLink and invite the site again"
type SiteLinkSpec struct {
	// siteID of the partner. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z][a-z0-9]*$')",message="siteID must be 4 to 16 lower-case letters and digits that start with a letter"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="siteID is immutable: another site is another SiteLink"
	SiteID string `json:"siteID,omitempty"`
	// displayName is what the partner calls itself.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	DisplayName string `json:"displayName,omitempty"`
	// endpoints are the public addresses of the partner's gateway, host:port, the preferred one first.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=259
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|[[][0-9a-f:.]+[]]):[1-9][0-9]{0,4}$')",message="endpoints must be host:port, such as gateway.bank-b.example:30443"
	Endpoints []string `json:"endpoints,omitempty"`
	// caCertificates in PEM verify the partner's gateway and links; two while it changes its CA. Empty while joining.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	CACertificates string `json:"caCertificates,omitempty"`
	// join is how this site uses the partner's invitation; unset at the site that invited.
	// +optional
	Join *SiteLinkJoin `json:"join,omitempty"`
	// check is the six digits as the person who approves them heard them from the partner, such as 731-204. Only the
	// site that invited needs them; ones that do not match void the invitation.
	// +optional
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=7
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{3}-[0-9]{3}$')",message="check must be six digits, such as 731-204"
	Check string `json:"check,omitempty"`
	// partnership is Active unless given; Revoked ends it for good.
	// +optional
	// +kubebuilder:default=Active
	Partnership Partnership `json:"partnership,omitempty"`
}

// SiteLinkJoin is how an invitation is used.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="join is immutable: delete the SiteLink and join again"
type SiteLinkJoin struct {
	// pin is the SHA-256 of the public key of the inviting gateway's CA, in hexadecimal.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="pin must be 64 hexadecimal digits"
	Pin string `json:"pin,omitempty"`
	// codeSecret names the Secret in the operator's namespace with the one-time code, under the key code. It is deleted
	// when the code has been used.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	CodeSecret string `json:"codeSecret,omitempty"`
}

// OfferedNode is a node that the partner exports to this site.
type OfferedNode struct {
	// network of the node, which is its namespace at every site.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Network string `json:"network,omitempty"`
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
	// networkID of the network.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=40
	NetworkID string `json:"networkID,omitempty"`
	// mspID of the node's organization.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	MSPID string `json:"mspID,omitempty"`
}

// OfferedNetwork is a network that the partner stretches to this site.
type OfferedNetwork struct {
	// name of the network, which is its namespace at every site.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name,omitempty"`
	// networkID of the network.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=40
	NetworkID string `json:"networkID,omitempty"`
	// version of Fabric that the partner runs there.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Version string `json:"version,omitempty"`
	// consensus of the network's channels.
	// +optional
	Consensus Consensus `json:"consensus,omitempty"`
	// sites are the siteIDs of the other sites of the network: this one has to be linked with each of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=63
	Sites []string `json:"sites,omitempty"`
	// channels that organizations of this site are members of, or are meant to be.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Channels []OfferedChannel `json:"channels,omitempty"`
	// refused says why nothing of this network is taken in here; empty while all is well or nobody has joined it.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Refused string `json:"refused,omitempty"`
}

// OfferedChannel is a channel of a partner's network that this site is invited to.
type OfferedChannel struct {
	// name of the Channel object at the partner.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// channelID on the ledger.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=249
	ChannelID string `json:"channelID,omitempty"`
	// genesisHash is the hash of block 0's header, in hexadecimal.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	GenesisHash string `json:"genesisHash,omitempty"`
	// consensus of the channel.
	// +optional
	Consensus Consensus `json:"consensus,omitempty"`
	// timing profile of the channel.
	// +optional
	Timing TimingProfile `json:"timing,omitempty"`
}

// SiteLinkStatus is what was seen of a partner.
type SiteLinkStatus struct {
	// conditions of the link: Accepted, TrustVerified, Connected, Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=12
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// state of the partnership.
	// +optional
	State SiteLinkState `json:"state,omitempty"`
	// check is the six digits that both sites show: people compare them over the telephone.
	// +optional
	// +kubebuilder:validation:MaxLength=7
	Check string `json:"check,omitempty"`
	// downSince is when the partner stopped answering.
	// +optional
	DownSince *metav1.Time `json:"downSince,omitempty"`
	// offered are the nodes that the partner exports to this site.
	// +optional
	// +listType=map
	// +listMapKey=network
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Offered []OfferedNode `json:"offered,omitempty"`
	// networks that the partner stretches to this site: invitations, and what has become of them.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Networks []OfferedNetwork `json:"networks,omitempty"`
	// certificates of the partner's CAs and of this site's leaf for the link, with their end.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Certificates []CertificateStatus `json:"certificates,omitempty"`
}

// SiteLink is a partner: another site that this one has a link to. Its name is how the partner is called here.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=sl,categories=heddle
// +kubebuilder:printcolumn:name="Site ID",type=string,JSONPath=`.spec.siteID`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Check",type=string,JSONPath=`.status.check`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.endpoints[0]`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 24 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 24 characters that starts with a letter"
type SiteLink struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is who the partner is.
	// +required
	Spec SiteLinkSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status SiteLinkStatus `json:"status,omitempty,omitzero"`
}

// SiteLinkList is a list of SiteLinks.
// +kubebuilder:object:root=true
type SiteLinkList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SiteLink `json:"items"`
}
