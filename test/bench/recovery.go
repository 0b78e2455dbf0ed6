package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/load"
)

// pace of the load while nodes are lost, in transactions a second.
const pace = 10

// settle is how long the load runs before a loss and between losses.
const settle = 3 * time.Second

// recovery measures the time from a loss to the next committed transaction that was sent after it, under load: a peer
// whose endorsement every transaction needs, and the Raft leader; and from the loss of the operator to its next deed.
// Bare processes are started again at once, by the bench itself.
func recovery(ctx context.Context, b *bench) error {
	procs, err := b.upProcesses(ctx)
	if err != nil {
		return err
	}
	defer procs.down()
	net, err := b.upPlatform(ctx, "bench")
	if err != nil {
		return err
	}
	peer := series{metric: "peer_seconds", unit: "s"}
	leader := series{metric: "leader_seconds", unit: "s"}
	operator := series{metric: "operator_seconds", unit: "s"}
	for _, s := range []*series{&peer, &leader} {
		if s.settings, err = b.settings(ctx, net); err != nil {
			return err
		}
		if s.baselineSettings, err = procs.fingerprint(); err != nil {
			return err
		}
	}
	for i := range b.rounds {
		err := errors.Join(
			lose(ctx, &peer.baseline, procs.clients[1], procs.losePeer),
			lose(ctx, &peer.values, net.clients[1], b.deletePod(net.name, "peer0-banka")),
			lose(ctx, &leader.baseline, procs.clients[1], procs.loseLeader),
			lose(ctx, &leader.values, net.clients[1], b.killLeader(net.name)),
			b.loseOperator(ctx, &operator, net.name),
			procs.heal(ctx),
		)
		if err != nil {
			return err
		}
		progress("round %d: peer %.1f s (bare %.1f), leader %.1f s (bare %.1f), operator %.1f s",
			i+1, peer.values[i], peer.baseline[i], leader.values[i], leader.baseline[i], operator.values[i])
	}
	for _, s := range []series{peer, leader, operator} {
		if err := b.book.write(s); err != nil {
			return err
		}
	}
	return b.downPlatform(ctx, net)
}

// loss takes a node away and says when it did so; it returns when the node serves no more.
type loss func(context.Context) (time.Time, error)

// lose runs load through one client, causes a loss and notes the seconds from it until a transaction is committed that
// was sent when the node served no more.
func lose(ctx context.Context, into *[]float64, through *load.Client, cause loss) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	run, err := load.Start(ctx, []*load.Client{through}, load.Options{InFlight: 4 * pace, Rate: pace})
	if err != nil {
		return err
	}
	defer run.Stop()
	if err := pause(ctx, settle); err != nil {
		return err
	}
	at, err := cause(ctx)
	if err != nil {
		return err
	}
	ack, err := run.AckAfter(ctx, time.Now())
	if err != nil {
		return err
	}
	*into = append(*into, ack.At.Sub(at).Seconds())
	return pause(ctx, settle)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deletePod deletes a node's pod. A pod serves on while it ends, hence the wait for its process.
func (b *bench) deletePod(network, node string) loss {
	return func(ctx context.Context) (time.Time, error) {
		pod, err := b.PodOf(ctx, network, node)
		if err != nil {
			return time.Time{}, err
		}
		at := time.Now()
		if err := b.Delete(ctx, pod); err != nil {
			return at, err
		}
		return at, b.WaitEnded(ctx, pod, pod.Spec.Containers[0].Name)
	}
}

func (b *bench) killLeader(network string) loss {
	return func(ctx context.Context) (time.Time, error) {
		leader, err := b.Leader(ctx, network, channelName)
		if err != nil {
			return time.Time{}, err
		}
		at := time.Now()
		return at, b.KillNode(ctx, network, leader)
	}
}

// loseOperator kills the operator, deletes a Service at the same time and notes the seconds until it is made again.
func (b *bench) loseOperator(ctx context.Context, s *series, network string) error {
	if err := b.KillOperator(ctx); err != nil {
		return err
	}
	at := time.Now()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: network, Name: "peer0-banka"}}
	if err := b.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
		return err
	}
	was := svc.UID
	if err := b.Delete(ctx, svc); err != nil {
		return err
	}
	err := retry(ctx, func(ctx context.Context) error {
		if err := b.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
			return err
		}
		if svc.UID == was {
			return errors.New("the service is the old one")
		}
		return nil
	})
	s.values = append(s.values, time.Since(at).Seconds())
	return err
}

// losePeer kills the first peer and starts it again at once.
func (p *processes) losePeer(context.Context) (time.Time, error) {
	at := time.Now()
	p.Peers[0].Kill()
	return at, p.Peers[0].Start()
}

// loseLeader kills the leader of the ordering service; heal starts it again.
func (p *processes) loseLeader(ctx context.Context) (time.Time, error) {
	for _, o := range p.Orderers {
		leads, err := leads(ctx, o)
		if err == nil && leads {
			at := time.Now()
			o.Kill()
			return at, nil
		}
	}
	return time.Time{}, errors.New("find the leader of the bare processes: none says that it leads")
}

// heal starts every orderer that was killed.
func (p *processes) heal(ctx context.Context) error {
	for _, o := range p.Orderers {
		if !o.Running() {
			if err := o.Restart(ctx); err != nil {
				return err
			}
		}
	}
	return pause(ctx, settle)
}

func leads(ctx context.Context, o *bare.Orderer) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/metrics", o.Operations), nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "consensus_etcdraft_is_leader{") && strings.HasSuffix(lines.Text(), " 1") {
			return true, nil
		}
	}
	return false, lines.Err()
}
