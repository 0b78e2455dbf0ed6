// Package link runs the links of networks: for each SiteLink that a NodeExport or NodeImport of a namespace names, one pod
// of nginx with its key, configuration, Service and network policies there. It follows the state of the SiteLink: none
// runs before a partner is accepted or while it is away, and nothing is left of one that is revoked.
//
// Who is a partner and whether it answers is decided by the controller of SiteLinks; what is exported and imported by
// those of NodeExports and NodeImports. The gateway's routes to the links are the Site's.
package link

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/watch"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// FieldOwner is this controller in managedFields.
const FieldOwner = "heddle-link"

// Options say how links are run.
type Options struct {
	// Settings of links in this installation.
	Settings specs.LinkSettings
	// System is the namespace of the operator and the gateway.
	System string
	// Site tells this site's siteID, and its image for links if it names one; by default the Site of the cluster does.
	Site func(ctx context.Context) (id, image string, err error)
	// Now is the clock; time.Now unless given.
	Now func() time.Time
	// Secrets tells of changed and deleted Secrets; nil leaves them to the next look.
	Secrets *watch.Secrets
}

// Reconciler runs links. A request's namespace is the network's, its name the SiteLink's.
type Reconciler struct {
	opts     Options
	client   client.Client
	reader   client.Reader
	recorder events.EventRecorder
	apply    *kube.Applier

	mu sync.Mutex
	// wrote is when the files of a link were written, for a moment.
	wrote map[client.ObjectKey]time.Time
}

// New makes a Reconciler.
func New(opts Options) *Reconciler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Reconciler{opts: opts, wrote: map[client.ObjectKey]time.Time{}}
}

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	r.client, r.reader, r.recorder = mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder(FieldOwner)
	r.apply = &kube.Applier{Client: r.client, Reader: r.reader, FieldOwner: FieldOwner}
	if r.opts.Site == nil {
		r.opts.Site = r.site
	}
	ours := handler.EnqueueRequestsFromMapFunc(ofLabel)
	b := ctrl.NewControllerManagedBy(mgr).Named("link").
		Watches(&v1alpha1.SiteLink{}, handler.EnqueueRequestsFromMapFunc(r.ofSiteLink)).
		Watches(&v1alpha1.Site{}, handler.EnqueueRequestsFromMapFunc(r.ofSite)).
		Watches(&v1alpha1.NodeExport{}, handler.EnqueueRequestsFromMapFunc(r.ofExport)).
		Watches(&v1alpha1.NodeImport{}, handler.EnqueueRequestsFromMapFunc(ofImport)).
		Watches(&appsv1.Deployment{}, ours).
		Watches(&corev1.Pod{}, ours).
		Watches(&corev1.Service{}, ours).
		Watches(&corev1.ConfigMap{}, ours).
		Watches(&networkingv1.NetworkPolicy{}, ours)
	b = r.opts.Secrets.Wake(b, ours)
	if err := b.WithOptions(kube.ControllerOptions()).Complete(r); err != nil {
		return fmt.Errorf("register controller of links: %w", err)
	}
	return nil
}

// soon is when a round is run again that met another writer, or that waits for pods to go.
const soon = 200 * time.Millisecond

// Reconcile runs one round for one SiteLink in one namespace. There is no object of its own to tell the outcome on:
// exports and imports tell what they see of the link, and what a person has to do is an event on the SiteLink.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s, err := r.observe(ctx, req)
	if err == nil {
		err = r.bringAbout(ctx, s)
	}
	if i, ok := kube.AsIntent(err); ok {
		if i.Stalled && s != nil && s.link != nil {
			r.recorder.Eventf(s.link, nil, corev1.EventTypeWarning, i.Reason, "Reconcile", "Network %s: %s", req.Namespace, i.Message)
		}
		ctrl.LoggerFrom(ctx).V(1).Info("link is not done", "reason", i.Reason, "message", i.Message)
		return ctrl.Result{RequeueAfter: i.After}, nil
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return ctrl.Result{RequeueAfter: soon}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(err)
}

func (r *Reconciler) bringAbout(ctx context.Context, s *scope) error {
	if !s.wanted() {
		return r.takeDown(ctx, s)
	}
	err := kube.Run(ctx, s,
		r.ensureSecret,
		r.applyConfig,
		r.applyPolicies,
		r.applyService,
		r.applyDeployment,
		r.cut,
		r.nudge,
	)
	if err != nil {
		return err
	}
	return kube.LookAgain(s.next)
}
