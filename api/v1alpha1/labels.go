package v1alpha1

// Labels and annotations that Heddle sets. Users may select by them; they must not change them.
const (
	// LabelNetwork names the Network (= namespace) that an object belongs to.
	LabelNetwork = "heddle.dev/network"
	// LabelNetworkID carries spec.networkID on a network's namespace and on everything retained in it.
	LabelNetworkID = "heddle.dev/network-id"
	// LabelTenant carries spec.tenant.
	LabelTenant = "heddle.dev/tenant"
	// LabelOrganization names the Organization that an object belongs to.
	LabelOrganization = "heddle.dev/organization"
	// LabelComponent says what a pod is: peer, orderer, ca, chaincode, build, gateway or link.
	LabelComponent = "heddle.dev/component"
	// LabelNode names the Peer, Orderer or Organization (for its CA) that a pod serves.
	LabelNode = "heddle.dev/node"
	// LabelChannel names the Channel that an object belongs to.
	LabelChannel = "heddle.dev/channel"
	// LabelChaincode names the Chaincode that an object belongs to.
	LabelChaincode = "heddle.dev/chaincode"
	// LabelBuild names the ChaincodeBuild that an object belongs to.
	LabelBuild = "heddle.dev/build"
	// LabelLink names the SiteLink that an object belongs to.
	LabelLink = "heddle.dev/link"
	// LabelImport names the NodeImport that a Service stands for.
	LabelImport = "heddle.dev/import"
	// LabelInline marks an object that a Network made from its own spec, with the Network's name as the value.
	LabelInline = "heddle.dev/inline"
	// LabelRetained marks data that outlived the object it was made for; the value is "true".
	LabelRetained = "heddle.dev/retained"
	// LabelIssuerFor marks a Secret with an external issuer as meant for the Organization named in the value.
	LabelIssuerFor = "heddle.dev/issuer-for"
	// LabelClients marks a namespace whose pods may call the nodes of networks; see Network.spec.clientNamespaces.
	LabelClients = "heddle.dev/clients"

	// AnnotationConfigHash is set on a pod template: another value means that the pod must be replaced.
	AnnotationConfigHash = "heddle.dev/config-hash"
	// AnnotationConfig is set on a running pod of nginx when its files are others: the kubelet takes a change of the pod as
	// the time to look at them.
	AnnotationConfig = "heddle.dev/config"
	// AnnotationPaused stops reconciliation of an object while it is present; the value is free text that says why.
	AnnotationPaused = "heddle.dev/paused"
	// AnnotationAdopt on a Channel accepts the ledger's configuration as it stands: Channel.spec is compared anew from there.
	AnnotationAdopt = "heddle.dev/adopt"
	// AnnotationInvite on a SiteLink is the UID of the SiteInvite that it came of.
	AnnotationInvite = "heddle.dev/invite"
	// AnnotationJoiner on a SiteInvite is who used its code: siteID and the pin of the CA.
	AnnotationJoiner = "heddle.dev/joiner"
	// AnnotationVoid on a SiteInvite says why its code counts no more.
	AnnotationVoid = "heddle.dev/void"
	// AnnotationCheck on a SiteLink that came of an invitation is the six digits that people at both sites compare.
	AnnotationCheck = "heddle.dev/check"
	// AnnotationNonce on a SiteLink that came of an invitation here is what the six digits were made with.
	AnnotationNonce = "heddle.dev/nonce"
	// AnnotationRevokedBy on a SiteLink says that the partner has ended the partnership.
	AnnotationRevokedBy = "heddle.dev/revoked-by"
	// AnnotationNotified on a SiteLink says that the partner knows of the end of the partnership.
	AnnotationNotified = "heddle.dev/notified"
	// AnnotationAnnounced on a SiteLink identifies what the partner was last told of this site's CAs and endpoints.
	AnnotationAnnounced = "heddle.dev/announced"
	// AnnotationTold on a SiteLink is the endpoints that the partner last told of itself.
	AnnotationTold = "heddle.dev/told-endpoints"
	// AnnotationGeneration on the Secret of a gateway's CA is the caGeneration it was made for.
	AnnotationGeneration = "heddle.dev/ca-generation"
	// AnnotationChanged on the Secret of a gateway's CA is when it took over from a former one, and on that of the next CA when
	// all partners had been told of it (RFC 3339).
	AnnotationChanged = "heddle.dev/ca-changed"
	// AnnotationSite on the Secret of a gateway's CA is the siteID that it was made for.
	AnnotationSite = "heddle.dev/site-id"
	// AnnotationNotAfter carries the end of a certificate's validity (RFC 3339) on the Secret that holds it.
	AnnotationNotAfter = "heddle.dev/not-after"

	// Finalizer is put on objects that must be taken down in order.
	Finalizer = "heddle.dev/finalizer"
)

// Values of LabelComponent.
const (
	ComponentPeer      = "peer"
	ComponentOrderer   = "orderer"
	ComponentCA        = "ca"
	ComponentChaincode = "chaincode"
	ComponentBuild     = "build"
	ComponentGateway   = "gateway"
	ComponentLink      = "link"
	// ComponentLinkCheck is a pod that looks where the way to a partner ends; nobody is led to it.
	ComponentLinkCheck = "link-check"
)

// Ports of the nodes, the same in every network.
const (
	PortPeer          int32 = 7051
	PortPeerChaincode int32 = 7052
	PortOrderer       int32 = 7050
	PortParticipation int32 = 7053
	PortCA            int32 = 7054
	PortOperations    int32 = 9443
	PortChaincode     int32 = 9999
)
