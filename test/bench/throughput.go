package main

import (
	"context"

	"heddle.dev/heddle/test/load"
)

// inFlight is how many transactions the clients of both sides have under way at once.
const inFlight = 64

// throughput measures transactions a second with 64 under way, on a network of Heddle's and on bare processes in turn.
func throughput(ctx context.Context, b *bench) error {
	bare, err := b.upProcesses(ctx)
	if err != nil {
		return err
	}
	defer bare.down()
	net, err := b.upPlatform(ctx, "bench")
	if err != nil {
		return err
	}
	tps := series{metric: "tps", unit: "1/s"}
	p50 := series{metric: "p50_ms", unit: "ms"}
	p99 := series{metric: "p99_ms", unit: "ms"}
	all := []*series{&tps, &p50, &p99}
	for _, s := range all {
		if s.settings, err = b.settings(ctx, net); err != nil {
			return err
		}
		if s.baselineSettings, err = bare.fingerprint(); err != nil {
			return err
		}
	}
	for i := range b.rounds {
		base, err := b.drive(ctx, bare.clients)
		if err != nil {
			return err
		}
		got, err := b.drive(ctx, net.clients)
		if err != nil {
			return err
		}
		tps.values, tps.baseline = append(tps.values, got.TPS()), append(tps.baseline, base.TPS())
		for s, part := range map[*series]float64{&p50: 0.5, &p99: 0.99} {
			s.values = append(s.values, float64(got.Latency(part).Milliseconds()))
			s.baseline = append(s.baseline, float64(base.Latency(part).Milliseconds()))
		}
		progress("round %d: %s; bare processes: %s", i+1, got, base)
	}
	for _, s := range all {
		if err := b.book.write(*s); err != nil {
			return err
		}
	}
	return b.downPlatform(ctx, net)
}

func (b *bench) drive(ctx context.Context, clients []*load.Client) (load.Result, error) {
	r, err := load.Start(ctx, clients, load.Options{InFlight: inFlight, Duration: b.load})
	if err != nil {
		return load.Result{}, err
	}
	return r.Wait(), nil
}
