package cli_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli"
	"heddle.dev/heddle/internal/fabric/msp"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// scriptParams are those of every script that needs a cluster.
func scriptParams(t *testing.T, s *server, dir string) testscript.Params {
	t.Helper()
	return testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code,
			// fixture NETWORK makes a network as the operator would leave it, all Ready.
			"fixture": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(fixture(t.Context(), s.client, args[0]))
			},
			// mode OCTAL FILE checks a file's permissions.
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Stat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
					ts.Fatalf("mode of %s is %s, want %s", args[1], got, args[0])
				}
			},
			// registry FILE writes down how builds are installed.
			"registry": func(ts *testscript.TestScript, _ bool, args []string) {
				text, err := describeBuilds(t.Context(), s.client)
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
			},
			// partner LINK NETWORK makes a partner that offers the network with the channel "shared".
			"partner": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(fixturePartner(t.Context(), s.client, args[0], args[1]))
			},
			// offers LINK NETWORK has the partner offer one more network.
			"offers": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(fixtureOffer(t.Context(), s.client, args[0], args[1]))
			},
			// proposal NETWORK NAME LINK makes a partner's proposal for the channel "deals".
			"proposal": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(fixtureProposal(t.Context(), s.client, args[0], args[1], args[2]))
			},
			// stall NETWORK makes the network stalled.
			"stall": func(ts *testscript.TestScript, _ bool, args []string) {
				n := &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: args[0]}}
				ts.Check(s.client.Get(t.Context(), client.ObjectKeyFromObject(n), n))
				ts.Check(setStatus(t.Context(), s.client, n, stalled("InvalidSpec", "spec.channels[0]: no such thing")))
			},
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("HEDDLE_LAB_DIR", e.WorkDir+"/labs")
			e.Setenv("KUBECONFIG", s.api.Kubeconfig)
			e.Setenv("NET", "cli-"+strings.ToLower(rand.Text()[:8]))
			return nil
		},
	}
}

// TestInstallScripts installs and uninstalls; it runs before the other scripts install for good.
func TestInstallScripts(t *testing.T) {
	testscript.Run(t, scriptParams(t, apiServer(t), "testdata/install"))
}

func TestClusterScripts(t *testing.T) {
	s := apiServer(t)
	code := cli.Run(t.Context(), cli.Options{
		Program: "heddle", Args: []string{"install", "--wait=false", "--kubeconfig", s.api.Kubeconfig}, In: strings.NewReader(""), Out: io.Discard, Err: os.Stderr,
	})
	if code != cli.ExitOK {
		t.Fatalf("install ended with %d", code)
	}
	if err := s.client.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "weak"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "heddle-view"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "weak"}},
	}); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, scriptParams(t, s, "testdata/cluster"))
}

func condition(kind string, status metav1.ConditionStatus, reason, message string, o client.Object) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: o.GetGeneration(), LastTransitionTime: metav1.Now(),
	}
}

type object interface {
	client.Object
	GetConditions() *[]metav1.Condition
	SetObservedGeneration(int64)
}

func ready(o object) {
	*o.GetConditions() = []metav1.Condition{condition("Ready", metav1.ConditionTrue, "Ready", "All is as the spec asks", o)}
}

func stalled(reason, message string) func(object) {
	return func(o object) {
		*o.GetConditions() = []metav1.Condition{
			condition("Ready", metav1.ConditionFalse, reason, message, o),
			condition("Stalled", metav1.ConditionTrue, reason, message, o),
		}
	}
}

// setStatus writes the status as the operator would.
func setStatus(ctx context.Context, c client.Client, o object, change func(object)) error {
	base, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("copy %s", o.GetName())
	}
	change(o)
	o.SetObservedGeneration(o.GetGeneration())
	return c.Status().Patch(ctx, o, client.MergeFrom(base))
}

// fixture makes namespace, objects, certificates and statuses of a network of two organisations.
func fixture(ctx context.Context, c client.Client, name string) error {
	one, four := int32(1), int32(4)
	n := &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Spec.NetworkID = "id-of-" + name
	n.Spec.Organizations = []v1alpha1.NetworkOrganization{
		{Name: "ordering", OrganizationSpec: v1alpha1.OrganizationSpec{MSPID: "OrderingMSP"}, Orderers: &v1alpha1.NetworkOrderers{Count: &four}},
		{Name: "org1", OrganizationSpec: v1alpha1.OrganizationSpec{MSPID: "Org1MSP"}, Peers: &v1alpha1.NetworkPeers{Count: &one}},
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		v1alpha1.LabelNetwork: name, v1alpha1.LabelNetworkID: n.Spec.NetworkID, "pod-security.kubernetes.io/enforce": "restricted",
	}}}
	for _, o := range []client.Object{n, ns} {
		if err := c.Create(ctx, o); err != nil {
			return err
		}
	}
	if err := setStatus(ctx, c, n, func(o object) {
		ready(o)
		n.Status.Orderers, n.Status.Peers, n.Status.Channels = "4/4", "1/1", "1/1"
	}); err != nil {
		return err
	}
	for org, mspID := range map[string]string{"ordering": "OrderingMSP", "org1": "Org1MSP"} {
		if err := fixtureOrganization(ctx, c, name, org, mspID); err != nil {
			return err
		}
	}
	if err := fixtureNodes(ctx, c, name); err != nil {
		return err
	}
	return fixtureChannel(ctx, c, name)
}

func fixtureOrganization(ctx context.Context, c client.Client, network, name, mspID string) error {
	org := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: name}}
	org.Spec.MSPID = mspID
	if err := c.Create(ctx, org); err != nil {
		return err
	}
	days := int32(364)
	if err := setStatus(ctx, c, org, func(o object) {
		ready(o)
		org.Status.Certificates = []v1alpha1.CertificateStatus{{Name: "ops-ca", NotAfter: metav1.NewTime(time.Now().AddDate(1, 0, 0)), DaysLeft: &days}}
	}); err != nil {
		return err
	}
	root, err := issuer(name + "-root")
	if err != nil {
		return err
	}
	tls, err := issuer(name + "-tls")
	if err != nil {
		return err
	}
	material := msp.Material{CACerts: [][]byte{pki.EncodeCerts(root.Cert)}, TLSCACerts: [][]byte{pki.EncodeCerts(tls.Cert)}, NodeOUs: msp.DefaultNodeOUs()}
	admin, err := secret(root, network, specs.AdminSecret(name), pki.RoleAdmin)
	if err != nil {
		return err
	}
	user, err := secret(root, network, "clerk-"+name, pki.RoleClient)
	if err != nil {
		return err
	}
	for _, o := range []client.Object{specs.MSPConfigMapFor(org, material, nil), admin, user} {
		if err := c.Create(ctx, o); err != nil {
			return err
		}
	}
	id := &v1alpha1.Identity{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "clerk-" + name}}
	id.Spec.Organization = name
	if err := c.Create(ctx, id); err != nil {
		return err
	}
	return setStatus(ctx, c, id, func(o object) {
		ready(o)
		id.Status.MSPID, id.Status.SecretName = mspID, id.Name
	})
}

func issuer(name string) (*pki.Issuer, error) {
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	return pki.NewRoot(pki.IssuerRequest{CommonName: name, Key: key, Lifetime: time.Hour, Now: time.Now()})
}

func secret(root *pki.Issuer, namespace, name string, role pki.Role) (*corev1.Secret, error) {
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	cert, err := root.Enrol(pki.EnrolRequest{CommonName: name, Role: role, Public: key.Public(), Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		return nil, err
	}
	text, err := pki.EncodeKey(key)
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string][]byte{specs.KeyCert: pki.EncodeCerts([]*x509.Certificate{cert}...), specs.KeyKey: text},
	}, nil
}

func fixtureNodes(ctx context.Context, c client.Client, network string) error {
	for i := range 4 {
		o := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: specs.OrdererName("ordering", i)}}
		o.Spec.Organization = "ordering"
		if err := c.Create(ctx, o); err != nil {
			return err
		}
		if err := setStatus(ctx, c, o, ready); err != nil {
			return err
		}
	}
	p := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: specs.PeerName("org1", 0)}}
	p.Spec.Organization = "org1"
	if err := c.Create(ctx, p); err != nil {
		return err
	}
	return setStatus(ctx, c, p, func(o object) {
		ready(o)
		p.Status.Address, p.Status.Version = specs.Address(p.Name, network, v1alpha1.PortPeer), "3.1.5"
	})
}

func fixtureChannel(ctx context.Context, c client.Client, network string) error {
	ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "deals"}}
	ch.Spec.ChannelID = "deals.1"
	ch.Spec.Consensus = v1alpha1.ConsensusBFT
	if err := c.Create(ctx, ch); err != nil {
		return err
	}
	if err := setStatus(ctx, c, ch, func(o object) {
		ready(o)
		height, lag, members := int64(7), int64(2), int32(1)
		ch.Status.ChannelID, ch.Status.Height, ch.Status.Members = "deals.1", &height, &members
		for i := range 4 {
			node := v1alpha1.ChannelNode{Name: specs.OrdererName("ordering", i), Role: v1alpha1.RoleConsenter, State: v1alpha1.NodeActive, Height: &height}
			if i == 3 {
				node.State, node.Lag = v1alpha1.NodeCatchingUp, &lag
			}
			ch.Status.Nodes = append(ch.Status.Nodes, node)
		}
	}); err != nil {
		return err
	}
	cc := &v1alpha1.Chaincode{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "deals-asset"}}
	cc.Spec = v1alpha1.ChaincodeSpec{Channel: "deals", ChaincodeName: "asset", Image: "heddle.dev/asset-go:dev"}
	if err := c.Create(ctx, cc); err != nil {
		return err
	}
	return setStatus(ctx, c, cc, ready)
}
