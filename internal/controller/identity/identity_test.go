package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/identity"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/podless"
)

// run starts this controller alone, with the whole cluster in view and a clock that the test can set.
func run(t *testing.T, env *controllertest.Env, n *podless.Namespace, now func() time.Time) {
	t.Helper()
	mgr := podless.Manager(t, env.Rest, env.Client.Scheme())
	r := identity.New(identity.Options{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("test"), Now: now,
		Nodes: access.New(access.Options{Reader: mgr.GetAPIReader(), Dial: n.Dial}),
	})
	if err := r.Register(mgr); err != nil {
		t.Fatal(err)
	}
	env.Run(t, mgr.Start)
}

func newIdentity(n *podless.Namespace, name string, spec v1alpha1.IdentitySpec) *v1alpha1.Identity {
	if spec.Organization == "" {
		spec.Organization = "banka"
	}
	return &v1alpha1.Identity{ObjectMeta: n.Meta(name), Spec: spec}
}

// issued waits until an Identity is Ready and its Secret passes the check.
func issued(t *testing.T, env *controllertest.Env, id *v1alpha1.Identity, check func(map[string][]byte) error) map[string][]byte {
	t.Helper()
	secret := &corev1.Secret{}
	env.Eventually(t, id.Name+" is issued", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(id), id); err != nil {
			return err
		}
		if !kube.IsReady(id) {
			return fmt.Errorf("not ready: %s", kube.ReadyMessage(id))
		}
		if err := env.Client.Get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: id.Status.SecretName}, secret); err != nil {
			return err
		}
		if check == nil {
			return nil
		}
		return check(secret.Data)
	})
	if !metav1.IsControlledBy(secret, id) {
		t.Errorf("Secret %s does not belong to its Identity", secret.Name)
	}
	cert, err := pki.ParseCert(secret.Data["cert.pem"])
	if err != nil {
		t.Fatal(err)
	}
	key, err := pki.ParseKey(secret.Data["key.pem"])
	if err != nil {
		t.Fatal(err)
	}
	if !pki.SameKey(cert, key) {
		t.Error("key and certificate do not belong together")
	}
	return secret.Data
}

func refused(t *testing.T, env *controllertest.Env, id *v1alpha1.Identity, reason string, parts ...string) {
	t.Helper()
	env.Eventually(t, id.Name+" is refused", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(id), id); err != nil {
			return err
		}
		for _, c := range id.Status.Conditions {
			if c.Type == v1alpha1.ConditionStalled && c.Status == metav1.ConditionTrue {
				if c.Reason != reason {
					return fmt.Errorf("reason %s, want %s: %s", c.Reason, reason, c.Message)
				}
				return controllertest.Contains(c.Message, parts...)
			}
		}
		return errors.New("not stalled")
	})
	err := env.Client.Get(t.Context(), client.ObjectKey{Namespace: id.Namespace, Name: id.Name}, &corev1.Secret{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("the Secret of %s: %v", id.Name, err)
	}
}

func create(t *testing.T, env *controllertest.Env, obj client.Object) {
	t.Helper()
	if err := env.Client.Create(t.Context(), obj); err != nil {
		t.Fatal(err)
	}
}

func setup(t *testing.T, now func() time.Time) (*controllertest.Env, *podless.Namespace) {
	t.Helper()
	env := controllertest.New(t, operator.AddToScheme)
	n := podless.New(t, env.Client, controllertest.Name("trade"))
	n.AddOrg("banka", "BankaMSP")
	run(t, env, n, now)
	return env, n
}

func TestOrganizationOfAnotherSite(t *testing.T) {
	env, n := setup(t, time.Now)
	o := &v1alpha1.Organization{ObjectMeta: n.Meta("bankx")}
	o.Spec.MSPID = "BankXMSP"
	o.Spec.Remote = &v1alpha1.RemoteOrganization{Link: "site-x", CACertificates: "PEM", TLSCACertificates: "PEM"}
	create(t, env, o)
	id := newIdentity(n, "mallory", v1alpha1.IdentitySpec{Organization: "bankx"})
	create(t, env, id)
	refused(t, env, id, v1alpha1.ReasonInvalidSpec, "site-x")
}

func TestWithoutCA(t *testing.T) {
	clock := time.Now()
	now := make(chan func() time.Time, 1)
	now <- func() time.Time { return clock }
	read := func() time.Time { f := <-now; now <- f; return f() }
	env, n := setup(t, read)
	org := &v1alpha1.Organization{ObjectMeta: n.Meta("banka")}
	env.Get(t, org)
	org.Spec.CA.Mode = v1alpha1.CANone
	if err := env.Client.Update(t.Context(), org); err != nil {
		t.Fatal(err)
	}
	create(t, env, &v1alpha1.Peer{ObjectMeta: n.Meta("peer0-banka"), Spec: v1alpha1.PeerSpec{Organization: "banka"}})

	id := newIdentity(n, "alice", v1alpha1.IdentitySpec{
		Attributes: []v1alpha1.IdentityAttribute{{Name: "role", Value: ptr.To("teller")}},
	})
	create(t, env, id)
	first := issued(t, env, id, nil)
	cert, err := pki.ParseCert(first["cert.pem"])
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != n.Name+".alice" || pki.RoleOf(cert) != pki.RoleClient || cert.CheckSignatureFrom(n.Orgs["banka"].App.Cert) != nil {
		t.Errorf("certificate of %v", cert.Subject)
	}
	if diff := cmp.Diff(map[string]string{"role": "teller"}, pki.AttributesOf(cert)); diff != "" {
		t.Error(diff)
	}
	if id.Status.MSPID != "BankaMSP" || id.Status.Certificate == nil || !id.Status.Certificate.NotAfter.Time.Equal(cert.NotAfter) {
		t.Errorf("status %+v", id.Status)
	}
	var profile struct {
		Peers map[string]struct{ URL string } `json:"peers"`
	}
	if err := json.Unmarshal(first["connection-profile.json"], &profile); err != nil {
		t.Fatal(err)
	}
	if got := profile.Peers["peer0-banka."+n.Name].URL; got != "grpcs://peer0-banka."+n.Name+":7051" {
		t.Errorf("profile: %s", first["connection-profile.json"])
	}

	t.Run("other attributes make another certificate of the same key", func(t *testing.T) {
		change(t, env, id, func() { id.Spec.Attributes[0].Value = ptr.To("boss") })
		second := issued(t, env, id, func(data map[string][]byte) error { return roleIs(data, "boss") })
		if string(first["key.pem"]) != string(second["key.pem"]) {
			t.Error("another key")
		}
	})
	t.Run("a certificate near its end is renewed", func(t *testing.T) {
		<-now
		now <- func() time.Time { return clock.Add(cert.NotAfter.Sub(clock) - time.Hour) }
		touch(t, env, id)
		issued(t, env, id, func(data map[string][]byte) error {
			c, err := pki.ParseCert(data["cert.pem"])
			if err == nil && !c.NotBefore.After(cert.NotBefore) {
				err = errors.New("the old certificate")
			}
			return err
		})
		<-now
		now <- func() time.Time { return clock }
	})
	t.Run("an administrator", func(t *testing.T) {
		boss := newIdentity(n, "boss", v1alpha1.IdentitySpec{Type: v1alpha1.IdentityAdmin})
		create(t, env, boss)
		data := issued(t, env, boss, nil)
		c, err := pki.ParseCert(data["cert.pem"])
		if err != nil {
			t.Fatal(err)
		}
		if pki.RoleOf(c) != pki.RoleAdmin || c.CheckSignatureFrom(n.Orgs["banka"].Ops.Cert) != nil {
			t.Errorf("certificate of %v", c.Subject)
		}
	})
	t.Run("a Secret of others is left alone", func(t *testing.T) {
		before := &corev1.Secret{ObjectMeta: n.Meta("banka-ops")}
		env.Get(t, before)
		thief := newIdentity(n, "thief", v1alpha1.IdentitySpec{SecretName: "banka-ops"})
		create(t, env, thief)
		refused(t, env, thief, v1alpha1.ReasonInvalidOwnership, "banka-ops")
		after := &corev1.Secret{ObjectMeta: n.Meta("banka-ops")}
		env.Get(t, after)
		if before.ResourceVersion != after.ResourceVersion {
			t.Error("it was changed")
		}
	})
	t.Run("the same user twice", func(t *testing.T) {
		again := newIdentity(n, "again", v1alpha1.IdentitySpec{EnrollmentID: n.Name + ".alice"})
		create(t, env, again)
		refused(t, env, again, v1alpha1.ReasonInvalidSpec, "enrollmentID", "alice")
	})
}

func roleIs(data map[string][]byte, want string) error {
	c, err := pki.ParseCert(data["cert.pem"])
	if err != nil {
		return err
	}
	if got := pki.AttributesOf(c)["role"]; got != want {
		return fmt.Errorf("role %q, want %q", got, want)
	}
	return nil
}

func touch(t *testing.T, env *controllertest.Env, id *v1alpha1.Identity) {
	t.Helper()
	change(t, env, id, func() { id.Annotations = map[string]string{"example.com/touched": time.Now().String()} })
}

// change edits an object that controllers write as well.
func change(t *testing.T, env *controllertest.Env, obj client.Object, f func()) {
	t.Helper()
	env.Eventually(t, "the change is taken", func(ctx context.Context) error {
		if err := env.Client.Get(ctx, client.ObjectKeyFromObject(obj), obj); err != nil {
			return err
		}
		f()
		return env.Client.Update(ctx, obj)
	})
}

func TestWithCA(t *testing.T) {
	env, n := setup(t, time.Now)
	id := newIdentity(n, "alice", v1alpha1.IdentitySpec{
		Attributes: []v1alpha1.IdentityAttribute{{Name: "role", Value: ptr.To("teller")}, {Name: "branch", Value: ptr.To("7")}},
	})
	create(t, env, id)
	// It comes up while the Identity waits.
	n.AddCA("banka")
	first := issued(t, env, id, nil)
	cert, err := pki.ParseCert(first["cert.pem"])
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != n.Name+".alice" || pki.RoleOf(cert) != pki.RoleClient || cert.CheckSignatureFrom(n.Orgs["banka"].App.Cert) != nil {
		t.Errorf("certificate of %v", cert.Subject)
	}
	t.Run("changed attributes", func(t *testing.T) {
		change(t, env, id, func() { id.Spec.Attributes = []v1alpha1.IdentityAttribute{{Name: "role", Value: ptr.To("boss")}} })
		data := issued(t, env, id, func(data map[string][]byte) error { return roleIs(data, "boss") })
		c, err := pki.ParseCert(data["cert.pem"])
		if err != nil {
			t.Fatal(err)
		}
		if _, there := pki.AttributesOf(c)["branch"]; there {
			t.Error("the removed attribute is still there")
		}
	})
	t.Run("a lost Secret comes back", func(t *testing.T) {
		if err := env.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: n.Name, Name: "alice"}}); err != nil {
			t.Fatal(err)
		}
		touch(t, env, id)
		data := issued(t, env, id, nil)
		if string(data["key.pem"]) == string(first["key.pem"]) {
			t.Error("the lost key is back")
		}
	})
	t.Run("a name that the CA gave to somebody else", func(t *testing.T) {
		thief := newIdentity(n, "thief", v1alpha1.IdentitySpec{EnrollmentID: "registrar"})
		create(t, env, thief)
		refused(t, env, thief, v1alpha1.ReasonInvalidOwnership, "registrar")
	})
}

func TestOtherNamespaces(t *testing.T) {
	env, n := setup(t, time.Now)
	org := &v1alpha1.Organization{ObjectMeta: n.Meta("banka")}
	env.Get(t, org)
	org.Spec.CA.Mode = v1alpha1.CANone
	if err := env.Client.Update(t.Context(), org); err != nil {
		t.Fatal(err)
	}
	apps := controllertest.Name("apps")
	create(t, env, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: apps}})
	at := func(name string, spec v1alpha1.IdentitySpec) *v1alpha1.Identity {
		id := newIdentity(n, name, spec)
		id.ObjectMeta = metav1.ObjectMeta{Namespace: apps, Name: name}
		id.Spec.NetworkRef = n.Name
		return id
	}
	net := &v1alpha1.Network{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, Annotations: map[string]string{v1alpha1.AnnotationPaused: "only its spec counts here"}},
		Spec: v1alpha1.NetworkSpec{Organizations: []v1alpha1.NetworkOrganization{{
			Name: "banka", OrganizationSpec: v1alpha1.OrganizationSpec{MSPID: "BankaMSP"}, Orderers: &v1alpha1.NetworkOrderers{Count: ptr.To[int32](1)},
		}}},
	}
	create(t, env, net)
	t.Cleanup(func() { _ = env.Client.Delete(context.WithoutCancel(t.Context()), net) })
	app := at("app", v1alpha1.IdentitySpec{})
	create(t, env, app)
	refused(t, env, app, v1alpha1.ReasonForbidden, apps, "spec.clientNamespaces")
	admin := at("admin", v1alpha1.IdentitySpec{Type: v1alpha1.IdentityAdmin})
	create(t, env, admin)
	refused(t, env, admin, v1alpha1.ReasonForbidden, "spec.type Admin")

	change(t, env, net, func() { net.Spec.ClientNamespaces = []string{apps} })
	data := issued(t, env, app, nil)
	cert, err := pki.ParseCert(data["cert.pem"])
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != apps+".app" {
		t.Errorf("common name %q", cert.Subject.CommonName)
	}
}
