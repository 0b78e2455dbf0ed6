package chaincode_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/chaincode"
	"heddle.dev/heddle/internal/controller/channel"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/podless"
)

// run starts the controllers of channels and contracts alone, for one namespace, within the test's process.
func run(t *testing.T, env *controllertest.Env, n *podless.Namespace) {
	t.Helper()
	mgr := podless.Manager(t, env.Rest, env.Client.Scheme(), n.Name)
	nodes := access.New(access.Options{Reader: mgr.GetClient(), Dial: n.Dial})
	channels := channel.New(channel.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"), Nodes: nodes, Namespaced: true,
	})
	contracts := chaincode.New(chaincode.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"), Nodes: nodes,
	})
	if err := errors.Join(channels.Register(mgr), contracts.Register(mgr)); err != nil {
		t.Fatal(err)
	}
	env.Run(t, mgr.Start)
}

func TestLifeOfAContract(t *testing.T) {
	env := controllertest.New(t, operator.AddToScheme)
	n := podless.New(t, env.Client, controllertest.Name("trade"))
	program := bare.BuildContract(t)
	run(t, env, n)
	ch := &v1alpha1.Channel{ObjectMeta: n.Meta("demo"), Spec: v1alpha1.ChannelSpec{Consensus: v1alpha1.ConsensusRaft}}
	cc := &v1alpha1.Chaincode{ObjectMeta: n.Meta("asset"), Spec: v1alpha1.ChaincodeSpec{
		Channel: "demo", ChaincodeName: "asset", Image: "registry.local/asset:1", EndorsementPolicy: "OR('BankaMSP.peer','BankbMSP.peer')",
	}}
	begun := time.Now()
	for _, obj := range []client.Object{ch, cc} {
		if err := env.Client.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	n.AddOrg("ord", "OrdMSP")
	n.AddOrg("banka", "BankaMSP")
	n.AddOrg("bankb", "BankbMSP")
	n.AddOrderer("orderer0-ord", "ord")
	n.AddPeer("peer0-banka", "banka")
	n.AddPeer("peer0-bankb", "bankb")
	applied(t, env, n, cc)
	committed(t, env, cc, 1, "1.0")
	t.Logf("committed after %s", time.Since(begun))
	n.RunContract("asset", program, cc.Status.PackageID)
	submit(t, env, n, "a1")
	knowsItsPeers(t, env, n, "asset")

	t.Run("the same again changes nothing", func(t *testing.T) {
		touch(t, env, cc, func() { cc.Annotations = map[string]string{"example.com/touched": "yes"} })
		committed(t, env, cc, 1, "1.0")
	})
	t.Run("another version and policy make the next sequence", func(t *testing.T) {
		touch(t, env, cc, func() { cc.Spec.Version, cc.Spec.EndorsementPolicy = "2.0", "" })
		committed(t, env, cc, 2, "2.0")
		submit(t, env, n, "a2")
	})
	t.Run("a new peer and a new organisation take it over", func(t *testing.T) {
		n.AddPeer("peer1-banka", "banka")
		n.AddOrg("bankc", "BankcMSP")
		n.AddPeer("peer0-bankc", "bankc")
		env.Eventually(t, "all peers have the package", func(ctx context.Context) error {
			if err := env.Client.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
				return err
			}
			want := map[string]string{"BankaMSP": "2/2", "BankbMSP": "1/1", "BankcMSP": "1/1"}
			for _, o := range cc.Status.Organizations {
				if want[o.MSPID] != o.Installed || o.Approval != v1alpha1.ApprovalApproved {
					return fmt.Errorf("%+v", o)
				}
				delete(want, o.MSPID)
			}
			if len(want) > 0 {
				return fmt.Errorf("missing: %v", want)
			}
			return nil
		})
		committed(t, env, cc, 2, "2.0")
	})
	t.Run("a policy that cannot be read is refused", func(t *testing.T) {
		bad := &v1alpha1.Chaincode{ObjectMeta: n.Meta("bad"), Spec: v1alpha1.ChaincodeSpec{
			Channel: "demo", ChaincodeName: "bad", Image: "registry.local/bad:1", EndorsementPolicy: "AND('BankaMSP.peer'",
		}}
		stalled(t, env, bad, "endorsementPolicy")
	})
	t.Run("a second object for the same contract is refused", func(t *testing.T) {
		again := &v1alpha1.Chaincode{ObjectMeta: n.Meta("zz"), Spec: v1alpha1.ChaincodeSpec{
			Channel: "demo", ChaincodeName: "asset", Image: "registry.local/asset:1",
		}}
		stalled(t, env, again, `"asset" stands for contract`)
	})
}

// applied looks at the objects that run the contract. Whether a pod comes of them is up to the API server's cluster.
func applied(t *testing.T, env *controllertest.Env, n *podless.Namespace, cc *v1alpha1.Chaincode) {
	t.Helper()
	at := metav1.ObjectMeta{Namespace: n.Name, Name: specs.ChaincodeName(cc.Name)}
	d := &appsv1.Deployment{ObjectMeta: at}
	env.Eventually(t, "the contract's Deployment is there", func(ctx context.Context) error {
		return env.Client.Get(ctx, client.ObjectKeyFromObject(d), d)
	})
	if got := d.Spec.Template.Spec.Containers[0].Image; got != cc.Spec.Image {
		t.Errorf("image %q", got)
	}
	env.Get(t, &corev1.Service{ObjectMeta: at})
}

// committed waits until the contract stands on the channel and is approved by all: then only its pod is waited for.
func committed(t *testing.T, env *controllertest.Env, cc *v1alpha1.Chaincode, sequence int64, version string) {
	t.Helper()
	env.Eventually(t, "the contract is committed", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
			return err
		}
		c := meta.FindStatusCondition(cc.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.ObservedGeneration != cc.Generation || c.Status != metav1.ConditionTrue && c.Reason != v1alpha1.ReasonWaitingForPod {
			return fmt.Errorf("ready: %+v", c)
		}
		for _, o := range cc.Status.Organizations {
			if o.Approval != v1alpha1.ApprovalApproved {
				return fmt.Errorf("%+v", o)
			}
		}
		if cc.Status.Sequence == nil {
			return errors.New("no sequence")
		}
		return nil
	})
	if *cc.Status.Sequence != sequence || cc.Status.CommittedVersion != version {
		t.Errorf("sequence %d, version %q; want %d, %q", *cc.Status.Sequence, cc.Status.CommittedVersion, sequence, version)
	}
}

func touch(t *testing.T, env *controllertest.Env, cc *v1alpha1.Chaincode, f func()) {
	t.Helper()
	env.Eventually(t, "the change is taken", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
			return err
		}
		f()
		return env.Client.Update(ctx, cc)
	})
}

func stalled(t *testing.T, env *controllertest.Env, cc *v1alpha1.Chaincode, part string) {
	t.Helper()
	if err := env.Client.Create(t.Context(), cc); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "it is refused", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(cc), cc); err != nil {
			return err
		}
		for _, c := range cc.Status.Conditions {
			if c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue {
				return controllertest.Contains(c.Message, part)
			}
		}
		return errors.New("not stalled")
	})
}

// knowsItsPeers: the contract talks to whom a peer's certificate is shown, in TLS 1.3, and to nobody else.
func knowsItsPeers(t *testing.T, env *controllertest.Env, n *podless.Namespace, contract string) {
	t.Helper()
	var peer corev1.Secret
	if err := env.Client.Get(t.Context(), client.ObjectKey{Namespace: n.Name, Name: "peer0-bankb"}, &peer); err != nil {
		t.Fatal(err)
	}
	own, err := tls.X509KeyPair(peer.Data[specs.KeyNodeTLSCert], peer.Data[specs.KeyNodeTLSKey])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(n.Orgs["banka"].TLSRoots())
	for name, c := range map[string]struct {
		show    []tls.Certificate
		answers bool
	}{"a peer": {[]tls.Certificate{own}, true}, "a stranger": {nil, false}} {
		host := specs.Host(specs.ChaincodeName(contract), n.Name)
		plain, err := n.Dial(t.Context(), "tcp", host+":9999")
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		conn := tls.Client(plain, &tls.Config{
			RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Certificates: c.show,
		})
		err = conn.HandshakeContext(t.Context())
		if err == nil {
			// A client learns only by reading whether it was let in; a gRPC server speaks first.
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err = conn.Read(make([]byte, 1))
		}
		if (err == nil) != c.answers || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// submit makes a transaction as an application would.
func submit(t *testing.T, env *controllertest.Env, n *podless.Namespace, id string) {
	t.Helper()
	org := n.Orgs["banka"]
	leaf, err := org.Issue("app", pki.RoleClient)
	if err != nil {
		t.Fatal(err)
	}
	who, err := identity.New(org.MSPID, leaf.Sign, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := admin.Target{Address: specs.Address("peer0-banka", n.Name, v1alpha1.PortPeer), Roots: org.TLSRoots(), DialContext: n.Dial}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	gw, err := gateway.New(conn, who)
	if err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "a transaction is committed", func(ctx context.Context) error {
		_, err := gw.Submit(ctx, gateway.Call{Channel: "demo", Contract: "asset", Function: "Create", Args: [][]byte{[]byte(id), []byte("alice"), []byte("5")}})
		return err
	})
}
