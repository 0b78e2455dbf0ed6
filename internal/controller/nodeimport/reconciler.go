// Package nodeimport makes partners' nodes appear here: for each NodeImport a Service with the node's name and port, which
// leads into the link. Before the first time it looks whether the name is free, whether the partner offers the node, and
// whether the node at the other end shows a certificate of its organization with its name; then it goes on looking.
//
// The way itself is the link controller's; what stands in channels is not decided here.
package nodeimport

import (
	"context"
	"fmt"
	"net"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/controller/nodeexport"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// FieldOwner is this controller in managedFields.
const FieldOwner = "heddle-nodeimport"

const (
	// soon is when a node that did not answer is tried again, and later when one that did.
	soon  = 2 * time.Second
	later = 30 * time.Second
)

// Options say how NodeImports are brought about.
type Options struct {
	// Dial opens a connection to host:port; a net.Dialer's unless given.
	Dial access.DialFunc
}

// Reconciler brings NodeImports about.
type Reconciler struct {
	opts   Options
	client client.Client
	reader client.Reader
	apply  *kube.Applier
	rounds *kube.Rounds
}

// New makes a Reconciler.
func New(opts Options) *Reconciler {
	if opts.Dial == nil {
		opts.Dial = (&net.Dialer{}).DialContext
	}
	return &Reconciler{opts: opts}
}

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	r.client, r.reader = mgr.GetClient(), mgr.GetAPIReader()
	r.apply = &kube.Applier{Client: r.client, Reader: r.reader, FieldOwner: FieldOwner}
	r.rounds = &kube.Rounds{Client: r.client, Recorder: mgr.GetEventRecorder(FieldOwner)}
	all := handler.EnqueueRequestsFromMapFunc(r.imports)
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.NodeImport{}).
		Owns(&corev1.Service{}).
		Watches(&v1alpha1.SiteLink{}, all).
		Watches(&appsv1.Deployment{}, all).
		Watches(&corev1.ConfigMap{}, all).
		// One of them may have had the name, or be about to.
		Watches(&v1alpha1.Peer{}, all).
		Watches(&v1alpha1.Orderer{}, all).
		WithOptions(kube.ControllerOptions()).
		Complete(r)
	if err != nil {
		return fmt.Errorf("register controller of NodeImports: %w", err)
	}
	return nil
}

// imports wakes the imports that have to do with an object: those of a SiteLink, those of a link's Deployment, those that
// an organization's published roots may verify, and the namesake of a node.
func (r *Reconciler) imports(ctx context.Context, obj client.Object) []ctrl.Request {
	var opts []client.ListOption
	link := obj.GetName()
	switch o := obj.(type) {
	case *v1alpha1.SiteLink:
	case *appsv1.Deployment:
		if link = o.Labels[v1alpha1.LabelLink]; link == "" {
			return nil
		}
		opts = append(opts, client.InNamespace(o.Namespace))
	case *corev1.ConfigMap:
		if org := o.Labels[v1alpha1.LabelOrganization]; org == "" || o.Name != specs.MSPConfigMap(org) {
			return nil
		}
		link, opts = "", append(opts, client.InNamespace(o.Namespace))
	default:
		return []ctrl.Request{{NamespacedName: client.ObjectKeyFromObject(obj)}}
	}
	var list v1alpha1.NodeImportList
	if err := r.client.List(ctx, &list, opts...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list NodeImports")
		return nil
	}
	var out []ctrl.Request
	for i := range list.Items {
		if link == "" || list.Items[i].Spec.Link == link {
			out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// scope is what one round sees.
type scope struct {
	node *v1alpha1.NodeImport
	link *v1alpha1.SiteLink
	// service that is there already, and admitted says that it is this import's: the node was good once.
	service  *corev1.Service
	admitted bool
	roots    []byte
}

// Reconcile runs one round for one NodeImport.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.NodeImport{}, kube.Flow[*v1alpha1.NodeImport]{
		Steps: func(ctx context.Context, i *v1alpha1.NodeImport) error {
			s := &scope{node: i}
			return kube.Run(ctx, s, r.findLink, r.findService, r.unclaimed, r.state, r.offered, r.findRoots, r.findPod, r.admit, r.probe)
		},
	})
}

// say sets a condition of the import.
func (s *scope) say(kind string, status metav1.ConditionStatus, reason, format string, args ...any) {
	meta.SetStatusCondition(s.node.GetConditions(), metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...), ObservedGeneration: s.node.Generation,
	})
}

// findLink finds the partner. Without one, or with one that is revoked, there is no way and so no Service.
func (r *Reconciler) findLink(ctx context.Context, s *scope) error {
	var link v1alpha1.SiteLink
	err := r.client.Get(ctx, client.ObjectKey{Name: s.node.Spec.Link}, &link)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read SiteLink: %w", err)
	}
	gone := apierrors.IsNotFound(err) || !link.DeletionTimestamp.IsZero()
	if !gone && !link.IsRevoked() && link.Status.State != v1alpha1.LinkRevoked {
		s.link = &link
		return nil
	}
	if err := r.apply.Delete(ctx, s.node, specs.ImportService(s.node)); err != nil {
		return err
	}
	s.node.Status.Address = ""
	reason, message := v1alpha1.ReasonRevoked, fmt.Sprintf("The partnership with %q is revoked", s.node.Spec.Link)
	if gone {
		reason, message = v1alpha1.ReasonWaitingForDependency, fmt.Sprintf("There is no SiteLink %q: 'heddle site list' shows the partners", s.node.Spec.Link)
	}
	s.say(v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason, "%s", message)
	s.say(v1alpha1.ConditionConnected, metav1.ConditionFalse, reason, "%s", message)
	if gone {
		return kube.Waiting(reason, 0, "%s", message)
	}
	return kube.Stalled(reason, "%s", message)
}

func (r *Reconciler) findService(ctx context.Context, s *scope) error {
	var svc corev1.Service
	key := client.ObjectKeyFromObject(s.node)
	err := r.client.Get(ctx, key, &svc)
	if apierrors.IsNotFound(err) {
		// The cache holds what bears a network's label only.
		err = r.reader.Get(ctx, key, &svc)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Service: %w", err)
	}
	if err == nil {
		s.service, s.admitted = &svc, metav1.IsControlledBy(&svc, s.node)
	}
	return nil
}

// unclaimed looks whether the name is somebody else's here.
func (r *Reconciler) unclaimed(ctx context.Context, s *scope) error {
	taken := ""
	for _, n := range []struct {
		kind string
		obj  client.Object
	}{{"Peer", &v1alpha1.Peer{}}, {"Orderer", &v1alpha1.Orderer{}}} {
		err := r.client.Get(ctx, client.ObjectKeyFromObject(s.node), n.obj)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read %s: %w", n.kind, err)
		}
		if err == nil {
			taken = fmt.Sprintf("%s %q of this site", n.kind, s.node.Name)
		}
	}
	if taken == "" && s.service != nil && !s.admitted {
		if former(s.service, s.node) {
			return kube.Waiting(v1alpha1.ReasonDeleting, time.Second, "Service %q of the former NodeImport is still being collected", s.node.Name)
		}
		taken = fmt.Sprintf("Service %q", s.node.Name)
	}
	if taken == "" {
		return nil
	}
	message := fmt.Sprintf("The name is taken by %s: rename one of the two; names in channels never move", taken)
	s.say(v1alpha1.ConditionConflict, metav1.ConditionTrue, v1alpha1.ReasonConflict, "%s", message)
	return kube.Stalled(v1alpha1.ReasonConflict, "%s", message)
}

// former tells whether a Service is that of an import of the same name that is gone.
func former(svc *corev1.Service, i *v1alpha1.NodeImport) bool {
	ctl := metav1.GetControllerOf(svc)
	return ctl != nil && ctl.Kind == "NodeImport" && ctl.Name == i.Name && ctl.UID != i.UID
}

// state waits for the partner. What was let in stays while it is away: its callers are refused, since no pod is behind it.
func (r *Reconciler) state(_ context.Context, s *scope) error {
	err := nodeexport.State(s.link)
	if i, ok := kube.AsIntent(err); ok {
		s.say(v1alpha1.ConditionConnected, metav1.ConditionFalse, i.Reason, "%s", i.Message)
	}
	return err
}

// offered looks whether the partner exports the node, in the same network.
func (r *Reconciler) offered(ctx context.Context, s *scope) error {
	var ns corev1.Namespace
	if err := r.client.Get(ctx, client.ObjectKey{Name: s.node.Namespace}, &ns); err != nil {
		return fmt.Errorf("read namespace: %w", err)
	}
	reason, message := offer(s.link, s.node, ns.Labels[v1alpha1.LabelNetworkID])
	if reason == "" {
		s.say(v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonReady, "The partner offers the node")
		s.say(v1alpha1.ConditionConflict, metav1.ConditionFalse, v1alpha1.ReasonReady, "The name is free")
		return nil
	}
	s.say(v1alpha1.ConditionAccepted, metav1.ConditionFalse, reason, "%s", message)
	if reason == v1alpha1.ReasonConflict {
		s.say(v1alpha1.ConditionConflict, metav1.ConditionTrue, reason, "%s", message)
		return kube.Stalled(reason, "%s", message)
	}
	return kube.Waiting(reason, 0, "%s", message)
}

// offer compares an import with what the partner offers; no reason says that all is well.
func offer(link *v1alpha1.SiteLink, i *v1alpha1.NodeImport, networkID string) (reason, message string) {
	for _, o := range link.Status.Offered {
		if o.Network != i.Namespace || o.Name != i.Name {
			continue
		}
		switch {
		case networkID != "" && o.NetworkID != networkID:
			return v1alpha1.ReasonConflict, fmt.Sprintf("Partner %q has another network of this name (networkID %s, here %s)", link.Name, o.NetworkID, networkID)
		case o.Port != i.Spec.Port:
			return v1alpha1.ReasonConflict, fmt.Sprintf("Partner %q offers the node on port %d, spec.port is %d: make the NodeImport anew", link.Name, o.Port, i.Spec.Port)
		case i.Spec.MSPID != "" && o.MSPID != i.Spec.MSPID:
			return v1alpha1.ReasonConflict, fmt.Sprintf("Partner %q says that the node is %s's, spec.mspID is %s", link.Name, o.MSPID, i.Spec.MSPID)
		}
		return "", ""
	}
	return v1alpha1.ReasonNotOffered, fmt.Sprintf("Partner %q does not export %s to this site: ask for 'heddle node export %s' there",
		link.Name, specs.Host(i.Name, i.Namespace), i.Name)
}
