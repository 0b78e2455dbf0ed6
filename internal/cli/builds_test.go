package cli_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// describeBuilds checks the registry's certificate, and writes down everything about builds that a later install keeps.
func describeBuilds(ctx context.Context, c client.Client) (string, error) {
	var out strings.Builder
	for _, name := range []string{specs.OperatorName, "heddle-registry"} {
		var d appsv1.Deployment
		if err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: name}, &d); err != nil {
			return "", err
		}
		container := d.Spec.Template.Spec.Containers[0]
		fmt.Fprintf(&out, "image=%s\n", container.Image)
		for _, v := range container.Env {
			fmt.Fprintf(&out, "%s=%s\n", v.Name, v.Value)
		}
	}
	var claim corev1.PersistentVolumeClaim
	if err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: "heddle-registry"}, &claim); err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "size=%s\n", claim.Spec.Resources.Requests.Storage())
	cert, err := registryCertificate(ctx, c)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "certificate=%x\n", cert.SerialNumber)
	return out.String(), nil
}

// registryCertificate is good for every name of the registry, by the authority that builds are told of.
func registryCertificate(ctx context.Context, c client.Client) (*x509.Certificate, error) {
	var secret corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: "heddle-registry-tls"}, &secret); err != nil {
		return nil, err
	}
	var authority corev1.ConfigMap
	if err := c.Get(ctx, client.ObjectKey{Namespace: specs.SystemNamespace, Name: "heddle-registry-ca"}, &authority); err != nil {
		return nil, err
	}
	cert, err := pki.ParseCert(secret.Data["tls.crt"])
	if err != nil {
		return nil, err
	}
	key, err := pki.ParseKey(secret.Data["tls.key"])
	if err != nil {
		return nil, err
	}
	if !pki.SameKey(cert, key) {
		return nil, fmt.Errorf("the registry's key is not that of its certificate")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authority.Data["ca.crt"]))
	for _, name := range []string{
		"registry.heddle-system.svc", "registry.heddle-system.svc.cluster.local", "registry.heddle-system", "registry", "localhost", "127.0.0.1",
	} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: time.Now()}); err != nil {
			return nil, err
		}
	}
	return cert, nil
}
