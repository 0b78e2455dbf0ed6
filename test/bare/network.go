package bare

import (
	"context"
	"errors"
	"fmt"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"golang.org/x/sync/errgroup"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/nodeenv"
)

// Options of a network.
type Options struct {
	// Dir takes all files; it has to exist and be empty.
	Dir string
	// Consensus and number of orderers, all of one organisation.
	Consensus channelconfig.Consensus
	Orderers  int
	// Orgs are the names of the peers' organisations.
	Orgs []string
	// PeersPerOrg is 1 if left out.
	PeersPerOrg int
	// Channel is the channel's name; "trade" if left out.
	Channel string
	// Batch and Profile of the channel; defaults if left out.
	Batch   channelconfig.Batch
	Profile channelconfig.Profile
	// Change edits the channel before its genesis; optional.
	Change func(*channelconfig.Channel)
	// BuilderPath is an external builder; a small one of
	// our own if left out. BuilderEnv are the variables it is given.
	BuilderPath string
	BuilderEnv  []string
	// Log settings of the nodes.
	Log nodeenv.Log
	// PeerEnv gives a peer further variables; optional.
	PeerEnv func(peer string) []nodeenv.Var
}

// Network is a running network.
type Network struct {
	// Dir has every file.
	Dir string
	// OrdererOrg and Orgs are its organisations.
	OrdererOrg *Org
	Orgs       []*Org
	// Orderers and Peers are its nodes.
	Orderers []*Orderer
	Peers    []*Peer
	// Contracts are the contracts' processes.
	Contracts []*Process
	// Genesis is the channel's first block, once there is one.
	Genesis *cb.Block

	programs Programs
	options  Options
}

// Start makes organisations and nodes and waits until all are healthy. The
// network has to be closed.
func Start(ctx context.Context, programs Programs, options Options) (*Network, error) {
	n, err := startNodes(ctx, programs, options)
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func startNodes(ctx context.Context, programs Programs, options Options) (*Network, error) {
	if options.PeersPerOrg == 0 {
		options.PeersPerOrg = 1
	}
	if options.Channel == "" {
		options.Channel = "trade"
	}
	n := &Network{Dir: options.Dir, programs: programs, options: options}
	if err := n.writeBuilder(); err != nil {
		return n, err
	}
	var err error
	if n.OrdererOrg, err = NewOrg("ord"); err != nil {
		return n, err
	}
	for i := range options.Orderers {
		o, err := n.newOrderer(n.OrdererOrg, fmt.Sprintf("orderer%d-ord", i+1))
		if err != nil {
			return n, err
		}
		n.Orderers = append(n.Orderers, o)
	}
	for _, name := range options.Orgs {
		if _, err := n.startOrg(name); err != nil {
			return n, err
		}
	}
	return n, n.Healthy(ctx)
}

// startOrg makes a peers' organisation and starts its peers.
func (n *Network) startOrg(name string) (*Org, error) {
	org, err := NewOrg(name)
	if err != nil {
		return nil, err
	}
	n.Orgs = append(n.Orgs, org)
	for i := range n.options.PeersPerOrg {
		p, err := n.newPeer(org, fmt.Sprintf("peer%d-%s", i, name))
		if err != nil {
			return nil, err
		}
		n.Peers = append(n.Peers, p)
	}
	return org, nil
}

// AddOrg starts the peers of one more organisation.
func (n *Network) AddOrg(ctx context.Context, name string) (*Org, error) {
	org, err := n.startOrg(name)
	if err != nil {
		return nil, err
	}
	return org, n.Healthy(ctx)
}

// AddOrderer starts one more orderer. It is part of no channel yet.
func (n *Network) AddOrderer(ctx context.Context) (*Orderer, error) {
	o, err := n.newOrderer(n.OrdererOrg, fmt.Sprintf("orderer%d-ord", len(n.Orderers)+1))
	if err != nil {
		return nil, err
	}
	n.Orderers = append(n.Orderers, o)
	return o, o.Health(ctx)
}

// Healthy waits until every node that runs is content.
func (n *Network) Healthy(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, o := range n.Orderers {
		group.Go(func() error { return o.Health(ctx) })
	}
	for _, p := range n.Peers {
		group.Go(func() error { return p.Health(ctx) })
	}
	return group.Wait()
}

// Close ends every process.
func (n *Network) Close() {
	var group errgroup.Group
	for _, c := range n.Contracts {
		group.Go(func() error { c.Kill(); return nil })
	}
	for _, p := range n.Peers {
		group.Go(func() error { p.close(); return nil })
	}
	for _, o := range n.Orderers {
		group.Go(func() error { o.close(); return nil })
	}
	_ = group.Wait() // none of them fails
}

// Channel is the wished configuration of the network's channel.
func (n *Network) Channel() (channelconfig.Channel, error) {
	c := channelconfig.Channel{ID: n.options.Channel, Consensus: n.options.Consensus, Batch: n.options.Batch}
	ordering := n.OrdererOrg.Organization()
	for _, o := range n.Orderers {
		consenter, err := o.Consenter()
		if err != nil {
			return c, err
		}
		c.Consenters = append(c.Consenters, consenter)
		ordering.Endpoints = append(ordering.Endpoints, o.Address)
	}
	c.OrdererOrgs = []channelconfig.Organization{ordering}
	for _, org := range n.Orgs {
		member, err := n.Member(org)
		if err != nil {
			return c, err
		}
		c.ApplicationOrgs = append(c.ApplicationOrgs, member)
	}
	if n.options.Change != nil {
		n.options.Change(&c)
	}
	return c.WithDefaults(n.options.Profile), nil
}

// Member is an organisation with its first peer as anchor.
func (n *Network) Member(org *Org) (channelconfig.Organization, error) {
	member := org.Organization()
	for _, p := range n.Peers {
		if p.Org == org {
			anchor, err := channelconfig.ParseAddress(p.Address)
			member.Anchors = []channelconfig.Address{anchor}
			return member, err
		}
	}
	return member, nil
}

// CreateChannel makes the channel and joins every node to it.
func (n *Network) CreateChannel(ctx context.Context) error {
	channel, err := n.Channel()
	if err != nil {
		return err
	}
	if n.Genesis, err = channelconfig.Genesis(channel, time.Now()); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, o := range n.Orderers {
		group.Go(func() error { return n.JoinOrderer(ctx, o, n.Genesis) })
	}
	for _, p := range n.Peers {
		group.Go(func() error { return n.JoinPeer(ctx, p) })
	}
	return group.Wait()
}

// JoinOrderer joins an orderer to the channel by a genesis or config block.
func (n *Network) JoinOrderer(ctx context.Context, o *Orderer, config *cb.Block) error {
	participation, err := o.Participation()
	if err != nil {
		return err
	}
	defer participation.Close()
	if _, err := participation.Join(ctx, config); err != nil && !errors.Is(err, admin.ErrChannelExists) {
		return err
	}
	return nil
}

// JoinPeer joins a peer to the channel.
func (n *Network) JoinPeer(ctx context.Context, p *Peer) error {
	client, err := p.Client()
	if err != nil {
		return err
	}
	if err := client.Join(ctx, n.Genesis); err != nil && !errors.Is(err, admin.ErrChannelExists) {
		return err
	}
	return nil
}
