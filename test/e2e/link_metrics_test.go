package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/nginx"
	"heddle.dev/heddle/test/harness"
)

// figures are the metrics of links by their name with labels, as Prometheus reads them.
type figures map[string]float64

// sum adds up the metrics whose name and labels have all the parts.
func (f figures) sum(parts ...string) float64 {
	var out float64
	for name, v := range f {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(name, part)
		}
		if all {
			out += v
		}
	}
	return out
}

// metrics reads the figures of a pod from the machine that it runs on.
func (s *linkedSite) metrics(ctx context.Context, namespace string, labels client.MatchingLabels) (figures, error) {
	var pods corev1.PodList
	if err := s.List(ctx, &pods, client.InNamespace(namespace), labels); err != nil {
		return nil, err
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("there are %d pods of %v", len(pods.Items), labels)
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: s.Site.DialContext}
	address := net.JoinHostPort(pods.Items[0].Status.PodIP, strconv.Itoa(nginx.PortMetrics))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	out := figures{}
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if out[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// count: what goes through a link, and what it refuses, is seen in its metrics and in the gateway's.
func (p *secured) count(ctx context.Context, t *testing.T) {
	ofLink := client.MatchingLabels{v1alpha1.LabelLink: "bank-c", v1alpha1.LabelComponent: v1alpha1.ComponentLink}
	ofGateway := client.MatchingLabels{v1alpha1.LabelComponent: v1alpha1.ComponentGateway}
	through := []string{"connections_total", `direction="in"`, `link="bank-c"`, `network="trade"`, `node="peer0-banka.trade"`, `status="200"`}
	refused := []string{"connections_total", `direction="in"`, `node=""`, `status="500"`}
	link, gateway, err := p.bothFigures(ctx, ofLink, ofGateway)
	if err != nil {
		t.Fatal(err)
	}
	live := p.cIntoA.open(t, peerA, p.rootsA)
	live.lives(ctx, t, "c")
	const calls = 3
	for range calls {
		if err := p.cIntoA.once(ctx, t, peerA, p.rootsA); err != nil {
			t.Fatal(err)
		}
		if err := p.cIntoA.once(ctx, t, "peer7-banka.trade", p.rootsA); err == nil {
			t.Fatal("a node that is not there answers")
		}
	}
	counting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = harness.Poll(counting, func(ctx context.Context) error {
		now, public, err := p.bothFigures(ctx, ofLink, ofGateway)
		if err != nil {
			return err
		}
		for what, grown := range map[string]float64{
			"connections": now.sum(through...) - link.sum(through...),
			"refusals":    now.sum(refused...) - link.sum(refused...),
			"the gateway's connections": public.sum("connections_total", `direction="public"`, `node="trade.sitec.sitea"`) -
				gateway.sum("connections_total", `direction="public"`, `node="trade.sitec.sitea"`),
		} {
			if grown < calls {
				return fmt.Errorf("of %d %s %.0f are counted", calls, what, grown)
			}
		}
		for _, name := range []string{"received_bytes_total", "sent_bytes_total", "session_seconds_total"} {
			if now.sum(name, `node="peer0-banka.trade"`) <= link.sum(name, `node="peer0-banka.trade"`) {
				return fmt.Errorf("%s stands still", name)
			}
		}
		if now.sum("open_connections", `direction="in"`) < 1 {
			return fmt.Errorf("no connection is open, and one is")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	live.lives(ctx, t, "c")
}

func (p *secured) bothFigures(ctx context.Context, ofLink, ofGateway client.MatchingLabels) (link, gateway figures, err error) {
	if link, err = p.a.metrics(ctx, "trade", ofLink); err != nil {
		return nil, nil, err
	}
	gateway, err = p.a.metrics(ctx, harness.SystemNamespace, ofGateway)
	return link, gateway, err
}

// takenBack: a tunnel to a node that is not exported any more ends by itself, while those of another partner go on.
func (p *secured) takenBack(ctx context.Context, t *testing.T) {
	roots, err := p.a.TLSRoots(ctx, "trade", "ord")
	if err != nil {
		t.Fatal(err)
	}
	b, orderer := p.intoA.open(t, peerA, p.rootsA), p.cIntoA.open(t, "orderer0-ord.trade", roots)
	b.lives(ctx, t, "b")
	if err := orderer.ping(ctx); err != nil {
		t.Fatal(err)
	}
	p.export(ctx, t, "peer0-banka")
	said := time.Now()
	if err := orderer.dies(ctx, time.Minute); err != nil {
		t.Errorf("the tunnel to a node that was taken back: %v", err)
	}
	progress("the tunnel to a node that was taken back ends after %.1f s", time.Since(said).Seconds())
	if err := harness.Poll(ctx, func(ctx context.Context) error { return p.cIntoA.once(ctx, t, peerA, p.rootsA) }); err != nil {
		t.Error(err)
	}
	if err := p.cIntoA.once(ctx, t, "orderer0-ord.trade", roots); err == nil {
		t.Error("a node that was taken back answers")
	}
	b.lives(ctx, t, "b")
}
