package link

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/kube"
	sites "heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// lifetimes of a link's certificate: it is renewed when a third is left.
func lifetimes() keys.Lifetimes { return keys.Lifetimes{Leaf: sites.LeafLifetime} }

// ensureSecret keeps the key that this site shows to the partner, and what verifies the partner.
func (r *Reconciler) ensureSecret(ctx context.Context, s *scope) error {
	if s.spec.Site == "" {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for the Site to have its siteID")
	}
	if s.link.Spec.CACertificates == "" {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for the CA of partner %q", s.link.Name)
	}
	issuer, err := r.gatewayCA(ctx)
	if err != nil {
		return err
	}
	secret := specs.LinkSecret(s.spec)
	var live corev1.Secret
	err = r.client.Get(ctx, client.ObjectKeyFromObject(secret), &live)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Secret %q: %w", secret.Name, err)
	}
	want := keys.Want{
		CommonName: s.spec.ServedAs(), SANs: []string{s.spec.ServedAs()}, Issuer: issuer, Lifetimes: lifetimes(), Now: s.now,
		Backdate: sites.Backdate,
	}
	pair, _, err := keys.TLS(keys.Read(live.Data, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey), want)
	if err != nil {
		return fmt.Errorf("issue certificate of link %q: %w", s.link.Name, err)
	}
	if err := pair.Write(secret.Data, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey); err != nil {
		return fmt.Errorf("encode Secret %q: %w", secret.Name, err)
	}
	secret.Data[specs.KeyPartnerCA] = []byte(s.link.Spec.CACertificates)
	secret.Annotations = map[string]string{v1alpha1.AnnotationNotAfter: pair.Cert.NotAfter.UTC().Format(time.RFC3339)}
	s.secret, s.next = secret, min(s.next, want.Next(pair))
	s.changed = digest(live.Data) != digest(secret.Data)
	return r.apply.Apply(ctx, s.link, secret)
}

// gatewayCA is what signs for this site.
func (r *Reconciler) gatewayCA(ctx context.Context) (*pki.Issuer, error) {
	var secret corev1.Secret
	err := r.reader.Get(ctx, client.ObjectKey{Namespace: r.opts.System, Name: specs.GatewayCASecret}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, kube.Waiting(v1alpha1.ReasonWaitingForDependency, 5*time.Second, "Waiting for Secret %q, the CA of this site's gateway", specs.GatewayCASecret)
	}
	if err != nil {
		return nil, fmt.Errorf("read the gateway's CA: %w", err)
	}
	issuer, err := pki.LoadIssuer(secret.Data[specs.KeyNodeTLSCert], secret.Data[specs.KeyNodeTLSKey])
	if err != nil {
		return nil, fmt.Errorf("read the gateway's CA: %w", err)
	}
	return issuer, nil
}

func (r *Reconciler) applyConfig(ctx context.Context, s *scope) error {
	text, err := s.spec.Config().Render()
	if err != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "nginx cannot be configured: %s", err)
	}
	s.config = text
	cm := specs.LinkConfigMap(s.spec, text)
	var live corev1.ConfigMap
	err = r.client.Get(ctx, client.ObjectKeyFromObject(cm), &live)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read ConfigMap %q: %w", cm.Name, err)
	}
	s.changed = s.changed || live.Data[nginx.ConfigFile] != text
	return r.apply.Apply(ctx, s.link, cm)
}

func (r *Reconciler) applyPolicies(ctx context.Context, s *scope) error {
	for _, np := range specs.LinkPolicies(s.spec) {
		if err := r.apply.Apply(ctx, s.link, np); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) applyService(ctx context.Context, s *scope) error {
	return r.apply.Apply(ctx, s.link, specs.LinkService(s.spec))
}

func (r *Reconciler) applyDeployment(ctx context.Context, s *scope) error {
	return r.apply.Apply(ctx, s.link, specs.LinkDeployment(s.spec, s.running()))
}

// cut ends the tunnels of a partner that is away: its pod goes without grace, and what comes is refused since no other
// takes its place.
func (r *Reconciler) cut(ctx context.Context, s *scope) error {
	if s.running() {
		return nil
	}
	return r.killPods(ctx, s)
}

// nudge has the kubelet look at the files of running pods at once, by a change of the pod: by itself it does so once in a
// minute or two. It waits for a moment after the files were written, so that the kubelet has heard of them.
func (r *Reconciler) nudge(ctx context.Context, s *scope) error {
	if !s.running() {
		return nil
	}
	if left := r.written(s); left > 0 {
		return kube.LookAgain(left)
	}
	pods, err := r.pods(ctx, s)
	if err != nil {
		return err
	}
	want := digest(map[string][]byte{nginx.ConfigFile: []byte(s.config)}, s.secret.Data)
	for i := range pods {
		if p := &pods[i]; p.DeletionTimestamp.IsZero() && p.Annotations[v1alpha1.AnnotationConfig] != want {
			if err := r.apply.Annotate(ctx, p, v1alpha1.AnnotationConfig, want); err != nil {
				return err
			}
		}
	}
	return nil
}

// heard is how long after files were written the kubelet knows of it.
const heard = time.Second

// written notes when the files were written last, and tells how long that has to be waited for yet. A round that comes
// sooner, for whatever reason, waits too: a kubelet that looks too soon looks again after a minute only.
func (r *Reconciler) written(s *scope) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := client.ObjectKey{Namespace: s.spec.Place.Network, Name: s.spec.Name}
	if s.changed {
		r.wrote[at] = s.now
	}
	left := r.wrote[at].Add(heard).Sub(s.now)
	if left <= 0 {
		delete(r.wrote, at)
	}
	return left
}

// digest identifies the files of a pod.
func digest(files ...map[string][]byte) string {
	sum := sha256.New()
	for _, set := range files {
		for _, name := range []string{nginx.ConfigFile, specs.KeyNodeTLSCert, specs.KeyNodeTLSKey, specs.KeyPartnerCA} {
			_, _ = fmt.Fprintf(sum, "%s %d\n", name, len(set[name])) // a hash takes everything
			_, _ = sum.Write(set[name])
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}
