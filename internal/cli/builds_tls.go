package cli

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// How long the registry's certificates are good, and when a later install makes new ones.
const (
	registryCALife   = 10 * 365 * 24 * time.Hour
	registryCertLife = 2 * 365 * 24 * time.Hour
	registryRenew    = 60 * 24 * time.Hour
)

// registrySANs are the names under which pods, the API server and tunnels reach the registry.
func registrySANs() []string {
	return []string{
		"registry." + specs.SystemNamespace + ".svc", "registry." + specs.SystemNamespace + ".svc.cluster.local",
		"registry." + specs.SystemNamespace, "registry", "localhost", "127.0.0.1",
	}
}

// ensureRegistryTLS makes the registry's certificate and the authority that signs it, and leaves alone what is good for
// a while yet. The authority outlives many certificates: other machines may have been told of it.
func (c *cluster) ensureRegistryTLS(ctx context.Context, now time.Time) error {
	authority, err := c.registryAuthority(ctx, now)
	if err != nil {
		return err
	}
	root := pki.EncodeCerts(authority.Cert)
	err = c.applyAll(ctx, []*unstructured.Unstructured{systemObject("ConfigMap", registryCAName, map[string]any{
		"data": map[string]any{specs.KeyRegistryCA: string(root)},
	})})
	if err != nil {
		return err
	}
	cert, key, err := c.tlsSecret(ctx, registryTLSSecret)
	if err != nil {
		return err
	}
	_, _, stale := pki.TLSPredicates().Check(pki.Leaf{
		Cert: cert, Key: key, CommonName: registryName, SANs: registrySANs(), Issuer: authority.Cert, RenewBefore: registryRenew, Now: now,
	})
	if !stale {
		return nil
	}
	if key, err = pki.NewKey(); err != nil {
		return err
	}
	cert, err = authority.IssueTLS(pki.TLSRequest{
		CommonName: registryName, SANs: registrySANs(), Public: key.Public(), Lifetime: registryCertLife, Now: now,
	})
	if err != nil {
		return err
	}
	return c.applyTLSSecret(ctx, registryTLSSecret, cert, key)
}

// registryAuthority reads the authority, or makes a new one when there is none or its end is near.
func (c *cluster) registryAuthority(ctx context.Context, now time.Time) (*pki.Issuer, error) {
	cert, key, err := c.tlsSecret(ctx, registryCAName)
	if err != nil {
		return nil, err
	}
	if cert != nil && pki.SameKey(cert, key) && now.Before(cert.NotAfter.Add(-registryRenew)) {
		return &pki.Issuer{Cert: cert, Key: key}, nil
	}
	if key, err = pki.NewKey(); err != nil {
		return nil, err
	}
	authority, err := pki.NewRoot(pki.IssuerRequest{CommonName: registryCAName, Key: key, Lifetime: registryCALife, Now: now})
	if err != nil {
		return nil, err
	}
	return authority, c.applyTLSSecret(ctx, registryCAName, authority.Cert, key)
}

// tlsSecret reads a certificate and its key; both are nil where there are none, or none that can be read.
func (c *cluster) tlsSecret(ctx context.Context, name string) (*x509.Certificate, crypto.Signer, error) {
	var secret corev1.Secret
	err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read Secret %q: %w", name, err)
	}
	cert, certErr := pki.ParseCert(secret.Data[corev1.TLSCertKey])
	key, keyErr := pki.ParseKey(secret.Data[corev1.TLSPrivateKeyKey])
	if certErr != nil || keyErr != nil {
		return nil, nil, nil //nolint:nilerr // what cannot be read is made anew, as if it were not there
	}
	return cert, key, nil
}

func (c *cluster) applyTLSSecret(ctx context.Context, name string, cert *x509.Certificate, key crypto.Signer) error {
	pem, err := pki.EncodeKey(key)
	if err != nil {
		return err
	}
	return c.applyAll(ctx, []*unstructured.Unstructured{systemObject("Secret", name, map[string]any{
		"type": string(corev1.SecretTypeTLS),
		"data": map[string]any{
			corev1.TLSCertKey:       base64.StdEncoding.EncodeToString(pki.EncodeCerts(cert)),
			corev1.TLSPrivateKeyKey: base64.StdEncoding.EncodeToString(pem),
		},
	})})
}

// systemObject is a core object in the operator's namespace.
func systemObject(kind, name string, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind}}
	for field, value := range content {
		o.Object[field] = value
	}
	o.SetName(name)
	o.SetNamespace(specs.SystemNamespace)
	o.SetLabels(map[string]string{labelPartOf: partOf})
	return o
}
