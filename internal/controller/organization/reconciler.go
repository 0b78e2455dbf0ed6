// Package organization reconciles Organizations: it makes their issuers once,
// keeps the administrator's and the CA's certificates in time, publishes the MSP
// and runs the application CA. Nodes issue their own leaves from the Secrets
// that are made here; channels read the MSP. No key leaves a Secret. Of an
// organization of another site it publishes the MSP that the partner tells.
package organization

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
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
)

// FieldOwner is this controller in managedFields.
const FieldOwner = "heddle-organization"

// Options say how Organizations are reconciled.
type Options struct {
	// Lifetimes of certificates; keys.DefaultLifetimes unless given.
	Lifetimes keys.Lifetimes
	// Now is the clock; time.Now unless given.
	Now func() time.Time
	// Secrets tells of changed and deleted Secrets; nil leaves them to the next look.
	Secrets *watch.Secrets
}

// Reconciler brings Organizations about.
type Reconciler struct {
	opts     Options
	client   client.Client
	recorder events.EventRecorder
	apply    *kube.Applier
	rounds   *kube.Rounds
}

// New makes a Reconciler.
func New(opts Options) *Reconciler {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Lifetimes == (keys.Lifetimes{}) {
		opts.Lifetimes = keys.DefaultLifetimes()
	}
	return &Reconciler{opts: opts}
}

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	r.client, r.recorder = mgr.GetClient(), mgr.GetEventRecorder("heddle-organization")
	r.apply = &kube.Applier{Client: r.client, Reader: mgr.GetAPIReader(), FieldOwner: FieldOwner}
	r.rounds = &kube.Rounds{Client: r.client, Recorder: r.recorder}
	gone := builder.WithPredicates(predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		UpdateFunc:  func(event.UpdateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	})
	b := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Organization{}).
		Owns(&appsv1.Deployment{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ConfigMap{}).
		Watches(&corev1.PersistentVolumeClaim{}, watch.ByLabel(v1alpha1.LabelOrganization, v1alpha1.ComponentCA)).
		Watches(&corev1.Pod{}, watch.ByLabel(v1alpha1.LabelOrganization, v1alpha1.ComponentCA)).
		Watches(&v1alpha1.Peer{}, handler.EnqueueRequestsFromMapFunc(organizationOf), gone).
		Watches(&v1alpha1.Orderer{}, handler.EnqueueRequestsFromMapFunc(organizationOf), gone).
		Watches(&v1alpha1.Organization{}, handler.EnqueueRequestsFromMapFunc(r.namesakes), gone)
	b = r.opts.Secrets.Wake(b, handler.EnqueueRequestsFromMapFunc(keeperOf))
	if err := b.WithOptions(kube.ControllerOptions()).Complete(r); err != nil {
		return fmt.Errorf("register controller of Organizations: %w", err)
	}
	return nil
}

// organizationOf wakes the Organization of a node that is gone: it may have waited for that to go itself.
func organizationOf(_ context.Context, obj client.Object) []ctrl.Request {
	name := ""
	switch n := obj.(type) {
	case *v1alpha1.Peer:
		name = n.Spec.Organization
	case *v1alpha1.Orderer:
		name = n.Spec.Organization
	}
	return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: obj.GetNamespace(), Name: name}}}
}

// keeperOf wakes the Organization of a Secret with issuers, administrator or registrar.
func keeperOf(_ context.Context, obj client.Object) []ctrl.Request {
	name := obj.GetLabels()[v1alpha1.LabelOrganization]
	if name == "" || obj.GetLabels()[v1alpha1.LabelNode] != "" || len(obj.GetOwnerReferences()) > 0 {
		return nil
	}
	return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: obj.GetNamespace(), Name: name}}}
}

// Reconcile runs one round for one Organization.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var s *scope
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.Organization{}, kube.Flow[*v1alpha1.Organization]{
		Steps: func(ctx context.Context, o *v1alpha1.Organization) error {
			s = r.newScope(o)
			return r.bringUp(ctx, s)
		},
		Finalize: r.finalize,
		Status:   func(o *v1alpha1.Organization) { r.status(o, s) },
	})
}

// bringUp makes the volume while the issuers are made: provisioning takes longest.
func (r *Reconciler) bringUp(ctx context.Context, s *scope) error {
	if s.org.Spec.Remote != nil {
		return r.takeIn(ctx, s)
	}
	err := kube.Run(ctx, s,
		r.checkSpec,
		r.alone,
		r.applyVolume,
		r.ensureIssuers,
		r.publishMSP,
		r.ensureAdmin,
		r.runCA,
	)
	if err != nil {
		return err
	}
	return kube.LookAgain(s.next)
}
