package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"heddle.dev/heddle/test/bare"
)

// idleFor is how long nodes with a channel and a contract are left alone before their memory is read.
const idleFor = 3 * time.Second

// standIn measures stand-in nodes, and in turn with them real ones where there are any: from a node's start until it
// serves, its memory at rest, and transactions under load. The network is the one of the other benches.
func standIn(ctx context.Context, b *bench) error {
	simulated, err := bare.FindSimulated()
	if err != nil {
		return err
	}
	_, noReal := bare.Find()
	if noReal != nil {
		progress("no real nodes to compare with: %v", noReal)
	}
	all := []*series{{metric: "start_ms", unit: "ms"}, {metric: "idle_mib", unit: "MiB"}, {metric: "tps", unit: "1/s"}, {metric: "p50_ms", unit: "ms"}}
	for i := range b.rounds {
		var base figures
		if noReal == nil {
			if base, err = b.measure(ctx, b.programs); err != nil {
				return fmt.Errorf("measure real nodes: %w", err)
			}
		}
		got, err := b.measure(ctx, simulated)
		if err != nil {
			return fmt.Errorf("measure stand-in nodes: %w", err)
		}
		for k, s := range all {
			s.nodes, s.settings = "simulated", got.settings
			s.values = append(s.values, got.values[k])
			if noReal == nil {
				s.baseline, s.baselineSettings = append(s.baseline, base.values[k]), base.settings
			}
		}
		progress("round %d: %s; real nodes: %s", i+1, got, base)
	}
	for _, s := range all {
		if err := b.book.write(*s); err != nil {
			return err
		}
	}
	return nil
}

// figures of one round: milliseconds from start to serving, MiB at rest, transactions a second, median in milliseconds.
type figures struct {
	values   [4]float64
	settings string
}

func (f figures) String() string {
	if f.settings == "" {
		return "none"
	}
	return fmt.Sprintf("start %.0f ms, %.0f MiB, %.0f TPS, p50 %.0f ms", f.values[0], f.values[1], f.values[2], f.values[3])
}

func (b *bench) measure(ctx context.Context, programs bare.Programs) (figures, error) {
	var out figures
	p, err := b.upNodes(ctx, programs, func(ctx context.Context, n *bare.Network) (err error) {
		out.values[0], err = startTime(ctx, n)
		return err
	})
	if err != nil {
		return out, err
	}
	defer p.down()
	if out.settings, err = p.fingerprint(); err != nil {
		return out, err
	}
	if err := pause(ctx, idleFor); err != nil {
		return out, err
	}
	for _, node := range p.nodes() {
		mib, err := residentMiB(node.PID())
		if err != nil {
			return out, err
		}
		out.values[1] = max(out.values[1], mib)
	}
	result, err := b.drive(ctx, p.clients)
	if err != nil {
		return out, err
	}
	out.values[2], out.values[3] = result.TPS(), float64(result.Latency(0.5).Milliseconds())
	return out, nil
}

// startTime is how long the slower of a peer and an orderer takes from its start until it is healthy and takes
// connections, with nothing else going on.
func startTime(ctx context.Context, n *bare.Network) (float64, error) {
	var slowest time.Duration
	for _, node := range []struct {
		kill   func()
		start  func() error
		health func(context.Context) error
	}{
		{n.Orderers[0].Kill, n.Orderers[0].Start, n.Orderers[0].Health},
		{n.Peers[0].Kill, n.Peers[0].Start, n.Peers[0].Health},
	} {
		node.kill()
		began := time.Now()
		if err := node.start(); err != nil {
			return 0, err
		}
		if err := node.health(ctx); err != nil {
			return 0, err
		}
		slowest = max(slowest, time.Since(began))
	}
	return float64(slowest.Microseconds()) / 1000, nil
}

func (p *processes) nodes() []*bare.Node {
	var out []*bare.Node
	for _, o := range p.Orderers {
		out = append(out, &o.Node)
	}
	for _, n := range p.Peers {
		out = append(out, &n.Node)
	}
	return out
}

// residentMiB is a process's memory as the kernel counts it.
func residentMiB(pid int) (float64, error) {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), "VmRSS:"); found {
			kib, err := strconv.ParseFloat(strings.Fields(text)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.Join(lines.Err(), fmt.Errorf("read memory of process %d: there is no VmRSS", pid))
}
