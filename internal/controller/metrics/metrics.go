// Package metrics tells Prometheus about nodes and certificates. Every value is
// computed from the objects in the cache at the moment of the question, so that
// days left are right and what is gone is not told of any more.
package metrics

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

// patience bounds a scrape: the answers come from memory.
const patience = 5 * time.Second

// Options say what is told.
type Options struct {
	// Registry that the metrics are added to while the manager runs.
	Registry prometheus.Registerer
	// Now is the clock; time.Now unless given.
	Now func() time.Time
}

// Register adds the metrics to a manager.
func Register(mgr ctrl.Manager, opts Options) error {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		c := &collector{ctx: ctx, reader: mgr.GetClient(), now: opts.Now}
		if err := opts.Registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
		<-ctx.Done()
		opts.Registry.Unregister(c)
		return nil
	}))
	if err != nil {
		return fmt.Errorf("add metrics: %w", err)
	}
	return nil
}

type collector struct {
	// ctx is that of the manager: a Collector's methods get none.
	ctx    context.Context //nolint:containedctx // the interface of prometheus.Collector has no context
	reader client.Reader
	now    func() time.Time
}

// descriptions of the metrics.
func daysLeft() *prometheus.Desc {
	return prometheus.NewDesc("heddle_certificate_days_left",
		"Days until a certificate ends; negative when it has ended.",
		[]string{"network", "organization", "node", "name"}, nil)
}

func nodeReady() *prometheus.Desc {
	return prometheus.NewDesc("heddle_node_ready",
		"1 if a node is what its spec asks for and serves, 0 if not.",
		[]string{"network", "organization", "node", "component"}, nil)
}

// Describe tells which metrics there are.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- daysLeft()
	out <- nodeReady()
}

// Collect tells their values.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, stop := context.WithTimeout(c.ctx, patience)
	defer stop()
	var (
		organizations v1alpha1.OrganizationList
		orderers      v1alpha1.OrdererList
		peers         v1alpha1.PeerList
	)
	for _, list := range []client.ObjectList{&organizations, &orderers, &peers} {
		if err := c.reader.List(ctx, list); err != nil {
			out <- prometheus.NewInvalidMetric(daysLeft(), err)
			return
		}
	}
	for i := range organizations.Items {
		o := &organizations.Items[i]
		c.certificates(out, o.Namespace, o.Name, "", o.Status.Certificates)
	}
	for i := range orderers.Items {
		o := &orderers.Items[i]
		c.certificates(out, o.Namespace, o.Spec.Organization, o.Name, o.Status.Certificates)
		ready(out, o, o.Spec.Organization, v1alpha1.ComponentOrderer)
	}
	for i := range peers.Items {
		p := &peers.Items[i]
		c.certificates(out, p.Namespace, p.Spec.Organization, p.Name, p.Status.Certificates)
		ready(out, p, p.Spec.Organization, v1alpha1.ComponentPeer)
	}
}

func (c *collector) certificates(out chan<- prometheus.Metric, network, organization, node string, certs []v1alpha1.CertificateStatus) {
	const day = 24 * time.Hour
	for _, cert := range certs {
		days := cert.NotAfter.Sub(c.now()).Hours() / day.Hours()
		out <- prometheus.MustNewConstMetric(daysLeft(), prometheus.GaugeValue, days, network, organization, node, cert.Name)
	}
}

func ready(out chan<- prometheus.Metric, o kube.Object, organization, component string) {
	value := 0.0
	if kube.IsReady(o) {
		value = 1
	}
	out <- prometheus.MustNewConstMetric(nodeReady(), prometheus.GaugeValue, value, o.GetNamespace(), organization, o.GetName(), component)
}
