package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"sync"

	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"heddle.dev/heddle/fabsim/internal/node"
)

// Handler takes the messages of a channel's other orderers.
type Handler interface {
	// Consensus takes a message of Raft.
	Consensus(ctx context.Context, from uint64, request *ab.ConsensusRequest) error
	// Submit takes a transaction that another orderer forwards.
	Submit(ctx context.Context, request *ab.SubmitRequest) error
}

// Node is another orderer of a channel.
type Node struct {
	// Address is host and port.
	Address string
	// ServerCert and ClientCert (PEM) are the pinned TLS certificates.
	ServerCert, ClientCert []byte
}

// Service is the server side for all channels.
type Service struct {
	ab.UnimplementedClusterServer

	log *node.Logger

	mu       sync.RWMutex
	channels map[string]member
}

type member struct {
	handler Handler
	nodes   map[uint64][]byte // public keys of the client certificates
}

// NewService makes a server without channels.
func NewService(log *node.Logger) *Service {
	return &Service{log: log, channels: map[string]member{}}
}

// Set says who may send to a channel, and to whom.
func (s *Service) Set(channel string, handler Handler, nodes map[uint64]Node) error {
	m := member{handler: handler, nodes: map[uint64][]byte{}}
	for id, n := range nodes {
		key, err := PublicKey(n.ClientCert)
		if err != nil {
			return fmt.Errorf("read TLS certificate of %s: %w", n.Address, err)
		}
		m.nodes[id] = key
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[channel] = m
	return nil
}

// Unset closes a channel.
func (s *Service) Unset(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, channel)
}

// Step takes messages until the stream ends.
func (s *Service) Step(stream ab.Cluster_StepServer) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.take(stream.Context(), request); err != nil {
			s.log.Debugf("Refused a message from %s: %s", node.RemoteAddress(stream.Context()), err)
			return err
		}
	}
}

func (s *Service) take(ctx context.Context, request *ab.StepRequest) error {
	switch {
	case request.GetConsensusRequest() != nil:
		inner := request.GetConsensusRequest()
		handler, from, err := s.sender(ctx, inner.GetChannel())
		if err != nil {
			return err
		}
		return handler.Consensus(ctx, from, inner)
	case request.GetSubmitRequest() != nil:
		inner := request.GetSubmitRequest()
		handler, _, err := s.sender(ctx, inner.GetChannel())
		if err != nil {
			return err
		}
		return handler.Submit(ctx, inner)
	default:
		return status.Error(codes.InvalidArgument, "message is neither a Submit nor a Consensus request")
	}
}

// sender finds who sends, by the certificate of the connection. The set of
// nodes may change while a stream is open, so it is asked for each message.
func (s *Service) sender(ctx context.Context, channel string) (Handler, uint64, error) {
	s.mu.RLock()
	m, ok := s.channels[channel]
	s.mu.RUnlock()
	if !ok {
		return nil, 0, status.Errorf(codes.NotFound, "channel %s doesn't exist", channel)
	}
	certificate := node.ClientCertificate(ctx)
	if certificate == nil {
		return nil, 0, status.Error(codes.Unauthenticated, "no TLS certificate sent")
	}
	for id, key := range m.nodes {
		if bytes.Equal(key, certificate.RawSubjectPublicKeyInfo) {
			return m.handler, id, nil
		}
	}
	return nil, 0, status.Error(codes.PermissionDenied, "certificate extracted from TLS connection isn't authorized")
}

// PublicKey is the public key of a certificate (PEM), by which orderers are
// compared: a certificate that was renewed with the same key is as good.
func PublicKey(certificate []byte) ([]byte, error) {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return nil, errors.New("read certificate: there is no PEM block")
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return parsed.RawSubjectPublicKeyInfo, nil
}
