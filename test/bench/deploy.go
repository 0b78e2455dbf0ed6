package main

import (
	"context"
	"fmt"
	"time"
)

// slowestBaseline is the time beyond which the machine is too busy for a deploy figure to mean anything.
const slowestBaseline = 8 * time.Second

// deploy measures from the apply of a network, with no namespace, key, volume or pod there, to its first committed
// transaction; the baseline does the same with bare processes, keys included.
func deploy(ctx context.Context, b *bench) error {
	s := series{metric: "seconds_to_first_tx", unit: "s"}
	for i := range b.rounds {
		start := time.Now()
		bare, err := b.upProcesses(ctx)
		if err != nil {
			return err
		}
		s.baseline = append(s.baseline, time.Since(start).Seconds())
		s.baselineSettings, err = bare.fingerprint()
		bare.down()
		if err != nil {
			return err
		}
		start = time.Now()
		net, err := b.upPlatform(ctx, fmt.Sprintf("bench%d", i))
		if err != nil {
			return err
		}
		s.values = append(s.values, time.Since(start).Seconds())
		if s.settings, err = b.settings(ctx, net); err != nil {
			return err
		}
		if err := b.downPlatform(ctx, net); err != nil {
			return err
		}
		progress("round %d: %.1f s, bare processes %.1f s", i+1, s.values[i], s.baseline[i])
	}
	if base := median(s.baseline); base > slowestBaseline.Seconds() {
		return fmt.Errorf("judge deploy: the baseline took %.1f s, over %s: the machine is too busy, run it again", base, slowestBaseline)
	}
	return b.book.write(s)
}
