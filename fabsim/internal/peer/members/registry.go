package members

import (
	"context"
	"crypto/sha256"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
)

// View is a channel as a peer has it.
type View struct {
	Height uint64 `json:"height"`
	// Contracts are versions by name, of those that the peer can run.
	Contracts map[string]string `json:"contracts"`
}

// Member is a peer.
type Member struct {
	MSPID    string
	Endpoint string
	// Identity is the serialized one; nil of a peer that has not told.
	Identity []byte
	Channels map[string]View
	// Local is the peer itself.
	Local bool

	seen time.Time
}

// Has tells whether the peer can run a contract, as far as is known; every
// peer has the system's.
func (m *Member) Has(id, contract string) bool {
	if m.Identity == nil || ledger.IsSystem(contract) {
		return true
	}
	_, ok := m.Channels[id].Contracts[contract]
	return ok
}

// Options of a registry.
type Options struct {
	// Identity signs what is told, Endpoint is where others reach this peer.
	Identity *node.Identity
	Endpoint string
	// Bootstrap are addresses to begin with.
	Bootstrap []string
	// Dial is how other peers are dialled; Roots are added to.
	Dial  node.DialOptions
	Roots [][]byte
	// TLS tells whether peers speak TLS.
	TLS bool
	// Views is this peer's own channels, Configs those channels' configurations.
	Views   func(ctx context.Context) map[string]View
	Configs func() []*channel.Config
	// Store keeps private data that another peer brings, Fetch gives away what
	// another peer may have.
	Store func(ctx context.Context, p *Private) error
	Fetch func(ctx context.Context, w *Wanted, mspID string) (*Private, error)
	Log   *node.Logger
}

const (
	interval = time.Second
	// forgotten is after how long without a word a peer counts as gone.
	forgotten = 10 * time.Second
)

// Registry has the peers that are known.
type Registry struct {
	o Options

	mu    sync.Mutex
	known map[string]*Member
	conns map[string]*connection
}

type connection struct {
	*grpc.ClientConn

	roots [sha256.Size]byte
}

// New makes a registry; Run keeps it up.
func New(o Options) *Registry {
	return &Registry{o: o, known: map[string]*Member{}, conns: map[string]*connection{}}
}

// Run tells other peers and listens to them until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	defer r.close()
	for {
		r.round(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Hurry tells the others at once, as when a contract has come up.
func (r *Registry) Hurry(ctx context.Context) { r.round(ctx) }

func (r *Registry) round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*interval)
	defer cancel()
	var group sync.WaitGroup
	for _, address := range r.addresses() {
		group.Go(func() { r.tell(ctx, address) })
	}
	group.Wait()
}

// addresses are those of the bootstrap, of anchors and of who is known.
func (r *Registry) addresses() []string {
	out := slices.Clone(r.o.Bootstrap)
	for _, config := range r.o.Configs() {
		for _, anchor := range anchors(config) {
			out = append(out, anchor.Endpoint)
		}
	}
	r.mu.Lock()
	for address := range r.known {
		out = append(out, address)
	}
	r.mu.Unlock()
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(address string) bool { return address == r.o.Endpoint || address == "" })
}

func anchors(config *channel.Config) []*Member {
	applications, ok := config.ApplicationConfig()
	if !ok {
		return nil
	}
	var out []*Member
	for _, org := range applications.Organizations() {
		for _, anchor := range org.AnchorPeers() {
			address := net.JoinHostPort(anchor.GetHost(), strconv.Itoa(int(anchor.GetPort())))
			out = append(out, &Member{MSPID: org.MSPID(), Endpoint: address, Channels: map[string]View{config.ID(): {}}})
		}
	}
	return out
}

// Self is the peer itself.
func (r *Registry) Self(ctx context.Context) *Member {
	return &Member{
		MSPID: r.o.Identity.MSPID, Endpoint: r.o.Endpoint, Identity: r.o.Identity.Serialized, Channels: r.o.Views(ctx), Local: true,
	}
}

// Of lists the peers of a channel, the peer itself first. Anchor peers that
// have told nothing are among them, for they may be real ones.
func (r *Registry) Of(ctx context.Context, id string) []*Member {
	self := r.Self(ctx)
	var out []*Member
	if _, ok := self.Channels[id]; ok {
		out = append(out, self)
	}
	told := map[string]bool{self.Endpoint: true}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, m := range r.known {
		if m.Identity == nil || now.Sub(m.seen) > forgotten {
			continue
		}
		told[m.Endpoint] = true
		if _, ok := m.Channels[id]; ok {
			out = append(out, m)
		}
	}
	for _, config := range r.o.Configs() {
		if config.ID() != id {
			continue
		}
		for _, anchor := range anchors(config) {
			if m := r.known[anchor.Endpoint]; !told[anchor.Endpoint] && m != nil && m.Identity == nil && now.Sub(m.seen) <= forgotten {
				out = append(out, anchor)
			}
		}
	}
	slices.SortStableFunc(out[min(1, len(out)):], func(a, b *Member) int { return int(b.Channels[id].Height) - int(a.Channels[id].Height) }) //nolint:gosec // heights are small
	return out
}

// Local lists the peers of the own organisation, and on channels all others.
func (r *Registry) Local(ctx context.Context) []*Member {
	out := []*Member{r.Self(ctx)}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.known {
		if m.Identity != nil && time.Since(m.seen) <= forgotten {
			out = append(out, m)
		}
	}
	return out
}

// Conn is a connection to a peer, kept.
func (r *Registry) Conn(address string) (*grpc.ClientConn, error) {
	options := r.o.Dial
	fingerprint := sha256.New()
	if r.o.TLS {
		options.Roots = slices.Clone(r.o.Roots)
		for _, config := range r.o.Configs() {
			options.Roots = append(options.Roots, config.TLSRoots()...)
		}
		slices.SortFunc(options.Roots, slices.Compare[[]byte])
		options.Roots = slices.CompactFunc(options.Roots, slices.Equal[[]byte])
		for _, root := range options.Roots {
			_, _ = fingerprint.Write(root) // hashes never fail
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := [sha256.Size]byte(fingerprint.Sum(nil))
	if c := r.conns[address]; c != nil {
		if c.roots == sum {
			return c.ClientConn, nil
		}
		_ = c.Close() // it trusts what is not the channel's any more
	}
	conn, err := node.Dial(address, options)
	if err != nil {
		return nil, err
	}
	r.conns[address] = &connection{ClientConn: conn, roots: sum}
	return conn, nil
}

func (r *Registry) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close() // the peer ends
	}
}

// Forget takes a peer for gone until it tells again, and ends the connection to it as Fabric's gateway does: it may lead
// nowhere by now.
func (r *Registry) Forget(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.known[address]; m != nil {
		m.seen = time.Time{}
	}
	if c := r.conns[address]; c != nil {
		_ = c.Close() // nobody waits for it
		delete(r.conns, address)
	}
}
