package sitelink_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/cli"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/apiserver"
	"heddle.dev/heddle/test/linktest"
)

// patience is far longer than anything takes.
const patience = 90 * time.Second

// site is one cluster: an API server of its own with the whole operator, behind a public port.
type site struct {
	client.Client
	api  *apiserver.Server
	gate *linktest.Gate
	// ahead is how far the operator's clock is.
	ahead time.Duration
}

// servers are the API servers of the tests, each with the CRDs installed; a site is the whole cluster, so that no test of
// another package may use them.
var servers struct {
	mu  sync.Mutex
	all []*apiserver.Server
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range servers.all {
		s.Stop()
	}
	os.Exit(code)
}

func server(t *testing.T, n int) *apiserver.Server {
	t.Helper()
	kube := apiserver.Program("../../../out/bin")
	if kube == "" {
		t.Skip("needs an API server: build the program kube ('make images') or name its folder in HEDDLE_LIBEXEC")
	}
	servers.mu.Lock()
	defer servers.mu.Unlock()
	for len(servers.all) <= n {
		s, err := apiserver.Start(context.WithoutCancel(t.Context()), kube)
		servers.all = append(servers.all, s)
		if err != nil {
			t.Fatal(err)
		}
		code := cli.Run(t.Context(), cli.Options{
			Program: "heddle", Args: []string{"install", "--wait=false", "--kubeconfig", s.Kubeconfig}, In: strings.NewReader(""), Out: io.Discard, Err: os.Stderr,
		})
		if code != cli.ExitOK {
			t.Fatalf("install ended with %d", code)
		}
	}
	return servers.all[n]
}

// newCluster runs an operator in a cluster, the n-th, for one test. Its public port knows the names of the site id.
func newCluster(t *testing.T, n int, id string) *site { return newClusterAt(t, n, id, 0) }

// newClusterAt is one whose operator's clock is ahead by so much.
func newClusterAt(t *testing.T, n int, id string, ahead time.Duration) *site {
	t.Helper()
	s := &site{api: server(t, n), ahead: ahead}
	scheme := runtime.NewScheme()
	if err := operator.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.Client, err = client.New(s.api.Config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	join, api := address(t), address(t)
	s.gate = linktest.NewGate(t, func(sni string) string {
		switch {
		case sni == link.JoinName(id):
			return join
		case strings.HasPrefix(sni, "api.") && strings.HasSuffix(sni, "."+id):
			return api
		}
		return ""
	})
	t.Cleanup(func() { s.clean(t) })
	s.run(t, join, api)
	return s
}

// newSite is a cluster that is set up as a site.
func newSite(t *testing.T, n int, id string) *site { return newSiteAt(t, n, id, 0) }

func newSiteAt(t *testing.T, n int, id string, ahead time.Duration) *site {
	t.Helper()
	s := newClusterAt(t, n, id, ahead)
	s.make(t, &v1alpha1.Site{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName},
		Spec:       v1alpha1.SiteSpec{SiteID: id, DisplayName: "Site " + id, Endpoints: []string{s.gate.Address()}},
	})
	s.eventually(t, "the site has a CA", func() error {
		local := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName}}
		s.get(t, local)
		if local.Status.Pin == "" {
			return fmt.Errorf("%+v", local.Status.Conditions)
		}
		return nil
	})
	return s
}

// run runs the operator until the test ends.
func (s *site) run(t *testing.T, join, api string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() {
		done <- operator.Run(ctx, operator.Config{
			Rest: s.api.Config, BuilderImage: "none", MetricsAddress: "0", HealthAddress: "0", JoinAddress: join, SiteAddress: api,
			Links: specs.LinkSettings{Image: "none", DNS: []string{"10.96.0.10"}, Domain: "cluster.local"}, CAOverlap: 3 * time.Second,
			CASettle: time.Second, Now: func() time.Time { return time.Now().Add(s.ahead) },
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the operator ended with: %v", err)
		}
	})
}

// clean takes away what a test left; the operator does not run any more.
func (s *site) clean(t *testing.T) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer stop()
	for _, kind := range []client.Object{&v1alpha1.SiteLink{}, &v1alpha1.SiteInvite{}, &v1alpha1.Site{}, &corev1.Secret{}} {
		_ = s.DeleteAllOf(ctx, kind, client.InNamespace(specs.SystemNamespace))
	}
	for _, list := range []client.ObjectList{&v1alpha1.SiteLinkList{}, &v1alpha1.SiteList{}} {
		_ = s.List(ctx, list)
		_ = meta.EachListItem(list, func(o runtime.Object) error {
			if o, ok := o.(client.Object); ok {
				_ = s.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
			}
			return nil
		})
	}
}

func address(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *site) make(t *testing.T, o client.Object) {
	t.Helper()
	if err := s.Create(t.Context(), o); err != nil {
		t.Fatalf("create %T %q: %v", o, o.GetName(), err)
	}
}

func (s *site) get(t *testing.T, o client.Object) {
	t.Helper()
	if err := s.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
		t.Fatalf("get %T %q: %v", o, o.GetName(), err)
	}
}

func (s *site) eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *site) link(t *testing.T, name string) *v1alpha1.SiteLink {
	t.Helper()
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.get(t, l)
	return l
}

// change changes a SiteLink as a person would.
func (s *site) change(t *testing.T, name string, f func(*v1alpha1.SiteLink)) {
	t.Helper()
	l := s.link(t, name)
	base := l.DeepCopy()
	f(l)
	if err := s.Patch(t.Context(), l, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
}

func (s *site) await(t *testing.T, name string, state v1alpha1.SiteLinkState) *v1alpha1.SiteLink {
	t.Helper()
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.eventually(t, name+" is "+string(state), func() error {
		if err := s.Get(t.Context(), client.ObjectKeyFromObject(l), l); err != nil {
			return err
		}
		if l.Status.State != state {
			return fmt.Errorf("it is %q: %+v", l.Status.State, l.Status.Conditions)
		}
		return nil
	})
	return l
}

// invite makes an invitation and the token for it, as the command does.
func (s *site) invite(t *testing.T, name string) link.Token {
	t.Helper()
	local := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName}}
	s.get(t, local)
	code, expires := link.NewCode(), time.Now().Add(time.Hour)
	s.make(t, &v1alpha1.SiteInvite{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.SiteInviteSpec{CodeHash: link.HashCode(code), ExpiresAt: ptr.To(metav1.NewTime(expires))},
	})
	s.eventually(t, "the invitation is open", func() error {
		i := &v1alpha1.SiteInvite{ObjectMeta: metav1.ObjectMeta{Name: name}}
		s.get(t, i)
		if i.Status.State != v1alpha1.InviteOpen {
			return fmt.Errorf("it is %q", i.Status.State)
		}
		return nil
	})
	return link.Token{
		Version: link.Version, SiteID: local.Status.SiteID, DisplayName: local.Spec.DisplayName, Endpoints: local.Spec.Endpoints,
		Pin: local.Status.Pin, Code: code, Expires: expires.Unix(),
	}
}

// join uses a token, as the command does.
func (s *site) join(t *testing.T, name string, token link.Token) {
	t.Helper()
	s.make(t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: specs.JoinSecret(name), Namespace: specs.SystemNamespace},
		Data:       map[string][]byte{specs.KeyJoinCode: []byte(token.Code)},
	})
	s.make(t, &v1alpha1.SiteLink{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.SiteLinkSpec{
			SiteID: token.SiteID, Endpoints: token.Endpoints, Join: &v1alpha1.SiteLinkJoin{Pin: token.Pin, CodeSecret: specs.JoinSecret(name)},
		},
	})
}

// linked are two sites that have become partners by invitation, digits and approval.
func linked(t *testing.T) (a, b *site) { return linkedAt(t, 0) }

// linkedAt are two of which the second one's clock is ahead by so much.
func linkedAt(t *testing.T, ahead time.Duration) (a, b *site) {
	t.Helper()
	a, b = newSite(t, 0, "banka1"), newSiteAt(t, 1, "bankb1", ahead)
	b.join(t, "bank-a", a.invite(t, "bank-b"))
	joined := b.await(t, "bank-a", v1alpha1.LinkPendingApproval)
	a.await(t, "bank-b", v1alpha1.LinkPendingApproval)
	a.change(t, "bank-b", func(l *v1alpha1.SiteLink) { l.Spec.Check = joined.Status.Check })
	a.await(t, "bank-b", v1alpha1.LinkUp)
	b.await(t, "bank-a", v1alpha1.LinkUp)
	return a, b
}

func ready(l *v1alpha1.SiteLink) *metav1.Condition {
	return meta.FindStatusCondition(l.Status.Conditions, v1alpha1.ConditionReady)
}

func TestTwoSitesBecomePartners(t *testing.T) {
	a, b := newSite(t, 0, "banka1"), newSite(t, 1, "bankb1")
	token := a.invite(t, "bank-b")
	b.join(t, "bank-a", token)
	joined := b.await(t, "bank-a", v1alpha1.LinkPendingApproval)
	invited := a.await(t, "bank-b", v1alpha1.LinkPendingApproval)
	if joined.Status.Check == "" || joined.Status.Check != invited.Status.Check {
		t.Fatalf("the two sites show %q and %q", invited.Status.Check, joined.Status.Check)
	}
	b.eventually(t, "the joining site says whom to ring up", func() error {
		c := ready(b.link(t, "bank-a"))
		if c == nil || c.Reason != v1alpha1.ReasonPendingApproval || !strings.Contains(c.Message, joined.Status.Check) || !strings.Contains(c.Message, "Site banka1") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	if c := ready(invited); c == nil || strings.Contains(c.Message, joined.Status.Check) {
		t.Errorf("the inviting site gives the digits away to who has to hear them: %+v", c)
	}
	b.eventually(t, "the used code is thrown away", func() error {
		err := b.Get(t.Context(), client.ObjectKey{Namespace: specs.SystemNamespace, Name: specs.JoinSecret("bank-a")}, &corev1.Secret{})
		if err == nil {
			return errors.New("it is still there")
		}
		return client.IgnoreNotFound(err)
	})
	a.change(t, "bank-b", func(l *v1alpha1.SiteLink) { l.Spec.Check = joined.Status.Check })
	for s, name := range map[*site]string{a: "bank-b", b: "bank-a"} {
		l := s.await(t, name, v1alpha1.LinkUp)
		for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionTrustVerified, v1alpha1.ConditionConnected, v1alpha1.ConditionReady} {
			if !meta.IsStatusConditionTrue(l.Status.Conditions, kind) {
				t.Errorf("%s: %s is not True: %+v", name, kind, l.Status.Conditions)
			}
		}
	}
	noForeignKeys(t, a, b)
}

// noForeignKeys looks through all that each cluster holds of the other.
func noForeignKeys(t *testing.T, a, b *site) {
	t.Helper()
	for own, other := range map[*site]*site{a: b, b: a} {
		ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: specs.SystemNamespace, Name: specs.GatewayCASecret}}
		other.get(t, ca)
		var secrets corev1.SecretList
		if err := own.List(t.Context(), &secrets); err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets.Items {
			for _, v := range s.Data {
				if bytes.Contains(v, ca.Data[corev1.TLSPrivateKeyKey]) {
					t.Errorf("Secret %q holds the other site's key", s.Name)
				}
			}
		}
	}
}

func TestWrongDigits(t *testing.T) {
	a, b := newSite(t, 0, "banka1"), newSite(t, 1, "bankb1")
	b.join(t, "bank-a", a.invite(t, "bank-b"))
	joined := b.await(t, "bank-a", v1alpha1.LinkPendingApproval)
	wrong := "000-000"
	if joined.Status.Check == wrong {
		wrong = "000-001"
	}
	a.await(t, "bank-b", v1alpha1.LinkPendingApproval)
	a.change(t, "bank-b", func(l *v1alpha1.SiteLink) { l.Spec.Check = wrong })
	l := a.await(t, "bank-b", v1alpha1.LinkRevoked)
	if c := ready(l); c.Reason != v1alpha1.ReasonCheckMismatch {
		t.Errorf("%+v", c)
	}
	b.await(t, "bank-a", v1alpha1.LinkRevoked)
	// The right digits come too late.
	a.change(t, "bank-b", func(l *v1alpha1.SiteLink) { l.Spec.Check = joined.Status.Check })
	a.eventually(t, "the invitation is void", func() error {
		i := &v1alpha1.SiteInvite{ObjectMeta: metav1.ObjectMeta{Name: "bank-b"}}
		a.get(t, i)
		if i.Status.State != v1alpha1.InviteVoid {
			return fmt.Errorf("it is %q", i.Status.State)
		}
		return nil
	})
	if l := a.link(t, "bank-b"); !l.IsRevoked() || meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.ConditionAccepted) {
		t.Errorf("%+v", l.Status)
	}
}

func TestJoinFailures(t *testing.T) {
	a, b := newSite(t, 0, "banka1"), newSite(t, 1, "bankb1")
	good := a.invite(t, "bank-b")
	for name, c := range map[string]struct {
		change func(*link.Token)
		reason string
		hint   string
	}{
		"a-forged-pin":   {func(x *link.Token) { x.Pin = strings.Repeat("0a", 32) }, v1alpha1.ReasonUntrusted, "genuine"},
		"a-wrong-code":   {func(x *link.Token) { x.Code = link.NewCode() }, v1alpha1.ReasonJoinRefused, "ask for a new one"},
		"nobody-there":   {func(x *link.Token) { x.Endpoints = []string{"127.0.0.1:1"} }, v1alpha1.ReasonUnreachable, "firewalls"},
		"own-invitation": {func(x *link.Token) { x.SiteID = "bankb1" }, v1alpha1.ReasonInvalidSpec, "its own partner"},
	} {
		t.Run(name, func(t *testing.T) {
			token := good
			c.change(&token)
			b.join(t, name, token)
			b.eventually(t, c.reason, func() error {
				r := ready(b.link(t, name))
				if r == nil || r.Reason != c.reason || !strings.Contains(r.Message, c.hint) {
					return fmt.Errorf("%+v", r)
				}
				if strings.Contains(r.Message, token.Code) {
					t.Error("the message tells the code")
				}
				return nil
			})
			if err := b.Delete(t.Context(), b.link(t, name)); err != nil {
				t.Fatal(err)
			}
			b.gone(t, name)
		})
	}
	// None of that was a use of the code.
	b.join(t, "bank-a", good)
	b.await(t, "bank-a", v1alpha1.LinkPendingApproval)
}

func (s *site) gone(t *testing.T, name string) {
	t.Helper()
	s.eventually(t, name+" is gone", func() error {
		err := s.Get(t.Context(), client.ObjectKey{Name: name}, &v1alpha1.SiteLink{})
		if err == nil {
			return errors.New("it is still there")
		}
		return client.IgnoreNotFound(err)
	})
}

// TestDownAndUp: a partner that is away, or silent, is Down for both, and Up again when it is back.
func TestDownAndUp(t *testing.T) {
	a, b := linked(t)
	for name, trouble := range map[string]func(bool){"cut off": func(shut bool) { a.gate.Shut(t, shut) }, "silent": a.gate.Silence} {
		t.Run(name, func(t *testing.T) {
			trouble(true)
			l := b.await(t, "bank-a", v1alpha1.LinkDown)
			if l.Status.DownSince == nil || meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.ConditionConnected) || ready(l).Reason != v1alpha1.ReasonUnreachable {
				t.Errorf("%+v", l.Status)
			}
			if !meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.ConditionAccepted) {
				t.Error("what people agreed on is forgotten")
			}
			trouble(false)
			if l = b.await(t, "bank-a", v1alpha1.LinkUp); l.Status.DownSince != nil {
				t.Errorf("%+v", l.Status)
			}
		})
	}
	// Only one way was cut: that is the gate of a, and b still answers.
	a.await(t, "bank-b", v1alpha1.LinkUp)
	// An operator that is replaced, behind a gateway that goes on, is no reason to cut what goes through the gateway.
	a.gate.HangUp(true)
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if l := b.link(t, "bank-a"); l.Status.State != v1alpha1.LinkUp {
			t.Fatalf("it is %q", l.Status.State)
		}
	}
	a.gate.HangUp(false)
	b.await(t, "bank-a", v1alpha1.LinkUp)
}

func TestRevoke(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*testing.T, *site)
		away bool
	}{
		"by a word":               {end: func(t *testing.T, a *site) { a.change(t, "bank-b", revoke) }},
		"while it is away":        {end: func(t *testing.T, a *site) { a.change(t, "bank-b", revoke) }, away: true},
		"by deleting the object":  {end: func(t *testing.T, a *site) { _ = a.Delete(t.Context(), a.link(t, "bank-b")) }},
		"by the site that joined": {},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := linked(t)
			if c.end == nil {
				b.change(t, "bank-a", revoke)
				l := a.await(t, "bank-b", v1alpha1.LinkRevoked)
				if r := ready(l); !l.IsRevoked() || r.Reason != v1alpha1.ReasonRevoked || !strings.Contains(r.Message, "The partner has ended") {
					t.Errorf("%+v", r)
				}
				return
			}
			if c.away {
				a.gate.Shut(t, true)
				b.gate.Shut(t, true)
				b.await(t, "bank-a", v1alpha1.LinkDown)
			}
			c.end(t, a)
			if c.away {
				a.await(t, "bank-b", v1alpha1.LinkRevoked)
				a.gate.Shut(t, false)
				b.gate.Shut(t, false)
			}
			l := b.await(t, "bank-a", v1alpha1.LinkRevoked)
			if r := ready(l); !l.IsRevoked() || !strings.Contains(r.Message, "The partner has ended") {
				t.Errorf("%+v", r)
			}
			// It is over for good.
			base := l.DeepCopy()
			l.Spec.Partnership = v1alpha1.PartnershipActive
			if err := b.Patch(t.Context(), l, client.MergeFrom(base)); err == nil || !strings.Contains(err.Error(), "stays so") {
				t.Errorf("it was taken back: %v", err)
			}
		})
	}
}

func revoke(l *v1alpha1.SiteLink) { l.Spec.Partnership = v1alpha1.PartnershipRevoked }

// TestRotate: the CA changes under a link that stays up, and the partner trusts the new one alone in the end.
func TestRotate(t *testing.T) {
	a, b := linked(t)
	rotates(t, a, b)
}

// rotates has a change its CA while b is away at first.
func rotates(t *testing.T, a, b *site) {
	t.Helper()
	local := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName}}
	a.get(t, local)
	before := local.Status.Pin
	// A partner that is away keeps the change from being made.
	b.gate.Shut(t, true)
	a.await(t, "bank-b", v1alpha1.LinkDown)
	base := local.DeepCopy()
	local.Spec.CAGeneration = 1
	if err := a.Patch(t.Context(), local, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "it waits for the partner", func() error {
		a.get(t, local)
		c := meta.FindStatusCondition(local.Status.Conditions, v1alpha1.ConditionReady)
		if local.Status.NextPin == "" || c.Reason != v1alpha1.ReasonRotating || !strings.Contains(c.Message, "bank-b") {
			return fmt.Errorf("%+v", local.Status)
		}
		return nil
	})
	next := local.Status.NextPin
	b.gate.Shut(t, false)
	b.eventually(t, "the partner trusts both", func() error { return trusts(b.link(t, "bank-a"), before, next) })
	a.eventually(t, "the next CA takes over", func() error {
		a.get(t, local)
		if local.Status.Pin != next || local.Status.CAGeneration != 1 || local.Status.NextPin != "" {
			return fmt.Errorf("%+v", local.Status)
		}
		return nil
	})
	b.eventually(t, "the partner trusts the new one alone", func() error { return trusts(b.link(t, "bank-a"), next) })
	a.await(t, "bank-b", v1alpha1.LinkUp)
	b.await(t, "bank-a", v1alpha1.LinkUp)
	// Each side speaks to the other anew.
	a.gate.Shut(t, true)
	b.await(t, "bank-a", v1alpha1.LinkDown)
	a.gate.Shut(t, false)
	b.await(t, "bank-a", v1alpha1.LinkUp)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: specs.SystemNamespace, Name: specs.GatewayCASecret}}
	a.get(t, secret)
	if _, still := secret.Data[specs.KeyFormerCA]; still {
		t.Error("the former CA is kept")
	}
}

func trusts(l *v1alpha1.SiteLink, pins ...string) error {
	cas, err := link.ParseCAs([]byte(l.Spec.CACertificates))
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, ca := range cas {
		have[link.Pin(ca)] = true
	}
	for _, p := range pins {
		if !have[p] || len(have) != len(pins) {
			return fmt.Errorf("it trusts %d, not %d", len(have), len(pins))
		}
	}
	return nil
}

// TestMove: a partner's new address reaches this site by the partner's own word.
func TestMove(t *testing.T) {
	a, b := linked(t)
	moves(t, a, b)
}

// moves has a get another address, of which b hears.
func moves(t *testing.T, a, b *site) {
	t.Helper()
	b.eventually(t, "the partner told of itself", func() error {
		if b.link(t, "bank-a").Annotations[v1alpha1.AnnotationTold] == "" {
			return errors.New("not yet")
		}
		return nil
	})
	// The former address leads nowhere by the time it is told.
	second := linktest.NewGate(t, func(string) string { return "" })
	local := &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SiteName}}
	a.get(t, local)
	base := local.DeepCopy()
	local.Spec.Endpoints = []string{second.Address(), a.gate.Address()}
	if err := a.Patch(t.Context(), local, client.MergeFrom(base)); err != nil {
		t.Fatal(err)
	}
	b.eventually(t, "the partner has the new address", func() error {
		if got := b.link(t, "bank-a").Spec.Endpoints; len(got) != 2 || got[0] != second.Address() {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
	b.await(t, "bank-a", v1alpha1.LinkUp)
}

// TestHandMade: SiteLinks that people wrote on both sides need no invitation; a wrong CA is told as such.
func TestHandMade(t *testing.T) {
	a, b := newSite(t, 0, "banka1"), newSite(t, 1, "bankb1")
	certificate := func(s *site) string {
		ca := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: specs.SystemNamespace, Name: specs.GatewayCASecret}}
		s.get(t, ca)
		return string(ca.Data[corev1.TLSCertKey])
	}
	know := func(s, partner *site, name, id, ca string) {
		s.make(t, &v1alpha1.SiteLink{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       v1alpha1.SiteLinkSpec{SiteID: id, Endpoints: []string{partner.gate.Address()}, CACertificates: ca},
		})
	}
	know(a, b, "bank-b", "bankb1", certificate(b))
	know(b, a, "bank-a", "banka1", certificate(b))
	b.eventually(t, "the wrong CA is told", func() error {
		if c := ready(b.link(t, "bank-a")); c == nil || c.Reason != v1alpha1.ReasonUntrusted {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	b.change(t, "bank-a", func(l *v1alpha1.SiteLink) { l.Spec.CACertificates = certificate(a) })
	a.await(t, "bank-b", v1alpha1.LinkUp)
	b.await(t, "bank-a", v1alpha1.LinkUp)
	// A second SiteLink to the same site is a mistake.
	know(b, a, "again", "banka1", certificate(a))
	b.eventually(t, "the second one is refused", func() error {
		if c := ready(b.link(t, "again")); c == nil || c.Reason != v1alpha1.ReasonConflict {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}

// serve makes the gateway's pod ready, as the Deployment controller and the kubelet would.
func (s *site) serve(t *testing.T) {
	t.Helper()
	s.eventually(t, "the gateway's Deployment", func() error {
		d := &appsv1.Deployment{}
		if err := s.Get(t.Context(), client.ObjectKey{Namespace: specs.SystemNamespace, Name: specs.GatewayName}, d); err != nil {
			return err
		}
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
		return s.Status().Update(t.Context(), d)
	})
}

// heddle runs the command at a site, and reads what it prints as JSON.
func (s *site) heddle(t *testing.T, want int, in string, into any, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), cli.Options{
		Program: "heddle", Args: append(args, "--kubeconfig", s.api.Kubeconfig, "-o", "json"), In: strings.NewReader(in), Out: &out, Err: &errs,
	})
	if code != want {
		t.Fatalf("heddle %s ended with %d, want %d: %s", strings.Join(args, " "), code, want, errs.String())
	}
	if into != nil {
		if err := json.Unmarshal(out.Bytes(), into); err != nil {
			t.Fatalf("heddle %s: %v in %q", strings.Join(args, " "), err, out.String())
		}
	}
	return errs.String()
}

// TestCommands goes the whole way with the command alone.
func TestCommands(t *testing.T) {
	a, b := newCluster(t, 0, "banka1"), newCluster(t, 1, "bankb1")
	if text := a.heddle(t, cli.ExitNotFound, "", nil, "site", "invite", "bank-b"); !strings.Contains(text, "heddle site init") {
		t.Errorf("no hint: %s", text)
	}
	a.heddle(t, cli.ExitUsage, "", nil, "site", "init")
	for id, s := range map[string]*site{"banka1": a, "bankb1": b} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.serve(t)
		}()
		s.heddle(t, cli.ExitOK, "", nil, "site", "init", "--site-id", id, "--endpoint", s.gate.Address(), "--display-name", "Bank "+id, "--node-port", "30443")
		<-done
	}
	var issued struct{ Name, Token string }
	a.heddle(t, cli.ExitOK, "", &issued, "site", "invite", "bank-b", "--expires", "10m")
	b.heddle(t, cli.ExitUsage, "", nil, "site", "join", issued.Token[1:])
	var joined, l v1alpha1.SiteLink
	b.heddle(t, cli.ExitOK, issued.Token+"\n", &joined, "site", "join", "-")
	if joined.Name != "bank-banka1" || joined.Status.Check == "" {
		t.Fatalf("it joined as %q: %+v", joined.Name, joined.Status)
	}
	b.heddle(t, cli.ExitFailed, issued.Token, nil, "site", "join", "-")
	b.heddle(t, cli.ExitUsage, "", nil, "site", "approve", joined.Name, joined.Status.Check)
	a.heddle(t, cli.ExitUsage, "", nil, "site", "approve", "bank-b", "12345")
	a.heddle(t, cli.ExitNotFound, "", nil, "site", "approve", "bank-x", "123-456")
	a.heddle(t, cli.ExitOK, strings.ReplaceAll(joined.Status.Check, "-", " ")+"\n", &l, "site", "approve", "bank-b")
	if l.Status.State != v1alpha1.LinkUp {
		t.Errorf("it is %q", l.Status.State)
	}
	b.await(t, joined.Name, v1alpha1.LinkUp)
	var list struct {
		Site  v1alpha1.Site
		Links []v1alpha1.SiteLink
	}
	a.heddle(t, cli.ExitOK, "", &list, "site", "list")
	if list.Site.Status.SiteID != "banka1" || len(list.Links) != 1 || list.Links[0].Spec.DisplayName != "Bank bankb1" {
		t.Errorf("%+v", list)
	}
	var local v1alpha1.Site
	a.heddle(t, cli.ExitOK, "", &local, "site", "rotate")
	if local.Status.CAGeneration != 1 || local.Status.Pin == list.Site.Status.Pin {
		t.Errorf("%+v", local.Status)
	}
	b.await(t, joined.Name, v1alpha1.LinkUp)
	b.heddle(t, cli.ExitOK, "", &l, "site", "revoke", joined.Name)
	if !l.IsRevoked() {
		t.Errorf("%+v", l.Spec)
	}
	a.await(t, "bank-b", v1alpha1.LinkRevoked)
}
