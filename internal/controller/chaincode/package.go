package chaincode

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/specs"
)

// dialTimeout is how long a peer tries to reach a contract before it gives up, which the next call mends: within one
// launch it tries ever more rarely, and callers wait for it.
const dialTimeout = "2s"

// resolveImage finds out what runs: the image of the spec, or the one that the build made.
func (r *Reconciler) resolveImage(ctx context.Context, w *world) error {
	spec := &w.chaincode.Spec
	if w.image = spec.Image; spec.Build == "" {
		return nil
	}
	b := &v1alpha1.ChaincodeBuild{}
	err := r.opts.Client.Get(ctx, types.NamespacedName{Namespace: w.network, Name: spec.Build}, b)
	if apierrors.IsNotFound(err) {
		return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for ChaincodeBuild %q: create it, or correct spec.build", spec.Build)
	}
	if err != nil {
		return fmt.Errorf("read ChaincodeBuild %q: %w", spec.Build, err)
	}
	switch {
	case b.Status.Image != nil:
		w.image = b.Status.Image.Name + "@" + b.Status.Image.Digest
		w.meta = b.Status.Image.Meta
		return nil
	case b.Status.FinishedAt != nil:
		return kube.Stalled(v1alpha1.ReasonBuildFailed, "ChaincodeBuild %q made no image: correct the source and deploy it again; see: heddle chaincode logs --build %s -n %s",
			spec.Build, spec.Build, w.network)
	}
	return kube.Waiting(v1alpha1.ReasonWaitingForDependency, 0, "Waiting for ChaincodeBuild %q to make the image", spec.Build)
}

// pack makes the package that the peers get. The label of one that peers launch is the object's name: by it the peer
// finds the settings of the launch.
func (r *Reconciler) pack(ctx context.Context, w *world) error {
	meta, err := r.indexes(ctx, w)
	if err != nil {
		return err
	}
	cc := w.chaincode
	if specs.ChaincodeRuntime(cc) == v1alpha1.RuntimePeer {
		name, digest, _ := strings.Cut(w.image, "@")
		w.pkg, err = ccpackage.K8s(cc.Name, ccpackage.Image{Name: name, Digest: digest}, meta...)
	} else {
		w.pkg, err = ccpackage.CCAAS(cc.Spec.ChaincodeName, w.connection(), meta...)
	}
	if err != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "The contract cannot be packaged: %s", err)
	}
	w.packageID, err = ccpackage.ID(w.pkg)
	return err
}

// connection is where the contract listens and what verifies it. No key is in it: each peer shows its own certificate.
func (w *world) connection() ccpackage.Connection {
	c := ccpackage.Connection{
		Address: specs.Address(specs.ChaincodeName(w.chaincode.Name), w.network, v1alpha1.PortChaincode), DialTimeout: dialTimeout,
	}
	if w.security != nil {
		c.TLSRequired, c.ClientAuthRequired, c.RootCert = true, true, string(w.security.root)
	}
	return c
}

// indexes are the CouchDB indexes that came with the source.
func (r *Reconciler) indexes(ctx context.Context, w *world) ([]ccpackage.File, error) {
	if w.meta == "" || r.opts.Meta == nil {
		return nil, nil
	}
	name, _, _ := strings.Cut(w.image, "@")
	raw, err := r.opts.Meta(ctx, name, w.meta)
	if err != nil {
		return nil, fmt.Errorf("read the indexes of ChaincodeBuild %q: %w", w.chaincode.Spec.Build, err)
	}
	return ccpackage.ReadMeta(raw)
}
