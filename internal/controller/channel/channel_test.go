package channel_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/channel"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/podless"
)

// run starts this controller alone, for one namespace, within the test's process.
func run(t *testing.T, env *controllertest.Env, n *podless.Namespace) {
	t.Helper()
	mgr := podless.Manager(t, env.Rest, env.Client.Scheme(), n.Name)
	r := channel.New(channel.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"), Namespaced: true,
		Nodes: access.New(access.Options{Reader: mgr.GetClient(), Dial: n.Dial}),
	})
	if err := r.Register(mgr); err != nil {
		t.Fatal(err)
	}
	env.Run(t, mgr.Start)
}

func network(t *testing.T, env *controllertest.Env, orderers int) *podless.Namespace {
	t.Helper()
	n := podless.New(t, env.Client, controllertest.Name("trade"))
	n.AddOrg("ord", "OrdMSP")
	n.AddOrg("banka", "BankaMSP")
	n.AddOrg("bankb", "BankbMSP")
	for i := range orderers {
		n.AddOrderer(fmt.Sprintf("orderer%d-ord", i), "ord")
	}
	n.AddPeer("peer0-banka", "banka")
	n.AddPeer("peer0-bankb", "bankb")
	return n
}

func newChannel(n *podless.Namespace, consensus v1alpha1.Consensus) *v1alpha1.Channel {
	return &v1alpha1.Channel{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.Name, Name: "demo"},
		Spec:       v1alpha1.ChannelSpec{Consensus: consensus},
	}
}

// ready waits until a channel is Ready and check is content.
func ready(t *testing.T, env *controllertest.Env, ch *v1alpha1.Channel, what string, check func() error) {
	t.Helper()
	last := ""
	defer func() {
		if t.Failed() {
			t.Logf("last: %s; %+v", last, ch.Status.Nodes)
		}
	}()
	env.Eventually(t, what, func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
			return err
		}
		if !kube.IsReady(ch) {
			last = kube.ReadyMessage(ch)
			return fmt.Errorf("not ready: %s", last)
		}
		if check == nil {
			return nil
		}
		return check()
	})
}

func TestRaft(t *testing.T) {
	env := controllertest.New(t, operator.AddToScheme)
	n := network(t, env, 3)
	run(t, env, n)
	ch := newChannel(n, v1alpha1.ConsensusRaft)
	if err := env.Client.Create(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	ready(t, env, ch, "channel is ready", nil)
	t.Logf("ready in %s", time.Since(begun))
	if got := len(ch.Status.Consenters); got != 3 {
		t.Errorf("%d consenters, want 3", got)
	}
	if got := len(ch.Status.Nodes); got != 5 {
		t.Errorf("%d nodes, want 5: %+v", got, ch.Status.Nodes)
	}
	genesis := ch.Status.GenesisHash

	t.Run("a changed batch makes one update", func(t *testing.T) {
		before := *ch.Status.ConfigSequence
		change(t, env, ch, func() { ch.Spec.Batch.MaxMessageCount, ch.Spec.Batch.TimeoutMilliseconds = 77, 150 })
		ready(t, env, ch, "batch is changed", func() error {
			if ch.Status.AppliedGeneration != ch.Generation {
				return errors.New("not applied")
			}
			return nil
		})
		if got := *ch.Status.ConfigSequence; got != before+1 {
			t.Errorf("sequence %d, want %d", got, before+1)
		}
	})

	t.Run("the lost genesis block comes back from the ledger", func(t *testing.T) {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: n.Name, Name: "demo-genesis"}}
		if err := env.Client.Delete(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
		env.Eventually(t, "the genesis block is back", func(ctx context.Context) error {
			return env.Client.Get(ctx, client.ObjectKeyFromObject(cm), cm)
		})
		ready(t, env, ch, "channel is ready again", nil)
		if ch.Status.GenesisHash != genesis {
			t.Errorf("genesis hash %s, want %s", ch.Status.GenesisHash, genesis)
		}
	})

	t.Run("a new peer and a new organisation join", func(t *testing.T) {
		n.AddPeer("peer1-banka", "banka")
		n.AddOrg("bankc", "BankcMSP")
		n.AddPeer("peer0-bankc", "bankc")
		ready(t, env, ch, "peers have joined", func() error {
			return active(ch, "peer1-banka", "peer0-bankc")
		})
		if *ch.Status.Members != 3 {
			t.Errorf("%d members, want 3", *ch.Status.Members)
		}
	})

	t.Run("a renewed certificate is pinned", func(t *testing.T) {
		before := *ch.Status.ConfigSequence
		n.Renew(t.Context(), "orderer1-ord")
		o := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Namespace: n.Name, Name: "orderer1-ord"}}
		env.Get(t, o)
		o.Status.Certificates = []v1alpha1.CertificateStatus{{Name: "tls", NotAfter: metav1.Now()}}
		if err := env.Client.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		ready(t, env, ch, "the update is made", func() error {
			if got := *ch.Status.ConfigSequence; got != before+1 {
				return fmt.Errorf("sequence %d, want %d", got, before+1)
			}
			return nil
		})
	})

	t.Run("what others change stays and is shown", func(t *testing.T) {
		elsewhere(t, n, func(c *channelconfig.Channel) { c.Batch.MaxMessages = 9 })
		diverged(t, env, ch, metav1.ConditionTrue, "batch.maxMessageCount", `"9" on the ledger`)
		change(t, env, ch, func() { ch.Spec.Batch.TimeoutMilliseconds = 140 })
		ready(t, env, ch, "our own change", func() error {
			if ch.Status.AppliedGeneration != ch.Generation {
				return errors.New("not applied")
			}
			return nil
		})
		diverged(t, env, ch, metav1.ConditionTrue, "batch.maxMessageCount")
		change(t, env, ch, func() { ch.Annotations = map[string]string{v1alpha1.AnnotationAdopt: "true"} })
		diverged(t, env, ch, metav1.ConditionFalse)
		env.Eventually(t, "the annotation is gone", func(ctx context.Context) error {
			if err := env.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
				return err
			}
			if len(ch.Annotations) > 0 {
				return fmt.Errorf("%v", ch.Annotations)
			}
			return nil
		})
	})

	t.Run("two orderers are added, one per update", func(t *testing.T) {
		before := *ch.Status.ConfigSequence
		n.AddOrderer("orderer3-ord", "ord")
		n.AddOrderer("orderer4-ord", "ord")
		ready(t, env, ch, "5 consenters", func() error {
			if len(ch.Status.Consenters) != 5 {
				return fmt.Errorf("consenters: %v", ch.Status.Consenters)
			}
			return active(ch, "orderer3-ord", "orderer4-ord")
		})
		if got := *ch.Status.ConfigSequence; got != before+2 {
			t.Errorf("sequence %d, want %d", got, before+2)
		}
	})

	t.Run("and taken away again", func(t *testing.T) {
		change(t, env, ch, func() { ch.Spec.Consenters = []string{"orderer0-ord", "orderer1-ord", "orderer2-ord"} })
		ready(t, env, ch, "3 consenters", func() error {
			if len(ch.Status.Consenters) != 3 || len(ch.Status.Nodes) != 7 {
				return fmt.Errorf("consenters: %v, nodes: %v", ch.Status.Consenters, ch.Status.Nodes)
			}
			return nil
		})
	})
}

func TestBFT(t *testing.T) {
	bare.RequireReal(t)
	env := controllertest.New(t, operator.AddToScheme)
	n := network(t, env, 4)
	run(t, env, n)
	ch := newChannel(n, v1alpha1.ConsensusBFT)
	if err := env.Client.Create(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	ready(t, env, ch, "channel is ready", nil)
	if got := len(ch.Status.Consenters); got != 4 {
		t.Errorf("%d consenters, want 4", got)
	}
	t.Run("a fourth may not go", func(t *testing.T) {
		o := &v1alpha1.Orderer{ObjectMeta: metav1.ObjectMeta{Namespace: n.Name, Name: "orderer3-ord"}}
		if err := env.Client.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		env.Eventually(t, "it is refused", func(ctx context.Context) error {
			if err := env.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
				return err
			}
			c := meta.FindStatusCondition(ch.Status.Conditions, v1alpha1.ConditionStalled)
			if c == nil || c.Reason != v1alpha1.ReasonUnsafeChange {
				return fmt.Errorf("stalled: %+v", c)
			}
			return nil
		})
		if got := len(ch.Status.Consenters); got != 4 {
			t.Errorf("%d consenters, want 4", got)
		}
	})
}

// TestUnknownNames: a channel is not made with less than its spec names, and says which field names what.
func TestUnknownNames(t *testing.T) {
	env := controllertest.New(t, operator.AddToScheme)
	n := network(t, env, 1)
	run(t, env, n)
	ch := newChannel(n, v1alpha1.ConsensusRaft)
	ch.Spec.Organizations, ch.Spec.Consenters = []string{"banka", "bankx"}, []string{"orderer9-ord"}
	if err := env.Client.Create(t.Context(), ch); err != nil {
		t.Fatal(err)
	}
	env.Eventually(t, "what is missing is told", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
			return err
		}
		return controllertest.Contains(kube.ReadyMessage(ch), "bankx", "spec.organizations", "orderer9-ord", "spec.consenters")
	})
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: n.Name, Name: "demo-genesis"}}
	if err := env.Gone(t.Context(), cm); err != nil {
		t.Error(err)
	}
}

// elsewhere changes the channel as an administrator would from outside.
func elsewhere(t *testing.T, n *podless.Namespace, f func(*channelconfig.Channel)) {
	t.Helper()
	ord := n.Orgs["ord"]
	conn, err := admin.Target{Address: "orderer0-ord." + n.Name + ":7050", Roots: ord.TLSRoots(), DialContext: n.Dial}.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	orderer := admin.NewOrderer(conn, n.Admin("ord"), time.Now)
	block, err := orderer.ConfigBlock(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	config, err := channelconfig.Read(block)
	if err != nil {
		t.Fatal(err)
	}
	wish := config.Channel.Clone()
	f(&wish)
	up, err := config.Update(wish)
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Sign(n.Admin("ord")); err != nil {
		t.Fatal(err)
	}
	envelope, err := up.Envelope(n.Admin("ord"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := orderer.Broadcast(t.Context(), envelope); err != nil {
		t.Fatal(err)
	}
}

func diverged(t *testing.T, env *controllertest.Env, ch *v1alpha1.Channel, want metav1.ConditionStatus, parts ...string) {
	t.Helper()
	env.Eventually(t, "Diverged is "+string(want), func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
			return err
		}
		c := meta.FindStatusCondition(ch.Status.Conditions, v1alpha1.ConditionDiverged)
		if c == nil || c.Status != want {
			return fmt.Errorf("diverged: %+v", c)
		}
		return controllertest.Contains(c.Message, parts...)
	})
}

func change(t *testing.T, env *controllertest.Env, ch *v1alpha1.Channel, f func()) {
	t.Helper()
	env.Eventually(t, "the change is taken", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(ch), ch); err != nil {
			return err
		}
		f()
		return env.Client.Update(ctx, ch)
	})
}

func active(ch *v1alpha1.Channel, names ...string) error {
	for _, name := range names {
		i := slices.IndexFunc(ch.Status.Nodes, func(n v1alpha1.ChannelNode) bool { return n.Name == name })
		if i < 0 || ch.Status.Nodes[i].State != v1alpha1.NodeActive {
			return fmt.Errorf("%s is not active: %+v", name, ch.Status.Nodes)
		}
	}
	return nil
}
