package cluster_test

import (
	"context"
	"strings"
	"testing"
	"time"

	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/orderer/cluster"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// heard is what an orderer was sent.
type heard struct {
	from    chan uint64
	submits chan *ab.SubmitRequest
}

func (h *heard) Consensus(_ context.Context, from uint64, _ *ab.ConsensusRequest) error {
	h.from <- from
	return nil
}

func (h *heard) Submit(_ context.Context, request *ab.SubmitRequest) error {
	h.submits <- request
	return nil
}

// server is an orderer whose TLS certificate the channel knows as node 1, and
// which knows node 2.
type server struct {
	org         *simtest.Org
	own, second simtest.Leaf
	address     string
	heard       *heard
	service     *cluster.Service
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{org: simtest.NewOrg(t, "ord"), heard: &heard{from: make(chan uint64, 8), submits: make(chan *ab.SubmitRequest, 8)}}
	s.own, s.second = s.org.TLS(t, "first"), s.org.TLS(t, "second")
	dir := t.TempDir()
	simtest.Write(t, dir, map[string][]byte{"crt": s.own.Cert, "key": s.own.Key})
	tls, err := node.LoadTLS(node.TLSFiles{Enabled: true, Certificate: dir + "/crt", Key: dir + "/key"})
	if err != nil {
		t.Fatal(err)
	}
	grpc, err := node.NewServer(t.Context(), node.ServerOptions{Address: "127.0.0.1:0", TLS: tls})
	if err != nil {
		t.Fatal(err)
	}
	s.address, s.service = grpc.Addr(), cluster.NewService(node.NewLogger("cluster"))
	ab.RegisterClusterServer(grpc, s.service)
	if err := s.service.Set("trade", s.heard, map[uint64]cluster.Node{2: {ClientCert: s.second.Cert}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- grpc.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// peers connects as somebody, expecting the server to have a certificate.
func (s *server) peers(t *testing.T, as simtest.Leaf, pinned []byte) (*cluster.Peers, chan uint64) {
	t.Helper()
	unreachable := make(chan uint64, 8)
	p := cluster.NewPeers(t.Context(), cluster.Options{
		Certificate: as.TLS(t), Timeout: 2 * time.Second, Log: node.NewLogger("cluster"),
		Unreachable: func(id uint64) { unreachable <- id },
	})
	t.Cleanup(p.Close)
	if err := p.Set(map[uint64]cluster.Node{1: {Address: s.address, ServerCert: pinned}}, [][]byte{s.org.TLSRoot()}); err != nil {
		t.Fatal(err)
	}
	return p, unreachable
}

func TestMessages(t *testing.T) {
	s := newServer(t)
	p, _ := s.peers(t, s.second, s.own.Cert)
	if !p.Send(1, &ab.ConsensusRequest{Channel: "trade", Payload: []byte("raft")}) {
		t.Fatal("there was no room")
	}
	if from := <-s.heard.from; from != 2 {
		t.Errorf("it came from %d", from)
	}
	if err := p.Submit(t.Context(), 1, &ab.SubmitRequest{Channel: "trade", LastValidationSeq: 3}); err != nil {
		t.Fatal(err)
	}
	if request := <-s.heard.submits; request.GetLastValidationSeq() != 3 {
		t.Errorf("got %v", request)
	}
	if p.Send(9, &ab.ConsensusRequest{Channel: "trade"}) || p.Submit(t.Context(), 9, &ab.SubmitRequest{Channel: "trade"}) == nil {
		t.Error("something was sent to nobody")
	}
}

// TestStrangers lets nobody in whose certificate the channel does not name,
// even if it comes from the right authority, and talks to no such server.
func TestStrangers(t *testing.T) {
	s := newServer(t)
	third := s.org.TLS(t, "third")
	for name, test := range map[string]struct {
		as      simtest.Leaf
		pinned  []byte
		channel string
	}{
		"another's certificate":                   {third, s.own.Cert, "trade"},
		"another channel":                         {s.second, s.own.Cert, "other"},
		"a server that the channel does not name": {s.second, third.Cert, "trade"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := s.peers(t, test.as, test.pinned)
			p.Send(1, &ab.ConsensusRequest{Channel: test.channel})
			_ = p.Submit(t.Context(), 1, &ab.SubmitRequest{Channel: test.channel})
			select {
			case from := <-s.heard.from:
				t.Errorf("a message of Raft was taken from %d", from)
			case <-s.heard.submits:
				t.Error("a transaction was taken")
			case <-time.After(300 * time.Millisecond):
			}
		})
	}
	t.Run("a channel that was left", func(t *testing.T) {
		s.service.Unset("trade")
		p, _ := s.peers(t, s.second, s.own.Cert)
		p.Send(1, &ab.ConsensusRequest{Channel: "trade"})
		select {
		case <-s.heard.from:
			t.Error("a message was taken")
		case <-time.After(300 * time.Millisecond):
		}
	})
}

// TestUnreachable says so when nobody is there, and goes on once somebody is.
func TestUnreachable(t *testing.T) {
	s := newServer(t)
	p, unreachable := s.peers(t, s.second, s.own.Cert)
	if err := p.Set(map[uint64]cluster.Node{1: {Address: "127.0.0.1:1", ServerCert: s.own.Cert}}, [][]byte{s.org.TLSRoot()}); err != nil {
		t.Fatal(err)
	}
	p.Send(1, &ab.ConsensusRequest{Channel: "trade"})
	if id := <-unreachable; id != 1 {
		t.Errorf("node %d is unreachable", id)
	}
	err := p.Submit(t.Context(), 1, &ab.SubmitRequest{Channel: "trade"})
	if err == nil || !strings.Contains(err.Error(), "node 1") {
		t.Errorf("forwarding: %v", err)
	}
	if err := p.Set(map[uint64]cluster.Node{1: {Address: s.address, ServerCert: s.own.Cert}}, [][]byte{s.org.TLSRoot()}); err != nil {
		t.Fatal(err)
	}
	p.Send(1, &ab.ConsensusRequest{Channel: "trade"})
	<-s.heard.from
	if err := p.Set(map[uint64]cluster.Node{1: {Address: s.address, ServerCert: []byte("garbage")}}, nil); err == nil {
		t.Error("garbage was taken for a certificate")
	}
}
