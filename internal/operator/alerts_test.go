package operator

import (
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"heddle.dev/heddle/config"
	"heddle.dev/heddle/internal/nginx/traffic"
)

// TestAlerts: each rule has what people need, and asks for metrics that there are.
func TestAlerts(t *testing.T) {
	raw, err := config.Files.ReadFile("monitoring/links.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Kind string
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr, For    string
					Labels, Annotations map[string]string
				}
			}
		}
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	descs := make(chan *prometheus.Desc, 100)
	newCollector(t.Context(), nil, false).Describe(descs)
	traffic.New(traffic.Options{}).Describe(descs)
	close(descs)
	name := regexp.MustCompile(`fqName: "([a-z_]+)"`)
	for d := range descs {
		known[name.FindStringSubmatch(d.String())[1]] = true
	}
	asked := regexp.MustCompile(`heddle_[a-z_]+`)
	count := 0
	for _, g := range file.Spec.Groups {
		for _, r := range g.Rules {
			count++
			if r.Alert == "" || r.For == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("rule %q is not whole", r.Alert)
			}
			metrics := asked.FindAllString(r.Expr, -1)
			if len(metrics) == 0 {
				t.Errorf("rule %q asks for nothing: %s", r.Alert, r.Expr)
			}
			for _, m := range metrics {
				if !known[m] {
					t.Errorf("rule %q asks for %s, which nobody tells", r.Alert, m)
				}
			}
		}
	}
	if file.Kind != "PrometheusRule" || count < 5 {
		t.Errorf("%d rules in a %s", count, file.Kind)
	}
}
