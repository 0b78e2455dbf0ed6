package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/nodeenv"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
	"heddle.dev/heddle/test/load"
)

// The network of every bench: three Raft orderers, two organisations with a peer each, one channel, one contract, the
// channel's default endorsement policy (a majority of the organisations, that is both).
const (
	channelName  = "demo"
	contractName = "asset"
	orderers     = 3
	batchTimeout = 100 * time.Millisecond
	batchSize    = 100
)

func buildContract(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "asset-go")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
	cmd.Dir = "samples/contracts/asset-go"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the sample contract (run from the module's folder): %w\n%s", err, out)
	}
	return program, nil
}

// processes is the baseline: the network as bare processes.
type processes struct {
	*bare.Network
	clients []*load.Client
}

// up starts the baseline and returns it when its first transaction is committed.
func (b *bench) upProcesses(ctx context.Context) (*processes, error) {
	return b.upNodes(ctx, b.programs, nil)
}

// upNodes starts the network from any programs. It calls idle, if that is given, once all nodes are healthy and have no
// channel yet.
func (b *bench) upNodes(ctx context.Context, programs bare.Programs, idle func(context.Context, *bare.Network) error) (*processes, error) {
	dir, err := os.MkdirTemp("", "heddle-bare-")
	if err != nil {
		return nil, err
	}
	n, err := bare.Start(ctx, programs, bare.Options{
		Dir: dir, Consensus: channelconfig.Raft, Orderers: orderers, Orgs: []string{"banka", "bankb"}, Channel: channelName,
		Batch: channelconfig.Batch{Timeout: batchTimeout, MaxMessages: batchSize, AbsoluteMaxBytes: 101376 << 10, PreferredMaxBytes: 2048 << 10},
	})
	p := &processes{Network: n}
	if err == nil && idle != nil {
		err = idle(ctx, n)
	}
	if err == nil {
		err = p.serve(ctx, b.contract)
	}
	if err != nil {
		p.down()
		return nil, fmt.Errorf("start bare processes: %w", err)
	}
	return p, nil
}

func (p *processes) serve(ctx context.Context, contract string) error {
	if err := p.CreateChannel(ctx); err != nil {
		return err
	}
	if _, err := p.Deploy(ctx, contractName, contract, admin.Definition{Version: "1.0"}); err != nil {
		return err
	}
	for _, peer := range p.Peers {
		leaf, err := peer.Org.Issue("client", pki.RoleClient)
		if err != nil {
			return err
		}
		key, err := pki.EncodeKey(leaf.Key)
		if err != nil {
			return err
		}
		c, err := load.Connect(load.Target{
			Name: peer.Name, Address: peer.Address, ServerName: "localhost", Roots: peer.Org.TLSRoots(),
			Channel: channelName, Chaincode: contractName,
		}, load.User{MSPID: peer.Org.MSPID, Cert: leaf.Sign, Key: key})
		if err != nil {
			return err
		}
		p.clients = append(p.clients, c)
	}
	return firstTx(ctx, p.clients[0])
}

// fingerprint of the settings that the processes run with.
func (p *processes) fingerprint() (string, error) {
	var env [][]nodeenv.Var
	for _, o := range p.Orderers {
		env = append(env, o.Env)
	}
	for _, n := range p.Peers {
		env = append(env, n.Env)
	}
	c, err := channelconfig.Read(p.Genesis)
	if err != nil {
		return "", err
	}
	return fingerprint(env, c.Channel)
}

func (p *processes) down() {
	for _, c := range p.clients {
		_ = c.Close()
	}
	if p.Network == nil {
		return
	}
	p.Close()
	_ = os.RemoveAll(p.Dir)
}

// firstTx submits until one transaction is committed.
func firstTx(ctx context.Context, c *load.Client) error {
	return retry(ctx, func(ctx context.Context) error {
		_, err := c.Submit(ctx, "Create", fmt.Sprintf("first-%d", time.Now().UnixNano()), "bench", "1")
		return err
	})
}

// retry tries again every 50 ms until f succeeds.
func retry(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}
