package sitelink

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/pki"
)

// Serve takes the documents of this controller from a server.
func (r *Reconciler) Serve(s *link.Server) {
	s.Handle(link.KindRevocation, r.revocation)
	s.Handle(link.KindSite, r.site)
}

// revocation is the partner's word that it is over.
func (r *Reconciler) revocation(ctx context.Context, from string, _ *link.Envelope) error {
	ctrl.LoggerFrom(ctx).Info("Partner ends the partnership", "link", from)
	return r.change(ctx, from, func(l *v1alpha1.SiteLink) {
		l.Spec.Partnership = v1alpha1.PartnershipRevoked
		kube.SetAnnotation(l, v1alpha1.AnnotationRevokedBy, "partner")
	})
}

// site is what the partner tells of itself: the CAs to trust from now on, and its endpoints. Endpoints are taken over when
// the partner changed them; until then those that a person gave are better.
func (r *Reconciler) site(ctx context.Context, from string, e *link.Envelope) error {
	var d link.SiteDocument
	if err := e.Decode(&d); err != nil {
		return err
	}
	cas, err := d.Check()
	if err != nil {
		return link.Refuse(link.RefusedInvalid, err.Error())
	}
	return r.change(ctx, from, func(l *v1alpha1.SiteLink) {
		if have, err := link.ParseCAs([]byte(l.Spec.CACertificates)); err != nil || !same(pins(have), pins(cas)) {
			l.Spec.CACertificates = string(pki.EncodeCerts(cas...))
			r.tell(l, corev1.EventTypeNormal, v1alpha1.ReasonRotating, fmt.Sprintf("The partner announced its CAs: %d are trusted now", len(cas)))
		}
		l.Spec.DisplayName = d.DisplayName
		told := strings.Join(d.Endpoints, " ")
		if before := l.Annotations[v1alpha1.AnnotationTold]; before != "" && before != told {
			l.Spec.Endpoints = d.Endpoints
		}
		kube.SetAnnotation(l, v1alpha1.AnnotationTold, told)
	})
}

func pins(certs []*x509.Certificate) []string {
	var out []string
	for _, c := range certs {
		out = append(out, link.Pin(c))
	}
	return out
}

func same(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// changeTries bounds how often a change that met another writer is tried again.
const changeTries = 5

// change amends a SiteLink for the partner.
func (r *Reconciler) change(ctx context.Context, name string, f func(*v1alpha1.SiteLink)) error {
	var err error
	for range changeTries {
		l := &v1alpha1.SiteLink{}
		if err = r.opts.Reader.Get(ctx, client.ObjectKey{Name: name}, l); err != nil {
			return fmt.Errorf("read SiteLink %q: %w", name, err)
		}
		err = r.apply.Amend(ctx, l, func(o client.Object) {
			if l, ok := o.(*v1alpha1.SiteLink); ok {
				f(l)
			}
		})
		if !apierrors.IsConflict(err) {
			return err
		}
	}
	return errors.Join(errors.New("others write to the SiteLink all the time"), err)
}

// Directory finds partners among the SiteLinks. A revoked one is found as long as its SiteLink is there, to be told so.
func Directory(reader client.Reader) link.Directory {
	return func(ctx context.Context, siteID string) (*link.Partner, error) {
		var all v1alpha1.SiteLinkList
		if err := reader.List(ctx, &all); err != nil {
			return nil, fmt.Errorf("list SiteLinks: %w", err)
		}
		var found *v1alpha1.SiteLink
		for i := range all.Items {
			l := &all.Items[i]
			if l.Spec.SiteID != siteID || l.Spec.CACertificates == "" {
				continue
			}
			if found == nil || found.IsRevoked() && !l.IsRevoked() || found.IsRevoked() == l.IsRevoked() && precedes(l, found) {
				found = l
			}
		}
		if found == nil {
			return nil, link.ErrNoPartner
		}
		return link.PartnerOf(found)
	}
}
