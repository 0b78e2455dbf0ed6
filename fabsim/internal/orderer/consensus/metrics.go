package consensus

import "github.com/prometheus/client_golang/prometheus"

// Metrics of Raft, named as Fabric names them.
type Metrics struct {
	clusterSize, isLeader, activeNodes, committedBlock, snapshotBlock *prometheus.GaugeVec
	leaderChanges, proposalFailures, normalProposals, configProposals *prometheus.CounterVec
	persist, fill                                                     *prometheus.HistogramVec
}

// NewMetrics registers the metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "consensus", Subsystem: "etcdraft", Name: name, Help: help}, []string{"channel"})
		registry.MustRegister(vec)
		return vec
	}
	counter := func(name, help string) *prometheus.CounterVec {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "consensus", Subsystem: "etcdraft", Name: name, Help: help}, []string{"channel"})
		registry.MustRegister(vec)
		return vec
	}
	histogram := func(opts prometheus.HistogramOpts) *prometheus.HistogramVec {
		vec := prometheus.NewHistogramVec(opts, []string{"channel"})
		registry.MustRegister(vec)
		return vec
	}
	return &Metrics{
		clusterSize:      gauge("cluster_size", "Number of nodes in this channel."),
		isLeader:         gauge("is_leader", "1 if the node leads the channel, else 0."),
		activeNodes:      gauge("active_nodes", "Number of active nodes in this channel."),
		committedBlock:   gauge("committed_block_number", "Number of the newest block."),
		snapshotBlock:    gauge("snapshot_block_number", "Number of the block of the newest snapshot."),
		leaderChanges:    counter("leader_changes", "Changes of the leader since the process started."),
		proposalFailures: counter("proposal_failures", "Transactions that could not be proposed."),
		normalProposals:  counter("normal_proposals_received", "Ordinary transactions that came in."),
		configProposals:  counter("config_proposals_received", "Configuration transactions that came in."),
		persist: histogram(prometheus.HistogramOpts{
			Namespace: "consensus", Subsystem: "etcdraft", Name: "data_persist_duration", Help: "Seconds that writing to the Raft log took.",
		}),
		fill: histogram(prometheus.HistogramOpts{
			Namespace: "blockcutter", Name: "block_fill_duration", Help: "Seconds from the first transaction of a block to its cutting.",
		}),
	}
}

// forget removes the series of a channel.
func (m *Metrics) forget(channel string) {
	for _, vec := range []*prometheus.GaugeVec{m.clusterSize, m.isLeader, m.activeNodes, m.committedBlock, m.snapshotBlock} {
		vec.DeleteLabelValues(channel)
	}
}
