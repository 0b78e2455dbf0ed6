// Package partner keeps what partners know of one another up to date. For each SiteLink it tells the partner what this
// site has for it (descriptors: organizations' certificates, exported nodes, networks and channels), and takes in what
// the partner last told: remote Organizations in the networks that both share, and the list of what else is on offer in
// the SiteLink's status. What would replace something of this site, or of another partner, is refused.
package partner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/link/documents"
)

const (
	// fieldOwner of what this controller applies.
	fieldOwner = "heddle-partner"
	// again is when a descriptor is sent though nothing changed: the partner may have lost it.
	again = 10 * time.Minute
	// retry is when to try a partner again that did not take it.
	retry = 10 * time.Second
	// keyDescriptor of the ConfigMap with a partner's newest descriptor.
	keyDescriptor = "descriptor.json"
)

// Sender sends a document to a partner.
type Sender interface {
	Send(ctx context.Context, link *v1alpha1.SiteLink, kind, subject string, payload any) error
}

// Options are what the controller works with.
type Options struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Reader reads from the API server itself.
	Reader client.Reader
	// Recorder tells users what happened.
	Recorder events.EventRecorder
	// Nodes reads public material of organizations and nodes.
	Nodes *access.Nodes
	// Sender reaches the partners.
	Sender Sender
	// System is the operator's own namespace, where descriptors are kept.
	System string
	// Now is the clock.
	Now func() time.Time
}

// Reconciler keeps partners up to date.
type Reconciler struct {
	opts    Options
	applier *kube.Applier
	wake    chan event.GenericEvent

	mu   sync.Mutex
	told map[string]telling
}

// telling is what a partner was last told.
type telling struct {
	digest string
	at     time.Time
}

// New makes the controller.
func New(opts Options) *Reconciler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Reconciler{
		opts:    opts,
		applier: &kube.Applier{Client: opts.Client, Reader: opts.Reader, FieldOwner: fieldOwner},
		wake:    make(chan event.GenericEvent, 64),
		told:    map[string]telling{},
	}
}

// Register adds the controller to a manager. What a partner is told may follow from any object of a network.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	all, telling := handler.EnqueueRequestsFromMapFunc(r.everybody), builder.WithPredicates(predicate.Funcs{UpdateFunc: matters})
	return ctrl.NewControllerManagedBy(mgr).Named("partner").
		For(&v1alpha1.SiteLink{}, telling).
		Watches(&v1alpha1.Network{}, all, telling).
		Watches(&v1alpha1.Organization{}, all, telling).
		Watches(&v1alpha1.Orderer{}, all, telling).
		Watches(&v1alpha1.Channel{}, all, telling).
		Watches(&v1alpha1.NodeExport{}, all, telling).
		WatchesRawSource(source.Channel(r.wake, &handler.EnqueueRequestForObject{})).
		WithOptions(kube.ControllerOptions()).Complete(r)
}

// matters tells changes that a partner may have to know of from those that come with every block and every probe.
func matters(e event.UpdateEvent) bool {
	if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || !e.ObjectNew.GetDeletionTimestamp().IsZero() {
		return true
	}
	switch now := e.ObjectNew.(type) {
	case *v1alpha1.SiteLink:
		was, ok := e.ObjectOld.(*v1alpha1.SiteLink)
		return !ok || was.Status.State != now.Status.State
	case *v1alpha1.Organization:
		was, ok := e.ObjectOld.(*v1alpha1.Organization)
		return !ok || was.Status.MSPHash != now.Status.MSPHash || kube.IsReady(was) != kube.IsReady(now)
	case *v1alpha1.Orderer:
		// Partners put an orderer's certificates into their channels.
		was, ok := e.ObjectOld.(*v1alpha1.Orderer)
		return !ok || !equality.Semantic.DeepEqual(was.Status.Certificates, now.Status.Certificates)
	case *v1alpha1.Channel:
		was, ok := e.ObjectOld.(*v1alpha1.Channel)
		return !ok || was.Status.GenesisHash != now.Status.GenesisHash
	case *v1alpha1.NodeExport:
		was, ok := e.ObjectOld.(*v1alpha1.NodeExport)
		return !ok || !equality.Semantic.DeepEqual(was.Status.Nodes, now.Status.Nodes)
	}
	return false
}

func (r *Reconciler) everybody(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1alpha1.SiteLinkList
	if err := r.opts.Client.List(ctx, &list); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "List partners")
		return nil
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// Reconcile takes in what the partner told, and tells it what is here.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	link := &v1alpha1.SiteLink{}
	if err := r.opts.Client.Get(ctx, req.NamespacedName, link); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !link.DeletionTimestamp.IsZero() || over(link) {
		r.mu.Lock()
		delete(r.told, link.Name)
		r.mu.Unlock()
		return ctrl.Result{}, nil
	}
	after, err := r.tell(ctx, link)
	if err := errors.Join(r.takeIn(ctx, link), err); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: after}, nil
}

// over tells that the partnership has ended.
func over(link *v1alpha1.SiteLink) bool {
	return link.IsRevoked() || link.Status.State == v1alpha1.LinkRevoked
}

// descriptorName is the ConfigMap with what a partner last told.
func descriptorName(link string) string { return "descriptor-" + link }

// Receive keeps a partner's new descriptor; it is taken in by the next round.
func (r *Reconciler) Receive(ctx context.Context, from string, e *link.Envelope) error {
	doc, err := documents.ParseDescriptor(e.Payload)
	if err != nil {
		return link.Refuse(link.RefusedInvalid, err.Error())
	}
	sender := &v1alpha1.SiteLink{}
	if err := r.opts.Client.Get(ctx, client.ObjectKey{Name: from}, sender); err != nil {
		return fmt.Errorf("read SiteLink %q: %w", from, err)
	}
	if doc.SiteID != sender.Spec.SiteID {
		return link.Refuse(link.RefusedInvalid, fmt.Sprintf("the descriptor is of site %q and not of the sender", doc.SiteID))
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.opts.System, Name: descriptorName(from), Labels: map[string]string{"app.kubernetes.io/part-of": "heddle"},
		},
		Data: map[string]string{keyDescriptor: string(e.Payload)},
	}
	if err := r.applier.Apply(ctx, nil, cm); err != nil {
		return err
	}
	select {
	case r.wake <- event.GenericEvent{Object: sender}:
	default: // many are under way, and the link's own beat follows
	}
	return nil
}

// stored is what a partner last told; nil if it has told nothing yet.
func (r *Reconciler) stored(ctx context.Context, link *v1alpha1.SiteLink) (*documents.Descriptor, error) {
	var cm corev1.ConfigMap
	err := r.opts.Reader.Get(ctx, client.ObjectKey{Namespace: r.opts.System, Name: descriptorName(link.Name)}, &cm)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nothing told is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %q: %w", descriptorName(link.Name), err)
	}
	doc, err := documents.ParseDescriptor([]byte(cm.Data[keyDescriptor]))
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %q: %w", cm.Name, err)
	}
	return doc, nil
}
