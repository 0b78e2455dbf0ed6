package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc"

	"heddle.dev/heddle/fabsim/internal/node"
)

// queue is how many messages of Raft wait for one node. Raft repeats what is
// dropped.
const queue = 100

// drain is how long a node that was removed is still sent what waits for it,
// among it that it was removed.
const drain = 2 * time.Second

// Options of the connections to other orderers.
type Options struct {
	// Certificate is what this orderer shows.
	Certificate tls.Certificate
	// Timeout of one message.
	Timeout time.Duration
	// Unreachable is told that a node could not be reached.
	Unreachable func(id uint64)
	// Log takes what happens.
	Log *node.Logger
}

// Peers are the other orderers of one channel, as seen by one of them.
type Peers struct {
	o   Options
	ctx context.Context //nolint:containedctx // the life of the connections, which outlive every call

	mu    sync.Mutex
	nodes map[uint64]*remote
}

// NewPeers knows nobody yet. Connections end with ctx.
func NewPeers(ctx context.Context, o Options) *Peers {
	return &Peers{o: o, ctx: ctx, nodes: map[uint64]*remote{}}
}

// Set says who the other orderers are, and the TLS authorities (PEM) of their
// organisations. Connections to nodes of which nothing changed stay.
func (p *Peers) Set(nodes map[uint64]Node, roots [][]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, r := range p.nodes {
		if n, ok := nodes[id]; ok && n.Address == r.node.Address && bytes.Equal(n.ServerCert, r.node.ServerCert) &&
			slices.EqualFunc(roots, r.roots, bytes.Equal) {
			continue
		}
		r.retire()
		delete(p.nodes, id)
	}
	for id, n := range nodes {
		if _, ok := p.nodes[id]; ok {
			continue
		}
		r, err := p.connect(id, n, roots)
		if err != nil {
			return err
		}
		p.nodes[id] = r
	}
	return nil
}

// Close ends all connections.
func (p *Peers) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, r := range p.nodes {
		r.stop()
		delete(p.nodes, id)
	}
}

func (p *Peers) remote(id uint64) *remote {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nodes[id]
}

// Send queues a message of Raft and tells whether there was room for it.
func (p *Peers) Send(id uint64, request *ab.ConsensusRequest) bool {
	r := p.remote(id)
	if r == nil {
		return false
	}
	select {
	case r.queue <- &ab.StepRequest{Payload: &ab.StepRequest_ConsensusRequest{ConsensusRequest: request}}:
		return true
	default:
		return false
	}
}

// Submit forwards a transaction and waits until it is on its way.
func (p *Peers) Submit(ctx context.Context, id uint64, request *ab.SubmitRequest) error {
	r := p.remote(id)
	if r == nil {
		return fmt.Errorf("node %d is no member of channel %s", id, request.GetChannel())
	}
	done := make(chan error, 1)
	go func() { //nolint:contextcheck // the stream outlives the call
		done <- r.submit(&ab.StepRequest{Payload: &ab.StepRequest_SubmitRequest{SubmitRequest: request}})
	}()
	timer := time.NewTimer(p.o.Timeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("timed out (%v) waiting on forwarding to %d", p.o.Timeout, id)
	}
}

func (p *Peers) connect(id uint64, n Node, roots [][]byte) (*remote, error) {
	pinned, err := PublicKey(n.ServerCert)
	if err != nil {
		return nil, fmt.Errorf("read TLS certificate of %s: %w", n.Address, err)
	}
	conn, err := node.Dial(n.Address, node.DialOptions{
		Roots: roots, Certificate: &p.o.Certificate,
		Verify: func(certificate *x509.Certificate) error {
			if !bytes.Equal(certificate.RawSubjectPublicKeyInfo, pinned) {
				return errors.New("it is not the certificate that the channel's configuration names")
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(p.ctx)
	r := &remote{
		id: id, node: n, roots: roots, o: p.o, conn: conn, ctx: ctx, cancel: cancel,
		queue: make(chan *ab.StepRequest, queue), retired: make(chan struct{}),
	}
	go r.send()
	return r, nil
}

// remote is the connection to one node: a stream for Raft, written by send,
// and another for transactions.
type remote struct {
	id     uint64
	node   Node
	roots  [][]byte
	o      Options
	conn   *grpc.ClientConn
	ctx    context.Context //nolint:containedctx // the life of the connection
	cancel context.CancelFunc

	queue   chan *ab.StepRequest
	retired chan struct{}

	mu           sync.Mutex
	transactions *stream
}

// retire lets what is queued go out, then ends the connection.
func (r *remote) retire() {
	close(r.retired)
	time.AfterFunc(drain, r.stop)
}

func (r *remote) stop() {
	r.cancel()
	r.conn.Close()
}

// send writes the messages of Raft. When a node cannot be reached, what waits
// for it is dropped: Raft has newer things to say by then.
func (r *remote) send() {
	var raft *stream
	reachable := true
	for {
		var request *ab.StepRequest
		select {
		case request = <-r.queue:
		case <-r.ctx.Done():
			return
		}
		err := r.over(&raft, request)
		if err == nil {
			if !reachable {
				r.o.Log.Infof("Node %d at %s is reachable again", r.id, r.node.Address)
			}
			reachable = true
			continue
		}
		if r.ctx.Err() != nil {
			return
		}
		if reachable {
			r.o.Log.Warnf("Cannot reach node %d at %s: %s", r.id, r.node.Address, err)
		}
		reachable = false
		r.discard()
		r.o.Unreachable(r.id)
	}
}

func (r *remote) discard() {
	for {
		select {
		case <-r.queue:
		default:
			return
		}
	}
}

// submit writes a transaction.
func (r *remote) submit(request *ab.StepRequest) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over(&r.transactions, request)
}

// over writes to a stream, and once to a new one if the old one has ended.
func (r *remote) over(s **stream, request *ab.StepRequest) error {
	if *s != nil && (*s).alive() {
		if err := (*s).Send(request); err == nil {
			return nil
		}
	}
	if *s != nil {
		(*s).cancel()
	}
	next, err := r.open()
	if err != nil {
		*s = nil
		return err
	}
	*s = next
	if err := next.Send(request); err != nil {
		return fmt.Errorf("send to node %d: %w", r.id, err)
	}
	return nil
}

type stream struct {
	ab.Cluster_StepClient

	cancel context.CancelFunc
	ended  chan struct{}
}

func (s *stream) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// open makes a stream. Nothing is received over it but its end.
func (r *remote) open() (*stream, error) {
	ctx, cancel := context.WithCancel(r.ctx)
	limit := time.AfterFunc(r.o.Timeout, cancel)
	client, err := ab.NewClusterClient(r.conn).Step(ctx)
	if !limit.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("connect to node %d: %w", r.id, err)
	}
	s := &stream{Cluster_StepClient: client, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		for {
			if _, err := client.Recv(); err != nil {
				return
			}
		}
	}()
	return s, nil
}
