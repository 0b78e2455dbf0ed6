package registry

import "github.com/prometheus/client_golang/prometheus"

// Metrics of participation, named as Fabric names them.
type Metrics struct{ status, relation *prometheus.GaugeVec }

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	m := &Metrics{
		status: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "participation", Name: "status", Help: "0 if inactive, 1 if active, 2 if onboarding, 3 if failed.",
		}, []string{"channel"}),
		relation: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "participation", Name: "consensus_relation", Help: "1 if consenter, 2 if follower.",
		}, []string{"channel"}),
	}
	registry.MustRegister(m.status, m.relation)
	return m
}

func (m *Metrics) report(channel, relation, status string) {
	m.status.WithLabelValues(channel).Set(map[string]float64{StatusInactive: 0, StatusActive: 1, StatusOnboarding: 2, StatusFailed: 3}[status])
	m.relation.WithLabelValues(channel).Set(map[string]float64{RelationConsenter: 1, RelationFollower: 2}[relation])
}

func (m *Metrics) forget(channel string) {
	m.status.DeleteLabelValues(channel)
	m.relation.DeleteLabelValues(channel)
}
