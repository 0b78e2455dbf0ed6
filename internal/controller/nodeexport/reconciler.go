// Package nodeexport finds the nodes that NodeExports offer: it looks up the Peers and Orderers that are named or selected,
// checks that the partners exist, and lists in the status what can be reached. The link controller lets exactly that
// through; nothing is opened here.
package nodeexport

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// maxNodes is what the status holds.
const maxNodes = 64

// Reconciler brings NodeExports about.
type Reconciler struct {
	client client.Client
	rounds *kube.Rounds
}

// New makes a Reconciler.
func New() *Reconciler { return &Reconciler{} }

// Register adds the controller to a manager.
func (r *Reconciler) Register(mgr ctrl.Manager) error {
	r.client = mgr.GetClient()
	r.rounds = &kube.Rounds{Client: r.client, Recorder: mgr.GetEventRecorder("heddle-nodeexport")}
	ofNamespace := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, obj client.Object) []ctrl.Request {
		return r.exports(ctx, client.InNamespace(obj.GetNamespace()))
	})
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.NodeExport{}).
		Watches(&v1alpha1.Peer{}, ofNamespace).
		Watches(&v1alpha1.Orderer{}, ofNamespace).
		// A SiteLink stands in no namespace, and so wakes the exports of all.
		Watches(&v1alpha1.SiteLink{}, ofNamespace).
		Watches(&appsv1.Deployment{}, ofNamespace, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool {
			return o.GetLabels()[v1alpha1.LabelLink] != ""
		}))).
		WithOptions(kube.ControllerOptions()).
		Complete(r)
	if err != nil {
		return fmt.Errorf("register controller of NodeExports: %w", err)
	}
	return nil
}

func (r *Reconciler) exports(ctx context.Context, opts ...client.ListOption) []ctrl.Request {
	var list v1alpha1.NodeExportList
	if err := r.client.List(ctx, &list, opts...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list NodeExports")
		return nil
	}
	var out []ctrl.Request
	for i := range list.Items {
		out = append(out, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// scope is what one round sees.
type scope struct {
	export *v1alpha1.NodeExport
	// found are the nodes that there are, and missing the names of those that there are not.
	found   []v1alpha1.ExportedNode
	missing []string
}

// Reconcile runs one round for one NodeExport.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	return kube.Reconcile(ctx, r.rounds, req, &v1alpha1.NodeExport{}, kube.Flow[*v1alpha1.NodeExport]{
		Steps: func(ctx context.Context, e *v1alpha1.NodeExport) error {
			s := &scope{export: e}
			if err := r.observe(ctx, s); err != nil {
				return err
			}
			e.Status.Nodes = s.found
			return kube.Run(ctx, s, r.complete, r.partners)
		},
	})
}

// observe finds the nodes.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	selector := labels.Nothing()
	if s.export.Spec.Selector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(s.export.Spec.Selector); err != nil {
			return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.selector cannot be read: %s", err)
		}
	}
	names := map[string]bool{}
	for _, name := range s.export.Spec.Nodes {
		names[name] = true
	}
	add := func(n client.Object, port int32) {
		if n.GetDeletionTimestamp().IsZero() && (names[n.GetName()] || selector.Matches(labels.Set(n.GetLabels()))) {
			s.found = append(s.found, v1alpha1.ExportedNode{Name: n.GetName(), Port: port})
		}
		delete(names, n.GetName())
	}
	var peers v1alpha1.PeerList
	if err := r.client.List(ctx, &peers, client.InNamespace(s.export.Namespace)); err != nil {
		return fmt.Errorf("list peers: %w", err)
	}
	for i := range peers.Items {
		add(&peers.Items[i], v1alpha1.PortPeer)
	}
	var orderers v1alpha1.OrdererList
	if err := r.client.List(ctx, &orderers, client.InNamespace(s.export.Namespace)); err != nil {
		return fmt.Errorf("list orderers: %w", err)
	}
	for i := range orderers.Items {
		add(&orderers.Items[i], v1alpha1.PortOrderer)
	}
	slices.SortFunc(s.found, func(a, b v1alpha1.ExportedNode) int { return strings.Compare(a.Name, b.Name) })
	s.found = slices.CompactFunc(s.found, func(a, b v1alpha1.ExportedNode) bool { return a.Name == b.Name })
	for name := range names {
		s.missing = append(s.missing, name)
	}
	slices.Sort(s.missing)
	if len(s.found) > maxNodes {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "spec.selector chooses %d nodes, and an export has %d at most: make several", len(s.found), maxNodes)
	}
	return nil
}

// complete tells which nodes are not there; the others are exported all the same.
func (r *Reconciler) complete(_ context.Context, s *scope) error {
	if len(s.missing) > 0 {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "There is no Peer or Orderer named %s", strings.Join(s.missing, ", "))
	}
	return nil
}

// partners tells which links do not carry the export yet.
func (r *Reconciler) partners(ctx context.Context, s *scope) error {
	for _, name := range slices.Sorted(slices.Values(s.export.Spec.Links)) {
		var link v1alpha1.SiteLink
		err := r.client.Get(ctx, client.ObjectKey{Name: name}, &link)
		if apierrors.IsNotFound(err) {
			return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "There is no SiteLink %q: 'heddle site list' shows the partners", name)
		}
		if err != nil {
			return fmt.Errorf("read SiteLink %q: %w", name, err)
		}
		if err := State(&link); err != nil {
			return err
		}
		var d appsv1.Deployment
		err = r.client.Get(ctx, client.ObjectKey{Namespace: s.export.Namespace, Name: specs.LinkName(name)}, &d)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read Deployment of link: %w", err)
		}
		if err != nil || d.Status.AvailableReplicas == 0 {
			return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for the pod of Deployment %q", specs.LinkName(name))
		}
	}
	return nil
}

// State says what a partnership keeps from going on; nil while the partner answers. NodeImports say the same.
func State(link *v1alpha1.SiteLink) error {
	switch state := link.Status.State; {
	case link.IsRevoked() || state == v1alpha1.LinkRevoked:
		return kube.Stalled(v1alpha1.ReasonRevoked, "The partnership with %q is revoked", link.Name)
	case state == v1alpha1.LinkUp:
		return nil
	case state == v1alpha1.LinkDown:
		return kube.Waiting(v1alpha1.ReasonUnreachable, 0, "Partner %q does not answer; 'heddle link check %s' looks for the cause", link.Name, link.Name)
	}
	return kube.Waiting(v1alpha1.ReasonPendingApproval, 0, "The partnership with %q is not agreed yet: 'heddle site list' says what is missing", link.Name)
}
