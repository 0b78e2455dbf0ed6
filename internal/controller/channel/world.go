package channel

import (
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
)

// world is everything that was seen in one round. Decisions are made on it alone.
type world struct {
	channel   *v1alpha1.Channel
	channelID string
	network   string
	now       time.Time

	roster *access.Roster
	// orgs are the organisations whose public material is there, by name.
	orgs map[string]*access.Organization
	// members and consenters are the names that the spec asks for, sorted; those of other sites are among them.
	members, consenters []string
	// remotes are the orderers of other sites that are known here.
	remotes []remote
	// imports tells which nodes of other sites are reached from here.
	imports map[string]bool
	// certs of the orderers that have them, by name.
	certs map[string]access.NodeCertificates

	// genesis is the first block once it is made.
	genesis *cb.Block
	memory  *memory

	// ledger is the newest configuration that was read; nil before the first orderer has joined.
	ledger *channelconfig.Config
	// block that ledger was read from.
	block *cb.Block

	wish channelconfig.Channel
	// flatWish and flatLedger are wish and ledger as settings.
	flatWish, flatLedger settings
	verdict              verdict
	// urgent says that a configuration that was read a moment ago is not new enough.
	urgent bool
	// fresh says that the memory was made in this round and is not stored yet.
	fresh bool
	// proposal is the one that carries our newest change to other sites.
	proposal string

	nodes []*node
}

// node is what was seen of one orderer or peer.
type node struct {
	name, org string
	orderer   bool
	deleting  bool
	deletedAt time.Time
	// removedAt is when it was first seen to be part of the channel without belonging to it.
	removedAt time.Time
	// address by which it is known on the ledger.
	address string

	// asked tells whether it was asked at all, and seen whether it answered.
	asked, seen bool
	joined      bool
	relation    admin.Relation
	status      admin.Status
	height      uint64
	err         error
}

// active tells whether an orderer takes its part in the channel and is not far behind the highest node.
func (n *node) active(highest uint64) bool {
	return n.seen && n.joined && n.status == admin.Active && n.height+maxLag >= highest
}

// maxLag is how many blocks a node may be behind and still count as caught up: under load nobody is ever level.
const maxLag = 10

// highest is the height of the highest node.
func (w *world) highest() uint64 {
	var h uint64
	for _, n := range w.nodes {
		h = max(h, n.height)
	}
	return h
}

// at finds one of our orderers by its address.
func (w *world) at(address string) *node {
	for _, n := range w.nodes {
		if n.orderer && n.address == address {
			return n
		}
	}
	return nil
}

// onLedger tells whether an orderer is a consenter in the ledger's configuration.
func (w *world) onLedger(n *node) bool {
	if w.ledger == nil {
		return false
	}
	for _, c := range w.ledger.Channel.Consenters {
		if c.Address().String() == n.address {
			return true
		}
	}
	return false
}
