package chaincode

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/specs/launch"
)

// serve makes what the contract runs from. As a service it starts while packages are still being installed; where peers
// launch it, they are given its settings.
func (r *Reconciler) serve(ctx context.Context, w *world) error {
	in := specs.Chaincode{
		Place: specs.PlaceOf(w.network, w.channel.Labels), Chaincode: w.chaincode, PackageID: w.packageID, Image: w.image,
	}
	if w.security == nil {
		if err := r.applier.Delete(ctx, w.chaincode, specs.ChaincodeTLSSecret(in, "")); err != nil {
			return err
		}
	} else {
		in.TLS = w.security.material
	}
	if specs.ChaincodeRuntime(w.chaincode) == v1alpha1.RuntimePeer {
		return r.settings(ctx, w, in)
	}
	if err := r.applier.Apply(ctx, w.chaincode, specs.ChaincodeService(in)); err != nil {
		return err
	}
	if err := r.applier.Apply(ctx, w.chaincode, specs.ChaincodeDeployment(in)); err != nil {
		return err
	}
	var d appsv1.Deployment
	err := r.opts.Client.Get(ctx, types.NamespacedName{Namespace: w.network, Name: specs.ChaincodeName(w.chaincode.Name)}, &d)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Deployment: %w", err)
	}
	if err == nil {
		w.deployment = &d
	}
	return nil
}

// settings tells peers how to launch the contract, and takes down what ran it as a service.
func (r *Reconciler) settings(ctx context.Context, w *world, in specs.Chaincode) error {
	text, err := json.Marshal(in.Settings())
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	if err := r.applier.Apply(ctx, w.chaincode, specs.ChaincodeSettings(in, string(text))); err != nil {
		return err
	}
	service, deployment := specs.ChaincodeService(in), specs.ChaincodeDeployment(in)
	for _, o := range []client.Object{service, deployment} {
		if err := r.applier.Delete(ctx, w.chaincode, o); err != nil {
			return err
		}
	}
	var pods corev1.PodList
	if err := r.opts.Client.List(ctx, &pods, client.InNamespace(w.network), client.MatchingLabels{
		v1alpha1.LabelComponent: v1alpha1.ComponentChaincode, v1alpha1.LabelChaincode: w.chaincode.Name,
	}); err != nil {
		return fmt.Errorf("list pods of the contract: %w", err)
	}
	for i := range pods.Items {
		if pods.Items[i].Annotations[launch.AnnotationPackageID] != "" {
			w.launches = append(w.launches, &pods.Items[i])
		}
	}
	return nil
}

// serves tells whether the contract runs, or would at the next call.
func (w *world) serves() error {
	if specs.ChaincodeRuntime(w.chaincode) == v1alpha1.RuntimePeer {
		return w.launchable()
	}
	s := w.deployment
	if s == nil || s.Status.ObservedGeneration < s.Generation || s.Status.AvailableReplicas == 0 || s.Status.UpdatedReplicas == 0 {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, 0, "Waiting for a pod of the contract; if it stays so, see: kubectl -n %s describe pods -l %s=%s",
			w.network, v1alpha1.LabelChaincode, w.chaincode.Name)
	}
	return nil
}

// launchable tells whether the last launch of this package at some peer could not start: the next call tries again.
func (w *world) launchable() error {
	seen := map[string]bool{}
	for i := range w.chaincode.Status.Launches {
		l := &w.chaincode.Status.Launches[i]
		if l.PackageID != w.packageID || seen[l.Peer] {
			continue
		}
		if seen[l.Peer] = true; hopeless(l.Reason) {
			// What to do comes first: the runtime's words are long, and a condition is cut. The launch has all of them.
			word, said, _ := strings.Cut(l.Reason, ":")
			return kube.Waiting(v1alpha1.ReasonLaunchFailed, 0, "%s could not launch the contract (%s): %s. %s", l.Peer, word, remedy(l.Reason), strings.TrimSpace(said))
		}
	}
	return nil
}
