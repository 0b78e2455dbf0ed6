package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/admission"
	"heddle.dev/heddle/fabsim/internal/orderer/cluster"
	"heddle.dev/heddle/fabsim/internal/orderer/consensus"
	"heddle.dev/heddle/fabsim/internal/orderer/pull"
	"heddle.dev/heddle/fabsim/internal/orderer/raftlog"
)

// Errors that clients are told of by status.
var (
	ErrExists   = errors.New("channel already exists")
	ErrNotExist = admission.ErrNoChannel
	ErrRemoving = errors.New("channel pending removal")
	ErrRemoval  = errors.New("channel removal failure")
	ErrFollower = errors.New("channel is not ready, he is a follower")
)

// Options of a registry.
type Options struct {
	// Store has the chains; join blocks are kept beside them in Dir.
	Store *blocks.Store
	Dir   string
	// WALDir and SnapDir have a folder for each channel.
	WALDir, SnapDir string
	// Identity, Certificate (PEM), Client and Roots (PEM) are who the orderer
	// is and whom it trusts.
	Identity    *node.Identity
	Certificate []byte
	Client      tls.Certificate
	Roots       [][]byte
	// Timeout, Tick and Suspicion are handed to the consensus.
	Timeout, Tick, Suspicion time.Duration
	// Gate admits transactions.
	Gate *admission.Gate
	// Service receives from other orderers.
	Service *cluster.Service
	// Changed is told whenever a channel's configuration changes; optional.
	Changed func()
	// Consensus and Metrics take figures, Log the rest.
	Consensus *consensus.Metrics
	Metrics   *Metrics
	Log       *node.Logger
}

// Registry has the channels of an orderer.
type Registry struct {
	o    Options
	ctx  context.Context //nolint:containedctx // the life of the channels' goroutines
	wait sync.WaitGroup

	mu       sync.RWMutex
	channels map[string]*Channel
	removing map[string]Info
}

// Open takes up the channels that are on disk. They run until ctx ends; Wait
// waits for that.
func Open(ctx context.Context, o Options) (*Registry, error) {
	r := &Registry{o: o, ctx: ctx, channels: map[string]*Channel{}, removing: map[string]Info{}}
	joins, err := r.joinBlocks()
	if err != nil {
		return nil, err
	}
	names, err := o.Store.Channels()
	if err != nil {
		return nil, err
	}
	for name := range joins {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if err := r.takeUp(name, joins[name]); err != nil {
			return nil, fmt.Errorf("take up channel %s: %w", name, err)
		}
	}
	for _, c := range r.channels {
		r.start(c) //nolint:contextcheck // it has the one that the registry keeps
	}
	r.changed()
	return r, nil
}

func (r *Registry) takeUp(name string, join *cb.Block) error {
	ledger, err := r.o.Store.Ledger(name)
	if err != nil {
		return err
	}
	if ledger.Height() == 0 && join == nil {
		// A crash between making the files and keeping the join block, or a
		// removal that was interrupted.
		r.o.Log.Warnf("Channel %s has no block and nobody joined it: removing it", name)
		return errors.Join(r.o.Store.Remove(name), raftlog.Remove(r.raftDirs(name)))
	}
	c, err := r.newChannel(ledger, join)
	if err != nil {
		return err
	}
	r.channels[name] = c
	return nil
}

func (r *Registry) raftDirs(name string) (walDir, snapDir string) {
	return filepath.Join(r.o.WALDir, name), filepath.Join(r.o.SnapDir, name)
}

func (r *Registry) start(c *Channel) {
	ctx, cancel := context.WithCancel(r.ctx)
	c.cancel = cancel
	r.wait.Add(1)
	go func() {
		defer r.wait.Done()
		defer close(c.done)
		c.run(ctx)
	}()
}

// Wait waits until all channels have stopped.
func (r *Registry) Wait() { r.wait.Wait() }

func (r *Registry) changed() {
	if r.o.Changed != nil {
		r.o.Changed()
	}
}

// Configs are the configurations in force of all channels.
func (r *Registry) Configs() []*channel.Config {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []*channel.Config
	for _, c := range r.channels {
		if config := c.config.Load(); config != nil {
			out = append(out, config)
		}
	}
	return out
}

// Channel finds a channel that the orderer takes part in, nil if there is
// none: channels that it follows are nothing to clients.
func (r *Registry) Channel(name string) *Channel {
	r.mu.RLock()
	defer r.mu.RUnlock()
	c := r.channels[name]
	if c == nil || c.chain.Load() == nil {
		return nil
	}
	return c
}

// Names are all channels, in order.
func (r *Registry) Names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []string
	for name := range r.channels {
		out = append(out, name)
	}
	for name := range r.removing {
		out = append(out, name)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

// Info describes a channel.
func (r *Registry) Info(name string) (Info, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if c, ok := r.channels[name]; ok {
		return c.Info(), nil
	}
	if info, ok := r.removing[name]; ok {
		return info, nil
	}
	return Info{}, ErrNotExist
}

// gone tells why a channel that is being removed cannot be used.
func (r *Registry) gone(name string) error {
	info, ok := r.removing[name]
	switch {
	case !ok:
		return nil
	case info.Status == StatusFailed:
		return ErrRemoval
	default:
		return ErrRemoving
	}
}

// Join joins a channel by a block of its configuration: by its genesis as a
// consenter, if it names this orderer, else by following it.
func (r *Registry) Join(config *channel.Config, block *cb.Block) (Info, error) {
	info, err := r.joinAs(config.ID(), config, block)
	if err == nil {
		r.changed()
	}
	return info, err
}

func (r *Registry) joinAs(name string, config *channel.Config, block *cb.Block) (Info, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.gone(name); err != nil {
		return Info{}, err
	}
	if _, ok := r.channels[name]; ok {
		return Info{}, ErrExists
	}
	if err := admission.Supported(config); err != nil {
		return Info{}, err
	}
	c, err := r.prepare(name, block)
	if err != nil {
		return Info{}, errors.Join(err, r.forgetJoin(name), r.o.Store.Remove(name))
	}
	r.channels[name] = c
	info := c.Info()
	r.start(c)
	r.o.Log.Infof("Joined channel %s as %s, %s, at height %d", name, info.Relation, info.Status, info.Height)
	return info, nil
}

// prepare writes the join block first: whatever happens after it, the next
// start knows what was meant.
func (r *Registry) prepare(name string, block *cb.Block) (*Channel, error) {
	if err := raftlog.Remove(r.raftDirs(name)); err != nil {
		return nil, err
	}
	if err := r.keepJoin(name, block); err != nil {
		return nil, err
	}
	ledger, err := r.o.Store.Ledger(name)
	if err != nil {
		return nil, err
	}
	return r.newChannel(ledger, block)
}

// Remove leaves a channel and deletes its blocks.
func (r *Registry) Remove(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if info, ok := r.removing[name]; ok && info.Status != StatusFailed {
		return ErrRemoving
	}
	c, ok := r.channels[name]
	if !ok {
		return ErrNotExist
	}
	r.removing[name] = Info{Name: name, Relation: c.Info().Relation, Status: c.Info().Status}
	delete(r.channels, name)
	c.cancel()
	r.wait.Add(1)
	go func() {
		defer r.wait.Done()
		<-c.done
		r.delete(name)
	}()
	return nil
}

func (r *Registry) delete(name string) {
	err := errors.Join(r.forgetJoin(name), r.o.Store.Remove(name), raftlog.Remove(r.raftDirs(name)))
	r.o.Metrics.forget(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.o.Log.Errorf("Remove channel %s: %s", name, err)
		info := r.removing[name]
		info.Status = StatusFailed
		r.removing[name] = info
		return
	}
	delete(r.removing, name)
	r.o.Log.Infof("Removed channel %s", name)
}

// Block finds a block of a channel that the orderer takes part in.
func (r *Registry) Block(name string, find func(*blocks.Ledger) (*cb.Block, error)) (*cb.Block, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if err := r.gone(name); err != nil {
		return nil, err
	}
	c, ok := r.channels[name]
	if !ok {
		return nil, ErrNotExist
	}
	if c.chain.Load() == nil {
		return nil, ErrFollower
	}
	return find(c.ledger)
}

// Update orders a configuration update and describes the channel then.
func (r *Registry) Update(ctx context.Context, header *cb.ChannelHeader, update *cb.Envelope) (Info, error) {
	r.mu.RLock()
	c, known := r.channels[header.GetChannelId()]
	err := r.gone(header.GetChannelId())
	r.mu.RUnlock()
	switch {
	case err != nil:
		return Info{}, err
	case !known:
		return Info{}, ErrNotExist
	case c.chain.Load() == nil:
		return Info{}, ErrFollower
	}
	if err := c.Submit(ctx, header, update); err != nil {
		return Info{}, fmt.Errorf("failed update config of channel %s: %w", c.name, err)
	}
	return c.Info(), nil
}

func (r *Registry) puller() *pull.Puller {
	return &pull.Puller{Identity: r.o.Identity, Certificate: r.o.Client, Roots: r.o.Roots}
}
