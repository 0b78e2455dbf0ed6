package network_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/network"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

func scheme(s *runtime.Scheme) error {
	return errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s))
}

// start runs the controller of networks alone: what its children become is up to the test.
func start(t *testing.T) *controllertest.Env {
	t.Helper()
	e := controllertest.New(t, scheme)
	mgr, err := ctrl.NewManager(e.Rest, ctrl.Options{
		Scheme:     e.Client.Scheme(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := network.New(network.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"),
		Operator: specs.Operator{Namespace: specs.SystemNamespace, ServiceAccount: specs.OperatorName},
		NewID:    func() string { return "minted-" + controllertest.Name("x") },
	})
	if err := r.Register(mgr); err != nil {
		t.Fatal(err)
	}
	e.Run(t, mgr.Start)
	return e
}

const manifest = `
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: %s}
spec:
  organizations:
  - {name: ord, mspID: OrdMSP, orderers: {count: 3}, ca: {mode: None}}
  - {name: banka, mspID: BankAMSP, peers: {count: 2}}
  channels:
  - name: demo
`

// named fills the manifest with a name of its own and sees to it that nothing is left of it in the end.
func named(t *testing.T, e *controllertest.Env) (string, *v1alpha1.Network) {
	t.Helper()
	name := controllertest.Name("net")
	n := &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: name}}
	t.Cleanup(func() {
		ctx := t.Context()
		_ = e.Client.Delete(ctx, n)
		_ = e.Client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	})
	return name, n
}

func readyIs(e *controllertest.Env, o kube.Object, reason string, says ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := e.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		c := meta.FindStatusCondition(*o.GetConditions(), v1alpha1.ConditionReady)
		if c == nil || c.ObservedGeneration != o.GetGeneration() {
			return errors.New("not reconciled yet")
		}
		if c.Reason != reason {
			return fmt.Errorf("reason is %s (%s), want %s", c.Reason, c.Message, reason)
		}
		return controllertest.Contains(c.Message, says...)
	}
}

// pretend writes Ready into the status of all children, as their controllers would.
func pretend(ctx context.Context, e *controllertest.Env, namespace string) error {
	for _, l := range []client.ObjectList{&v1alpha1.OrganizationList{}, &v1alpha1.OrdererList{}, &v1alpha1.PeerList{}, &v1alpha1.ChannelList{}} {
		if err := e.Client.List(ctx, l, client.InNamespace(namespace)); err != nil {
			return err
		}
		err := kube.EachOf(l, func(o client.Object) error {
			obj, ok := o.(kube.Object)
			if !ok {
				return fmt.Errorf("%T has no conditions", o)
			}
			meta.SetStatusCondition(obj.GetConditions(), metav1.Condition{
				Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady,
				Message: "Ready", ObservedGeneration: obj.GetGeneration(),
			})
			return e.Client.Status().Update(ctx, obj)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func TestNetworkComesUp(t *testing.T) {
	e := start(t)
	name, n := named(t, e)
	e.Apply(t, fmt.Sprintf(manifest, name))
	e.Eventually(t, "the network waits for its children", readyIs(e, n, v1alpha1.ReasonWaitingForDependency))
	if n.Spec.NetworkID == "" || n.Status.NetworkID != n.Spec.NetworkID {
		t.Errorf("networkID in spec %q and status %q: want the same, not empty", n.Spec.NetworkID, n.Status.NetworkID)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	e.Get(t, ns)
	if got := ns.Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		t.Errorf("pod security of the namespace is %q, want restricted", got)
	}
	if len(ns.OwnerReferences) != 0 {
		t.Errorf("the namespace has owners %v: it must outlive the Network", ns.OwnerReferences)
	}
	for _, o := range []client.Object{
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.RoleBindingOperator}},
		&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.PolicyDefaultDeny}},
		&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.OrderersPDB}},
		&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.PeersPDB("banka")}},
		&v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "peer1-banka"}},
		&v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "orderer2-ord"}},
	} {
		e.Eventually(t, o.GetName()+" is made", func(ctx context.Context) error {
			return e.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		})
	}
	e.Eventually(t, "the network is Ready when all children are", func(ctx context.Context) error {
		return errors.Join(pretend(ctx, e, name), readyIs(e, n, v1alpha1.ReasonReady)(ctx))
	})
	if n.Status.Orderers != "3/3" || n.Status.Peers != "2/2" || n.Status.Channels != "1/1" {
		t.Errorf("status counts orderers %s, peers %s, channels %s", n.Status.Orderers, n.Status.Peers, n.Status.Channels)
	}
	ch := &v1alpha1.Channel{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "demo"}}
	e.Get(t, ch)
	if len(ch.Spec.Consenters) != 3 || len(ch.Spec.Organizations) != 1 {
		t.Errorf("the channel names consenters %v and organizations %v: want 3 and 1", ch.Spec.Consenters, ch.Spec.Organizations)
	}
}

func TestEditsReachChildren(t *testing.T) {
	e := start(t)
	name, _ := named(t, e)
	e.Apply(t, fmt.Sprintf(manifest, name))
	peer1 := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "peer1-banka"}}
	e.Eventually(t, "peer1 is made", func(ctx context.Context) error {
		return e.Client.Get(ctx, client.ObjectKeyFromObject(peer1), peer1)
	})
	e.Apply(t, fmt.Sprintf(`
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: %s}
spec:
  fabric: {version: 3.1.4}
  organizations:
  - {name: ord, mspID: OrdMSP, orderers: {count: 5}, ca: {mode: None}}
  - {name: banka, mspID: BankAMSP, peers: {count: 1}}
  - {name: bankb, mspID: BankBMSP, peers: {count: 1}}
  channels:
  - name: demo
  clientNamespaces: [default]
`, name))
	e.Eventually(t, "peer1 goes", func(ctx context.Context) error { return e.Gone(ctx, peer1) })
	for _, p := range []client.Object{
		&v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "peer0-bankb"}},
		&v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "orderer4-ord"}},
		&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.PolicyClients}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: specs.ClientRoleBinding(name)}},
	} {
		e.Eventually(t, p.GetName()+" is made", func(ctx context.Context) error {
			return e.Client.Get(ctx, client.ObjectKeyFromObject(p), p)
		})
	}
	e.Eventually(t, "the version reaches the nodes", func(ctx context.Context) error {
		p := &v1alpha1.Peer{}
		if err := e.Client.Get(ctx, client.ObjectKey{Namespace: name, Name: "peer0-banka"}, p); err != nil {
			return err
		}
		if p.Spec.Version != "3.1.4" {
			return fmt.Errorf("version is %s", p.Spec.Version)
		}
		return nil
	})
	e.Apply(t, fmt.Sprintf(manifest, name))
	for _, o := range []client.Object{
		&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.PolicyClients}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: specs.ClientRoleBinding(name)}},
		&v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "bankb"}},
	} {
		e.Eventually(t, o.GetName()+" goes when the clients and the organization leave", func(ctx context.Context) error { return e.Gone(ctx, o) })
	}
}

func TestDriftIsHealed(t *testing.T) {
	e := start(t)
	name, n := named(t, e)
	e.Apply(t, fmt.Sprintf(manifest, name))
	e.Eventually(t, "the network waits for its children", readyIs(e, n, v1alpha1.ReasonWaitingForDependency))
	for _, o := range []client.Object{
		&networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.PolicyDefaultDeny}},
		&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.OrderersPDB}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.RoleBindingOperator}},
		&v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "peer0-banka"}},
	} {
		e.Eventually(t, o.GetName()+" is there", func(ctx context.Context) error {
			return e.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		})
		was := o.GetUID()
		if err := e.Client.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		e.Eventually(t, o.GetName()+" is made again", func(ctx context.Context) error {
			if err := e.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			if o.GetUID() == was {
				return errors.New("still the old one")
			}
			return nil
		})
	}
	np := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: specs.PolicyDefaultDeny}}
	e.Get(t, np)
	np.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
	np.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{}} // lets everybody in
	if err := e.Client.Update(t.Context(), np); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "a changed policy is put right", func(ctx context.Context) error {
		if err := e.Client.Get(ctx, client.ObjectKeyFromObject(np), np); err != nil {
			return err
		}
		if len(np.Spec.PolicyTypes) != 2 || len(np.Spec.Ingress) != 0 {
			return fmt.Errorf("policy types are %v, ingress rules %v", np.Spec.PolicyTypes, np.Spec.Ingress)
		}
		return nil
	})
}

func TestRefusals(t *testing.T) {
	e := start(t)
	cases := map[string]struct {
		// before is applied first; %s is the network's name.
		before string
		// network is the manifest.
		network string
		reason  string
		says    []string
	}{
		"namespace of somebody else": {
			before:  "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n",
			network: manifest,
			reason:  v1alpha1.ReasonNamespaceTaken,
			says:    []string{"was not made by Heddle", "metadata.name"},
		},
		"retained namespace of another id": {
			before:  "apiVersion: v1\nkind: Namespace\nmetadata: {name: %[1]s, labels: {heddle.dev/network: %[1]s, heddle.dev/network-id: otherotherother}}\n",
			network: manifest + "  networkID: minemineminemine\n",
			reason:  v1alpha1.ReasonNamespaceRetained,
			says:    []string{"otherotherother", "spec.networkID"},
		},
		"retained namespace and no id": {
			before:  "apiVersion: v1\nkind: Namespace\nmetadata: {name: %[1]s, labels: {heddle.dev/network: %[1]s, heddle.dev/network-id: otherotherother}}\n",
			network: manifest,
			reason:  v1alpha1.ReasonNamespaceRetained,
			says:    []string{"otherotherother", "spec.networkID"},
		},
		"own peer beside an inline one": {
			before: "apiVersion: v1\nkind: Namespace\nmetadata: {name: %[1]s, labels: {heddle.dev/network: %[1]s, heddle.dev/network-id: minemineminemine}}\n---\n" +
				"apiVersion: heddle.dev/v1alpha1\nkind: Peer\nmetadata: {name: peer0-banka, namespace: %[1]s}\nspec: {organization: banka}\n",
			network: manifest + "  networkID: minemineminemine\n",
			reason:  v1alpha1.ReasonInvalidOwnership,
			says:    []string{"peer0-banka", "delete or rename"},
		},
	}
	for title, tc := range cases {
		t.Run(title, func(t *testing.T) {
			name, n := named(t, e)
			e.Apply(t, fmt.Sprintf(tc.before, name))
			e.Apply(t, fmt.Sprintf(tc.network, name))
			e.Eventually(t, "the network is refused", readyIs(e, n, tc.reason, tc.says...))
			if !meta.IsStatusConditionTrue(n.Status.Conditions, v1alpha1.ConditionStalled) {
				t.Errorf("Stalled is not True: %v", n.Status.Conditions)
			}
			if tc.reason == v1alpha1.ReasonNamespaceTaken {
				ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
				e.Get(t, ns)
				if len(ns.Labels) != 1 {
					t.Errorf("the namespace of somebody else got labels: %v", ns.Labels)
				}
			}
		})
	}
}

func TestRetentionAndReturn(t *testing.T) {
	e := start(t)
	name, n := named(t, e)
	withID := fmt.Sprintf(manifest, name) + "  networkID: keepkeepkeepkeep\n"
	e.Apply(t, withID)
	e.Eventually(t, "the network waits for its children", readyIs(e, n, v1alpha1.ReasonWaitingForDependency))
	labels := map[string]string{v1alpha1.LabelNetwork: name, v1alpha1.LabelNetworkID: "keepkeepkeepkeep"}
	data := []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "banka-root", Labels: labels}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "demo-genesis", Labels: labels}},
	}
	for _, o := range data {
		if err := e.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Client.Delete(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the Network is gone", func(ctx context.Context) error { return e.Gone(ctx, n) })
	for _, o := range append(data, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}) {
		e.Get(t, o)
		if o.GetLabels()[v1alpha1.LabelRetained] != "true" {
			t.Errorf("%T %q is not labelled retained: %v", o, o.GetName(), o.GetLabels())
		}
	}
	if err := e.Client.Get(t.Context(), client.ObjectKey{Namespace: name, Name: "peer0-banka"}, &v1alpha1.Peer{}); !apierrors.IsNotFound(err) {
		t.Errorf("the peer is still there: %v", err)
	}
	e.Apply(t, withID)
	e.Eventually(t, "the network comes back", readyIs(e, n, v1alpha1.ReasonWaitingForDependency))
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	e.Eventually(t, "the namespace is no longer labelled retained", func(ctx context.Context) error {
		if err := e.Client.Get(ctx, client.ObjectKeyFromObject(ns), ns); err != nil {
			return err
		}
		if ns.Labels[v1alpha1.LabelRetained] != "" {
			return errors.New("still labelled")
		}
		return nil
	})
}

func TestObjectsMadeByHandGoWithTheNetwork(t *testing.T) {
	e := start(t)
	name, n := named(t, e)
	e.Apply(t, fmt.Sprintf(manifest, name))
	e.Eventually(t, "the network waits for its children", readyIs(e, n, v1alpha1.ReasonWaitingForDependency))
	own := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "peer9-banka", Finalizers: []string{"test.heddle.dev/hold"}}}
	own.Spec.Organization = "banka"
	if err := e.Client.Create(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	if err := e.Client.Delete(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the peer made by hand is all that is left", func(ctx context.Context) error {
		var peers v1alpha1.PeerList
		if err := e.Client.List(ctx, &peers, client.InNamespace(name)); err != nil {
			return err
		}
		if len(peers.Items) != 1 || peers.Items[0].DeletionTimestamp.IsZero() {
			return fmt.Errorf("there are %d peers", len(peers.Items))
		}
		return readyIs(e, n, v1alpha1.ReasonDeleting, own.Name)(ctx)
	})
	e.Get(t, own)
	own.Finalizers = nil
	if err := e.Client.Update(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the Network is gone", func(ctx context.Context) error { return e.Gone(ctx, n) })
}

// TestObjectsMadeByHandCount: a network is as ready as all that stands in it, and hears of what it does not own.
func TestObjectsMadeByHandCount(t *testing.T) {
	e := start(t)
	name, n := named(t, e)
	e.Apply(t, fmt.Sprintf(manifest, name))
	e.Eventually(t, "the network is Ready", func(ctx context.Context) error {
		return errors.Join(pretend(ctx, e, name), readyIs(e, n, v1alpha1.ReasonReady)(ctx))
	})
	own := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "peer9-banka"}}
	own.Spec.Organization = "banka"
	if err := e.Client.Create(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the network waits for the peer made by hand", readyIs(e, n, v1alpha1.ReasonWaitingForDependency, own.Name))
	e.Eventually(t, "the network is Ready again", func(ctx context.Context) error {
		return errors.Join(pretend(ctx, e, name), readyIs(e, n, v1alpha1.ReasonReady)(ctx))
	})
}

func TestPausedNetworkIsLeftAlone(t *testing.T) {
	e := start(t)
	name, n := named(t, e)
	e.Apply(t, fmt.Sprintf(`
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: %s, annotations: {heddle.dev/paused: "moving house"}}
spec:
  organizations:
  - {name: ord, mspID: OrdMSP, orderers: {count: 1}}
`, name))
	e.Eventually(t, "the network says that it is paused", readyIs(e, n, v1alpha1.ReasonPaused, "moving house"))
	if err := e.Client.Get(t.Context(), client.ObjectKey{Name: name}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
		t.Errorf("a paused network got a namespace: %v", err)
	}
}
