package site

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/internal/specs"
)

// settledAgain is how often a gateway that serves is looked at: its objects are not in the cache.
const settledAgain = 10 * time.Second

// gateway makes the public port.
func (r *Reconciler) gateway(ctx context.Context, s *scope) error {
	g := specs.Gateway{Site: s.site, System: r.opts.System, Settings: r.opts.Links, Links: s.links}
	var err error
	if g.Networks, err = r.networks(ctx); err != nil {
		return err
	}
	text, err := g.Config().Render()
	if err != nil {
		return kube.Stalled(v1alpha1.ReasonInvalidSpec, "The gateway cannot be set up: %s", err)
	}
	had, err := r.rendered(ctx)
	if err != nil {
		return err
	}
	objects := []client.Object{
		specs.GatewayConfigMap(g, text), specs.GatewayDeployment(g), specs.GatewayPublicService(g), specs.SiteOperatorService(g),
	}
	for _, np := range specs.GatewayPolicies(g) {
		objects = append(objects, np)
	}
	for _, o := range objects {
		if err := r.apply.Apply(ctx, s.site, o); err != nil {
			return err
		}
	}
	if had == "" {
		return kube.Waiting(v1alpha1.ReasonProgressing, time.Second, "The gateway is being made")
	}
	if had != text {
		r.wrote = r.opts.Now()
	}
	// The kubelet has to hear of the change before it is made to look; a round that comes sooner waits, too.
	if left := r.wrote.Add(time.Second).Sub(r.opts.Now()); left > 0 {
		return kube.LookAgain(left)
	}
	if err := r.nudge(ctx, text); err != nil {
		return err
	}
	return r.serving(ctx)
}

// rendered is the configuration that was there before.
func (r *Reconciler) rendered(ctx context.Context) (string, error) {
	have := &corev1.ConfigMap{}
	err := r.opts.Reader.Get(ctx, client.ObjectKey{Namespace: r.opts.System, Name: specs.GatewayName}, have)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("read the gateway's configuration: %w", err)
	}
	return have.Data[nginx.ConfigFile], nil
}

// networks are those that exports and imports link to each partner.
func (r *Reconciler) networks(ctx context.Context) (map[string][]string, error) {
	out := map[string][]string{}
	add := func(l, network string) {
		if !slices.Contains(out[l], network) {
			out[l] = append(out[l], network)
		}
	}
	var exports v1alpha1.NodeExportList
	var imports v1alpha1.NodeImportList
	for _, list := range []client.ObjectList{&exports, &imports} {
		if err := r.opts.Client.List(ctx, list); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
	}
	for i := range exports.Items {
		for _, l := range exports.Items[i].Spec.Links {
			add(l, exports.Items[i].Namespace)
		}
	}
	for i := range imports.Items {
		add(imports.Items[i].Spec.Link, imports.Items[i].Namespace)
	}
	return out, nil
}

// nudge changes the gateway's pods a little when their configuration changed: the kubelet looks at a pod that changes at
// once, and brings its files up to date, which may take it a minute otherwise.
func (r *Reconciler) nudge(ctx context.Context, text string) error {
	var pods corev1.PodList
	if err := r.opts.Reader.List(ctx, &pods, client.InNamespace(r.opts.System), client.MatchingLabels(specs.GatewaySelects())); err != nil {
		return fmt.Errorf("list the gateway's pods: %w", err)
	}
	sum := sha256.Sum256([]byte(text))
	want := hex.EncodeToString(sum[:8])
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Annotations[v1alpha1.AnnotationConfig] == want || !pod.DeletionTimestamp.IsZero() {
			continue
		}
		if err := r.apply.Annotate(ctx, pod, v1alpha1.AnnotationConfig, want); err != nil {
			return err
		}
	}
	return nil
}

// serving tells whether the gateway's pod is there.
func (r *Reconciler) serving(ctx context.Context) error {
	d := &appsv1.Deployment{}
	if err := r.opts.Reader.Get(ctx, client.ObjectKey{Namespace: r.opts.System, Name: specs.GatewayName}, d); err != nil {
		return fmt.Errorf("read the gateway's Deployment: %w", err)
	}
	if d.Status.ObservedGeneration < d.Generation || d.Status.AvailableReplicas < 1 {
		return kube.Waiting(v1alpha1.ReasonWaitingForPod, time.Second, "The gateway's pod is not ready: 'kubectl -n %s get pods -l %s=%s' tells why if it stays so",
			r.opts.System, v1alpha1.LabelComponent, v1alpha1.ComponentGateway)
	}
	return kube.LookAgain(settledAgain)
}
