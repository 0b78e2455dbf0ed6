package specs

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/internal/specs/launch"
)

// Where things are in the pods of nodes.
const (
	configPath  = "/etc/hyperledger/fabric"
	mspPath     = "/etc/heddle/msp"
	tlsPath     = "/etc/heddle/tls"
	volumePath  = "/var/hyperledger"
	dataPath    = volumePath + "/production"
	builderPath = "/etc/heddle/builders/heddle"
	apiPath     = "/etc/heddle/api"
	// buildsPath is where a peer keeps what its builder makes of packages.
	buildsPath = dataPath + "/externalbuilder/builds"
)

// NodeInputs is what a node's Deployment depends on besides the object itself.
type NodeInputs struct {
	// MSPID of the node's organization.
	MSPID string
	// MSPKeys are the keys of the organization's ConfigMap of public material.
	MSPKeys []string
	// Material identifies certificates and MSP files: another value means that the pod must read them again.
	Material string
	// BuilderImage holds heddle-builder, which runs contracts for peers.
	BuilderImage string
}

// Node is an Orderer or a Peer, seen as what the two have in common.
type Node struct {
	// Place the node stands in.
	Place Place
	// Name of the node and of all its objects.
	Name string
	// Organization that runs it.
	Organization string
	// Component is v1alpha1.ComponentOrderer or v1alpha1.ComponentPeer.
	Component string
	// Settings of the node.
	Settings *v1alpha1.NodeSettings
	// State of a peer; nil for an orderer.
	State *v1alpha1.PeerState
}

// NodeOfPeer sees a peer as a node.
func NodeOfPeer(p *v1alpha1.Peer) Node {
	return Node{
		Place: PlaceOf(p.Namespace, p.Labels), Name: p.Name, Organization: p.Spec.Organization,
		Component: v1alpha1.ComponentPeer, Settings: &p.Spec.NodeSettings, State: &p.Spec.PeerState,
	}
}

// NodeOfOrderer sees an orderer as a node.
func NodeOfOrderer(o *v1alpha1.Orderer) Node {
	return Node{
		Place: PlaceOf(o.Namespace, o.Labels), Name: o.Name, Organization: o.Spec.Organization,
		Component: v1alpha1.ComponentOrderer, Settings: &o.Spec.NodeSettings,
	}
}

// Address is where the node serves, from everywhere.
func (n Node) Address() string { return Address(n.Name, n.Place.Network, n.port()) }

// OperationsAddress is where the node tells health, version and metrics.
func (n Node) OperationsAddress() string {
	return Address(n.Name, n.Place.Network, v1alpha1.PortOperations)
}

func (n Node) port() int32 {
	if n.Component == v1alpha1.ComponentOrderer {
		return v1alpha1.PortOrderer
	}
	return v1alpha1.PortPeer
}

// Image of the node: the one given, or the stock image of the version.
func (n Node) Image() string {
	if n.Settings.Image != "" {
		return n.Settings.Image
	}
	return "docker.io/hyperledger/fabric-" + n.Component + ":" + n.Settings.Version
}

// Labels of everything that belongs to the node.
func (n Node) Labels() map[string]string { return n.Place.Labels(n.Organization, n.Name, n.Component) }

// Service of the node.
func (n Node) Service() *corev1.Service {
	ports := []corev1.ServicePort{servicePort("grpc", n.port())}
	if n.Component == v1alpha1.ComponentOrderer {
		ports = append(ports, servicePort("admin", v1alpha1.PortParticipation))
	} else {
		ports = append(ports, servicePort("chaincode", v1alpha1.PortPeerChaincode))
	}
	return n.workload().service(append(ports, servicePort("operations", v1alpha1.PortOperations))...)
}

// Volume of the node.
func (n Node) Volume() *corev1.PersistentVolumeClaim {
	return n.workload().volume(n.Settings.Storage, "5Gi")
}

// Deployment of the node.
func (n Node) Deployment(in NodeInputs) *appsv1.Deployment {
	w := n.workload()
	w.material = in.Material
	w.volumes = []corev1.Volume{
		claimed("data", n.Name),
		projected("msp",
			fromSecret(n.Name, KeyCert, "signcerts/cert.pem", KeyKey, "keystore/key.pem"),
			fromConfigMap(MSPConfigMap(n.Organization), mspItems(in.MSPKeys))),
		projected("tls", fromSecret(n.Name,
			KeyNodeTLSCert, KeyNodeTLSCert, KeyNodeTLSKey, KeyNodeTLSKey, KeyNodeTLSRoots, KeyNodeTLSRoots)),
	}
	w.container = corev1.Container{
		Name: n.Component, Image: n.Image(), ImagePullPolicy: n.Settings.ImagePullPolicy,
		Resources: resources(n.Settings.Resources, "50m", "96Mi", "2Gi"),
		VolumeMounts: []corev1.VolumeMount{
			mount("data", volumePath), mount("tmp", "/tmp"), mountReadOnly("msp", mspPath), mountReadOnly("tls", tlsPath),
		},
	}
	probes(&w.container)
	if n.Component == v1alpha1.ComponentOrderer {
		n.orderer(&w, in)
	} else {
		n.peer(&w, in)
	}
	return w.deployment()
}

func (n Node) workload() workload {
	return workload{
		place: n.Place, name: n.Name, node: n.Name, organization: n.Organization, component: n.Component,
		pullSecrets: n.Settings.ImagePullSecrets,
	}
}

func (n Node) orderer(w *workload, in NodeInputs) {
	c := &w.container
	c.Command = []string{"orderer"}
	c.Ports = []corev1.ContainerPort{
		containerPort("grpc", v1alpha1.PortOrderer), containerPort("admin", v1alpha1.PortParticipation),
		containerPort("operations", v1alpha1.PortOperations),
	}
	c.Env = environment(nodeenv.Orderer(nodeenv.OrdererConfig{
		MSPID: in.MSPID, ListenHost: "0.0.0.0", ListenPort: port(v1alpha1.PortOrderer),
		AdminListen: listen(v1alpha1.PortParticipation), OperationsListen: listen(v1alpha1.PortOperations),
		ConfigPath: configPath, MSPPath: mspPath, DataPath: dataPath, TLS: nodeTLS(), Log: nodeenv.Log{Spec: n.Settings.Logging},
	}))
}

func (n Node) peer(w *workload, in NodeInputs) {
	c := &w.container
	c.Command = []string{"peer", "node", "start"}
	c.Ports = []corev1.ContainerPort{
		containerPort("grpc", v1alpha1.PortPeer), containerPort("chaincode", v1alpha1.PortPeerChaincode),
		containerPort("operations", v1alpha1.PortOperations),
	}
	c.VolumeMounts = append(c.VolumeMounts, mountReadOnly("builders", builderPath), mountReadOnly("api", apiPath))
	config := nodeenv.PeerConfig{
		ID: n.Name, MSPID: in.MSPID, Address: n.Address(), Listen: listen(v1alpha1.PortPeer),
		ChaincodeListen: listen(v1alpha1.PortPeerChaincode), OperationsListen: listen(v1alpha1.PortOperations),
		ChaincodeAddress: Address(n.Name, n.Place.Network, v1alpha1.PortPeerChaincode),
		ConfigPath:       configPath, MSPPath: mspPath, DataPath: dataPath, TLS: nodeTLS(),
		Builders: []nodeenv.Builder{{Name: "heddle", Path: builderPath, Propagate: launch.Propagated()}},
		Log:      nodeenv.Log{Spec: n.Settings.Logging},
	}
	if n.HasCouchDB() {
		config.CouchDB = &nodeenv.CouchDB{Address: couchDBAddress}
	}
	c.Env = append(environment(nodeenv.Peer(config)), n.launching()...)
	w.init = []corev1.Container{{
		Name: "builder", Image: in.BuilderImage, ImagePullPolicy: n.Settings.ImagePullPolicy,
		Args:         []string{"install", builderPath, buildsPath},
		Resources:    resources(nil, "10m", "16Mi", "64Mi"),
		VolumeMounts: []corev1.VolumeMount{mount("builders", builderPath), mount("data", volumePath)},
	}}
	// What the builder makes has the peer's TLS key in it: it stays in memory, and each pod makes it anew from the
	// packages, with the certificate that is good then.
	c.VolumeMounts = append(c.VolumeMounts, mount("builds", buildsPath))
	w.volumes = append(w.volumes, scratch("builders", "", "64Mi"), scratch("builds", corev1.StorageMediumMemory, "128Mi"), apiAccess("api"))
	w.serviceAccount = PeerServiceAccountName(n.Name)
	if n.HasCouchDB() {
		n.withCouchDB(w)
	}
}

// launching is what heddle-builder has to know of the peer whose contracts it launches.
func (n Node) launching() []corev1.EnvVar {
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
	}
	return []corev1.EnvVar{
		{Name: launch.EnvAPI, Value: apiPath},
		{Name: launch.EnvNode, Value: n.Name},
		{Name: launch.EnvNetwork, Value: n.Place.Network},
		{Name: launch.EnvNetworkID, Value: n.Place.NetworkID},
		field(launch.EnvPodName, "metadata.name"),
		field(launch.EnvPodUID, "metadata.uid"),
		field(launch.EnvPodIP, "status.podIP"),
	}
}

func nodeTLS() nodeenv.TLS {
	return nodeenv.TLS{
		Cert: tlsPath + "/" + KeyNodeTLSCert, Key: tlsPath + "/" + KeyNodeTLSKey, Roots: tlsPath + "/" + KeyNodeTLSRoots,
	}
}

func environment(vars []nodeenv.Var) []corev1.EnvVar {
	out := make([]corev1.EnvVar, 0, len(vars))
	for _, v := range vars {
		out = append(out, corev1.EnvVar{Name: v.Name, Value: v.Value})
	}
	return out
}
