package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/node"
)

// Options of a runtime.
type Options struct {
	// Builders, in the order that they are asked; BuildDir keeps what they made.
	Builders []Builder
	BuildDir string
	// Environ is the peer's environment, of which builders get a little.
	Environ []string
	// MSPID is told to contracts, as is Address: where they find the peer.
	MSPID, Address string
	// TLS tells whether contracts connect with certificates.
	TLS bool
	// Load reads an installed package.
	Load func(id string) (metadata, code []byte, err error)
	// StartupTimeout and ExecuteTimeout bound launches and calls.
	StartupTimeout, ExecuteTimeout time.Duration
	// QueryLimit bounds the rows of a query, MaxBatch the writes in a message.
	QueryLimit int32
	MaxBatch   uint32
	// History tells whether the history of keys is kept.
	History bool
	Host    Host
	Log     *node.Logger
}

// Runtime has the contracts that run. Launches happen within Run.
type Runtime struct {
	o          Options
	identities *identities
	launches   chan *launch

	mu       sync.Mutex
	sessions map[string]*session
	starting map[string]*launch
	building map[string]*sync.Mutex
}

// launch is an attempt to get a contract running.
type launch struct {
	id   string
	done chan struct{}
	once sync.Once
	err  error
}

func (l *launch) end(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.done)
	})
}

// New makes a runtime; Run has to be called.
func New(o Options) (*Runtime, error) {
	ids, err := newIdentities(o.TLS, o.Address)
	if err != nil {
		return nil, err
	}
	return &Runtime{
		o: o, identities: ids, launches: make(chan *launch), sessions: map[string]*session{},
		starting: map[string]*launch{}, building: map[string]*sync.Mutex{},
	}, nil
}

// Run starts contracts that are asked for until ctx ends; then it ends those
// that it started.
func (r *Runtime) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case l := <-r.launches:
			group.Go(func() { r.start(ctx, l) })
		}
	}
}

// Execute calls a contract, launched if need be, and gives its last message.
func (r *Runtime) Execute(ctx context.Context, id string, call *Call, input *pb.ChaincodeInput) (*pb.ChaincodeMessage, error) {
	s, err := r.connected(ctx, id)
	if err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(input)
	if err != nil {
		return nil, fmt.Errorf("failed to create chaincode message: %w", err)
	}
	// As in Fabric, a caller who has given up does not end an execution: its own time-out does.
	out, err := s.execute(context.WithoutCancel(ctx), call, payload)
	if err != nil {
		return nil, fmt.Errorf("error sending: %w", err)
	}
	return out, nil
}

// connected waits until a contract is connected, and starts it if nobody has.
func (r *Runtime) connected(ctx context.Context, id string) (*session, error) {
	r.mu.Lock()
	if s := r.sessions[id]; s != nil && r.starting[id] == nil {
		r.mu.Unlock()
		return s, nil
	}
	l, known := r.starting[id]
	if !known {
		l = &launch{id: id, done: make(chan struct{})}
		r.starting[id] = l
	}
	r.mu.Unlock()
	if !known {
		select {
		case r.launches <- l:
		case <-ctx.Done():
			r.failed(l, ctx.Err())
		}
	}
	select {
	case <-l.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("could not launch chaincode %s: %w", id, ctx.Err())
	}
	if l.err != nil {
		return nil, fmt.Errorf("could not launch chaincode %s: %w", id, l.err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[id]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("claimed to start chaincode container for %s but could not find handler", id)
}

func (r *Runtime) failed(l *launch, err error) {
	r.mu.Lock()
	if r.starting[l.id] == l {
		delete(r.starting, l.id)
	}
	r.mu.Unlock()
	l.end(err)
}

// start takes a contract from its package to a session, and stays with it.
func (r *Runtime) start(ctx context.Context, l *launch) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(r.o.StartupTimeout, func() {
		r.failed(l, fmt.Errorf("timeout expired while starting chaincode %s for transaction", l.id))
		select {
		case <-l.done:
			if l.err != nil {
				cancel()
			}
		default:
		}
	})
	defer timer.Stop()
	r.failed(l, r.run(ctx, l.id))
}

func (r *Runtime) run(ctx context.Context, id string) error {
	built, err := r.build(ctx, id)
	if err != nil {
		return fmt.Errorf("error building chaincode: %w", err)
	}
	server, err := built.server()
	if err != nil {
		return fmt.Errorf("error building chaincode: could not get chaincode server info: %w", err)
	}
	if server != nil {
		if err := r.connect(ctx, id, server); err != nil {
			return fmt.Errorf("connection to %s failed: %w", id, err)
		}
		return fmt.Errorf("chaincode registration failed: connection to %s terminated", id)
	}
	code, err := built.run(ctx, r, id)
	if err != nil {
		return fmt.Errorf("error starting container: %w", err)
	}
	return fmt.Errorf("chaincode registration failed: container exited with %d", code)
}

// admit lets a contract in that was launched, once.
func (r *Runtime) admit(s *session) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[s.id] != nil {
		return fmt.Errorf("duplicate chaincodeID: %s", s.id)
	}
	if r.starting[s.id] == nil {
		return fmt.Errorf("peer will not accept external chaincode connection %s (except in dev mode)", s.id)
	}
	r.sessions[s.id] = s
	return nil
}

func (r *Runtime) ready(s *session) {
	r.mu.Lock()
	l := r.starting[s.id]
	delete(r.starting, s.id)
	r.mu.Unlock()
	if l != nil {
		l.end(nil)
	}
}

func (r *Runtime) deregister(s *session) {
	r.mu.Lock()
	if r.sessions[s.id] == s {
		delete(r.sessions, s.id)
	}
	l := r.starting[s.id]
	delete(r.starting, s.id)
	r.mu.Unlock()
	if l != nil {
		l.end(errors.New("chaincode registration failed: the stream ended"))
	}
	close(s.done)
}
