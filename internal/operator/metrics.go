package operator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/kube"
)

// collectTimeout bounds one scrape; everything comes from the cache.
const collectTimeout = 5 * time.Second

// collector turns what stands in statuses into metrics when it is asked, so there is nothing to keep up to date and
// nothing that outlives an object.
type collector struct {
	reader client.Reader
	// scrape bounds one scrape; the interface of collectors passes no context.
	scrape func() (context.Context, context.CancelFunc)
	// namespaced says that Networks cannot be read.
	namespaced bool

	ready, daysLeft, height, lag, active, partner *prometheus.Desc
}

func newCollector(ctx context.Context, reader client.Reader, namespaced bool) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("heddle_"+name, help, labels, nil)
	}
	return &collector{
		reader: reader, namespaced: namespaced,
		scrape:   func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, collectTimeout) },
		ready:    desc("ready", "Whether an object is Ready for its newest spec.", "kind", "namespace", "name"),
		daysLeft: desc("certificate_days_left", "Days until a certificate ends; negative when it has ended.", "kind", "namespace", "name", "certificate"),
		height:   desc("channel_height", "Height of a channel's highest node.", "namespace", "channel"),
		lag:      desc("channel_node_lag", "Blocks that a node is behind the highest one.", "namespace", "channel", "node"),
		partner:  desc("partner_up", "Whether a partner answers.", "link"),
		active:   desc("channel_node_active", "Whether a node takes its part in a channel.", "namespace", "channel", "node"),
	}
}

// Describe tells the metrics that there are.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.ready, c.daysLeft, c.height, c.lag, c.active, c.partner} {
		out <- d
	}
}

// Collect reads all objects from the cache. A metric that cannot be made tells the error in its place.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := c.scrape()
	defer cancel()
	for _, one := range []func(context.Context, chan<- prometheus.Metric) error{
		c.networks, c.organizations, c.orderers, c.peers, c.channels, c.chaincodes, c.identities, c.sites, c.linked,
	} {
		if err := one(ctx, out); err != nil {
			out <- prometheus.NewInvalidMetric(c.ready, err)
		}
	}
}

func (c *collector) list(ctx context.Context, list client.ObjectList) error {
	if err := c.reader.List(ctx, list); err != nil {
		return fmt.Errorf("list %T for metrics: %w", list, err)
	}
	return nil
}

func (c *collector) object(out chan<- prometheus.Metric, kind string, o kube.Object, certificates ...v1alpha1.CertificateStatus) {
	ready := 0.0
	if kube.IsReady(o) {
		ready = 1
	}
	out <- prometheus.MustNewConstMetric(c.ready, prometheus.GaugeValue, ready, kind, o.GetNamespace(), o.GetName())
	for _, s := range certificates {
		days := time.Until(s.NotAfter.Time).Hours() / 24
		out <- prometheus.MustNewConstMetric(c.daysLeft, prometheus.GaugeValue, days, kind, o.GetNamespace(), o.GetName(), s.Name)
	}
}

func (c *collector) networks(ctx context.Context, out chan<- prometheus.Metric) error {
	if c.namespaced {
		return nil
	}
	var l v1alpha1.NetworkList
	if err := c.list(ctx, &l); err != nil {
		return err
	}
	for i := range l.Items {
		c.object(out, "Network", &l.Items[i])
	}
	return nil
}

func (c *collector) organizations(ctx context.Context, out chan<- prometheus.Metric) error {
	var l v1alpha1.OrganizationList
	if err := c.list(ctx, &l); err != nil {
		return err
	}
	for i := range l.Items {
		c.object(out, "Organization", &l.Items[i], l.Items[i].Status.Certificates...)
	}
	return nil
}

func (c *collector) orderers(ctx context.Context, out chan<- prometheus.Metric) error {
	var l v1alpha1.OrdererList
	if err := c.list(ctx, &l); err != nil {
		return err
	}
	for i := range l.Items {
		c.object(out, "Orderer", &l.Items[i], l.Items[i].Status.Certificates...)
	}
	return nil
}

func (c *collector) peers(ctx context.Context, out chan<- prometheus.Metric) error {
	var l v1alpha1.PeerList
	if err := c.list(ctx, &l); err != nil {
		return err
	}
	for i := range l.Items {
		c.object(out, "Peer", &l.Items[i], l.Items[i].Status.Certificates...)
	}
	return nil
}

func (c *collector) channels(ctx context.Context, out chan<- prometheus.Metric) error {
	var l v1alpha1.ChannelList
	if err := c.list(ctx, &l); err != nil {
		return err
	}
	for i := range l.Items {
		ch := &l.Items[i]
		c.object(out, "Channel", ch)
		if h := ch.Status.Height; h != nil {
			out <- prometheus.MustNewConstMetric(c.height, prometheus.GaugeValue, float64(*h), ch.Namespace, ch.Name)
		}
		for _, n := range ch.Status.Nodes {
			active := 0.0
			if n.State == v1alpha1.NodeActive {
				active = 1
			}
			out <- prometheus.MustNewConstMetric(c.active, prometheus.GaugeValue, active, ch.Namespace, ch.Name, n.Name)
			if n.Lag != nil {
				out <- prometheus.MustNewConstMetric(c.lag, prometheus.GaugeValue, float64(*n.Lag), ch.Namespace, ch.Name, n.Name)
			}
		}
	}
	return nil
}

func (c *collector) chaincodes(ctx context.Context, out chan<- prometheus.Metric) error {
	var l v1alpha1.ChaincodeList
	if err := c.list(ctx, &l); err != nil {
		return err
	}
	for i := range l.Items {
		c.object(out, "Chaincode", &l.Items[i], l.Items[i].Status.Certificates...)
	}
	return nil
}

func (c *collector) identities(ctx context.Context, out chan<- prometheus.Metric) error {
	var l v1alpha1.IdentityList
	if err := c.list(ctx, &l); err != nil {
		return err
	}
	for i := range l.Items {
		var certificates []v1alpha1.CertificateStatus
		if s := l.Items[i].Status.Certificate; s != nil {
			certificates = append(certificates, *s)
		}
		c.object(out, "Identity", &l.Items[i], certificates...)
	}
	return nil
}

func (c *collector) sites(ctx context.Context, out chan<- prometheus.Metric) error {
	if c.namespaced {
		return nil
	}
	var local v1alpha1.SiteList
	var links v1alpha1.SiteLinkList
	if err := errors.Join(c.list(ctx, &local), c.list(ctx, &links)); err != nil {
		return err
	}
	for i := range local.Items {
		c.object(out, "Site", &local.Items[i], local.Items[i].Status.Certificates...)
	}
	for i := range links.Items {
		l := &links.Items[i]
		c.object(out, "SiteLink", l, l.Status.Certificates...)
		up := 0.0
		if l.Status.State == v1alpha1.LinkUp {
			up = 1
		}
		out <- prometheus.MustNewConstMetric(c.partner, prometheus.GaugeValue, up, l.Name)
	}
	return nil
}

// linked are the nodes that go over links. Their kinds are left alone where partners are.
func (c *collector) linked(ctx context.Context, out chan<- prometheus.Metric) error {
	if c.namespaced {
		return nil
	}
	var exports v1alpha1.NodeExportList
	var imports v1alpha1.NodeImportList
	if err := errors.Join(c.list(ctx, &exports), c.list(ctx, &imports)); err != nil {
		return err
	}
	for i := range exports.Items {
		c.object(out, "NodeExport", &exports.Items[i])
	}
	for i := range imports.Items {
		c.object(out, "NodeImport", &imports.Items[i])
	}
	return nil
}
