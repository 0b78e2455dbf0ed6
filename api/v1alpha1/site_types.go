package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SiteName is the name of the one Site of a cluster.
const SiteName = "local"

// GatewayService is the type of the Service in front of a site's gateway.
// +kubebuilder:validation:Enum=NodePort;LoadBalancer;ClusterIP
type GatewayService string

const (
	// GatewayNodePort opens the public port on every machine of the cluster.
	GatewayNodePort GatewayService = "NodePort"
	// GatewayLoadBalancer asks the cluster's provider for an address.
	GatewayLoadBalancer GatewayService = "LoadBalancer"
	// GatewayClusterIP leaves it to others, such as a load balancer of one's own, to reach the gateway.
	GatewayClusterIP GatewayService = "ClusterIP"
)

// SiteSpec describes this site to its partners.
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.siteID) || (has(self.siteID) && self.siteID == oldSelf.siteID)",message="siteID is immutable: partners know the site by it"
type SiteSpec struct {
	// siteID is the site's name in certificates and in SNI; the operator makes a random one unless it is given. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z][a-z0-9]*$')",message="siteID must be 4 to 16 lower-case letters and digits that start with a letter"
	SiteID string `json:"siteID,omitempty"`
	// displayName is what people at the partners see.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	DisplayName string `json:"displayName,omitempty"`
	// endpoints are the public addresses of the gateway, host:port, the preferred one first. Partners dial them.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=259
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|[[][0-9a-f:.]+[]]):[1-9][0-9]{0,4}$')",message="endpoints must be host:port, such as gateway.bank-a.example:30443"
	Endpoints []string `json:"endpoints,omitempty"`
	// caGeneration is raised by one to change the CA of the gateway: partners are told of the next CA, trust both for a
	// while, and drop the former one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule="self >= oldSelf",message="caGeneration cannot be lowered: a former CA does not come back"
	CAGeneration int32 `json:"caGeneration,omitempty"`
	// gateway describes the pod behind the endpoints.
	// +optional
	// +kubebuilder:default={}
	Gateway SiteGateway `json:"gateway,omitempty,omitzero"`
}

// SiteGateway is the public port of a site.
// +kubebuilder:validation:XValidation:rule="!has(self.nodePort) || self.service == 'NodePort'",message="nodePort is for service NodePort only"
type SiteGateway struct {
	// service in front of the gateway; NodePort unless given.
	// +optional
	// +kubebuilder:default=NodePort
	Service GatewayService `json:"service,omitempty"`
	// nodePort is the port on the cluster's machines; Kubernetes chooses one unless it is given.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	NodePort *int32 `json:"nodePort,omitempty"`
	// image of nginx, for the gateway and the links; the installation's unless given.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
}

// SiteStatus is what was seen of this site.
type SiteStatus struct {
	// conditions of the site: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// observedGeneration is the generation of the spec that the status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// siteID of the site.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	SiteID string `json:"siteID,omitempty"`
	// pin is the SHA-256 of the public key of the gateway's CA, in hexadecimal: tokens carry it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Pin string `json:"pin,omitempty"`
	// nextPin is the pin of the CA that takes over when all partners trust it.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	NextPin string `json:"nextPin,omitempty"`
	// caGeneration is that of the CA which is in use.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CAGeneration int32 `json:"caGeneration,omitempty"`
	// certificates of the gateway's CA and of the site itself with their end.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Certificates []CertificateStatus `json:"certificates,omitempty"`
}

// Site is this cluster as its partners see it: its name, its public port and its CA. There is one, named local.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=heddle
// +kubebuilder:printcolumn:name="Site ID",type=string,JSONPath=`.status.siteID`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.spec.endpoints[0]`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'local'",message="metadata.name must be local: a cluster is one site"
type Site struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`
	// spec is how the site presents itself.
	// +required
	Spec SiteSpec `json:"spec,omitempty,omitzero"`
	// status is what was seen of it.
	// +optional
	Status SiteStatus `json:"status,omitempty,omitzero"`
}

// SiteList is a list of Sites.
// +kubebuilder:object:root=true
type SiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Site `json:"items"`
}
