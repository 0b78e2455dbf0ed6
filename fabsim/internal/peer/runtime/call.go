package runtime

import (
	"context"
	"fmt"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"heddle.dev/heddle/fabsim/internal/peer/ledger"
)

// Call is one invocation of a contract.
type Call struct {
	// Channel and TxID name it to the contract.
	Channel, TxID string
	// Namespace is the contract's name on the channel.
	Namespace string
	// Proposal is what the client signed.
	Proposal *pb.SignedProposal
	// Simulator has what it reads and writes.
	Simulator *ledger.Simulator
	// Init tells whether the contract is called to initialise itself.
	Init bool

	access    map[string]Permission
	iterators map[string]*iterator
	nextID    int
}

// Permission of a caller on a collection.
type Permission struct{ Read, Write bool }

// Host is what contracts ask of their peer beyond the state.
type Host interface {
	// Permission tells what the caller may do with a collection.
	Permission(ctx context.Context, call *Call, collection string) (Permission, error)
	// Invoke calls another contract; target may name a channel: "name/channel".
	Invoke(ctx context.Context, call *Call, target string, input *pb.ChaincodeInput) (*pb.ChaincodeMessage, error)
	// Capability tells whether a channel has key-level endorsement, and purge.
	Capability(channel string) (keyLevel, purge bool, err error)
}

// permission asks the host once for each collection.
func (c *Call) permission(ctx context.Context, host Host, collection string) (Permission, error) {
	if p, ok := c.access[collection]; ok {
		return p, nil
	}
	p, err := host.Permission(ctx, c, collection)
	if err != nil {
		return p, err
	}
	if c.access == nil {
		c.access = map[string]Permission{}
	}
	c.access[collection] = p
	return p, nil
}

func (c *Call) mayRead(ctx context.Context, host Host, collection string) error {
	if c.Init {
		return errInit
	}
	p, err := c.permission(ctx, host, collection)
	if err == nil && !p.Read {
		err = fmt.Errorf("tx creator does not have read access permission on privatedata in chaincodeName:%s collectionName: %s", c.Namespace, collection)
	}
	return err
}

func (c *Call) mayWrite(ctx context.Context, host Host, collection string) error {
	if c.Init {
		return errInit
	}
	p, err := c.permission(ctx, host, collection)
	if err == nil && !p.Write {
		err = fmt.Errorf("tx creator does not have write access permission on privatedata in chaincodeName:%s collectionName: %s", c.Namespace, collection)
	}
	return err
}

func (c *Call) close() {
	for _, it := range c.iterators {
		it.rows.Close()
	}
	c.iterators = nil
}
