package registry

import (
	"fmt"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type metrics struct {
	uploads *prometheus.CounterVec
	refused *prometheus.CounterVec
	bytes   prometheus.Counter
}

func newMetrics(in prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		uploads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "heddle_registry_uploads_total", Help: "Sources by what became of them: stored, known or failed.",
		}, []string{"result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "heddle_registry_refused_total", Help: "Requests that were refused: of upload or v2.",
		}, []string{"of"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "heddle_registry_received_bytes_total", Help: "Bytes received in sources and images.",
		}),
	}
	if in == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.uploads, m.refused, m.bytes} {
		if err := in.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// probes serves what the kubelet and Prometheus ask.
func probes(dir string, from prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(temporary(dir)); err != nil {
			http.Error(w, "the registry's folder cannot be read", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(from, promhttp.HandlerOpts{}))
	return mux
}
