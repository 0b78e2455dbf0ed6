package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// NetworkSpec describes one Fabric network.
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.networkID) || (has(self.networkID) && self.networkID == oldSelf.networkID)",message="networkID is immutable: it is the identity of the network's ledgers"
// +kubebuilder:validation:XValidation:rule="has(self.tenant) == has(oldSelf.tenant) && (!has(self.tenant) || self.tenant == oldSelf.tenant)",message="tenant is immutable"
// +kubebuilder:validation:XValidation:rule="(has(self.partners) && self.partners.size() > 0) || self.organizations.map(o, has(o.orderers) ? o.orderers.count : 0).sum() >= 1",message="organizations: at least one organization must run an orderer (organizations[].orderers.count), unless partners name the site that orders"
// +kubebuilder:validation:XValidation:rule="!has(self.ordering) || !has(self.ordering.consensus) || self.ordering.consensus != 'BFT' || (has(self.partners) && self.partners.size() > 0) || self.organizations.map(o, has(o.orderers) ? o.orderers.count : 0).sum() >= 4",message="ordering.consensus BFT needs at least 4 orderers: raise organizations[].orderers.count, or name partners whose orderers count too"
// +kubebuilder:validation:XValidation:rule="self.organizations.all(o, self.organizations.exists_one(p, p.mspID == o.mspID))",message="organizations[].mspID must be unique: two organizations have the same MSP ID"
// +kubebuilder:validation:XValidation:rule="!has(self.channels) || (has(self.partners) && self.partners.size() > 0) || self.channels.all(c, !has(c.organizations) || c.organizations.all(n, self.organizations.exists(o, o.name == n)))",message="channels[].organizations names an organization that is not in organizations[]; those of other sites need partners"
// +kubebuilder:validation:XValidation:rule="self.organizations.all(o, !has(o.remote))",message="organizations[].remote: a Network has organizations of its own site only; those of partners come with what the partners say"
// +kubebuilder:validation:XValidation:rule="!has(self.channels) || self.channels.all(c, self.channels.exists_one(d, (has(d.channelID) ? d.channelID : d.name) == (has(c.channelID) ? c.channelID : c.name)))",message="channels[].channelID must be unique: two channels have the same name on the ledger"
// +kubebuilder:validation:XValidation:rule="!has(self.channels) || !has(self.ordering) || self.ordering.consensus != 'BFT' || self.channels.all(c, !has(c.consenters) || c.consenters.size() == 0 || c.consenters.size() >= 4)",message="channels[].consenters: consensus BFT needs at least 4 consenters"
// +kubebuilder:validation:XValidation:rule="!has(self.ordering) || self.ordering.consensus != 'BFT' || !has(self.fabric) || !self.fabric.version.startsWith('2.')",message="fabric.version 2.5 has no BFT: set fabric.version to 3.1.x or ordering.consensus to Raft"
// +kubebuilder:validation:XValidation:rule="!has(self.channels) || !has(self.fabric) || !self.fabric.version.startsWith('2.') || self.channels.all(c, !has(c.capabilities) || !has(c.capabilities.channel) || c.capabilities.channel != 'V3_0')",message="channels[].capabilities.channel V3_0 needs fabric.version 3.1.x"
type NetworkSpec struct {
	// networkID is the identity of the network: the same name with another ID is another network.
	// Made by the founder; the operator makes a random one where it is not given. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",message="networkID must be lower-case letters, digits and '-'"
	NetworkID string `json:"networkID,omitempty"`
	// tenant that the network belongs to. Creating a network for a tenant needs the verb "use" on it. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Tenant string `json:"tenant,omitempty"`
	// deletionPolicy says what becomes of ledgers and keys when the Network is deleted; Retain unless given.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
	// fabric says which software the nodes run.
	// +optional
	// +kubebuilder:default={}
	Fabric FabricSoftware `json:"fabric,omitempty,omitzero"`
	// ordering describes the ordering service.
	// +optional
	// +kubebuilder:default={}
	Ordering NetworkOrdering `json:"ordering,omitempty,omitzero"`
	// organizations of the network at this site, with their nodes.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Organizations []NetworkOrganization `json:"organizations,omitempty"`
	// channels of the network.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Channels []NetworkChannel `json:"channels,omitempty"`
	// partners are the other sites that the network is stretched over. Each has a Network of the same name and networkID
	// for its own part. Sites of one network are linked pairwise.
	// +optional
	// +listType=map
	// +listMapKey=link
	// +kubebuilder:validation:MaxItems=16
	Partners []NetworkPartner `json:"partners,omitempty"`
	// clientNamespaces are the namespaces whose pods may call peers (7051), orderers (7050) and CAs (7054),
	// and where an Identity of this network may stand. All others are shut out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",message="clientNamespaces must be names of namespaces: lower-case letters, digits and '-'"
	ClientNamespaces []string `json:"clientNamespaces,omitempty"`
}

// ProposalPolicy says who decides on a partner's proposals.
// +kubebuilder:validation:Enum=Ask;Sign
type ProposalPolicy string

const (
	// ProposalAsk leaves every proposal to a person.
	ProposalAsk ProposalPolicy = "Ask"
	// ProposalSign signs every proposal of the partner, whatever it changes.
	ProposalSign ProposalPolicy = "Sign"
)

// ImportPolicy says whether a partner's nodes appear here by themselves.
// +kubebuilder:validation:Enum=Auto;Manual
type ImportPolicy string

const (
	// ImportAuto imports every node of the network that the partner offers.
	ImportAuto ImportPolicy = "Auto"
	// ImportManual leaves it to people to make NodeImports.
	ImportManual ImportPolicy = "Manual"
)

// NetworkPartner is another site of a network.
type NetworkPartner struct {
	// link names the SiteLink of the partner.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Link string `json:"link,omitempty"`
	// proposals says what becomes of the partner's proposals to change a channel: Ask leaves each to a person, Sign signs
	// all of them unseen, for partners that are the same people. Ask unless given.
	// +optional
	// +kubebuilder:default=Ask
	Proposals ProposalPolicy `json:"proposals,omitempty"`
	// imports says whether the nodes that the partner offers in the network appear here by themselves; Auto unless given.
	// What this site offers is for NodeExports to say.
	// +optional
	// +kubebuilder:default=Auto
	Imports ImportPolicy `json:"imports,omitempty"`
}

// FabricSoftware says which software the nodes of a network run.
type FabricSoftware struct {
	// version of peers and orderers, such as 3.1.5; the lines 2.5 and 3.1 are known. A change rolls the nodes one at a time.
	// +optional
	// +kubebuilder:default="3.1.5"
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^(2[.]5|3[.]1)[.][0-9]{1,3}$')",message="version must be 2.5.x or 3.1.x, such as 3.1.5"
	// +kubebuilder:validation:XValidation:rule="!oldSelf.startsWith('3.') || !self.startsWith('2.')",message="version cannot go from 3.1 back to 2.5: ledgers are not converted back"
	Version string `json:"version,omitempty"`
	// caVersion is the version of fabric-ca, such as 1.5.15.
	// +optional
	// +kubebuilder:default="1.5.15"
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^1[.]5[.][0-9]{1,3}$')",message="caVersion must be 1.5.x, such as 1.5.15"
	CAVersion string `json:"caVersion,omitempty"`
	// images replaces the stock images, for clusters that pull from elsewhere.
	// +optional
	Images FabricImages `json:"images,omitempty,omitzero"`
	// imagePullPolicy of all containers; IfNotPresent unless given.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// imagePullSecrets are used to pull all images.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	ImagePullSecrets []PullSecret `json:"imagePullSecrets,omitempty"`
}

// FabricImages replaces stock images by others of the same content.
type FabricImages struct {
	// peer image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Peer string `json:"peer,omitempty"`
	// orderer image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Orderer string `json:"orderer,omitempty"`
	// ca is the fabric-ca image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	CA string `json:"ca,omitempty"`
	// couchDB is the image of CouchDB, for the peers that have it as state database.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	CouchDB string `json:"couchDB,omitempty"`
}

// NetworkOrdering describes the ordering service of a network.
type NetworkOrdering struct {
	// consensus of every channel of the network. Immutable.
	// +optional
	// +kubebuilder:default=Raft
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="ordering.consensus is immutable: make a new network, or new channels by hand"
	Consensus Consensus `json:"consensus,omitempty"`
	// timing profile of the channels' time-outs; lan unless given. Written into a channel at its birth.
	// +optional
	// +kubebuilder:default=lan
	Timing TimingProfile `json:"timing,omitempty"`
}

// NetworkOrganization is one organization of a network with its nodes.
type NetworkOrganization struct {
	// name of the organization; node names end in it: peer0-NAME, orderer0-NAME.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="name must be a DNS label of at most 24 characters that starts with a letter"
	// +kubebuilder:validation:XValidation:rule="!self.matches('(^|-)(root|ops|app|admin|ca|msp)$')",message="name must not be or end in -root, -ops, -app, -admin, -ca or -msp: the names of the organization's Secrets end so"
	Name string `json:"name,omitempty"`

	OrganizationSpec `json:",inline"`

	// orderers that the organization runs.
	// +optional
	Orderers *NetworkOrderers `json:"orderers,omitempty"`
	// peers that the organization runs.
	// +optional
	Peers *NetworkPeers `json:"peers,omitempty"`
}

// NetworkOrderers are the orderers of one organization: orderer0-ORG, orderer1-ORG, ….
type NetworkOrderers struct {
	// count of orderers. The channels' consenters follow, one at a time.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=32
	Count *int32 `json:"count,omitempty"`
	// template of each orderer.
	// +optional
	// +kubebuilder:default={}
	Template NodeTemplate `json:"template,omitempty,omitzero"`
}

// NetworkPeers are the peers of one organization: peer0-ORG, peer1-ORG, ….
type NetworkPeers struct {
	// count of peers. A new one joins every channel of its organization.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	Count *int32 `json:"count,omitempty"`
	// template of each peer.
	// +optional
	// +kubebuilder:default={}
	Template PeerTemplate `json:"template,omitempty,omitzero"`
}

// PeerTemplate is what the peers of one organization have in common.
// +kubebuilder:validation:XValidation:rule="!has(self.couchDB) || (has(self.stateDatabase) && self.stateDatabase == 'CouchDB')",message="couchDB is for stateDatabase CouchDB only: set that, or leave couchDB out"
// +kubebuilder:validation:XValidation:rule="has(self.couchDB) || !has(oldSelf.couchDB)",message="couchDB cannot be removed: change its fields"
type PeerTemplate struct {
	NodeTemplate `json:",inline"`
	PeerState    `json:",inline"`
}

// NodeTemplate is what the nodes of one list have in common.
type NodeTemplate struct {
	// storage asks for each node's volume.
	// +optional
	// +kubebuilder:default={}
	Storage NodeStorage `json:"storage,omitempty,omitzero"`
	// resources of each node's container. Requests of 50m CPU and 96Mi and a memory limit of 2Gi unless given.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// extraSANs are further DNS names or IP addresses in each node's TLS certificate.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="isIP(self) || self.matches('^([*][.])?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$')",message="extraSANs must be DNS names or IP addresses"
	ExtraSANs []string `json:"extraSANs,omitempty"`
	// logging is the nodes' logging specification, such as "info"; unless given, info without a line for every call.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Logging string `json:"logging,omitempty"`
}

// NetworkChannel is one channel of a network.
// +kubebuilder:validation:XValidation:rule="has(self.channelID) == has(oldSelf.channelID)",message="channelID is immutable: it stands in every block of the channel"
type NetworkChannel struct {
	// name of the Channel object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="name must be a DNS label that starts with a letter; set channelID for other letters"
	Name string `json:"name,omitempty"`

	ChannelSettings `json:",inline"`
}

// NetworkStatus is what was seen of a network.
type NetworkStatus struct {
	// conditions of the network: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// networkID as it stands on the namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=40
	NetworkID string `json:"networkID,omitempty"`
	// orderers counts the network's orderers, as READY/ALL.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Orderers string `json:"orderers,omitempty"`
	// peers counts the network's peers, as READY/ALL.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Peers string `json:"peers,omitempty"`
	// channels counts the network's channels, as READY/ALL.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Channels string `json:"channels,omitempty"`
	// soonestExpiry is the end of the certificate in the network that ends first.
	// +optional
	SoonestExpiry *CertificateStatus `json:"soonestExpiry,omitempty"`
}

// Network is one Fabric network: one namespace of the same name with its organizations, nodes and channels.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=net,categories=heddle
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Orderers",type=string,JSONPath=`.status.orderers`
// +kubebuilder:printcolumn:name="Peers",type=string,JSONPath=`.status.peers`
// +kubebuilder:printcolumn:name="Channels",type=string,JSONPath=`.status.channels`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.fabric.version`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 32 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name becomes a namespace and part of every node's address: a DNS label of at most 32 characters that starts with a letter, without dots"
// +kubebuilder:validation:XValidation:rule="!(self.metadata.name in ['default', 'kube-system', 'kube-public', 'kube-node-lease', 'heddle-system'])",message="metadata.name is the name of a system namespace: choose another"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.clientNamespaces) || !(self.metadata.name in self.spec.clientNamespaces)",message="spec.clientNamespaces must not name the network's own namespace: applications run in other namespaces"
type Network struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what the network shall be.
	// +required
	Spec NetworkSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status NetworkStatus `json:"status,omitempty,omitzero"`
}

// NetworkList is a list of Networks.
// +kubebuilder:object:root=true
type NetworkList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Network `json:"items"`
}
