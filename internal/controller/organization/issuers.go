package organization

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// Keys with the certificates of the roots in the Secrets of intermediates: a root itself can be taken away.
const (
	keySignRoot = "sign-root.crt"
	keyTLSRoot  = "tls-root.crt"
)

// roots are the self-signed certificates of an organization.
type roots struct {
	sign, tls *x509.Certificate
}

// ensureIssuers makes the root and the two intermediates, each once. When both intermediates are there, the root is
// not looked for any more.
func (r *Reconciler) ensureIssuers(ctx context.Context, s *scope) error {
	ops, opsRoots, err := r.readIntermediates(ctx, s, specs.OpsSecret(s.org.Name))
	if err != nil {
		return err
	}
	app, appRoots, err := r.readIntermediates(ctx, s, specs.AppSecret(s.org.Name))
	if err != nil {
		return err
	}
	if ops == nil || app == nil {
		return r.makeIssuers(ctx, s, ops != nil || app != nil)
	}
	if !opsRoots.sign.Equal(appRoots.sign) || !opsRoots.tls.Equal(appRoots.tls) {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec,
			"Secrets %q and %q come from different roots: delete the one that is wrong, with the root of the other in place",
			specs.OpsSecret(s.org.Name), specs.AppSecret(s.org.Name))
	}
	s.ops, s.app, s.roots = *ops, *app, opsRoots
	s.noteIssuers()
	return nil
}

func (s *scope) noteIssuers() {
	for _, c := range []struct {
		name string
		cert *x509.Certificate
	}{
		{"root-ca", s.roots.sign},
		{"tls-root-ca", s.roots.tls},
		{"ops-ca", s.ops.Sign.Cert},
		{"tls-ops-ca", s.ops.TLS.Cert},
		{"app-ca", s.app.Sign.Cert},
		{"tls-app-ca", s.app.TLS.Cert},
	} {
		s.certificates = append(s.certificates, keys.Status(c.name, c.cert, s.now))
	}
}

// readIntermediates reads a Secret of intermediates; nil without an error means that there is none.
func (r *Reconciler) readIntermediates(ctx context.Context, s *scope, name string) (*keys.Issuers, roots, error) {
	var secret corev1.Secret
	err := r.client.Get(ctx, client.ObjectKey{Namespace: s.org.Namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, roots{}, nil
	}
	if err != nil {
		return nil, roots{}, fmt.Errorf("read Secret %q: %w", name, err)
	}
	if err := kube.Owned(s.secret(name), &secret); err != nil {
		return nil, roots{}, err
	}
	issuers, err := keys.ReadIssuers(secret.Data)
	if err != nil {
		return nil, roots{}, damaged(name, err)
	}
	sign, err := pki.ParseCert(secret.Data[keySignRoot])
	if err != nil {
		return nil, roots{}, damaged(name, fmt.Errorf("read %s: %w", keySignRoot, err))
	}
	tls, err := pki.ParseCert(secret.Data[keyTLSRoot])
	if err != nil {
		return nil, roots{}, damaged(name, fmt.Errorf("read %s: %w", keyTLSRoot, err))
	}
	if err := r.release(ctx, s, &secret); err != nil {
		return nil, roots{}, err
	}
	return &issuers, roots{sign: sign, tls: tls}, nil
}

// release takes a left-over Secret of intermediates into use again, and the root with it, which is not read otherwise.
func (r *Reconciler) release(ctx context.Context, s *scope, secret *corev1.Secret) error {
	if _, retained := secret.Labels[v1alpha1.LabelRetained]; !retained {
		return nil
	}
	root := s.secret(specs.RootSecret(s.org.Name))
	err := r.client.Get(ctx, client.ObjectKeyFromObject(root), root)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Secret %q: %w", root.Name, err)
	}
	if err == nil {
		if err := r.apply.Release(ctx, root); err != nil {
			return err
		}
	}
	return r.apply.Release(ctx, secret)
}

// damaged stops: a broken issuer is restored from a backup, never replaced behind the ledger's back.
func damaged(secret string, err error) error {
	return kube.Stalled(v1alpha1.ReasonInvalidSpec, "Secret %q is damaged (%v): restore it from a backup", secret, err)
}

// makeIssuers makes what is missing. half says that one of the intermediates is there: then the root must be too.
func (r *Reconciler) makeIssuers(ctx context.Context, s *scope, half bool) error {
	root, certs, err := r.root(ctx, s, half)
	if err != nil {
		return err
	}
	for _, level := range []struct {
		secret, name string
		to           *keys.Issuers
	}{{specs.OpsSecret(s.org.Name), "ops", &s.ops}, {specs.AppSecret(s.org.Name), "app", &s.app}} {
		if *level.to, err = r.makeIntermediates(ctx, s, level.secret, level.name, root, certs); err != nil {
			return err
		}
	}
	s.roots = certs
	s.noteIssuers()
	return nil
}

func (r *Reconciler) makeIntermediates(ctx context.Context, s *scope, name, level string, root keys.Issuers, certs roots) (keys.Issuers, error) {
	sign, err := r.intermediate(s, root.Sign, level+" CA")
	if err != nil {
		return keys.Issuers{}, err
	}
	tls, err := r.intermediate(s, root.TLS, level+" TLS CA")
	if err != nil {
		return keys.Issuers{}, err
	}
	secret := s.secret(name)
	if err := (keys.Issuers{Sign: sign, TLS: tls}).Write(secret.Data); err != nil {
		return keys.Issuers{}, fmt.Errorf("encode Secret %q: %w", name, err)
	}
	secret.Data[keySignRoot], secret.Data[keyTLSRoot] = pki.EncodeCerts(certs.sign), pki.EncodeCerts(certs.tls)
	if _, err := r.apply.CreateOnce(ctx, nil, secret); err != nil {
		return keys.Issuers{}, err
	}
	// What stands in the Secret counts: it may have been there before.
	issuers, err := keys.ReadIssuers(secret.Data)
	if err != nil {
		return keys.Issuers{}, damaged(name, err)
	}
	return issuers, nil
}

func (r *Reconciler) intermediate(s *scope, root *pki.Issuer, name string) (*pki.Issuer, error) {
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	return root.NewIntermediate(pki.IssuerRequest{
		CommonName: s.issuerName(name), Organization: s.org.Spec.MSPID, Key: key, Lifetime: r.opts.Lifetimes.Intermediate, Now: s.now,
	})
}

// issuerName tells an organization's issuers apart, from one another and from those of other networks.
func (s *scope) issuerName(name string) string {
	return s.org.Name + "." + s.org.Namespace + " " + name
}

// root loads or makes the organization's root.
func (r *Reconciler) root(ctx context.Context, s *scope, half bool) (keys.Issuers, roots, error) {
	if s.org.Spec.CA.IssuerRef != nil {
		return r.externalRoot(ctx, s)
	}
	name := specs.RootSecret(s.org.Name)
	// An organization that has published its certificates has had a root, and another one would be another organization.
	if half || s.org.Status.MSPHash != "" {
		err := r.client.Get(ctx, client.ObjectKey{Namespace: s.org.Namespace, Name: name}, &corev1.Secret{})
		if apierrors.IsNotFound(err) {
			return keys.Issuers{}, roots{}, kube.Stalled(v1alpha1.ReasonInvalidSpec,
				"Secret %q or %q is gone, and so is the root %q that could make it anew: restore them from a backup",
				specs.OpsSecret(s.org.Name), specs.AppSecret(s.org.Name), name)
		}
		if err != nil {
			return keys.Issuers{}, roots{}, fmt.Errorf("read Secret %q: %w", name, err)
		}
	}
	return r.makeRoot(ctx, s, name)
}

func (r *Reconciler) makeRoot(ctx context.Context, s *scope, name string) (keys.Issuers, roots, error) {
	var made [2]*pki.Issuer
	for i, title := range []string{"root CA", "root TLS CA"} {
		key, err := pki.NewKey()
		if err != nil {
			return keys.Issuers{}, roots{}, err
		}
		if made[i], err = pki.NewRoot(pki.IssuerRequest{
			CommonName: s.issuerName(title), Organization: s.org.Spec.MSPID, Key: key, Lifetime: r.opts.Lifetimes.Root, Now: s.now,
		}); err != nil {
			return keys.Issuers{}, roots{}, err
		}
	}
	secret := s.secret(name)
	if err := (keys.Issuers{Sign: made[0], TLS: made[1]}).Write(secret.Data); err != nil {
		return keys.Issuers{}, roots{}, fmt.Errorf("encode Secret %q: %w", name, err)
	}
	if _, err := r.apply.CreateOnce(ctx, nil, secret); err != nil {
		return keys.Issuers{}, roots{}, err
	}
	issuers, err := keys.ReadIssuers(secret.Data)
	if err != nil {
		return keys.Issuers{}, roots{}, damaged(name, err)
	}
	return issuers, roots{sign: issuers.Sign.Cert, tls: issuers.TLS.Cert}, nil
}

// externalRoot reads and checks the issuer that the spec points to. It is read, never copied.
func (r *Reconciler) externalRoot(ctx context.Context, s *scope) (keys.Issuers, roots, error) {
	name := s.org.Spec.CA.IssuerRef.Name
	var secret corev1.Secret
	err := r.client.Get(ctx, client.ObjectKey{Namespace: s.org.Namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return keys.Issuers{}, roots{}, kube.Waiting(v1alpha1.ReasonWaitingForDependency, foreignAfter,
			"Secret %q (spec.ca.issuerRef) is not there: create it with the label %s=%s", name, v1alpha1.LabelIssuerFor, s.org.Name)
	}
	if err != nil {
		return keys.Issuers{}, roots{}, fmt.Errorf("read Secret %q: %w", name, err)
	}
	if secret.Labels[v1alpha1.LabelIssuerFor] != s.org.Name {
		return keys.Issuers{}, roots{}, kube.Stalled(v1alpha1.ReasonInvalidSpec,
			"Secret %q (spec.ca.issuerRef) is not meant for this organization: label it %s=%s", name, v1alpha1.LabelIssuerFor, s.org.Name)
	}
	issuers, err := keys.ReadIssuers(secret.Data)
	if err != nil {
		return keys.Issuers{}, roots{}, kube.Stalled(v1alpha1.ReasonInvalidSpec, "Secret %q (spec.ca.issuerRef) cannot be used: %v", name, err)
	}
	var certs roots
	if certs.sign, err = anchor(issuers.Sign, secret.Data[specs.KeySignCert], s); err == nil {
		certs.tls, err = anchor(issuers.TLS, secret.Data[specs.KeyTLSCert], s)
	}
	if err != nil {
		return keys.Issuers{}, roots{}, kube.Stalled(v1alpha1.ReasonInvalidSpec, "Secret %q (spec.ca.issuerRef) cannot be used: %v", name, err)
	}
	return issuers, certs, nil
}

// anchor checks that an issuer may sign intermediates now, and finds the root it leads to in the same file.
func anchor(issuer *pki.Issuer, bundle []byte, s *scope) (*x509.Certificate, error) {
	name := issuer.Cert.Subject.CommonName
	if issuer.Cert.MaxPathLen == 0 && issuer.Cert.MaxPathLenZero {
		return nil, fmt.Errorf("certificate %q may not sign intermediates (its path length is 0)", name)
	}
	certs, err := pki.ParseCerts(bundle)
	if err != nil {
		return nil, err
	}
	var root *x509.Certificate
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range certs {
		if c.CheckSignatureFrom(c) == nil {
			root = c
			pool.AddCert(c)
			continue
		}
		between.AddCert(c)
	}
	if root == nil {
		return nil, errors.New("certificate " + name + " does not lead to a root: append the parents up to the self-signed one")
	}
	opts := x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: s.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	if _, err := issuer.Cert.Verify(opts); err != nil {
		return nil, fmt.Errorf("check certificate %q: %w", name, err)
	}
	return root, nil
}
