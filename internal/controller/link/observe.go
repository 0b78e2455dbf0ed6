package link

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
)

// longest is how long a link is left alone when nothing changes.
const longest = 30 * time.Minute

// scope is what one round sees.
type scope struct {
	now time.Time
	// link is nil when the SiteLink is gone.
	link *v1alpha1.SiteLink
	// spec is what the objects are made from.
	spec specs.Link
	// used says that something in the namespace names the SiteLink.
	used bool
	// secret as it is or was just made.
	secret *corev1.Secret
	// config is nginx's, and changed says that it was written in this round.
	config  string
	changed bool
	// next is when something has to be renewed.
	next time.Duration
}

func (r *Reconciler) observe(ctx context.Context, req ctrl.Request) (*scope, error) {
	s := &scope{now: r.opts.Now(), next: longest, spec: specs.Link{
		Place: specs.Place{Network: req.Namespace}, Name: req.Name, System: r.opts.System, Settings: r.opts.Settings,
	}}
	var link v1alpha1.SiteLink
	err := r.client.Get(ctx, client.ObjectKey{Name: req.Name}, &link)
	if err == nil {
		s.link, s.spec.Partner = &link, link.Spec.SiteID
	} else if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read SiteLink: %w", err)
	}
	var ns corev1.Namespace
	if err := r.client.Get(ctx, client.ObjectKey{Name: req.Namespace}, &ns); err != nil {
		return nil, fmt.Errorf("read namespace: %w", err)
	}
	s.spec.Place.NetworkID = ns.Labels[v1alpha1.LabelNetworkID]
	if !ns.DeletionTimestamp.IsZero() {
		s.link = nil
	}
	id, image, err := r.opts.Site(ctx)
	if err != nil {
		return nil, err
	}
	if s.spec.Site = id; image != "" {
		s.spec.Settings.Image = image
	}
	return s, r.observeUse(ctx, s)
}

// site finds out who this site is; nobody while there is no Site.
func (r *Reconciler) site(ctx context.Context) (id, image string, err error) {
	var site v1alpha1.Site
	if err := r.client.Get(ctx, client.ObjectKey{Name: v1alpha1.SiteName}, &site); client.IgnoreNotFound(err) != nil {
		return "", "", fmt.Errorf("read Site: %w", err)
	}
	return site.Status.SiteID, site.Spec.Gateway.Image, nil
}

// observeUse finds what is exported to the partner and whether something is imported from it.
func (r *Reconciler) observeUse(ctx context.Context, s *scope) error {
	var exports v1alpha1.NodeExportList
	if err := r.client.List(ctx, &exports, client.InNamespace(s.spec.Place.Network)); err != nil {
		return fmt.Errorf("list NodeExports: %w", err)
	}
	for i := range exports.Items {
		e := &exports.Items[i]
		if !e.DeletionTimestamp.IsZero() || !slices.Contains(e.Spec.Links, s.spec.Name) {
			continue
		}
		s.used = true
		for _, n := range e.Status.Nodes {
			if !slices.Contains(s.spec.Exports, n) {
				s.spec.Exports = append(s.spec.Exports, n)
			}
		}
	}
	slices.SortFunc(s.spec.Exports, func(a, b v1alpha1.ExportedNode) int { return strings.Compare(a.Name, b.Name) })
	var imports v1alpha1.NodeImportList
	if err := r.client.List(ctx, &imports, client.InNamespace(s.spec.Place.Network)); err != nil {
		return fmt.Errorf("list NodeImports: %w", err)
	}
	var endpoints []string
	if s.link != nil {
		endpoints = s.link.Spec.Endpoints
	}
	for i := range imports.Items {
		if n := &imports.Items[i]; n.DeletionTimestamp.IsZero() && n.Spec.Link == s.spec.Name {
			s.used = true
			s.spec.Endpoints = endpoints
		}
	}
	return nil
}

// wanted tells whether there has to be anything at all: for a partner that both sites agreed to, and that is needed here.
func (s *scope) wanted() bool {
	if s.link == nil || !s.used || !s.link.DeletionTimestamp.IsZero() || s.link.IsRevoked() {
		return false
	}
	return s.link.Status.State == v1alpha1.LinkUp || s.link.Status.State == v1alpha1.LinkDown
}

// running tells whether tunnels are let through.
func (s *scope) running() bool { return s.link.Status.State == v1alpha1.LinkUp }
