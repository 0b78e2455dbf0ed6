package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/specs"
	"heddle.dev/heddle/test/harness"
)

// servicesAreLinks: the Service of every node of the partner selects the link's pods, and Kubernetes itself made its endpoints of them.
func (o *overSites) servicesAreLinks(ctx context.Context, t *testing.T) {
	for s, want := range map[*linkedSite]int{o.a: 1, o.b: 4} {
		var imports v1alpha1.NodeImportList
		if err := s.List(ctx, &imports, client.InNamespace(tradeNetwork)); err != nil || len(imports.Items) != want {
			t.Fatalf("%s imports %d nodes, want %d (%v)", s.id, len(imports.Items), want, err)
		}
		for i := range imports.Items {
			if err := s.isLink(ctx, imports.Items[i].Name, imports.Items[i].Spec.Link); err != nil {
				t.Errorf("%s: Service %q: %v", s.id, imports.Items[i].Name, err)
			}
		}
	}
}

func (s *linkedSite) isLink(ctx context.Context, service, link string) error {
	var svc corev1.Service
	if err := s.Get(ctx, client.ObjectKey{Namespace: tradeNetwork, Name: service}, &svc); err != nil {
		return err
	}
	if svc.Spec.Type != corev1.ServiceTypeClusterIP || svc.Spec.Selector[v1alpha1.LabelComponent] != v1alpha1.ComponentLink || svc.Spec.Selector[v1alpha1.LabelLink] != link {
		return fmt.Errorf("it is %+v", svc.Spec)
	}
	var slices discoveryv1.EndpointSliceList
	if err := s.List(ctx, &slices, client.InNamespace(tradeNetwork), client.MatchingLabels{discoveryv1.LabelServiceName: service}); err != nil {
		return err
	}
	targets := 0
	for i := range slices.Items {
		slice := &slices.Items[i]
		if by := slice.Labels[discoveryv1.LabelManagedBy]; by != "endpointslice-controller.k8s.io" {
			return fmt.Errorf("endpoints %q are managed by %q", slice.Name, by)
		}
		for _, e := range slice.Endpoints {
			var pod corev1.Pod
			if e.TargetRef == nil || e.TargetRef.Kind != "Pod" {
				return fmt.Errorf("endpoints %q lead to %v", slice.Name, e.Addresses)
			}
			if err := s.Get(ctx, client.ObjectKey{Namespace: tradeNetwork, Name: e.TargetRef.Name}, &pod); err != nil {
				return err
			}
			if pod.Labels[v1alpha1.LabelComponent] != v1alpha1.ComponentLink || pod.Labels[v1alpha1.LabelLink] != link {
				return fmt.Errorf("endpoints %q lead to pod %q", slice.Name, pod.Name)
			}
			targets++
		}
	}
	if targets == 0 {
		return errors.New("it leads nowhere")
	}
	return nil
}

// withoutNginx: without the one pod of a link no transaction that takes the other site goes through, from either side; without
// a gateway none goes that comes in there. The operator would start the pods again, so it is away meanwhile.
func (o *overSites) withoutNginx(ctx context.Context, t *testing.T) {
	for _, c := range []struct {
		what string
		site *linkedSite
		pods client.ObjectKey
		// stops is who is cut off.
		stops []*linkedSite
	}{
		{what: "b's link", site: o.b, pods: client.ObjectKey{Namespace: tradeNetwork, Name: "link-bank-a"}, stops: o.sites()},
		{what: "a's gateway", site: o.a, pods: client.ObjectKey{Namespace: harness.SystemNamespace, Name: specs.GatewayName}, stops: []*linkedSite{o.b}},
	} {
		operator := client.ObjectKey{Namespace: harness.SystemNamespace, Name: specs.OperatorName}
		c.site.scale(ctx, t, operator, 0)
		c.site.scale(ctx, t, c.pods, 0)
		for _, s := range c.stops {
			o.refused(ctx, t, s, c.what)
		}
		c.site.scale(ctx, t, operator, 1)
		c.site.scale(ctx, t, c.pods, 1)
		back := time.Now()
		o.a.await(ctx, t, "bank-b", v1alpha1.LinkUp)
		o.b.await(ctx, t, "bank-a", v1alpha1.LinkUp)
		for _, s := range o.sites() {
			o.goesAgain(ctx, t, s)
		}
		progress("with %s back, transactions went through from both sides after %.1f s", c.what, time.Since(back).Seconds())
	}
}

// refused demands that a transaction that both banks have to endorse fails, in bounded time.
func (o *overSites) refused(ctx context.Context, t *testing.T, s *linkedSite, without string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	began := time.Now()
	out, err := s.Heddle(ctx, append([]string{"tx", "submit", privateOffers, "Offer", fmt.Sprintf("without-%s-%d", s.id, began.UnixNano()), "-q"}, secret("1")...)...)
	if err == nil || ctx.Err() != nil {
		t.Errorf("%s: without %s a transaction ended with %v:\n%s", s.id, without, err, out)
	}
	progress("%s: without %s a transaction is refused after %.1f s: %.200s", s.id, without, time.Since(began).Seconds(), out)
}

func (o *overSites) goesAgain(ctx context.Context, t *testing.T, s *linkedSite) {
	t.Helper()
	within(ctx, t, 2*time.Minute, s.id+": a transaction goes through again", func() error {
		out, err := s.Heddle(ctx, append([]string{"tx", "submit", privateOffers, "Offer", fmt.Sprintf("again-%s-%d", s.id, time.Now().UnixNano()), "-q"}, secret("1")...)...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// scale sets the pods of a Deployment, and waits until there are as many.
func (s *linkedSite) scale(ctx context.Context, t *testing.T, key client.ObjectKey, n int32) {
	t.Helper()
	err := harness.Poll(ctx, func(ctx context.Context) error {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		if err := s.Get(ctx, key, d); err != nil {
			return err
		}
		if ptr.Deref(d.Spec.Replicas, 1) != n {
			patch := client.MergeFrom(d.DeepCopy())
			d.Spec.Replicas = &n
			if err := s.Patch(ctx, d, patch); err != nil {
				return err
			}
		}
		selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
		if err != nil {
			return err
		}
		var pods corev1.PodList
		if err := s.List(ctx, &pods, client.InNamespace(key.Namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
			return err
		}
		if len(pods.Items) != int(n) || d.Status.ReadyReplicas != n {
			return fmt.Errorf("Deployment %q has %d pods, %d of them ready, want %d", key.Name, len(pods.Items), d.Status.ReadyReplicas, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
