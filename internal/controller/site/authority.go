package site

import (
	"cmp"
	"context"
	"crypto/x509"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/sitelink"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// authority loads the site's CA, or makes it where there never was one.
func (r *Reconciler) authority(ctx context.Context, s *scope) error {
	if s.secret == nil {
		if s.site.Status.Pin != "" {
			return kube.Stalled(v1alpha1.ReasonKeyLost, "Secret %q is gone from namespace %q, and partners know its key: restore it from a backup, "+
				"or delete the Site and all SiteLinks and begin anew", specs.GatewayCASecret, r.opts.System)
		}
		var err error
		if s.secret, err = r.newCA(ctx, specs.GatewayCASecret, s.site, s.site.Spec.CAGeneration); err != nil {
			return err
		}
	}
	var err error
	if s.ca, err = load(s.secret); err != nil {
		return err
	}
	if former, err := pki.ParseCert(s.secret.Data[specs.KeyFormerCA]); err == nil {
		s.former = former
	}
	if s.next == nil {
		return nil
	}
	s.nextCA, err = load(s.next)
	return err
}

func load(secret *corev1.Secret) (*pki.Issuer, error) {
	ca, err := pki.LoadIssuer(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, kube.Stalled(v1alpha1.ReasonKeyLost, "Secret %q is damaged (%s): restore it from a backup", secret.Name, err)
	}
	return ca, nil
}

// newCA makes a CA once. The Secret has no owner: it outlives the Site.
func (r *Reconciler) newCA(ctx context.Context, name string, site *v1alpha1.Site, generation int32) (*corev1.Secret, error) {
	ca, err := link.NewCA(site.Spec.SiteID, r.opts.Now())
	if err != nil {
		return nil, err
	}
	key, err := pki.EncodeKey(ca.Key)
	if err != nil {
		return nil, err
	}
	secret := r.secretOf(name, site, generation)
	secret.Data = map[string][]byte{corev1.TLSCertKey: pki.EncodeCerts(ca.Cert), corev1.TLSPrivateKeyKey: key}
	_, err = r.apply.CreateOnce(ctx, nil, secret)
	return secret, err
}

func (r *Reconciler) secretOf(name string, site *v1alpha1.Site, generation int32) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: r.opts.System, Labels: map[string]string{"app.kubernetes.io/managed-by": "heddle", "app.kubernetes.io/part-of": "heddle"},
			Annotations: map[string]string{
				v1alpha1.AnnotationSite: site.Spec.SiteID, v1alpha1.AnnotationGeneration: strconv.Itoa(int(generation)),
			},
		},
		Type: corev1.SecretTypeTLS,
	}
}

// generation is that of the CA in use.
func (s *scope) generation() int32 {
	n, _ := strconv.ParseInt(s.secret.Annotations[v1alpha1.AnnotationGeneration], 10, 32)
	return int32(n)
}

// announced are the CAs that partners shall trust, in an order that is the same before and after one takes over.
func (s *scope) announced() []*x509.Certificate {
	out := []*x509.Certificate{s.ca.Cert}
	for _, other := range []*x509.Certificate{s.former, issuerCert(s.nextCA)} {
		if other != nil && !other.Equal(s.ca.Cert) && len(out) < 2 {
			out = append(out, other)
		}
	}
	slices.SortFunc(out, func(a, b *x509.Certificate) int { return cmp.Compare(link.Pin(a), link.Pin(b)) })
	return out
}

func issuerCert(i *pki.Issuer) *x509.Certificate {
	if i == nil {
		return nil
	}
	return i.Cert
}

// rotateAgain is when a change of CA that waits for partners is looked at again; SiteLinks are watched besides.
const rotateAgain = 5 * time.Second

// rotate changes the CA: make the next one, have all partners trust it, let it take over, and drop the former one after a
// while. Each step is one write, so that it goes on from wherever it was.
func (r *Reconciler) rotate(ctx context.Context, s *scope) error {
	switch {
	case s.nextCA != nil && s.nextCA.Cert.Equal(s.ca.Cert):
		// It has taken over already.
		return r.forget(ctx, s)
	case s.former != nil && s.nextCA == nil:
		return r.drop(ctx, s)
	case s.nextCA != nil:
		return r.takeOver(ctx, s)
	case s.site.Spec.CAGeneration > s.generation():
		if _, err := r.newCA(ctx, specs.GatewayNextCASecret, s.site, s.site.Spec.CAGeneration); err != nil {
			return err
		}
		return kube.Waiting(v1alpha1.ReasonRotating, time.Second, "The next CA of the gateway is made")
	}
	return nil
}

// takeOver makes the next CA the one in use as soon as every partner trusts it.
func (r *Reconciler) takeOver(ctx context.Context, s *scope) error {
	self, err := r.opts.Holder.Get(ctx)
	if err != nil {
		return err
	}
	if late := unaware(s.links, sitelink.Announcement(self)); len(late) > 0 {
		return kube.Waiting(v1alpha1.ReasonRotating, rotateAgain, "The next CA waits until these partners have been told: %s; revoke those that do not come back",
			strings.Join(late, ", "))
	}
	if err := r.settle(ctx, s); err != nil {
		return err
	}
	generation, _ := strconv.ParseInt(s.next.Annotations[v1alpha1.AnnotationGeneration], 10, 32)
	secret := r.secretOf(specs.GatewayCASecret, s.site, int32(generation))
	secret.Annotations[v1alpha1.AnnotationChanged] = r.opts.Now().UTC().Format(time.RFC3339)
	secret.Data = map[string][]byte{
		corev1.TLSCertKey: s.next.Data[corev1.TLSCertKey], corev1.TLSPrivateKeyKey: s.next.Data[corev1.TLSPrivateKeyKey],
		specs.KeyFormerCA: pki.EncodeCerts(s.ca.Cert),
	}
	if err := r.apply.Apply(ctx, nil, secret); err != nil {
		return err
	}
	return kube.Waiting(v1alpha1.ReasonRotating, time.Second, "The next CA takes over")
}

// settle waits a while after all partners have been told: their links read what to trust from files, a few seconds later.
func (r *Reconciler) settle(ctx context.Context, s *scope) error {
	if len(partners(s.links)) == 0 {
		return nil
	}
	told, err := time.Parse(time.RFC3339, s.next.Annotations[v1alpha1.AnnotationChanged])
	if err != nil {
		if err := r.apply.Annotate(ctx, s.next, v1alpha1.AnnotationChanged, r.opts.Now().UTC().Format(time.RFC3339)); err != nil {
			return err
		}
		told = r.opts.Now()
	}
	if left := told.Add(r.opts.Settle).Sub(r.opts.Now()); left > 0 {
		return kube.Waiting(v1alpha1.ReasonRotating, min(left, rotateAgain), "The next CA takes over at %s, when the partners' links know it",
			told.Add(r.opts.Settle).UTC().Format(time.RFC3339))
	}
	return nil
}

// partners are those that have to know a CA.
func partners(links []v1alpha1.SiteLink) []*v1alpha1.SiteLink {
	var out []*v1alpha1.SiteLink
	for i := range links {
		l := &links[i]
		if !l.IsRevoked() && meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.ConditionAccepted) {
			out = append(out, l)
		}
	}
	return out
}

// unaware are the partners who have not been told yet.
func unaware(links []v1alpha1.SiteLink, announcement string) []string {
	var out []string
	for _, l := range partners(links) {
		if l.Annotations[v1alpha1.AnnotationAnnounced] != announcement {
			out = append(out, l.Name)
		}
	}
	slices.Sort(out)
	return out
}

// forget deletes the Secret of the next CA after it has taken over.
func (r *Reconciler) forget(ctx context.Context, s *scope) error {
	if err := r.opts.Client.Delete(ctx, s.next); client.IgnoreNotFound(err) != nil {
		return err
	}
	return kube.Waiting(v1alpha1.ReasonRotating, time.Second, "The next CA has taken over")
}

// drop ends the trust in the former CA when nothing uses it any more.
func (r *Reconciler) drop(ctx context.Context, s *scope) error {
	changed, err := time.Parse(time.RFC3339, s.secret.Annotations[v1alpha1.AnnotationChanged])
	left := changed.Add(r.opts.Overlap).Sub(r.opts.Now())
	if err == nil && left > 0 {
		return kube.LookAgain(min(left, settledAgain))
	}
	secret := r.secretOf(specs.GatewayCASecret, s.site, s.generation())
	secret.Data = map[string][]byte{
		corev1.TLSCertKey: s.secret.Data[corev1.TLSCertKey], corev1.TLSPrivateKeyKey: s.secret.Data[corev1.TLSPrivateKeyKey],
	}
	if err := r.apply.Apply(ctx, nil, secret); err != nil {
		return err
	}
	return kube.Waiting(v1alpha1.ReasonRotating, time.Second, "The former CA is not trusted any more")
}
