package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// ensureKeys keeps the node's Secret: enrolment and TLS certificate, each renewed in time for the same key. What
// channel configurations pin is compared by public key, so a renewed certificate is good at once
// (design/0002-renewal-of-orderers.md).
func (r *Reconciler) ensureKeys(ctx context.Context, s *scope) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: s.node.Name, Namespace: s.obj.GetNamespace(), Labels: s.node.Labels()},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{specs.KeyNodeTLSRoots: []byte(s.msp.Data[specs.KeyTLSRoots])},
	}
	var live corev1.Secret
	err := r.client.Get(ctx, client.ObjectKeyFromObject(secret), &live)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Secret %q: %w", secret.Name, err)
	}
	exists := !apierrors.IsNotFound(err)
	if exists {
		if err := kube.Owned(secret, &live); err != nil {
			return err
		}
		if err := r.apply.Release(ctx, &live); err != nil {
			return err
		}
	}
	if err := r.refuseNewKeys(ctx, s, live.Data); err != nil {
		return err
	}
	renewals, err := r.issue(ctx, s, live.Data)
	if err != nil {
		return err
	}
	if len(renewals) == 0 && string(live.Data[specs.KeyNodeTLSRoots]) == s.msp.Data[specs.KeyTLSRoots] {
		return nil
	}
	return r.writeSecret(ctx, s, secret, exists, renewals)
}

// refuseNewKeys keeps an orderer that a channel knows by its keys from getting others: it would stand outside of that
// channel, and where it is the only one left nobody could take it in again. Its pod goes on with what it has read.
func (r *Reconciler) refuseNewKeys(ctx context.Context, s *scope, data map[string][]byte) error {
	sign, tls := keys.Read(data, specs.KeyCert, specs.KeyKey), keys.Read(data, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey)
	if s.node.Component != v1alpha1.ComponentOrderer || sign.Key != nil && tls.Key != nil {
		return nil
	}
	var channels v1alpha1.ChannelList
	if err := r.client.List(ctx, &channels, client.InNamespace(s.obj.GetNamespace())); err != nil {
		return fmt.Errorf("list channels: %w", err)
	}
	for i := range channels.Items {
		if ch := &channels.Items[i]; ch.DeletionTimestamp.IsZero() && slices.Contains(ch.Status.Consenters, s.node.Address()) {
			return kube.Stalled(v1alpha1.ReasonUnsafeChange,
				"The keys in Secret %q are gone, and channel %q knows this orderer by them: restore the Secret from a backup, or delete the Orderer and make it anew",
				s.node.Name, ch.Name)
		}
	}
	return nil
}

// issue reads the node's two pairs and issues anew what has to be.
func (r *Reconciler) issue(ctx context.Context, s *scope, data map[string][]byte) ([]keys.Renewal, error) {
	sign := keys.Want{CommonName: s.node.Name, Role: pki.Role(s.node.Component), Lifetimes: r.opts.Lifetimes, Now: s.now}
	tls := keys.Want{
		CommonName: specs.Host(s.node.Name, s.obj.GetNamespace()), Lifetimes: r.opts.Lifetimes, Now: s.now,
		SANs: pki.NodeSANs(s.node.Name, s.obj.GetNamespace(), s.node.Settings.ExtraSANs...),
	}
	if err := r.issuedBy(ctx, s, &sign, &tls); err != nil {
		return nil, err
	}
	var renewals []keys.Renewal
	var renewal keys.Renewal
	var err error
	if s.sign, renewal, err = keys.Enrolment(keys.Read(data, specs.KeyCert, specs.KeyKey), sign); err != nil {
		return nil, err
	}
	if renewal.Changed {
		renewals = append(renewals, renewal)
	}
	if s.tls, renewal, err = keys.TLS(keys.Read(data, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey), tls); err != nil {
		return nil, err
	}
	if renewal.Changed {
		renewals = append(renewals, renewal)
	}
	s.certs = []v1alpha1.CertificateStatus{s.sign.Status("sign", s.now), s.tls.Status("tls", s.now)}
	s.wake(min(sign.Next(s.sign), tls.Next(s.tls)))
	return renewals, nil
}

// issuedBy says who issues. The certificates of the issuers are public; their keys are read when they are needed.
func (r *Reconciler) issuedBy(ctx context.Context, s *scope, sign, tls *keys.Want) error {
	for _, w := range []struct {
		want *keys.Want
		from string
		pick func(keys.Issuers) *pki.Issuer
	}{
		{sign, specs.KeyIntermediates, func(i keys.Issuers) *pki.Issuer { return i.Sign }},
		{tls, specs.KeyTLSIntermediates, func(i keys.Issuers) *pki.Issuer { return i.TLS }},
	} {
		// The issuer of nodes is the first of the intermediates: see the Organization's controller.
		cert, err := pki.ParseCert([]byte(s.msp.Data[w.from]))
		if err != nil {
			return fmt.Errorf("read %s of organization %q: %w", w.from, s.node.Organization, err)
		}
		w.want.Issuer = &pki.Issuer{Cert: cert}
		w.want.Load = func() (*pki.Issuer, error) {
			issuers, err := r.issuers(ctx, s)
			if err != nil {
				return nil, err
			}
			return w.pick(issuers), nil
		}
	}
	return nil
}

func (r *Reconciler) issuers(ctx context.Context, s *scope) (keys.Issuers, error) {
	name := specs.OpsSecret(s.node.Organization)
	var secret corev1.Secret
	err := r.client.Get(ctx, client.ObjectKey{Namespace: s.obj.GetNamespace(), Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		return keys.Issuers{}, kube.Waiting(v1alpha1.ReasonWaitingForDependency, time.Second, "Secret %q is not there yet", name)
	}
	if err != nil {
		return keys.Issuers{}, fmt.Errorf("read Secret %q: %w", name, err)
	}
	issuers, err := keys.ReadIssuers(secret.Data)
	if err != nil {
		return keys.Issuers{}, fmt.Errorf("read Secret %q: %w", name, err)
	}
	return issuers, nil
}

func (r *Reconciler) writeSecret(ctx context.Context, s *scope, secret *corev1.Secret, exists bool, renewals []keys.Renewal) error {
	if err := s.sign.Write(secret.Data, specs.KeyCert, specs.KeyKey); err != nil {
		return fmt.Errorf("encode Secret %q: %w", secret.Name, err)
	}
	if err := s.tls.Write(secret.Data, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey); err != nil {
		return fmt.Errorf("encode Secret %q: %w", secret.Name, err)
	}
	ends := s.sign.Cert.NotAfter
	if s.tls.Cert.NotAfter.Before(ends) {
		ends = s.tls.Cert.NotAfter
	}
	secret.Annotations = map[string]string{v1alpha1.AnnotationNotAfter: ends.UTC().Format(time.RFC3339)}
	if !exists {
		created, err := r.apply.CreateOnce(ctx, nil, secret)
		if err == nil && !created {
			return kube.Waiting(v1alpha1.ReasonProgressing, time.Second, "Secret %q has just been made by somebody else", secret.Name)
		}
		return err
	}
	if err := r.apply.Apply(ctx, nil, secret); err != nil {
		return err
	}
	for _, renewal := range renewals {
		r.recorder.Eventf(s.obj, nil, corev1.EventTypeNormal, v1alpha1.ReasonCertificateRenewed, "Renew", "%s", renewal.Message)
	}
	return nil
}

// material identifies what the node reads from its Secrets and from its organization's ConfigMap, keys apart: they do
// not change without their certificates.
func (s *scope) material() string {
	sum := sha256.New()
	sum.Write(s.sign.Cert.Raw)
	sum.Write(s.tls.Cert.Raw)
	for _, c := range s.tls.Chain {
		sum.Write(c.Raw)
	}
	sum.Write([]byte(specs.MSPHash(s.msp)))
	sum.Write(s.password)
	return hex.EncodeToString(sum.Sum(nil))
}
