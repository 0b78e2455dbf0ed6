// Package node reconciles Orderers and Peers, which differ in their environment
// and in when they may go: each is one Secret with certificates, one volume, one
// Service and one Deployment of one pod. A peer with CouchDB has a second volume
// and Secret, and the settings of CouchDB. A changed template is rolled over the
// nodes one at a time. What nodes are to channels is not decided here: the
// Channel controller joins them, and takes orderers out before they may go.
package node

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/keys"
	"heddle.dev/heddle/internal/controller/watch"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// FieldOwner is this controller in managedFields.
const FieldOwner = "heddle-node"

// defaultSettle is how long a node must have served before the next one is changed: so long the Channel controller
// takes at most to notice that a node which has just come back is behind.
const defaultSettle = 10 * time.Second

// Options say how Orderers and Peers are reconciled.
type Options struct {
	// BuilderImage holds heddle-builder, which runs contracts for peers.
	BuilderImage string
	// Lifetimes of certificates; keys.DefaultLifetimes unless given.
	Lifetimes keys.Lifetimes
	// Now is the clock; time.Now unless given.
	Now func() time.Time
	// Dial opens a connection to host:port of a node; a net.Dialer's unless given.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Secrets tells of changed and deleted Secrets; nil leaves them to the next look.
	Secrets *watch.Secrets
	// Settle is how long a node must have served before the next one is changed; 10 s unless given.
	Settle time.Duration
}

// Reconciler brings Orderers and Peers about.
type Reconciler struct {
	opts     Options
	client   client.Client
	reader   client.Reader
	recorder events.EventRecorder
	apply    *kube.Applier
	rounds   *kube.Rounds
	versions *versions
	// rollouts has one lock for each namespace: at most one node is changed at a time.
	rollouts sync.Map
}

// New makes a Reconciler.
func New(opts Options) *Reconciler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Lifetimes == (keys.Lifetimes{}) {
		opts.Lifetimes = keys.DefaultLifetimes()
	}
	if opts.Dial == nil {
		opts.Dial = (&net.Dialer{}).DialContext
	}
	if opts.Settle == 0 {
		opts.Settle = defaultSettle
	}
	return &Reconciler{opts: opts, versions: newVersions(opts.Dial)}
}

// Register adds a controller for Orderers and one for Peers to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	r.client, r.reader, r.recorder = mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder("heddle-node")
	r.apply = &kube.Applier{Client: r.client, Reader: r.reader, FieldOwner: FieldOwner}
	r.rounds = &kube.Rounds{Client: r.client, Recorder: r.recorder}
	err := r.controller(mgr, &v1alpha1.Orderer{}, v1alpha1.ComponentOrderer, r.reconcileOrderer)
	if err == nil {
		err = r.controller(mgr, &v1alpha1.Peer{}, v1alpha1.ComponentPeer, r.reconcilePeer)
	}
	if err != nil {
		return fmt.Errorf("register controllers of nodes: %w", err)
	}
	return nil
}

type reconcileFunc func(context.Context, ctrl.Request) (ctrl.Result, error)

func (f reconcileFunc) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return f(ctx, req)
}

func (r *Reconciler) controller(mgr ctrl.Manager, kind client.Object, component string, reconcile reconcileFunc) error {
	// A node may have waited for its organization to exist.
	appears := builder.WithPredicates(predicate.Funcs{
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	})
	b := ctrl.NewControllerManagedBy(mgr).
		For(kind).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Watches(&corev1.PersistentVolumeClaim{}, watch.ByLabel(v1alpha1.LabelNode, component)).
		Watches(&corev1.Pod{}, watch.ByLabel(v1alpha1.LabelNode, component)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.ofOrganization(component))).
		Watches(&v1alpha1.Organization{}, handler.EnqueueRequestsFromMapFunc(r.of(component)), appears)
	if component == v1alpha1.ComponentPeer {
		b = b.Owns(&networkingv1.NetworkPolicy{}).Owns(&corev1.ServiceAccount{}).Owns(&rbacv1.RoleBinding{}).Owns(&corev1.ConfigMap{})
	} else {
		b = b.Watches(&v1alpha1.Channel{}, handler.EnqueueRequestsFromMapFunc(r.leaving))
	}
	b = r.opts.Secrets.Wake(b, watch.ByLabel(v1alpha1.LabelNode, component))
	return b.WithOptions(kube.ControllerOptions()).Complete(reconcile)
}

// ofOrganization wakes the nodes of an organization whose public material changed.
func (r *Reconciler) ofOrganization(component string) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []ctrl.Request {
		org := obj.GetLabels()[v1alpha1.LabelOrganization]
		if org == "" || obj.GetName() != specs.MSPConfigMap(org) {
			return nil
		}
		return r.nodesOf(ctx, component, client.ObjectKey{Namespace: obj.GetNamespace(), Name: org})
	}
}

// of wakes the nodes of an organization.
func (r *Reconciler) of(component string) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []ctrl.Request {
		return r.nodesOf(ctx, component, client.ObjectKeyFromObject(obj))
	}
}

func (r *Reconciler) nodesOf(ctx context.Context, component string, org client.ObjectKey) []ctrl.Request {
	nodes, err := r.list(ctx, org.Namespace, component)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list nodes of an organization")
		return nil
	}
	var out []ctrl.Request
	for _, n := range nodes {
		if n.node.Organization == org.Name {
			out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(n.obj)})
		}
	}
	return out
}

// leaving wakes the orderers that are being deleted when a channel changes: it may have let them go.
func (r *Reconciler) leaving(ctx context.Context, obj client.Object) []ctrl.Request {
	nodes, err := r.list(ctx, obj.GetNamespace(), v1alpha1.ComponentOrderer)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list orderers")
		return nil
	}
	var out []ctrl.Request
	for _, n := range nodes {
		if !n.obj.GetDeletionTimestamp().IsZero() {
			out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(n.obj)})
		}
	}
	return out
}

func (r *Reconciler) reconcileOrderer(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return reconcileNode(ctx, r, req, &v1alpha1.Orderer{}, ofOrderer)
}

func (r *Reconciler) reconcilePeer(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return reconcileNode(ctx, r, req, &v1alpha1.Peer{}, ofPeer)
}

func reconcileNode[T kube.Object](ctx context.Context, r *Reconciler, req ctrl.Request, obj T, see func(T) subject) (ctrl.Result, error) {
	var s *scope
	return kube.Reconcile(ctx, r.rounds, req, obj, kube.Flow[T]{
		Steps: func(ctx context.Context, o T) error {
			s = r.newScope(see(o))
			return r.bringUp(ctx, s)
		},
		Finalize: func(ctx context.Context, o T) error { return r.finalize(ctx, see(o)) },
		Status: func(T) {
			if s != nil {
				s.note()
			}
		},
	})
}

// bringUp asks for volume and Service first: they take longest, and need no certificate.
func (r *Reconciler) bringUp(ctx context.Context, s *scope) error {
	err := kube.Run(ctx, s,
		r.observe,
		r.findOrganization,
		r.refuseDowngrade,
		r.applyVolume,
		r.applyCouchDB,
		r.applyService,
		r.readOrganization,
		r.ensureKeys,
		r.ensureCouchDBPassword,
		r.rollOut,
		r.await,
		r.observeVersion,
	)
	if err != nil {
		return err
	}
	return kube.LookAgain(s.next)
}
