package node

import (
	"github.com/hyperledger/fabric-lib-go/common/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics gives libraries of Fabric a place for their metrics, under their
// own names, in the node's registry.
func (o *Operations) Metrics() metrics.Provider { return provider{o.Registry} }

type provider struct{ registry *prometheus.Registry }

func (p provider) NewCounter(o metrics.CounterOpts) metrics.Counter {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: o.Namespace, Subsystem: o.Subsystem, Name: o.Name, Help: o.Help,
	}, o.LabelNames)
	p.registry.MustRegister(vec)
	return counter{vec: vec}
}

func (p provider) NewGauge(o metrics.GaugeOpts) metrics.Gauge {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: o.Namespace, Subsystem: o.Subsystem, Name: o.Name, Help: o.Help,
	}, o.LabelNames)
	p.registry.MustRegister(vec)
	return gauge{vec: vec}
}

func (p provider) NewHistogram(o metrics.HistogramOpts) metrics.Histogram {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: o.Namespace, Subsystem: o.Subsystem, Name: o.Name, Help: o.Help, Buckets: o.Buckets,
	}, o.LabelNames)
	p.registry.MustRegister(vec)
	return histogram{vec: vec}
}

// labels turns pairs of name and value into a map.
func labels(before prometheus.Labels, pairs []string) prometheus.Labels {
	out := prometheus.Labels{}
	for name, value := range before {
		out[name] = value
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

type counter struct {
	vec    *prometheus.CounterVec
	labels prometheus.Labels
}

func (c counter) With(pairs ...string) metrics.Counter {
	return counter{vec: c.vec, labels: labels(c.labels, pairs)}
}

func (c counter) Add(delta float64) { c.vec.With(c.labels).Add(delta) }

type gauge struct {
	vec    *prometheus.GaugeVec
	labels prometheus.Labels
}

func (g gauge) With(pairs ...string) metrics.Gauge {
	return gauge{vec: g.vec, labels: labels(g.labels, pairs)}
}

func (g gauge) Add(delta float64) { g.vec.With(g.labels).Add(delta) }

func (g gauge) Set(value float64) { g.vec.With(g.labels).Set(value) }

type histogram struct {
	vec    *prometheus.HistogramVec
	labels prometheus.Labels
}

func (h histogram) With(pairs ...string) metrics.Histogram {
	return histogram{vec: h.vec, labels: labels(h.labels, pairs)}
}

func (h histogram) Observe(value float64) { h.vec.With(h.labels).Observe(value) }
