package specs

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/msp"
)

var update = flag.Bool("update", false, "write golden files")

func golden(t *testing.T, name string, objects ...runtime.Object) {
	t.Helper()
	var got bytes.Buffer
	for _, o := range objects {
		raw, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString("---\n")
		got.Write(raw)
	}
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

var (
	operator = Operator{Namespace: SystemNamespace, ServiceAccount: OperatorName}
	labels   = map[string]string{v1alpha1.LabelNetworkID: "id-12345"}
)

func network() *v1alpha1.Network {
	n := &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: "trade"}}
	n.Spec.NetworkID, n.Spec.Tenant = "id-12345", "acme"
	n.Spec.Ordering.Consensus = v1alpha1.ConsensusRaft
	n.Spec.Organizations = []v1alpha1.NetworkOrganization{
		{Name: "ord", Orderers: &v1alpha1.NetworkOrderers{Count: ptr.To[int32](5)}},
		{Name: "banka", Peers: &v1alpha1.NetworkPeers{Count: ptr.To[int32](2)}},
	}
	n.Spec.ClientNamespaces = []string{"apps", "api"}
	return n
}

func peer() *v1alpha1.Peer {
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: "peer0-banka", Namespace: "trade", Labels: labels}}
	p.Spec.Organization, p.Spec.Version = "banka", "3.1.5"
	return p
}

// couchDBPeer is a peer with CouchDB, all of whose settings are given.
func couchDBPeer() *v1alpha1.Peer {
	p := peer()
	p.Spec.StateDatabase = v1alpha1.StateCouchDB
	p.Spec.CouchDB = &v1alpha1.CouchDB{
		Image: "registry.example/couchdb:1", ImagePullPolicy: corev1.PullAlways,
		Storage:   v1alpha1.NodeStorage{Size: ptr.To(resource.MustParse("20Gi")), StorageClassName: "fast"},
		Resources: &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}},
	}
	return p
}

func orderer() *v1alpha1.Orderer {
	o := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Name: "orderer0-ord", Namespace: "trade", Labels: labels}}
	size := resource.MustParse("20Gi")
	o.Spec.Organization = "ord"
	o.Spec.NodeSettings = v1alpha1.NodeSettings{
		Version: "3.1.5", Image: "registry.example/orderer:1", ImagePullPolicy: corev1.PullAlways, Logging: "warn",
		ImagePullSecrets: []v1alpha1.PullSecret{{Name: "pull"}},
		Storage:          v1alpha1.NodeStorage{Size: &size, StorageClassName: "fast"},
		Resources:        &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}},
	}
	return o
}

func organization() *v1alpha1.Organization {
	o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Name: "banka", Namespace: "trade", Labels: labels}}
	o.Spec.MSPID = "BankAMSP"
	return o
}

func pemBlock(name string) []byte {
	return []byte("-----BEGIN CERTIFICATE-----\n" + name + "\n-----END CERTIFICATE-----\n")
}

func material() msp.Material {
	return msp.Material{
		CACerts: [][]byte{pemBlock("cm9v")}, IntermediateCerts: [][]byte{pemBlock("b3Bz"), pemBlock("YXBw")},
		TLSCACerts: [][]byte{pemBlock("dGxz")}, TLSIntermediates: [][]byte{pemBlock("dG9w"), pemBlock("dGFw")},
		NodeOUs: msp.DefaultNodeOUs(),
	}
}

func inputs() NodeInputs {
	cm := MSPConfigMapFor(organization(), material(), pemBlock("YXBw"))
	var keys []string
	for key := range cm.Data {
		keys = append(keys, key)
	}
	return NodeInputs{
		MSPID: "BankAMSP", MSPKeys: keys, Material: "m", BuilderImage: "heddle.dev/heddle-builder:dev",
	}
}

func TestGolden(t *testing.T) {
	n := network()
	var policies []runtime.Object
	for _, p := range Policies(n, operator) {
		policies = append(policies, p)
	}
	p, o, ca, c := NodeOfPeer(peer()), NodeOfOrderer(orderer()), CAOf(organization()), NodeOfPeer(couchDBPeer())
	for name, objects := range map[string][]runtime.Object{
		"namespace": {Namespace(n)},
		"bindings":  {OperatorRoleBinding(n, operator), ClientNamespaceRoleBinding(n, "apps", operator)},
		"budgets":   {OrderersBudget(n), PeersBudget(n, "banka")},
		"policies":  append(policies, PeerPolicy(peer())),
		"msp":       {MSPConfigMapFor(organization(), material(), append(pemBlock("YXBw"), pemBlock("cm9v")...))},
		"peer":      {p.Volume(), p.Service(), p.Deployment(inputs())},
		"orderer":   {o.Volume(), o.Service(), o.Deployment(inputs())},
		"children":  children(),
		"couchdb": {
			c.CouchDBVolume(), c.CouchDBSecret("drawn-by-the-controller"), c.CouchDBConfigMap(), c.Service(), c.Deployment(inputs()),
		},
		"peer-access": {PeerServiceAccount(peer()), PeerRoleBinding(peer())},
		"ca":          {ca.Volume(), ca.Service(), ca.Deployment("m")},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, objects...) })
	}
}

// children of a network that replaces images, and of which one channel lives already.
func children() []runtime.Object {
	n := network()
	n.Spec.Fabric = v1alpha1.FabricSoftware{
		Version: "3.1.5", CAVersion: "1.5.15", ImagePullPolicy: corev1.PullAlways,
		Images: v1alpha1.FabricImages{Peer: "r/peer:1", Orderer: "r/orderer:1", CA: "r/ca:1"}, ImagePullSecrets: []v1alpha1.PullSecret{{Name: "pull"}},
	}
	n.Spec.Ordering.Timing = v1alpha1.TimingWAN
	n.Spec.Organizations[0].Orderers.Count = ptr.To[int32](1)
	n.Spec.Organizations[0].MSPID, n.Spec.Organizations[1].MSPID = "OrdMSP", "BankAMSP"
	n.Spec.Organizations[1].CA = v1alpha1.OrganizationCA{Image: "own/ca:2"}
	n.Spec.Organizations[1].Peers.Template = v1alpha1.PeerTemplate{NodeTemplate: v1alpha1.NodeTemplate{Logging: "debug", ExtraSANs: []string{"p.example"}}}
	n.Spec.Organizations[1].Peers.Template.StateDatabase = v1alpha1.StateLevelDB
	n.Spec.Organizations = append(n.Spec.Organizations, v1alpha1.NetworkOrganization{Name: "bankb", Peers: &v1alpha1.NetworkPeers{
		Count: ptr.To[int32](1), Template: v1alpha1.PeerTemplate{PeerState: v1alpha1.PeerState{StateDatabase: v1alpha1.StateCouchDB}},
	}})
	n.Spec.Fabric.Images.CouchDB = "r/couchdb:1"
	n.Spec.Channels = []v1alpha1.NetworkChannel{{Name: "demo"}, {Name: "old"}}
	n.Spec.Channels[1].Consenters = []string{"orderer0-ord"}
	old := &v1alpha1.Channel{}
	old.Spec.Timing = v1alpha1.TimingLAN
	var out []runtime.Object
	for _, o := range InlineOrganizations(n) {
		out = append(out, o)
	}
	for _, o := range InlineOrderers(n) {
		out = append(out, o)
	}
	for _, o := range InlinePeers(n) {
		out = append(out, o)
	}
	for _, o := range InlineChannels(n, map[string]*v1alpha1.Channel{"old": old}) {
		out = append(out, o)
	}
	return out
}

func TestSizeAdvice(t *testing.T) {
	for name, c := range map[string]struct {
		consensus v1alpha1.Consensus
		n         int32
		advised   bool
	}{
		"raft 1": {v1alpha1.ConsensusRaft, 1, false}, "raft 2": {v1alpha1.ConsensusRaft, 2, true}, "raft 3": {v1alpha1.ConsensusRaft, 3, false},
		"bft 4": {v1alpha1.ConsensusBFT, 4, false}, "bft 5": {v1alpha1.ConsensusBFT, 5, true}, "bft 7": {v1alpha1.ConsensusBFT, 7, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := network()
			n.Spec.Ordering.Consensus, n.Spec.Organizations[0].Orderers.Count = c.consensus, &c.n
			if got := SizeAdvice(n) != ""; got != c.advised {
				t.Errorf("advised: %t, want %t", got, c.advised)
			}
		})
	}
}

func TestConfigHashFollowsTemplateAndMaterial(t *testing.T) {
	hash := func(change func(*v1alpha1.Peer, *NodeInputs)) string {
		p, in := peer(), inputs()
		change(p, &in)
		return NodeOfPeer(p).Deployment(in).Spec.Template.Annotations[v1alpha1.AnnotationConfigHash]
	}
	same := hash(func(*v1alpha1.Peer, *NodeInputs) {})
	for name, c := range map[string]struct {
		change func(*v1alpha1.Peer, *NodeInputs)
		equal  bool
	}{
		"nothing":      {func(*v1alpha1.Peer, *NodeInputs) {}, true},
		"order of MSP": {func(_ *v1alpha1.Peer, in *NodeInputs) { slices.Reverse(in.MSPKeys) }, true},
		"size":         {func(p *v1alpha1.Peer, _ *NodeInputs) { p.Spec.Storage.Size = ptr.To(resource.MustParse("9Gi")) }, true},
		"version":      {func(p *v1alpha1.Peer, _ *NodeInputs) { p.Spec.Version = "3.1.6" }, false},
		"logging":      {func(p *v1alpha1.Peer, _ *NodeInputs) { p.Spec.Logging = "debug" }, false},
		"certificate":  {func(_ *v1alpha1.Peer, in *NodeInputs) { in.Material = "n" }, false},
		"LevelDB":      {func(p *v1alpha1.Peer, _ *NodeInputs) { p.Spec.StateDatabase = v1alpha1.StateLevelDB }, true},
		"CouchDB":      {func(p *v1alpha1.Peer, _ *NodeInputs) { p.Spec.StateDatabase = v1alpha1.StateCouchDB }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hash(c.change) == same; got != c.equal {
				t.Errorf("same hash: %t, want %t", got, c.equal)
			}
		})
	}
}

func TestMSPMaterialRoundTrip(t *testing.T) {
	want := material()
	id, got, err := MSPMaterial(MSPConfigMapFor(organization(), want, nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" || id != "BankAMSP" {
		t.Errorf("MSP ID %q, material (-want +got):\n%s", id, diff)
	}
	if _, _, err := MSPMaterial(&corev1.ConfigMap{}); err == nil {
		t.Error("an empty ConfigMap was read as MSP material")
	}
}

func TestMSPHashFollowsContent(t *testing.T) {
	a := MSPConfigMapFor(organization(), material(), nil)
	changed := material()
	changed.CRLs = [][]byte{pemBlock("Y3Js")}
	b := MSPConfigMapFor(organization(), changed, nil)
	if MSPHash(a) == MSPHash(b) || MSPHash(a) != MSPHash(a.DeepCopy()) {
		t.Error("the hash does not tell the content apart")
	}
}

func TestTolerance(t *testing.T) {
	for name, c := range map[string]struct {
		consensus v1alpha1.Consensus
		n, want   int
	}{
		"raft 1": {v1alpha1.ConsensusRaft, 1, 0}, "raft 3": {v1alpha1.ConsensusRaft, 3, 1}, "raft 4": {v1alpha1.ConsensusRaft, 4, 1},
		"raft 5": {v1alpha1.ConsensusRaft, 5, 2}, "bft 4": {v1alpha1.ConsensusBFT, 4, 1}, "bft 7": {v1alpha1.ConsensusBFT, 7, 2},
		"none": {v1alpha1.ConsensusRaft, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Tolerance(c.consensus, c.n); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

// TestEveryPodIsRestricted holds the rules of Pod Security against every template.
func TestEveryPodIsRestricted(t *testing.T) {
	for name, d := range map[string]*appsv1.Deployment{
		"peer": NodeOfPeer(peer()).Deployment(inputs()), "orderer": NodeOfOrderer(orderer()).Deployment(inputs()),
		"ca": CAOf(organization()).Deployment("m"), "peer with CouchDB": NodeOfPeer(couchDBPeer()).Deployment(inputs()),
	} {
		t.Run(name, func(t *testing.T) {
			spec := d.Spec.Template.Spec
			if !*spec.SecurityContext.RunAsNonRoot || spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
				t.Error("the pod may run as root or without seccomp")
			}
			if *spec.AutomountServiceAccountToken || *spec.EnableServiceLinks {
				t.Error("the pod gets a token or service links")
			}
			for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
				s := c.SecurityContext
				if s.RunAsUser != nil && *s.RunAsUser == 0 {
					t.Errorf("container %s runs as root", c.Name)
				}
				if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 {
					t.Errorf("container %s is not restricted", c.Name)
				}
			}
		})
	}
}

// TestNoSecretIsMountedByOthers: a pod reads its own Secrets, and issuers only where they sign.
func TestNoSecretIsMountedByOthers(t *testing.T) {
	for name, c := range map[string]struct {
		deployment *appsv1.Deployment
		want       []string
	}{
		"peer":    {NodeOfPeer(peer()).Deployment(inputs()), []string{"peer0-banka"}},
		"orderer": {NodeOfOrderer(orderer()).Deployment(inputs()), []string{"orderer0-ord"}},
		"ca":      {CAOf(organization()).Deployment("m"), []string{"banka-app", "banka-ca-tls"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, v := range c.deployment.Spec.Template.Spec.Volumes {
				if v.Secret != nil {
					got = append(got, v.Secret.SecretName)
				}
				if v.Projected == nil {
					continue
				}
				for _, s := range v.Projected.Sources {
					if s.Secret != nil {
						got = append(got, s.Secret.Name)
					}
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.want, slices.Compact(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNoClientsNoPolicy(t *testing.T) {
	n := network()
	n.Spec.ClientNamespaces = nil
	if slices.ContainsFunc(Policies(n, operator), func(p *networkingv1.NetworkPolicy) bool { return p.Name == PolicyClients }) {
		t.Error("a network without client namespaces opens itself to clients")
	}
}

func TestNamesAreUnderstoodByKubernetes(t *testing.T) {
	org := strings.Repeat("o", 24)
	for _, name := range []string{
		PeerName(org, 63), OrdererName(org, 31), CAName(org), RootSecret(org), OpsSecret(org), AppSecret(org),
		AdminSecret(org), CAAdminSecret(org), CATLSSecret(org), MSPConfigMap(org), PeersPDB(org), CouchDBName(PeerName(org, 63)),
	} {
		if len(name) > 63 {
			t.Errorf("%s has %d letters", name, len(name))
		}
	}
	if got := Address(PeerName("banka", 0), "trade", v1alpha1.PortPeer); got != "peer0-banka.trade:7051" {
		t.Errorf("address %s", got)
	}
	if got := NodeOfPeer(peer()).OperationsAddress() + " " + CAOf(organization()).Address(); got != "peer0-banka.trade:9443 ca-banka.trade:7054" {
		t.Errorf("addresses %s", got)
	}
	if got := ChaincodeName("asset") + " " + GenesisConfigMap("demo") + " " + Host("a", "b") + " " + ClientRoleBinding("trade"); got !=
		"cc-asset demo-genesis a.b heddle-operator-trade" {
		t.Errorf("names %s", got)
	}
}
