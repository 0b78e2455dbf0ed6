// Package site reconciles the one Site of a cluster: its siteID, the CA of its gateway and the change of that CA, and the
// gateway itself, which routes the site's public port. What it makes of all that, link.Self, is passed on to whoever speaks
// for the site. Partners are the sitelink controller's.
package site

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

const fieldOwner = "heddle-site"

// Options are what the controller works with.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Holder is told who this site is.
	Holder *link.Holder
	// System is the operator's namespace, where gateway and CA are.
	System string
	// Links are the settings of gateways.
	Links specs.LinkSettings
	// NewID makes the siteID of a site that was given none.
	NewID func() string
	// Overlap is how long a former CA stays trusted after a change; a day unless given.
	Overlap time.Duration
	// Settle is how long after all partners were told of the next CA it takes over; half a minute unless given.
	Settle time.Duration
	// Now is the clock.
	Now func() time.Time
}

// Reconciler brings the Site about.
type Reconciler struct {
	opts   Options
	rounds *kube.Rounds
	apply  *kube.Applier
	// wrote is when the gateway's configuration was written last. There is one Site, and one round for it at a time.
	wrote time.Time
}

// defaultOverlap is enough for every partner that is up, and for links to get new leaves.
const defaultOverlap = 24 * time.Hour

// defaultSettle is enough for a partner's links to read what they trust: they do so within 15 s.
const defaultSettle = 30 * time.Second

// New makes the controller.
func New(o Options) *Reconciler {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Overlap == 0 {
		o.Overlap = defaultOverlap
	}
	if o.Settle == 0 {
		o.Settle = defaultSettle
	}
	return &Reconciler{
		opts:   o,
		rounds: &kube.Rounds{Client: o.Client, Recorder: o.Recorder},
		apply:  &kube.Applier{Client: o.Client, Reader: o.Reader, FieldOwner: fieldOwner},
	}
}

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	local := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []ctrl.Request {
		return []ctrl.Request{{NamespacedName: client.ObjectKey{Name: v1alpha1.SiteName}}}
	})
	changed := builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
	return ctrl.NewControllerManagedBy(mgr).Named("site").
		For(&v1alpha1.Site{}, changed).
		// The gateway's routes follow from these; links count when both sites agreed, which stands in the status.
		Watches(&v1alpha1.SiteLink{}, local).
		Watches(&v1alpha1.NodeExport{}, local, changed).
		Watches(&v1alpha1.NodeImport{}, local, changed).
		WithOptions(kube.ControllerOptions()).
		Complete(r)
}

// scope is what one round sees.
type scope struct {
	site *v1alpha1.Site
	// links are all partners.
	links []v1alpha1.SiteLink
	// secret holds the CA in use, and next the one that takes over; nil if there is none.
	secret, next *corev1.Secret
	ca, nextCA   *pki.Issuer
	// former is the CA before, while it is still trusted.
	former *x509.Certificate
}

// Reconcile runs one round for the Site.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &scope{}
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.Site{}, kube.Flow[*v1alpha1.Site]{
		Steps: func(ctx context.Context, site *v1alpha1.Site) error {
			s.site = site
			if err := kube.Run(ctx, s, r.observe, r.identify, r.authority, r.publish); err != nil {
				return err
			}
			return kube.RunAll(ctx, s, r.rotate, r.gateway)
		},
		Finalize: func(context.Context, *v1alpha1.Site) error {
			// The CA stays, and with it the siteID; a Site that is made again goes on as the same.
			r.opts.Holder.Set(nil)
			return nil
		},
		Status: func(site *v1alpha1.Site) { s.summarize(site, r.opts.Now()) },
	})
}

func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	var links v1alpha1.SiteLinkList
	if err := r.opts.Client.List(ctx, &links); err != nil {
		return fmt.Errorf("list SiteLinks: %w", err)
	}
	s.links = links.Items
	var err error
	if s.secret, err = r.read(ctx, specs.GatewayCASecret); err != nil {
		return err
	}
	s.next, err = r.read(ctx, specs.GatewayNextCASecret)
	return err
}

func (r *Reconciler) read(ctx context.Context, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.opts.Reader.Get(ctx, client.ObjectKey{Namespace: r.opts.System, Name: name}, secret)
	if err == nil {
		return secret, nil
	}
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read Secret %q: %w", name, err)
	}
	return nil, nil //nolint:nilnil // absent is an answer here, not an error
}

// identify gives the site its siteID, by writing it into the spec. A CA that is there already says which one it was.
func (r *Reconciler) identify(ctx context.Context, s *scope) error {
	id := s.site.Spec.SiteID
	was := ""
	if s.secret != nil {
		was = s.secret.Annotations[v1alpha1.AnnotationSite]
	}
	if id != "" && was != "" && was != id {
		return kube.Stalled(v1alpha1.ReasonConflict, "Secret %q in namespace %q is the CA of site %s: set spec.siteID to that, or delete the Secret to begin as another site",
			specs.GatewayCASecret, r.opts.System, was)
	}
	if id != "" {
		return nil
	}
	if was == "" {
		was = r.opts.NewID()
	}
	err := r.apply.Amend(ctx, s.site, func(o client.Object) {
		if site, ok := o.(*v1alpha1.Site); ok {
			site.Spec.SiteID = was
		}
	})
	if err != nil {
		return err
	}
	return kube.Waiting(v1alpha1.ReasonProgressing, 0, "The site has been given a siteID")
}

// publish tells those who speak for the site who it is. The same Self stays as long as nothing changed: it keeps leaves.
func (r *Reconciler) publish(ctx context.Context, s *scope) error {
	made := &link.Self{
		SiteID: s.site.Spec.SiteID, DisplayName: s.site.Spec.DisplayName, Endpoints: s.site.Spec.Endpoints, CA: s.ca,
		Announced: s.announced(), Now: r.opts.Now,
	}
	have, err := r.opts.Holder.Get(ctx)
	if err != nil || !have.Same(made) {
		r.opts.Holder.Set(made)
	}
	return nil
}

func (s *scope) summarize(site *v1alpha1.Site, now time.Time) {
	site.Status.SiteID = site.Spec.SiteID
	if s.ca == nil {
		return
	}
	site.Status.Pin = link.Pin(s.ca.Cert)
	site.Status.CAGeneration = s.generation()
	site.Status.Certificates = []v1alpha1.CertificateStatus{keys.Status("gateway-ca", s.ca.Cert, now)}
	site.Status.NextPin = ""
	if s.nextCA != nil {
		site.Status.NextPin = link.Pin(s.nextCA.Cert)
		site.Status.Certificates = append(site.Status.Certificates, keys.Status("gateway-ca-next", s.nextCA.Cert, now))
	}
	if s.former != nil {
		site.Status.Certificates = append(site.Status.Certificates, keys.Status("gateway-ca-former", s.former, now))
	}
}
