package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
)

// atRest is how long the operator is watched when nothing happens.
const atRest = time.Minute

// calm is how long the operator is left alone before that.
const calm = 30 * time.Second

// footprint measures the operator's memory with one and with many networks, and its use of a processor with many, at
// rest. Every node of every network is real; only their number is small: one orderer and two peers a network.
func footprint(ctx context.Context, b *bench) error {
	one := series{metric: "operator_mib_1", unit: "MiB"}
	many := series{metric: fmt.Sprintf("operator_mib_%d", b.networks), unit: "MiB"}
	cores := series{metric: fmt.Sprintf("operator_cpu_cores_%d", b.networks), unit: "cores"}
	for i := range b.networks {
		if err := b.smallNetwork(ctx, fmt.Sprintf("bench%d", i)); err != nil {
			return err
		}
		progress("network %d of %d is Ready", i+1, b.networks)
		if i > 0 {
			continue
		}
		if err := b.rest(ctx, &one, nil, calm); err != nil {
			return err
		}
	}
	if err := b.rest(ctx, &many, &cores, atRest); err != nil {
		return err
	}
	for _, s := range []series{one, many, cores} {
		if err := b.book.write(s); err != nil {
			return err
		}
	}
	return nil
}

const smallManifest = `
apiVersion: heddle.dev/v1alpha1
kind: Network
metadata: {name: %[1]s}
spec:
  deletionPolicy: Delete
  organizations:
  - {name: ord, mspID: ordMSP, orderers: {count: 1, template: %[2]s}, ca: {mode: None}}
  - {name: banka, mspID: bankaMSP, peers: {count: 1, template: %[2]s}, ca: {mode: None}}
  - {name: bankb, mspID: bankbMSP, peers: {count: 1, template: %[2]s}, ca: {mode: None}}
  channels:
  - name: demo
`

// smallNode asks for less of a processor than a node does by itself, so that all networks fit onto a small machine.
const smallNode = `{resources: {requests: {cpu: 5m, memory: 96Mi}, limits: {memory: 2Gi}}}`

func (b *bench) smallNetwork(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := b.Apply(ctx, fmt.Sprintf(smallManifest, name, smallNode)); err != nil {
		return err
	}
	return b.WaitReady(ctx, &v1alpha1.Network{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// rest lets the operator calm down, then notes its memory and, over a stretch of time, its use of processors.
func (b *bench) rest(ctx context.Context, mib, cores *series, stretch time.Duration) error {
	if err := pause(ctx, calm); err != nil {
		return err
	}
	before, err := b.operatorMetrics(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, stretch); err != nil {
		return err
	}
	after, err := b.operatorMetrics(ctx)
	if err != nil {
		return err
	}
	mib.values = append(mib.values, after["process_resident_memory_bytes"]/(1<<20))
	if cores != nil {
		cores.values = append(cores.values, (after["process_cpu_seconds_total"]-before["process_cpu_seconds_total"])/stretch.Seconds())
	}
	return nil
}

// operatorMetrics reads the operator's own metrics through the API server.
func (b *bench) operatorMetrics(ctx context.Context) (map[string]float64, error) {
	pod, err := b.Operator(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := b.Set.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, "8080", "/metrics", nil).DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read metrics of the operator: %w", err)
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(raw)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.HasPrefix(name, "process_") {
			continue
		}
		if out[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("read metrics of the operator: %w", err)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("read metrics of the operator: it has none of its process")
	}
	return out, nil
}
