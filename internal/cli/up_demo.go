package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/config"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/image"
	"heddle.dev/heddle/internal/lab"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/internal/version"
)

// The sample network and contract; config/samples holds them.
const (
	demoNetwork  = "demo"
	demoChannel  = "demo"
	demoContract = "asset"
)

// annotationMadeBy marks what up made and down may take away.
const annotationMadeBy = "heddle.dev/made-by"

// install installs Heddle, and marks an installation that was not there before.
func (r *upRun) install(ctx context.Context, note func(string)) error {
	r.labBuilds()
	if err := r.cluster.keepBuilds(ctx, &r.flags.installSettings); err != nil {
		return err
	}
	in, err := manifestsFor(r.flags.installSettings)
	if err != nil {
		return err
	}
	var ns corev1.Namespace
	err = r.cluster.Get(ctx, client.ObjectKey{Name: specs.SystemNamespace}, &ns)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("read namespace %q: %w", specs.SystemNamespace, err)
	}
	isNew := apierrors.IsNotFound(err)
	f := &installFlags{installSettings: r.flags.installSettings, wait: true}
	by := ns.Annotations[annotationMadeBy]
	if isNew {
		by = "up"
	}
	// Server-side apply removes what its owner does not name any more.
	if by != "" {
		for _, o := range in.namespace {
			o.SetAnnotations(map[string]string{annotationMadeBy: by})
		}
	}
	return r.cluster.install(ctx, in, f, note)
}

// labBuilds gives builds the lab's own proxy for modules, and the registry the addresses of the lab's machines.
func (r *upRun) labBuilds() {
	s := &r.flags.buildSettings
	if !s.builds || r.lab == nil {
		return
	}
	if s.moduleProxy == "" && s.moduleProxyCIDR == "" {
		s.moduleProxy, s.moduleProxyCIDR = lab.ModulesURL, lab.ModulesCIDR()
	}
	if len(s.machineCIDRs) == 0 {
		s.machineCIDRs = []string{r.lab.Sites()[0].NodeRange()}
	}
}

// network applies the sample network and contract, and waits for the network.
func (r *upRun) network(ctx context.Context, note func(string)) error {
	var n v1alpha1.Network
	if err := sample("samples/demo-network.yaml", &n); err != nil {
		return err
	}
	var have v1alpha1.Network
	err := r.cluster.Get(ctx, client.ObjectKeyFromObject(&n), &have)
	if err == nil && have.DeletionTimestamp != nil {
		note("waiting until the last one is gone")
		if err = r.app.waitGone(ctx, r.cluster, &have, &v1alpha1.NetworkList{}, r.flags.timeout); err == nil {
			err = r.cluster.Get(ctx, client.ObjectKeyFromObject(&n), &have)
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		n.Annotations = map[string]string{annotationMadeBy: "up"}
		// A retained namespace of the same name belongs to the ID on it.
		if n.Spec.NetworkID, err = r.retainedID(ctx, n.Name); err != nil {
			return err
		}
		if err := r.cluster.Create(ctx, &n, fieldOwner); err != nil {
			return fmt.Errorf("create network %q: %w", n.Name, err)
		}
		have = n
	case err != nil:
		return fmt.Errorf("read network %q: %w", n.Name, err)
	case have.Annotations[annotationMadeBy] == "":
		return fmt.Errorf("there is a network %q already that 'up' did not make: use another cluster", n.Name)
	}
	if err := r.applyContract(ctx, note); err != nil {
		return err
	}
	return r.cluster.waitReady(ctx, &have, &v1alpha1.NetworkList{}, note)
}

// retainedID is the ID on a namespace that an earlier delete retained, or a new one.
func (r *upRun) retainedID(ctx context.Context, name string) (string, error) {
	var ns corev1.Namespace
	err := r.cluster.Get(ctx, client.ObjectKey{Name: name}, &ns)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("read namespace %q: %w", name, err)
	}
	if id := ns.Labels[v1alpha1.LabelNetworkID]; id != "" {
		return id, nil
	}
	return strings.ToLower(rand.Text()), nil
}

// applyContract applies the contract as soon as its namespace is there, so that its image and pod need not wait
// for the channel.
func (r *upRun) applyContract(ctx context.Context, note func(string)) error {
	var cc v1alpha1.Chaincode
	if err := sample("samples/demo-contract.yaml", &cc); err != nil {
		return err
	}
	cc.Spec.Image = r.flags.contractImage
	if cc.Spec.Image == "" {
		cc.Spec.Image = image.AssetRepository + ":" + version.Version
	}
	note("waiting for namespace " + cc.Namespace)
	opts := []client.ListOption{client.MatchingFields{"metadata.name": cc.Namespace}}
	return r.cluster.until(ctx, &corev1.NamespaceList{}, opts, func(ctx context.Context) (bool, error) {
		var n v1alpha1.Network
		if err := r.cluster.Get(ctx, client.ObjectKey{Name: demoNetwork}, &n); err != nil {
			return false, fmt.Errorf("read network %q: %w", demoNetwork, err)
		}
		if s := readinessOf(&n); s.Stalled {
			return false, notReadyErrorf("network %q is stalled (%s): %s", n.Name, s.Reason, s.Message)
		}
		var ns corev1.Namespace
		err := r.cluster.Get(ctx, client.ObjectKey{Name: cc.Namespace}, &ns)
		if apierrors.IsNotFound(err) || (err == nil && ns.Labels[v1alpha1.LabelNetwork] != demoNetwork) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("read namespace %q: %w", cc.Namespace, err)
		}
		return true, r.applyObject(ctx, &cc)
	})
}

// applyObject applies a sample as this command's own.
func (r *upRun) applyObject(ctx context.Context, cc *v1alpha1.Chaincode) error {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       "Chaincode",
		"metadata":   map[string]any{"name": cc.Name, "namespace": cc.Namespace},
		"spec": map[string]any{
			"channel": cc.Spec.Channel, "chaincodeName": cc.Spec.ChaincodeName, "image": cc.Spec.Image,
		},
	}}
	err := r.cluster.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), fieldOwner, client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply contract %q: %w", cc.Name, err)
	}
	return nil
}

// contract waits until the contract is committed and runs.
func (r *upRun) contract(ctx context.Context, note func(string)) error {
	cc := &v1alpha1.Chaincode{}
	cc.Name, cc.Namespace = demoContract, demoNetwork
	return r.cluster.waitReady(ctx, cc, &v1alpha1.ChaincodeList{}, note)
}

const (
	// firstTxTimeout is how long the first transaction may be refused: a peer learns of its neighbours by gossip.
	firstTxTimeout = 45 * time.Second
	firstTxPause   = 300 * time.Millisecond
)

// transaction submits one transaction.
func (r *upRun) transaction(ctx context.Context, note func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, firstTxTimeout)
	defer cancel()
	ref := contractRef{network: demoNetwork, channel: demoChannel, contract: demoContract}
	asset := "asset-" + strings.ToLower(rand.Text()[:8])
	call := gateway.Call{Function: "Create", Args: [][]byte{[]byte(asset), []byte("alice"), []byte("100")}}
	gw, err := r.cluster.openGateway(ctx, &txFlags{}, &call, ref)
	if err != nil {
		return err
	}
	defer gw.Close()
	res, err := submitPatiently(ctx, gw.Gateway, call, note)
	if err != nil {
		return explainTx(err)
	}
	r.receipt = &upReceipt{
		Network: demoNetwork, Channel: call.Channel, Contract: call.Contract,
		Asset: asset, TransactionID: res.TxID, BlockNumber: res.Block,
	}
	return nil
}

// submitPatiently tries again while peers do not know one another yet. A transaction that was ordered is never repeated.
func submitPatiently(ctx context.Context, gw *gateway.Gateway, call gateway.Call, note func(string)) (gateway.Result, error) {
	tick := time.NewTicker(firstTxPause)
	defer tick.Stop()
	for {
		res, err := gw.Submit(ctx, call)
		var e *gateway.Error
		if err == nil || !errors.As(err, &e) || e.Stage != gateway.StageEndorse {
			return res, err
		}
		note(err.Error())
		select {
		case <-ctx.Done():
			return res, err
		case <-tick.C:
		}
	}
}

// sample reads one of the embedded samples.
func sample(name string, into any) error {
	b, err := config.Files.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read sample: %w", err)
	}
	if err := yaml.UnmarshalStrict(b, into); err != nil {
		return fmt.Errorf("parse sample %s: %w", name, err)
	}
	return nil
}
