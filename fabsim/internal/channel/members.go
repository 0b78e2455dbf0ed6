package channel

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"github.com/hyperledger/fabric-x-common/msp"
	"google.golang.org/protobuf/proto"
)

// Types of consensus as channel configurations name them.
const (
	Raft = "etcdraft"
	BFT  = "BFT"
)

// ConsensusType is the type of the channel's consensus; empty if the channel
// has no orderers.
func (c *Config) ConsensusType() string {
	orderers, ok := c.OrdererConfig()
	if !ok {
		return ""
	}
	return orderers.ConsensusType()
}

// RaftMetadata is the consenters and options of a channel with Raft.
func (c *Config) RaftMetadata() (*etcdraft.ConfigMetadata, error) {
	orderers, ok := c.OrdererConfig()
	if !ok || orderers.ConsensusType() != Raft {
		return nil, fmt.Errorf("read consenters of %s: its consensus is %q", c.id, c.ConsensusType())
	}
	metadata := &etcdraft.ConfigMetadata{}
	if err := proto.Unmarshal(orderers.ConsensusMetadata(), metadata); err != nil {
		return nil, fmt.Errorf("read consenters of %s: %w", c.id, err)
	}
	return metadata, nil
}

// Endpoint is where an orderer of a channel is reached.
type Endpoint struct {
	// Address is host and port, MSPID whose it is.
	Address, MSPID string
	// Roots (PEM) are the TLS authorities of that organisation.
	Roots [][]byte
}

// Endpoints are the channel's orderers: those of the organisations or, where
// they name none, those of the old list for all, trusted by any of the
// ordering organisations' authorities.
func (c *Config) Endpoints() []Endpoint {
	orderers, ok := c.OrdererConfig()
	if !ok {
		return nil
	}
	var out []Endpoint
	var all [][]byte
	for _, org := range orderers.Organizations() {
		roots := tlsRoots(org.MSP())
		all = append(all, roots...)
		for _, address := range org.Endpoints() {
			out = append(out, Endpoint{Address: address, MSPID: org.MSPID(), Roots: roots})
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, address := range c.ChannelConfig().OrdererAddresses() {
		out = append(out, Endpoint{Address: address, Roots: all})
	}
	return out
}

// TLSRoots are the TLS authorities (PEM) of all members, of applications and
// of orderers, in an order that depends on nothing else.
func (c *Config) TLSRoots() [][]byte {
	var out [][]byte
	if orderers, ok := c.OrdererConfig(); ok {
		for _, org := range orderers.Organizations() {
			out = append(out, tlsRoots(org.MSP())...)
		}
	}
	if applications, ok := c.ApplicationConfig(); ok {
		for _, org := range applications.Organizations() {
			out = append(out, tlsRoots(org.MSP())...)
		}
	}
	slices.SortFunc(out, bytes.Compare)
	return out
}

func tlsRoots(m msp.MSP) [][]byte {
	var out [][]byte
	out = append(out, m.GetTLSRootCerts()...)
	return append(out, m.GetTLSIntermediateCerts()...)
}

// Holder is the Config in force, safe for concurrent use. Give it the first
// Config before anybody asks.
type Holder struct{ current atomic.Pointer[Config] }

// Load is the Config in force.
func (h *Holder) Load() *Config { return h.current.Load() }

// Store puts another Config in force.
func (h *Holder) Store(c *Config) { h.current.Store(c) }

// IsConfigUpdate tells whether a header is that of a configuration update.
func IsConfigUpdate(header *cb.ChannelHeader) bool {
	return header.GetType() == int32(cb.HeaderType_CONFIG_UPDATE)
}
