package organization_test

import (
	"crypto/x509"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/controllertest"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/controller/organization"
	"heddle.dev/heddle/internal/controller/watch"
	"heddle.dev/heddle/internal/operator"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

func start(t *testing.T, opts organization.Options) *controllertest.Space {
	t.Helper()
	e := controllertest.NewSpace(t, operator.AddToScheme)
	e.Start(t, operator.CacheOptions, operator.ClientOptions(), organization.New(opts))
	return e
}

func banka(e *controllertest.Space) *v1alpha1.Organization {
	o := &v1alpha1.Organization{ObjectMeta: metav1.ObjectMeta{
		Name: "banka", Namespace: e.Namespace, Labels: map[string]string{v1alpha1.LabelNetworkID: "id-12345"},
	}}
	o.Spec.MSPID = "BankAMSP"
	return o
}

func withoutCA(e *controllertest.Space) *v1alpha1.Organization {
	o := banka(e)
	o.Spec.CA.Mode = v1alpha1.CANone
	return o
}

func secret(t *testing.T, e *controllertest.Space, name string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if !e.Read(t, &s, name) {
		t.Fatalf("Secret %s is not there", name)
	}
	return &s
}

// verify checks that a certificate leads to a root through an intermediate.
func verify(t *testing.T, leaf []byte, msp *corev1.ConfigMap, rootsKey, betweenKey string) {
	t.Helper()
	cert, err := pki.ParseCert(leaf)
	if err != nil {
		t.Fatal(err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(msp.Data[rootsKey])) || !between.AppendCertsFromPEM([]byte(msp.Data[betweenKey])) {
		t.Fatalf("%s or %s is empty", rootsKey, betweenKey)
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Errorf("verify %s: %v", cert.Subject, err)
	}
}

func TestOrganizationWithCA(t *testing.T) {
	e := start(t, organization.Options{})
	o := banka(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonWaitingForPod)
	e.Serve(t, "ca-banka", true)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)

	var msp corev1.ConfigMap
	if !e.Read(t, &msp, "banka-msp") {
		t.Fatal("there is no ConfigMap banka-msp")
	}
	verify(t, secret(t, e, "banka-admin").Data[specs.KeyCert], &msp, specs.KeyCACerts, specs.KeyIntermediates)
	verify(t, secret(t, e, "banka-ca-tls").Data[specs.KeyNodeTLSCert], &msp, specs.KeyTLSCACerts, specs.KeyTLSIntermediates)
	admin, err := pki.ParseCert(secret(t, e, "banka-admin").Data[specs.KeyCert])
	if err != nil || pki.RoleOf(admin) != pki.RoleAdmin {
		t.Errorf("the administrator's role is %q (%v)", pki.RoleOf(admin), err)
	}
	if s := secret(t, e, "banka-ca-admin"); len(s.Data[specs.KeyPassword]) < 20 || len(s.OwnerReferences) != 0 {
		t.Errorf("the registrar's Secret has a short password or an owner: %v", s.OwnerReferences)
	}
	if o.Status.CAAddress != "ca-banka."+e.Namespace+":7054" || len(o.Status.MSPHash) != 64 {
		t.Errorf("status %+v", o.Status)
	}
	var names []string
	for _, c := range o.Status.Certificates {
		names = append(names, c.Name)
		if *c.DaysLeft < 360 {
			t.Errorf("certificate %s lasts %d days", c.Name, *c.DaysLeft)
		}
	}
	if got, want := strings.Join(names, " "), "root-ca tls-root-ca ops-ca tls-ops-ca app-ca tls-app-ca admin ca-tls"; got != want {
		t.Errorf("certificates %s, want %s", got, want)
	}
}

func TestIssuersAreMadeOnce(t *testing.T) {
	e := start(t, organization.Options{})
	o := withoutCA(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	before := map[string]string{}
	for _, name := range []string{"banka-root", "banka-ops", "banka-app", "banka-admin"} {
		before[name] = secret(t, e, name).ResourceVersion
	}
	// Another controller that knows nothing of the first, as after a restart.
	e.Start(t, operator.CacheOptions, operator.ClientOptions(), organization.New(organization.Options{}))
	controllertest.Change(t, e, o, func(o *v1alpha1.Organization) { o.Annotations = map[string]string{"touched": "yes"} })
	var msp corev1.ConfigMap
	e.Read(t, &msp, "banka-msp")
	if err := e.Delete(t.Context(), &msp); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the MSP comes back", func() bool {
		var again corev1.ConfigMap
		return e.Read(t, &again, "banka-msp") && again.UID != msp.UID && again.Data[specs.KeyCACerts] == msp.Data[specs.KeyCACerts]
	})
	for name, version := range before {
		if got := secret(t, e, name).ResourceVersion; got != version {
			t.Errorf("Secret %s was written again", name)
		}
	}
}

func TestRootMayBeTakenAway(t *testing.T) {
	e := start(t, organization.Options{})
	o := withoutCA(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	if err := e.Delete(t.Context(), secret(t, e, "banka-root")); err != nil {
		t.Fatal(err)
	}
	hash := o.Status.MSPHash
	controllertest.Change(t, e, o, func(o *v1alpha1.Organization) { o.Spec.CA.Version = "1.5.14" })
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	if o.Status.MSPHash != hash {
		t.Error("the MSP changed when the root went")
	}
	var root corev1.Secret
	if e.Read(t, &root, "banka-root") {
		t.Error("a new root was made")
	}
	if err := e.Delete(t.Context(), secret(t, e, "banka-app")); err != nil {
		t.Fatal(err)
	}
	controllertest.Change(t, e, o, func(o *v1alpha1.Organization) { o.Spec.CA.Version = "1.5.15" })
	if c := e.AwaitReason(t, o, v1alpha1.ReasonInvalidSpec); !strings.Contains(c.Message, "banka-root") {
		t.Errorf("message %q does not name the root", c.Message)
	}
}

func TestAdministratorIsRenewedForTheSameKey(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().Unix())
	e := start(t, organization.Options{
		Now: func() time.Time { return time.Unix(now.Load(), 0) }, Lifetimes: keys.DefaultLifetimes(),
	})
	o := withoutCA(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	old := secret(t, e, "banka-admin")
	now.Add(int64((300 * 24 * time.Hour).Seconds()))
	controllertest.Change(t, e, o, func(o *v1alpha1.Organization) { o.Annotations = map[string]string{"touched": "yes"} })
	e.Eventually(t, "the certificate is renewed", func() bool {
		return string(secret(t, e, "banka-admin").Data[specs.KeyCert]) != string(old.Data[specs.KeyCert])
	})
	if renewed := secret(t, e, "banka-admin"); string(renewed.Data[specs.KeyKey]) != string(old.Data[specs.KeyKey]) {
		t.Error("the renewal changed the key")
	}
}

func TestExternalIssuer(t *testing.T) {
	e := start(t, organization.Options{})
	o := withoutCA(e)
	o.Spec.CA.IssuerRef = &v1alpha1.IssuerReference{Name: "corporate"}
	e.Make(t, o)
	c := e.AwaitReason(t, o, v1alpha1.ReasonWaitingForDependency)
	if !strings.Contains(c.Message, "corporate") || !strings.Contains(c.Message, v1alpha1.LabelIssuerFor) {
		t.Errorf("message %q names neither the Secret nor the label", c.Message)
	}
	given := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "corporate", Namespace: e.Namespace}, Data: map[string][]byte{}}
	write(t, given.Data, 0)
	e.Make(t, given)
	if c := e.AwaitReason(t, o, v1alpha1.ReasonInvalidSpec); !strings.Contains(c.Message, v1alpha1.LabelIssuerFor+"=banka") {
		t.Errorf("message %q does not say which label is missing", c.Message)
	}
	given.Labels = map[string]string{v1alpha1.LabelIssuerFor: "banka"}
	if err := e.Update(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	controllertest.Change(t, e, o, func(o *v1alpha1.Organization) { o.Annotations = map[string]string{"touched": "yes"} })
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	var root corev1.Secret
	if e.Read(t, &root, "banka-root") {
		t.Error("the external root was copied or another one made")
	}
	var msp corev1.ConfigMap
	e.Read(t, &msp, "banka-msp")
	if msp.Data[specs.KeyCACerts] != string(given.Data[specs.KeySignCert]) {
		t.Error("the MSP does not lead to the external root")
	}
	verify(t, secret(t, e, "banka-admin").Data[specs.KeyCert], &msp, specs.KeyCACerts, specs.KeyIntermediates)
}

// write makes roots; spoil says what to spoil: 1 the key, 2 the age.
func write(t *testing.T, data map[string][]byte, spoil int) {
	t.Helper()
	now := time.Now()
	if spoil == 2 {
		now = now.Add(-48 * time.Hour)
	}
	var made [2]*pki.Issuer
	for i := range made {
		key, err := pki.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		if made[i], err = pki.NewRoot(pki.IssuerRequest{CommonName: "corporate", Key: key, Lifetime: 24 * time.Hour, Now: now}); err != nil {
			t.Fatal(err)
		}
	}
	if err := (keys.Issuers{Sign: made[0], TLS: made[1]}).Write(data); err != nil {
		t.Fatal(err)
	}
	if spoil == 1 {
		data[specs.KeySignKey] = data[specs.KeyTLSKey]
	}
}

func TestExternalIssuerIsChecked(t *testing.T) {
	e := start(t, organization.Options{})
	for name, spoil := range map[string]int{"mismatch": 1, "expired": 2, "empty": 3} {
		t.Run(name, func(t *testing.T) {
			given := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: e.Namespace, Labels: map[string]string{v1alpha1.LabelIssuerFor: "org" + name}},
				Data:       map[string][]byte{},
			}
			if name != "empty" {
				write(t, given.Data, spoil)
			}
			e.Make(t, given)
			o := withoutCA(e)
			o.Name, o.Spec.MSPID = "org"+name, name
			o.Spec.CA.IssuerRef = &v1alpha1.IssuerReference{Name: name}
			e.Make(t, o)
			if c := e.AwaitReason(t, o, v1alpha1.ReasonInvalidSpec); !strings.Contains(c.Message, "spec.ca.issuerRef") {
				t.Errorf("message %q does not name the field", c.Message)
			}
			var ops corev1.Secret
			if e.Read(t, &ops, "org"+name+"-ops") {
				t.Error("something was made all the same")
			}
		})
	}
}

func TestForeignSecretIsRefused(t *testing.T) {
	e := start(t, organization.Options{})
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "banka-root", Namespace: e.Namespace}, Data: map[string][]byte{"a": []byte("b")}}
	e.Make(t, foreign)
	o := withoutCA(e)
	e.Make(t, o)
	if c := e.AwaitReason(t, o, v1alpha1.ReasonInvalidOwnership); !strings.Contains(c.Message, "banka-root") {
		t.Errorf("message %q does not name the Secret", c.Message)
	}
	if got := secret(t, e, "banka-root"); string(got.Data["a"]) != "b" || len(got.Data) != 1 {
		t.Error("the foreign Secret was changed")
	}
}

func TestDeletionRetainsKeys(t *testing.T) {
	e := start(t, organization.Options{})
	o := banka(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonWaitingForPod)
	e.Serve(t, "ca-banka", true)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	peer := &v1alpha1.Peer{ObjectMeta: metav1.ObjectMeta{Name: "peer0-banka", Namespace: e.Namespace}}
	peer.Spec.Organization = "banka"
	e.Make(t, peer)
	hash := o.Status.MSPHash
	if err := e.Delete(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if c := e.AwaitReason(t, o, v1alpha1.ReasonDeleting); !strings.Contains(c.Message, "peer0-banka") {
		t.Errorf("message %q does not name the peer", c.Message)
	}
	if err := e.Delete(t.Context(), peer); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the organization goes", func() bool { return !e.Read(t, &v1alpha1.Organization{}, "banka") })
	if secret(t, e, "banka-ops").Labels[v1alpha1.LabelRetained] != "true" {
		t.Error("the issuer is not labelled as retained")
	}
	var d appsv1.Deployment
	if e.Read(t, &d, "ca-banka") {
		t.Error("the CA runs on")
	}
	var pvc corev1.PersistentVolumeClaim
	if !e.Read(t, &pvc, "ca-banka") || pvc.Labels[v1alpha1.LabelRetained] != "true" {
		t.Error("the CA's volume is gone or not labelled as retained")
	}

	// There is no garbage collector here: what the Organization owned has to go by hand.
	var msp corev1.ConfigMap
	if e.Read(t, &msp, "banka-msp") {
		if err := e.Delete(t.Context(), &msp); err != nil {
			t.Fatal(err)
		}
	}
	again := banka(e)
	e.Make(t, again)
	e.AwaitReason(t, again, v1alpha1.ReasonWaitingForPod)
	e.Serve(t, "ca-banka", true)
	e.AwaitReason(t, again, v1alpha1.ReasonReady)
	if again.Status.MSPHash != hash {
		t.Error("the organization came back with other certificates")
	}
	for _, name := range []string{"banka-root", "banka-ops", "banka-app", "banka-admin", "banka-ca-admin"} {
		if _, is := secret(t, e, name).Labels[v1alpha1.LabelRetained]; is {
			t.Errorf("Secret %s is in use and still labelled as retained", name)
		}
	}
}

// TestSecretsComeBack: a deleted Secret is made again, and mended for the same key when it was changed.
func TestSecretsComeBack(t *testing.T) {
	e := controllertest.NewSpace(t, operator.AddToScheme)
	secrets := watch.NewSecrets(nil)
	e.Start(t, operator.CacheOptions, operator.ClientOptions(), secrets, organization.New(organization.Options{Secrets: secrets}))
	o := withoutCA(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	// The watch begins with the operator's rights in the namespace.
	e.Make(t, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: specs.RoleBindingOperator, Namespace: e.Namespace, Labels: map[string]string{v1alpha1.LabelNetwork: e.Namespace}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: specs.ClusterRoleNetwork},
	})
	changed := secret(t, e, "banka-admin")
	before, key := string(changed.Data[specs.KeyCert]), string(changed.Data[specs.KeyKey])
	e.Eventually(t, "a changed certificate is issued again", func() bool {
		// Again and again: nothing tells when the watch has begun.
		s := secret(t, e, "banka-admin")
		if now := string(s.Data[specs.KeyCert]); now != before && now != "spoilt" {
			return string(s.Data[specs.KeyKey]) == key
		}
		s.Data[specs.KeyCert] = []byte("spoilt")
		s.Annotations = map[string]string{"touched": s.ResourceVersion}
		_ = e.Update(t.Context(), s)
		return false
	})
	for _, name := range []string{"banka-admin", "banka-ops"} {
		s := secret(t, e, name)
		if err := e.Delete(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		e.Eventually(t, "the Secret comes back", func() bool {
			var again corev1.Secret
			return e.Read(t, &again, name) && again.UID != s.UID
		})
	}
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
}

// TestNoSecondRoot: issuers that stand on ledgers are never replaced by those of another root.
func TestNoSecondRoot(t *testing.T) {
	e := start(t, organization.Options{})
	o := withoutCA(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	e.Eventually(t, "the MSP is noted", func() bool { return e.Read(t, o, o.Name) && o.Status.MSPHash != "" })
	for _, name := range []string{"banka-root", "banka-ops", "banka-app"} {
		if err := e.Delete(t.Context(), secret(t, e, name)); err != nil {
			t.Fatal(err)
		}
	}
	controllertest.Change(t, e, o, func(o *v1alpha1.Organization) { o.Annotations = map[string]string{"touched": "yes"} })
	if c := e.AwaitReason(t, o, v1alpha1.ReasonInvalidSpec); !strings.Contains(c.Message, "banka-root") || !strings.Contains(c.Message, "backup") {
		t.Errorf("message %q names neither the root nor the remedy", c.Message)
	}
	if e.Read(t, &corev1.Secret{}, "banka-root") {
		t.Error("another root was made")
	}
}

// TestNoSecondRegistrar: a CA that has run knows one password, and another one would open nothing.
func TestNoSecondRegistrar(t *testing.T) {
	e := start(t, organization.Options{})
	o := banka(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonWaitingForPod)
	e.Serve(t, "ca-banka", true)
	e.AwaitReason(t, o, v1alpha1.ReasonReady)
	if err := e.Delete(t.Context(), secret(t, e, "banka-ca-admin")); err != nil {
		t.Fatal(err)
	}
	controllertest.Change(t, e, o, func(o *v1alpha1.Organization) { o.Annotations = map[string]string{"touched": "yes"} })
	if c := e.AwaitReason(t, o, v1alpha1.ReasonUnsafeChange); !strings.Contains(c.Message, "banka-ca-admin") || !strings.Contains(c.Message, "backup") {
		t.Errorf("message %q names neither the Secret nor the remedy", c.Message)
	}
	if e.Read(t, &corev1.Secret{}, "banka-ca-admin") {
		t.Error("another password was made")
	}
}

func TestDriftOfTheCAIsHealed(t *testing.T) {
	e := start(t, organization.Options{})
	o := banka(e)
	e.Make(t, o)
	e.AwaitReason(t, o, v1alpha1.ReasonWaitingForPod)
	var d appsv1.Deployment
	e.Read(t, &d, "ca-banka")
	if err := e.Delete(t.Context(), &d); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the Deployment comes back", func() bool {
		var again appsv1.Deployment
		return e.Read(t, &again, "ca-banka") && again.UID != d.UID
	})
	var s corev1.Service
	e.Read(t, &s, "ca-banka")
	if err := e.Patch(t.Context(), &s, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"selector":{"heddle.dev/node":"other"}}}`))); err != nil {
		t.Fatal(err)
	}
	e.Eventually(t, "the Service is mended", func() bool {
		return e.Read(t, &s, "ca-banka") && s.Spec.Selector[v1alpha1.LabelNode] == "banka"
	})
}
