package peer

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"
	"golang.org/x/sync/errgroup"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/couch"
	"heddle.dev/heddle/fabsim/internal/peer/endorser"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/members"
	"heddle.dev/heddle/fabsim/internal/peer/runtime"
)

// Peer is a simulated peer.
type Peer struct {
	settings *settings
	log      *node.Logger
	identity *node.Identity
	tls      *node.TLS
	ops      *node.Operations
	metrics  *peerMetrics

	blocks    *blocks.Store
	store     *pebble.DB
	couch     *couch.Server
	transient *transient
	channels  *channels
	follow    chan *joined
	hurried   chan struct{}

	packages  *lifecycle.Packages
	lifecycle *lifecycle.Contract
	access    *endorser.Access
	endorser  *endorser.Endorser
	runtime   *runtime.Runtime
	members   *members.Registry
}

// Run is a peer's whole life: it starts with the settings of environ and of
// core.yaml, serves until ctx ends, and logs to stderr.
func Run(ctx context.Context, environ []string, stderr io.Writer) error {
	if err := node.InitLogging(stderr, environ); err != nil {
		return err
	}
	log := node.NewLogger("peer")
	node.LogStart(log, "peer")
	config, err := node.LoadConfig(node.ConfigOptions{Name: "core", Environ: environ, EmptyCounts: true})
	if err != nil {
		return err
	}
	s, err := readSettings(config)
	if err != nil {
		return err
	}
	p := &Peer{
		settings: s, log: log, channels: &channels{byID: map[string]*joined{}},
		follow: make(chan *joined), hurried: make(chan struct{}, 1),
	}
	defer p.close()
	if err := p.load(ctx); err != nil {
		return err
	}
	if err := p.build(environ); err != nil {
		return err
	}
	if err := p.openAll(ctx); err != nil {
		return err
	}
	return p.serve(ctx)
}

// load reads identity and certificates and opens the stores.
func (p *Peer) load(ctx context.Context) error {
	var err error
	if p.identity, err = node.LoadIdentity(p.settings.mspDir, p.settings.mspID); err != nil {
		return err
	}
	if p.tls, err = node.LoadTLS(p.settings.tls); err != nil {
		return err
	}
	operationsTLS, err := node.LoadTLS(p.settings.operationsTLS)
	if err != nil {
		return err
	}
	p.ops, err = node.NewOperations(ctx, node.OperationsOptions{
		Address: p.settings.operations, TLS: operationsTLS, Metrics: p.settings.metrics, Kind: "peer",
	})
	if err != nil {
		return err
	}
	p.metrics = newPeerMetrics(p.ops.Metrics())
	if err := os.MkdirAll(p.settings.dir("ledgersData"), 0o750); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	p.blocks, err = blocks.Open(blocks.Options{Dir: p.settings.dir("ledgersData", "chains"), Transactions: true, Metrics: p.ops.Metrics()})
	if err != nil {
		return err
	}
	if err := p.openStore(); err != nil {
		return err
	}
	if p.settings.stateDatabase == "CouchDB" {
		p.couch, err = couch.Open(ctx, couch.Options{
			Address: p.settings.couchAddress, User: p.settings.couchUser, Password: p.settings.couchPass,
			Timeout: p.settings.couchTimeout, Retries: p.settings.couchRetries, QueryLimit: p.settings.couchBatch, Log: p.log,
		})
		if err != nil {
			return err
		}
		return p.ops.Check("couchdb", p.couch.Health)
	}
	return nil
}

// Sizes that keep an idle peer small.
const (
	storeCache = 8 << 20
	storeTable = 4 << 20
)

func (p *Peer) openStore() error {
	cache := pebble.NewCache(storeCache)
	defer cache.Unref()
	var err error
	p.store, err = pebble.Open(p.settings.dir("ledgersData", "simulated"), &pebble.Options{
		Cache: cache, MemTableSize: storeTable, MemTableStopWritesThreshold: 4, FS: vfs.Default, Logger: quiet{p.log},
	})
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	p.transient = &transient{store: p.store, retention: uint64(max(p.settings.transientRetention, 0))}
	return nil
}

// quiet keeps the store's own chatter out of the log.
type quiet struct{ log *node.Logger }

func (q quiet) Infof(format string, args ...any)  { q.log.Debugf(format, args...) }
func (q quiet) Errorf(format string, args ...any) { q.log.Errorf(format, args...) }
func (q quiet) Fatalf(format string, args ...any) { q.log.Fatalf(format, args...) }

// build makes the parts that serve.
func (p *Peer) build(environ []string) error {
	var err error
	if p.packages, err = lifecycle.OpenPackages(p.settings.dir("lifecycle", "chaincodes")); err != nil {
		return err
	}
	p.access = &endorser.Access{MSP: p.identity.MSP, Config: p.configOf}
	p.lifecycle = lifecycle.New(lifecycle.Options{
		MSPID: p.settings.mspID, Packages: p.packages, Channels: p.lifecycleChannels, Installed: p.installed,
		Build: func(ctx context.Context, id string, pkg *lifecycle.Package) error {
			return p.runtime.Build(ctx, id, pkg.Metadata, pkg.Code)
		},
	})
	p.endorser = endorser.New(endorser.Options{
		Identity: p.identity, Access: p.access, Channel: p.lifecycleChannel, Channels: p.channelNames,
		Join: p.join, Lifecycle: p.lifecycle, Distribute: p.distribute,
		TimeWindow: p.settings.timeWindow, Log: node.NewLogger("endorser"),
	})
	p.runtime, err = runtime.New(runtime.Options{
		Builders: p.settings.builders, BuildDir: p.settings.dir("externalbuilder", "builds"), Environ: environ,
		MSPID: p.settings.mspID, Address: p.settings.chaincodeAddr, TLS: p.settings.tls.Enabled, Load: p.loadPackage,
		StartupTimeout: p.settings.startupTimeout, ExecuteTimeout: p.settings.executeTimeout,
		QueryLimit: int32(p.settings.queryLimit), MaxBatch: uint32(p.settings.maxBatch), //nolint:gosec // settings of that size
		History: p.settings.history, Host: p.endorser, Log: node.NewLogger("chaincode"),
	})
	if err != nil {
		return err
	}
	p.endorser.Use(p.runtime)
	roots, err := p.settings.roots()
	if err != nil {
		return err
	}
	dial := node.DialOptions{}
	if p.tls != nil && p.settings.tls.RequireClientCert {
		dial.Certificate = &p.tls.Certificate
	}
	p.members = members.New(members.Options{
		Identity: p.identity, Endpoint: p.settings.endpoint, Bootstrap: p.settings.bootstrap, Dial: dial, Roots: roots, TLS: p.settings.tls.Enabled,
		Views: p.views, Configs: p.channels.configs, Store: p.keepPushed, Fetch: p.giveWanted, Log: node.NewLogger("gossip"),
	})
	return nil
}

func (p *Peer) configOf(id string) *channel.Config {
	if j := p.channels.get(id); j != nil {
		return j.Config()
	}
	return nil
}

func (p *Peer) lifecycleChannel(id string) lifecycle.Channel {
	if j := p.channels.get(id); j != nil {
		return j
	}
	return nil
}

func (p *Peer) lifecycleChannels() []lifecycle.Channel {
	var out []lifecycle.Channel
	for _, j := range p.channels.all() {
		out = append(out, j)
	}
	return out
}

func (p *Peer) channelNames() []string {
	var out []string
	for _, j := range p.channels.all() {
		out = append(out, j.Config().ID())
	}
	return out
}

func (p *Peer) loadPackage(id string) ([]byte, []byte, error) {
	raw, err := p.packages.Load(id)
	if err != nil {
		return nil, nil, err
	}
	pkg, err := lifecycle.ParsePackage(raw)
	if err != nil {
		return nil, nil, err
	}
	return pkg.Metadata, pkg.Code, nil
}

// installed makes the indexes of contracts that waited for their package.
func (p *Peer) installed(ctx context.Context, id string) {
	for _, j := range p.channels.all() {
		names, err := p.lifecycle.Names(ctx, j.ledger)
		if err != nil {
			p.log.Errorf("Cannot look for contracts of %s: %s", id, err)
			continue
		}
		for _, name := range names {
			if err := j.index(ctx, name); err != nil {
				p.log.Errorf("Cannot make the indexes of %s: %s", name, err)
			}
		}
	}
	p.hurry()
}

// views is what this peer tells of itself.
func (p *Peer) views(ctx context.Context) map[string]members.View {
	out := map[string]members.View{}
	for _, j := range p.channels.all() {
		view := members.View{Height: j.ledger.Height(), Contracts: map[string]string{}}
		names, err := p.lifecycle.Names(ctx, j.ledger)
		if err != nil {
			p.log.Errorf("Cannot list contracts of %s: %s", j.Config().ID(), err)
		}
		for _, name := range names {
			local, err := p.lifecycle.Local(ctx, j.ledger, name)
			if err == nil && local != nil && local.PackageID != "" {
				view.Contracts[name] = local.Definition.Endorsement.GetVersion()
			}
		}
		out[j.Config().ID()] = view
	}
	return out
}

func (p *Peer) selfMember() *members.Member {
	return &members.Member{MSPID: p.settings.mspID, Endpoint: p.settings.endpoint, Identity: p.identity.Serialized, Local: true}
}

// hurry has the others told soon of what has changed.
func (p *Peer) hurry() {
	select {
	case p.hurried <- struct{}{}:
	default:
	}
}

func (p *Peer) tellSoon(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.hurried:
			p.members.Hurry(ctx)
		}
	}
}

// serve runs everything until ctx ends or one part fails.
func (p *Peer) serve(ctx context.Context) error {
	servers, err := p.servers(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	parts := slices.Concat(servers, []func(context.Context) error{
		p.ops.Serve, p.runtime.Run, p.members.Run, p.followAll, p.reconcile, p.tellSoon, node.GiveBack,
	})
	for _, part := range parts {
		group.Go(func() error { return part(ctx) })
	}
	p.log.Infof("Started simulated peer %s of %s at %s", p.settings.endpoint, p.settings.mspID, p.settings.listen)
	return group.Wait()
}

func (p *Peer) close() {
	if p.blocks != nil {
		p.blocks.Close()
	}
	if p.store != nil {
		if err := p.store.Close(); err != nil {
			p.log.Errorf("Cannot close state: %s", err)
		}
	}
}

func certificateHash(certificate tls.Certificate) []byte {
	sum := sha256.Sum256(certificate.Certificate[0])
	return sum[:]
}
