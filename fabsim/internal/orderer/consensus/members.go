package consensus

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/orderer/cluster"
)

// members are the consenters of a channel with their numbers in Raft. The
// numbers are kept in the blocks, since those of nodes that have left are
// never used again.
type members struct {
	meta  *etcdraft.BlockMetadata
	nodes map[uint64]*etcdraft.Consenter
}

// newMembers pairs the consenters of a configuration with the numbers in the
// metadata of the last block; the genesis has none, there they are counted.
func newMembers(raw []byte, config *etcdraft.ConfigMetadata) (*members, error) {
	meta := &etcdraft.BlockMetadata{}
	if err := proto.Unmarshal(raw, meta); err != nil {
		return nil, fmt.Errorf("read consenters' numbers: %w", err)
	}
	if len(meta.GetConsenterIds()) == 0 {
		for i := range config.GetConsenters() {
			meta.ConsenterIds = append(meta.ConsenterIds, uint64(i)+1)
		}
		meta.NextConsenterId = uint64(len(config.GetConsenters())) + 1
	}
	if len(meta.GetConsenterIds()) != len(config.GetConsenters()) {
		return nil, fmt.Errorf("pair consenters with their numbers: %d consenters, %d numbers", len(config.GetConsenters()), len(meta.GetConsenterIds()))
	}
	m := &members{meta: meta, nodes: map[uint64]*etcdraft.Consenter{}}
	for i, consenter := range config.GetConsenters() {
		m.nodes[meta.GetConsenterIds()[i]] = consenter
	}
	return m, nil
}

// IsMember tells whether a TLS certificate is that of a consenter.
func IsMember(config *channel.Config, certificate []byte) (bool, error) {
	raft, err := config.RaftMetadata()
	if err != nil {
		return false, err
	}
	m, err := newMembers(nil, raft)
	if err != nil {
		return false, err
	}
	id, err := m.find(certificate)
	return id != 0, err
}

// find gives the number of the consenter with a TLS certificate, 0 if there is
// none.
func (m *members) find(certificate []byte) (uint64, error) {
	own, err := cluster.PublicKey(certificate)
	if err != nil {
		return 0, err
	}
	for id, consenter := range m.nodes {
		key, err := cluster.PublicKey(consenter.GetServerTlsCert())
		if err != nil {
			return 0, fmt.Errorf("read TLS certificate of consenter %d: %w", id, err)
		}
		if bytes.Equal(own, key) {
			return id, nil
		}
	}
	return 0, nil
}

// others are the nodes to talk to.
func (m *members) others(self uint64) map[uint64]cluster.Node {
	out := map[uint64]cluster.Node{}
	for id, consenter := range m.nodes {
		if id == self {
			continue
		}
		out[id] = cluster.Node{
			Address:    fmt.Sprintf("%s:%d", consenter.GetHost(), consenter.GetPort()),
			ServerCert: consenter.GetServerTlsCert(), ClientCert: consenter.GetClientTlsCert(),
		}
	}
	return out
}

// change is what another set of consenters means.
type change struct {
	next           *members
	added, removed []*etcdraft.Consenter
	// conf is what Raft has to be told, nil if only certificates or addresses
	// change.
	conf *raftpb.ConfChange
	// rotated is the node that got another certificate, 0 if none did.
	rotated uint64
}

// become computes the change to another set of consenters. One node at a time
// may come, go, or get another certificate.
func (m *members) become(consenters []*etcdraft.Consenter) (*change, error) {
	next := &members{
		meta:  &etcdraft.BlockMetadata{NextConsenterId: m.meta.GetNextConsenterId(), RaftIndex: m.meta.GetRaftIndex()},
		nodes: map[uint64]*etcdraft.Consenter{},
	}
	next.meta.ConsenterIds = make([]uint64, len(consenters))
	c := &change{next: next}
	place := 0
	for i, consenter := range consenters {
		id := m.byClientCert(consenter.GetClientTlsCert())
		if id == 0 {
			c.added = append(c.added, consenter)
			place = i
			continue
		}
		next.meta.ConsenterIds[i], next.nodes[id] = id, consenter
	}
	var gone uint64
	for id, consenter := range m.nodes {
		if next.nodes[id] == nil {
			c.removed = append(c.removed, consenter)
			gone = id
		}
	}
	switch {
	case len(c.added) == 0 && len(c.removed) == 0:
	case len(c.added) == 1 && len(c.removed) == 1:
		c.rotated = gone
		next.meta.ConsenterIds[place], next.nodes[gone] = gone, c.added[0]
	case len(c.added) == 1 && len(c.removed) == 0:
		id := next.meta.GetNextConsenterId()
		next.meta.ConsenterIds[place], next.nodes[id] = id, c.added[0]
		next.meta.NextConsenterId++
		c.conf = &raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: id}
	case len(c.added) == 0 && len(c.removed) == 1:
		c.conf = &raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode, NodeID: gone}
	default:
		return nil, fmt.Errorf("update of more than one consenter at a time is not supported, requested changes: add %d node(s), remove %d node(s)",
			len(c.added), len(c.removed))
	}
	return c, nil
}

func (m *members) byClientCert(certificate []byte) uint64 {
	for id, consenter := range m.nodes {
		if bytes.Equal(consenter.GetClientTlsCert(), certificate) {
			return id
		}
	}
	return 0
}

// losesQuorum tells whether the change would leave too few of the nodes that
// are alive.
func (c *change) losesQuorum(active []uint64) bool {
	quorum, tolerant := len(c.next.nodes)/2+1, len(c.next.nodes) > 2
	left := func(id uint64) int {
		return len(slices.DeleteFunc(slices.Clone(active), func(a uint64) bool { return a == id }))
	}
	switch {
	case c.rotated != 0:
		return tolerant && left(c.rotated) < quorum
	case c.conf == nil:
		return false
	case c.conf.Type == raftpb.ConfChangeAddNode:
		return tolerant && len(active) < quorum
	default:
		return left(c.conf.NodeID) < quorum
	}
}

// missing is the change that Raft has not been told of yet, given whom it
// counts: after a crash between a configuration's block and that word.
func (m *members) missing(voters []uint64) *raftpb.ConfChange {
	for _, id := range m.meta.GetConsenterIds() {
		if !slices.Contains(voters, id) {
			return &raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: id}
		}
	}
	for _, id := range voters {
		if !slices.Contains(m.meta.GetConsenterIds(), id) {
			return &raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode, NodeID: id}
		}
	}
	return nil
}
