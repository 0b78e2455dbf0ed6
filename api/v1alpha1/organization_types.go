package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CAMode says whether an organization runs a fabric-ca.
// +kubebuilder:validation:Enum=Managed;None
type CAMode string

const (
	// CAManaged: the operator runs a fabric-ca that issues the application users' certificates.
	CAManaged CAMode = "Managed"
	// CANone: no fabric-ca; Identity objects get certificates from the operator.
	CANone CAMode = "None"
)

// OrganizationSpec describes an organization.
type OrganizationSpec struct {
	// mspID is the organization's name on the ledger, such as BankAMSP. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9.-]+$')",message="mspID may have letters, digits, '.' and '-'"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="mspID is immutable: it stands in every block of the ledger"
	MSPID string `json:"mspID,omitempty"`
	// ca describes the organization's issuers and its application CA.
	// +optional
	// +kubebuilder:default={}
	CA OrganizationCA `json:"ca,omitempty,omitzero"`
	// remote is set for an organization whose keys another site holds: certificates are all that is known of it here.
	// The operator writes it from what the partner says. Cannot be set or removed later.
	// +optional
	Remote *RemoteOrganization `json:"remote,omitempty"`
}

// RemoteOrganization is what is known of an organization of another site: certificates and no key.
type RemoteOrganization struct {
	// link names the SiteLink of the partner that holds the organization's keys. Immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Link string `json:"link,omitempty"`
	// caCertificates are the roots that its members' certificates lead to, in PEM.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	CACertificates string `json:"caCertificates,omitempty"`
	// intermediateCertificates stand between those roots and members' certificates, in PEM.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	IntermediateCertificates string `json:"intermediateCertificates,omitempty"`
	// tlsCACertificates are the roots that its nodes' TLS certificates lead to, in PEM.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	TLSCACertificates string `json:"tlsCACertificates,omitempty"`
	// tlsIntermediateCertificates stand between those roots and nodes' TLS certificates, in PEM.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	TLSIntermediateCertificates string `json:"tlsIntermediateCertificates,omitempty"`
	// revocationLists of its issuers, in PEM.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	RevocationLists string `json:"revocationLists,omitempty"`
	// nodes that the partner offers to this site.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Nodes []RemoteNode `json:"nodes,omitempty"`
}

// RemoteNode is a peer or an orderer of another site. Its name and port are the same at every site.
type RemoteNode struct {
	// name of the node.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`
	// port of the node: 7051 of a peer, 7050 of an orderer.
	// +required
	// +kubebuilder:validation:Minimum=7050
	// +kubebuilder:validation:Maximum=7051
	Port int32 `json:"port,omitempty"`
	// certificate is an orderer's enrolment certificate in PEM, which stands in the configuration of BFT channels.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	Certificate string `json:"certificate,omitempty"`
	// tlsCertificate is an orderer's TLS certificate in PEM, which stands in the configuration of channels that it orders.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	TLSCertificate string `json:"tlsCertificate,omitempty"`
}

// OrganizationCA describes an organization's issuers and its application CA.
// +kubebuilder:validation:XValidation:rule="has(self.issuerRef) == has(oldSelf.issuerRef)",message="issuerRef is immutable: it cannot be set or removed after the organization is made"
type OrganizationCA struct {
	// mode says whether a fabric-ca runs; Managed unless given.
	// +optional
	// +kubebuilder:default=Managed
	Mode CAMode `json:"mode,omitempty"`
	// version of fabric-ca; the network's, or 1.5.15, unless given.
	// +optional
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^1[.]5[.][0-9]{1,3}$')",message="version must be 1.5.x, such as 1.5.15"
	Version string `json:"version,omitempty"`
	// image replaces the stock fabric-ca image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// imagePullPolicy of the CA's container; IfNotPresent unless given.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// imagePullSecrets are used to pull the CA's image.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	ImagePullSecrets []PullSecret `json:"imagePullSecrets,omitempty"`
	// storage asks for the CA's volume, which holds its list of users; 1Gi unless given.
	// +optional
	// +kubebuilder:default={}
	Storage NodeStorage `json:"storage,omitempty,omitzero"`
	// resources of the CA's container.
	// +optional
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// issuerRef names a Secret in the network's namespace with roots made elsewhere, which then sign the
	// organization's intermediates: sign-ca.crt, sign-ca.key, tls-ca.crt and tls-ca.key in PEM.
	// The Secret must carry the label heddle.dev/issuer-for with the organization's name. Cannot be set or changed later.
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`
}

// IssuerReference names a Secret with an external issuer.
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="issuerRef is immutable: the issuers made from it stand in the ledger"
type IssuerReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// OrganizationStatus is what was seen of an organization.
type OrganizationStatus struct {
	// conditions of the organization: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// mspHash is the SHA-256 of the organization's public MSP material, in hexadecimal.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	MSPHash string `json:"mspHash,omitempty"`
	// caAddress is where applications reach the CA.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	CAAddress string `json:"caAddress,omitempty"`
	// certificates of the organization's issuers and administrator with their end.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Certificates []CertificateStatus `json:"certificates,omitempty"`
}

// Organization is a member of a network with its issuers, its administrator and its application CA; or, with
// spec.remote, a member whose keys are at another site.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=org,categories=heddle
// +kubebuilder:printcolumn:name="MSP",type=string,JSONPath=`.spec.mspID`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Site",type=string,JSONPath=`.spec.remote.link`
// +kubebuilder:printcolumn:name="CA",type=string,JSONPath=`.status.caAddress`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 24 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')",message="metadata.name must be a DNS label of at most 24 characters that starts with a letter, without dots"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.matches('(^|-)(root|ops|app|admin|ca|msp)$')",message="metadata.name must not be or end in -root, -ops, -app, -admin, -ca or -msp: the names of the organization's Secrets end so"
// +kubebuilder:validation:XValidation:rule="has(self.spec.remote) == has(oldSelf.spec.remote)",message="spec.remote cannot be set or removed: an organization's keys do not move between sites"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.remote) || !has(oldSelf.spec.remote) || self.spec.remote.link == oldSelf.spec.remote.link",message="spec.remote.link is immutable: another partner cannot speak for the organization"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.remote) || !has(self.spec.ca) || !(has(self.spec.ca.issuerRef) || has(self.spec.ca.image) || has(self.spec.ca.version) || has(self.spec.ca.resources))",message="spec.ca is for organizations whose keys are here: leave it out with spec.remote"
type Organization struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is what the organization shall be.
	// +required
	Spec OrganizationSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status OrganizationStatus `json:"status,omitempty,omitzero"`
}

// OrganizationList is a list of Organizations.
// +kubebuilder:object:root=true
type OrganizationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Organization `json:"items"`
}
