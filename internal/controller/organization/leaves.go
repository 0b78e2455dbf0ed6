package organization

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/fabric/msp"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// foreignAfter is when to look again for a Secret that a person makes: only Secrets of networks are watched.
const foreignAfter = 5 * time.Second

// registrar is the name of the user that registers others at the application CA.
const registrar = "registrar"

// publishMSP publishes what others need to know to trust the organization.
func (r *Reconciler) publishMSP(ctx context.Context, s *scope) error {
	material := msp.Material{NodeOUs: msp.DefaultNodeOUs()}
	material.CACerts = blocks(s.roots.sign)
	material.TLSCACerts = blocks(s.roots.tls)
	// What issues nodes stands first: their controller looks for it there.
	material.IntermediateCerts = distinct(s.ops.Sign.Chain(), s.app.Sign.Chain())
	material.TLSIntermediates = distinct(s.ops.TLS.Chain(), s.app.TLS.Chain())
	s.msp = specs.MSPConfigMapFor(s.org, material, pki.EncodeCerts(append(s.app.Sign.Chain(), s.roots.sign)...))
	return r.apply.Apply(ctx, s.org, s.msp)
}

func blocks(certs ...*x509.Certificate) [][]byte {
	var out [][]byte
	for _, c := range certs {
		out = append(out, pki.EncodeCerts(c))
	}
	return out
}

// distinct joins chains without saying a certificate twice: an external issuer stands in both.
func distinct(chains ...[]*x509.Certificate) [][]byte {
	var out []*x509.Certificate
	for _, chain := range chains {
		for _, c := range chain {
			seen := false
			for _, o := range out {
				seen = seen || o.Equal(c)
			}
			if !seen {
				out = append(out, c)
			}
		}
	}
	return blocks(out...)
}

// ensureAdmin keeps the administrator, in whose name the operator acts on the ledger.
func (r *Reconciler) ensureAdmin(ctx context.Context, s *scope) error {
	want := r.want(s, "admin-"+s.org.Name)
	want.Role, want.Issuer = pki.RoleAdmin, s.ops.Sign
	return r.leaf(ctx, s, leafSecret{
		name: specs.AdminSecret(s.org.Name), cert: specs.KeyCert, key: specs.KeyKey, title: "admin", want: want, ensure: keys.Enrolment,
	})
}

// ensureCATLS keeps the TLS certificate of the application CA.
func (r *Reconciler) ensureCATLS(ctx context.Context, s *scope) error {
	name := specs.CAName(s.org.Name)
	want := r.want(s, specs.Host(name, s.org.Namespace))
	want.Issuer, want.SANs = s.ops.TLS, pki.NodeSANs(name, s.org.Namespace)
	return r.leaf(ctx, s, leafSecret{
		name: specs.CATLSSecret(s.org.Name), cert: specs.KeyNodeTLSCert, key: specs.KeyNodeTLSKey, title: "ca-tls", want: want, ensure: keys.TLS,
		to: &s.caTLS,
	})
}

func (r *Reconciler) want(s *scope, name string) keys.Want {
	return keys.Want{CommonName: name, Lifetimes: r.opts.Lifetimes, Now: s.now}
}

// leafSecret is one Secret with one leaf.
type leafSecret struct {
	name, cert, key string
	// title in the status.
	title string
	// to is where the pair is put, if it is needed further on.
	to     *keys.Pair
	want   keys.Want
	ensure func(keys.Pair, keys.Want) (keys.Pair, keys.Renewal, error)
}

func (r *Reconciler) leaf(ctx context.Context, s *scope, l leafSecret) error {
	var live corev1.Secret
	err := r.client.Get(ctx, client.ObjectKey{Namespace: s.org.Namespace, Name: l.name}, &live)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Secret %q: %w", l.name, err)
	}
	exists := !apierrors.IsNotFound(err)
	pair, renewal, err := l.ensure(keys.Read(live.Data, l.cert, l.key), l.want)
	if err != nil {
		return err
	}
	if exists {
		if err := errors.Join(kube.Owned(s.secret(l.name), &live), r.apply.Release(ctx, &live)); err != nil {
			return err
		}
	}
	if renewal.Changed {
		if err := r.writeLeaf(ctx, s, l, pair, exists); err != nil {
			return err
		}
		if exists {
			r.recorder.Eventf(s.org, nil, corev1.EventTypeNormal, v1alpha1.ReasonCertificateRenewed, "Renew", "%s", renewal.Message)
		}
	}
	if l.to != nil {
		*l.to = pair
	}
	s.certificates = append(s.certificates, pair.Status(l.title, s.now))
	s.wake(l.want.Next(pair))
	return nil
}

func (r *Reconciler) writeLeaf(ctx context.Context, s *scope, l leafSecret, pair keys.Pair, exists bool) error {
	secret := s.secret(l.name)
	if err := pair.Write(secret.Data, l.cert, l.key); err != nil {
		return fmt.Errorf("encode Secret %q: %w", l.name, err)
	}
	secret.Annotations = map[string]string{v1alpha1.AnnotationNotAfter: pair.Cert.NotAfter.UTC().Format(time.RFC3339)}
	if exists {
		return r.apply.Apply(ctx, nil, secret)
	}
	_, err := r.apply.CreateOnce(ctx, nil, secret)
	return err
}

// ensureRegistrar makes name and password of the application CA's registrar, once.
func (r *Reconciler) ensureRegistrar(ctx context.Context, s *scope) error {
	secret := s.secret(specs.CAAdminSecret(s.org.Name))
	var live corev1.Secret
	err := r.client.Get(ctx, client.ObjectKeyFromObject(secret), &live)
	if err == nil {
		if err := kube.Owned(secret, &live); err != nil {
			return err
		}
		return r.apply.Release(ctx, &live)
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("read Secret %q: %w", secret.Name, err)
	}
	if err := r.refuseNewRegistrar(ctx, s, secret.Name); err != nil {
		return err
	}
	password := make([]byte, 24)
	if _, err := rand.Read(password); err != nil {
		return fmt.Errorf("draw password: %w", err)
	}
	secret.Data[specs.KeyUsername] = []byte(registrar)
	secret.Data[specs.KeyPassword] = []byte(base64.RawURLEncoding.EncodeToString(password))
	_, err = r.apply.CreateOnce(ctx, nil, secret)
	return err
}

// refuseNewRegistrar makes no second password for a CA that has run: it keeps the one of its first start on its volume.
func (r *Reconciler) refuseNewRegistrar(ctx context.Context, s *scope, secret string) error {
	var ca appsv1.Deployment
	err := r.client.Get(ctx, client.ObjectKey{Namespace: s.org.Namespace, Name: specs.CAName(s.org.Name)}, &ca)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read Deployment of the CA: %w", err)
	}
	return kube.Stalled(v1alpha1.ReasonUnsafeChange,
		"Secret %q with the registrar's password is gone, and the CA takes no other: restore the Secret from a backup", secret)
}
