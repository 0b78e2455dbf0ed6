package siteinvite_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/siteinvite"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
)

// world is the controller with this site's identity.
type world struct {
	*controllertest.Space
	r    *siteinvite.Reconciler
	self *link.Self

	mu   sync.Mutex
	late time.Duration
}

// Register makes the controller within the manager.
func (w *world) Register(mgr ctrl.Manager) error {
	w.r = siteinvite.New(siteinvite.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"),
		Self: func(context.Context) (*link.Self, error) { return w.self, nil },
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return time.Now().Add(w.late)
		},
	})
	return w.r.Register(mgr)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Space: controllertest.NewSpace(t, operator.AddToScheme), self: &link.Self{SiteID: "banka1", CA: newJoiner(t, "banka1", "").ca}}
	w.Start(t, operator.CacheOptions, operator.ClientOptions(), w)
	return w
}

type joiner struct {
	link.Joiner
	ca *pki.Issuer
}

func newJoiner(t *testing.T, site, code string) *joiner {
	t.Helper()
	ca, err := link.NewCA(site, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &joiner{ca: ca, Joiner: link.Joiner{Code: code, SiteID: site, DisplayName: "Bank", Endpoints: []string{"gateway.example:443"}, CA: ca.Cert}}
}

// siteID makes one that no other test uses.
func siteID() string {
	return "s" + strings.ReplaceAll(controllertest.Name("x"), "-", "")
}

func (w *world) invite(t *testing.T, expires time.Duration) (*v1alpha1.SiteInvite, string) {
	t.Helper()
	code := link.NewCode()
	i := &v1alpha1.SiteInvite{
		ObjectMeta: metav1.ObjectMeta{Name: controllertest.Name("inv")},
		Spec:       v1alpha1.SiteInviteSpec{CodeHash: link.HashCode(code), ExpiresAt: ptr.To(metav1.NewTime(time.Now().Add(expires)))},
	}
	w.Make(t, i)
	t.Cleanup(func() {
		_ = w.Delete(context.WithoutCancel(t.Context()), &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: i.Name}})
	})
	return i, code
}

func (w *world) await(t *testing.T, i *v1alpha1.SiteInvite, state v1alpha1.SiteInviteState) {
	t.Helper()
	w.Eventually(t, "invitation is "+string(state), func() bool {
		return w.Read(t, i, i.Name) && i.Status.State == state
	})
}

func refused(t *testing.T, err error, reason string) {
	t.Helper()
	if r, ok := link.AsRefusal(err); !ok || r.Reason != reason {
		t.Errorf("got %v, want the refusal %s", err, reason)
	}
}

func TestAnInvitationIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	i, code := w.invite(t, time.Hour)
	w.await(t, i, v1alpha1.InviteOpen)
	if err := w.r.Invited(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	refused(t, w.r.Invited(t.Context(), link.NewCode()), link.RefusedCode)

	b := newJoiner(t, siteID(), code)
	nonce, err := w.r.Join(t.Context(), &b.Joiner)
	if err != nil {
		t.Fatal(err)
	}
	l := &v1alpha1.SiteLink{}
	if !w.Read(t, l, i.Name) {
		t.Fatal("there is no SiteLink")
	}
	if l.Spec.SiteID != b.SiteID || l.Spec.Endpoints[0] != b.Endpoints[0] || l.Spec.Join != nil || l.Spec.Check != "" {
		t.Errorf("the SiteLink is %+v", l.Spec)
	}
	if cas, err := link.ParseCAs([]byte(l.Spec.CACertificates)); err != nil || !cas[0].Equal(b.CA) {
		t.Errorf("the SiteLink's CA: %v", err)
	}
	if got, want := l.Annotations[v1alpha1.AnnotationCheck], link.Check(code, w.self.CA.Cert, b.CA, nonce); got != want {
		t.Errorf("the digits are %q, want %q", got, want)
	}
	w.await(t, i, v1alpha1.InviteUsed)
	w.Eventually(t, "it says who used it", func() bool { return w.Read(t, i, i.Name) && i.Status.UsedBy == b.SiteID })

	// The same site may have missed the answer.
	again, err := w.r.Join(t.Context(), &b.Joiner)
	if err != nil || string(again) != string(nonce) {
		t.Errorf("the same site asks again: %v", err)
	}
	// Nobody brings back what was taken away.
	if err := w.Delete(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	_, err = w.r.Join(t.Context(), &b.Joiner)
	refused(t, err, link.RefusedUsed)
}

func TestASecondUseVoidsIt(t *testing.T) {
	w := newWorld(t)
	for name, approve := range map[string]bool{"before it is approved": false, "after it was approved": true} {
		t.Run(name, func(t *testing.T) {
			i, code := w.invite(t, time.Hour)
			w.await(t, i, v1alpha1.InviteOpen)
			b, thief := newJoiner(t, siteID(), code), newJoiner(t, siteID(), code)
			if _, err := w.r.Join(t.Context(), &b.Joiner); err != nil {
				t.Fatal(err)
			}
			l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: i.Name}}
			if approve {
				controllertest.Change(t, w.Space, l, func(l *v1alpha1.SiteLink) { l.Spec.Check = l.Annotations[v1alpha1.AnnotationCheck] })
			}
			_, err := w.r.Join(t.Context(), &thief.Joiner)
			refused(t, err, link.RefusedVoid)
			w.await(t, i, v1alpha1.InviteVoid)
			c := w.AwaitReason(t, i, v1alpha1.ReasonInviteVoid)
			if err := controllertest.Contains(c.Message, thief.SiteID, "invite the site again"); err != nil {
				t.Error(err)
			}
			// Nobody uses it any more, the first site neither.
			_, err = w.r.Join(t.Context(), &b.Joiner)
			refused(t, err, link.RefusedVoid)
			refused(t, w.r.Invited(t.Context(), code), link.RefusedVoid)
			if approve {
				w.Never(t, "what people compared is revoked", func() bool { return w.Read(t, l, i.Name) && l.IsRevoked() })
				return
			}
			w.Eventually(t, "the first site's SiteLink is revoked", func() bool { return w.Read(t, l, i.Name) && l.IsRevoked() })
		})
	}
}

// TestSitesThatRace: of many that use a code at once, one at most gets a nonce.
func TestSitesThatRace(t *testing.T) {
	w := newWorld(t)
	i, code := w.invite(t, time.Hour)
	w.await(t, i, v1alpha1.InviteOpen)
	const sites = 8
	won := make(chan bool, sites)
	for range sites {
		b := newJoiner(t, siteID(), code)
		go func() {
			_, err := w.r.Join(t.Context(), &b.Joiner)
			won <- err == nil
		}()
	}
	winners := 0
	for range sites {
		if <-won {
			winners++
		}
	}
	if winners > 1 {
		t.Errorf("%d sites used one code", winners)
	}
	w.await(t, i, v1alpha1.InviteVoid)
}

func TestWrongDigitsVoidIt(t *testing.T) {
	w := newWorld(t)
	i, code := w.invite(t, time.Hour)
	w.await(t, i, v1alpha1.InviteOpen)
	b := newJoiner(t, siteID(), code)
	if _, err := w.r.Join(t.Context(), &b.Joiner); err != nil {
		t.Fatal(err)
	}
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: i.Name}}
	controllertest.Change(t, w.Space, l, func(l *v1alpha1.SiteLink) {
		l.Spec.Check = "000-000"
		if l.Annotations[v1alpha1.AnnotationCheck] == l.Spec.Check {
			l.Spec.Check = "000-001"
		}
	})
	w.await(t, i, v1alpha1.InviteVoid)
	w.Eventually(t, "its SiteLink is revoked", func() bool { return w.Read(t, l, i.Name) && l.IsRevoked() })
}

func TestAnInvitationEnds(t *testing.T) {
	w := newWorld(t)
	i, code := w.invite(t, time.Hour)
	used, usedCode := w.invite(t, time.Hour)
	w.await(t, i, v1alpha1.InviteOpen)
	w.await(t, used, v1alpha1.InviteOpen)
	b, late := newJoiner(t, siteID(), usedCode), newJoiner(t, siteID(), code)
	if _, err := w.r.Join(t.Context(), &b.Joiner); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.late = time.Hour
	w.mu.Unlock()
	_, err := w.r.Join(t.Context(), &late.Joiner)
	refused(t, err, link.RefusedExpired)
	if _, err := w.r.Join(t.Context(), &b.Joiner); err != nil {
		t.Errorf("who used it in time asks again: %v", err)
	}
	controllertest.Change(t, w.Space, i, func(i *v1alpha1.SiteInvite) { i.Annotations = map[string]string{"touched": "yes"} })
	w.await(t, i, v1alpha1.InviteExpired)
	w.AwaitReason(t, i, v1alpha1.ReasonInviteExpired)
}

func TestTakenNames(t *testing.T) {
	w := newWorld(t)
	partner := siteID()
	l := &v1alpha1.SiteLink{
		ObjectMeta: metav1.ObjectMeta{Name: controllertest.Name("inv")},
		Spec:       v1alpha1.SiteLinkSpec{SiteID: partner, Endpoints: []string{"a.example:1"}},
	}
	w.Make(t, l)
	i, code := w.invite(t, time.Hour)
	w.await(t, i, v1alpha1.InviteOpen)
	again := newJoiner(t, partner, code)
	_, err := w.r.Join(t.Context(), &again.Joiner)
	refused(t, err, link.RefusedConflict)
	// That was no use of the code.
	other := newJoiner(t, siteID(), code)
	if _, err := w.r.Join(t.Context(), &other.Joiner); err != nil {
		t.Error(err)
	}
	taken := &v1alpha1.SiteInvite{
		ObjectMeta: metav1.ObjectMeta{Name: l.Name},
		Spec:       v1alpha1.SiteInviteSpec{CodeHash: link.HashCode("x"), ExpiresAt: ptr.To(metav1.NewTime(time.Now().Add(time.Hour)))},
	}
	w.Make(t, taken)
	c := w.AwaitReason(t, taken, v1alpha1.ReasonConflict)
	if err := controllertest.Contains(c.Message, l.Name, "delete one of the two"); err != nil {
		t.Error(err)
	}
}
