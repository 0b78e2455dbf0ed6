package bare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/ccpackage"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/gateway"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
)

// retryEvery is how soon the life cycle is tried again while peers lag.
const retryEvery = 50 * time.Millisecond

// Deploy runs a contract's program as a service and takes it through the life
// cycle on the network's channel. It returns the package id.
func (n *Network) Deploy(ctx context.Context, name, program string, definition admin.Definition) (string, error) {
	id, err := n.Serve(ctx, name, program)
	if err != nil {
		return "", err
	}
	definition.Name, definition.PackageID = name, id
	return id, n.Define(ctx, definition)
}

// Serve runs a contract's program as a service and installs its package on
// every peer. It returns the package id.
func (n *Network) Serve(ctx context.Context, name, program string) (string, error) {
	return n.ServeWith(ctx, name, Service{Program: program})
}

// Service is a contract's program that listens. It finds address and package id
// in its environment.
type Service struct {
	Program string
	// Args of the program, if it has to be told by them; optional.
	Args func(address, id string) []string
	// Meta are the files of the package below META-INF; optional.
	Meta []ccpackage.File
}

// ServeWith is Serve for a program with arguments or a package with files.
func (n *Network) ServeWith(ctx context.Context, name string, service Service) (string, error) {
	ports, err := freePorts(1)
	if err != nil {
		return "", err
	}
	address := host + ":" + ports[0]
	pkg, err := ccpackage.CCAAS(name+"_1", ccpackage.Connection{Address: address, DialTimeout: "10s"}, service.Meta...)
	if err != nil {
		return "", err
	}
	id, err := ccpackage.ID(pkg)
	if err != nil {
		return "", err
	}
	process := &Process{
		Name: name, LogFile: filepath.Join(n.Dir, name+".log"), program: service.Program,
		env: []string{"CHAINCODE_SERVER_ADDRESS=" + address, "CHAINCODE_ID=" + id},
	}
	if service.Args != nil {
		process.args = service.Args(address, id)
	}
	n.Contracts = append(n.Contracts, process)
	if err := process.start(); err != nil {
		return "", err
	}
	if err := n.install(ctx, pkg); err != nil {
		return "", err
	}
	return id, process.listening(ctx, address)
}

// Define has every organisation approve a definition, and commits it. Version
// and sequence are 1 and the channel the network's if left out.
func (n *Network) Define(ctx context.Context, definition admin.Definition) error {
	definition.Channel = cmp.Or(definition.Channel, n.options.Channel)
	definition.Version = cmp.Or(definition.Version, "1")
	definition.Sequence = cmp.Or(definition.Sequence, 1)
	if err := n.approve(ctx, definition); err != nil {
		return err
	}
	committer, err := n.Peers[0].Client()
	if err != nil {
		return err
	}
	return committer.CommitRetry(ctx, definition, retryEvery)
}

func (n *Network) install(ctx context.Context, pkg []byte) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range n.Peers {
		group.Go(func() error {
			client, err := p.Client()
			if err != nil {
				return err
			}
			_, err = client.Install(ctx, pkg)
			return err
		})
	}
	return group.Wait()
}

// approve has every organisation approve, through its first peer.
func (n *Network) approve(ctx context.Context, definition admin.Definition) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, org := range n.Orgs {
		i := slices.IndexFunc(n.Peers, func(p *Peer) bool { return p.Org == org })
		group.Go(func() error {
			client, err := n.Peers[i].Client()
			if err != nil {
				return err
			}
			return Eventually(ctx, func() error { return retryable(client.Approve(ctx, definition)) })
		})
	}
	return group.Wait()
}

// retryable makes what cannot get better permanent.
func retryable(err error) error {
	var failure *gateway.Error
	if err == nil || errors.As(err, &failure) && failure.Retry() {
		return err
	}
	return &permanent{err}
}

// Client is a gateway of a peer for a new client identity of its organisation.
func (n *Network) Client(p *Peer) (*gateway.Gateway, error) {
	leaf, err := p.Org.Issue("client", pki.RoleClient)
	if err != nil {
		return nil, err
	}
	id, err := identity.New(p.Org.MSPID, leaf.Sign, leaf.Key)
	if err != nil {
		return nil, err
	}
	conn, err := p.Conn()
	if err != nil {
		return nil, err
	}
	return gateway.New(conn, id)
}

// Config is the channel's configuration as an orderer has it.
func (n *Network) Config(ctx context.Context, o *Orderer) (*channelconfig.Config, error) {
	client, err := o.Client(n.OrdererOrg)
	if err != nil {
		return nil, err
	}
	block, err := client.ConfigBlock(ctx, n.options.Channel)
	if err != nil {
		return nil, err
	}
	return channelconfig.Read(block)
}

// Update brings the channel to what change makes of it, signed by every
// administrator, and waits until the orderers have agreed.
func (n *Network) Update(ctx context.Context, change func(channelconfig.Channel) (channelconfig.Channel, error)) (*channelconfig.Config, error) {
	var update *channelconfig.Update
	err := n.any(ctx, func(o *Orderer) error {
		config, err := n.Config(ctx, o)
		if err != nil {
			return err
		}
		wish, err := change(config.Channel)
		if err != nil {
			return &permanent{err}
		}
		if update, err = config.Update(wish); err != nil {
			return &permanent{err}
		}
		return n.submit(ctx, o, update)
	})
	if err != nil {
		return nil, err
	}
	var config *channelconfig.Config
	return config, n.any(ctx, func(o *Orderer) error {
		if config, err = n.Config(ctx, o); err != nil {
			return err
		}
		if config.Sequence <= update.Sequence {
			return fmt.Errorf("%s is at sequence %d still", o.Name, config.Sequence)
		}
		return nil
	})
}

func (n *Network) submit(ctx context.Context, o *Orderer, update *channelconfig.Update) error {
	for _, org := range append([]*Org{n.OrdererOrg}, n.Orgs...) {
		if err := update.Sign(org.Admin); err != nil {
			return err
		}
	}
	envelope, err := update.Envelope(n.OrdererOrg.Admin, time.Now())
	if err != nil {
		return err
	}
	client, err := o.Client(n.OrdererOrg)
	if err != nil {
		return err
	}
	err = client.Broadcast(ctx, envelope)
	var refused *admin.StatusError
	if errors.As(err, &refused) && !refused.Retry() {
		return &permanent{err}
	}
	return err
}

// any tries one running orderer after the other until one succeeds.
func (n *Network) any(ctx context.Context, try func(*Orderer) error) error {
	next := 0
	return Eventually(ctx, func() error {
		o := n.Orderers[next%len(n.Orderers)]
		next++
		if !o.Running() {
			return fmt.Errorf("%s does not run", o.Name)
		}
		return try(o)
	})
}
