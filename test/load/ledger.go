package load

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-gateway/pkg/hash"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// Ledger is the state of one peer's ledger: how many blocks it has, and the hash of the last one's header.
type Ledger struct {
	Height uint64
	Hash   string
}

// Ledger reads the state of the ledger from this very peer.
func (c *Client) Ledger(ctx context.Context) (Ledger, error) {
	raw, err := c.query(ctx, "qscc", "GetChainInfo", c.target.Channel)
	if err != nil {
		return Ledger{}, err
	}
	info := new(common.BlockchainInfo)
	if err := proto.Unmarshal(raw, info); err != nil {
		return Ledger{}, fmt.Errorf("decode ledger state of %q: %w", c.target.Name, err)
	}
	return Ledger{Height: info.GetHeight(), Hash: hex.EncodeToString(info.GetCurrentBlockHash())}, nil
}

// Block reads a block from this very peer.
func (c *Client) Block(ctx context.Context, number uint64) (*common.Block, error) {
	raw, err := c.query(ctx, "qscc", "GetBlockByNumber", c.target.Channel, strconv.FormatUint(number, 10))
	if err != nil {
		return nil, err
	}
	block := new(common.Block)
	if err := proto.Unmarshal(raw, block); err != nil {
		return nil, fmt.Errorf("decode block %d of %q: %w", number, c.target.Name, err)
	}
	return block, nil
}

// Config reads the newest config block of the channel from this very peer.
func (c *Client) Config(ctx context.Context) (*common.Block, error) {
	raw, err := c.query(ctx, "cscc", "GetConfigBlock", c.target.Channel)
	if err != nil {
		return nil, err
	}
	block := new(common.Block)
	if err := proto.Unmarshal(raw, block); err != nil {
		return nil, fmt.Errorf("decode config block of %q: %w", c.target.Name, err)
	}
	return block, nil
}

// Read asks the contract at this very peer; the gateway's Evaluate may choose another one.
func (c *Client) Read(ctx context.Context, function string, args ...string) ([]byte, error) {
	return c.query(ctx, c.target.Chaincode, function, args...)
}

// query sends a proposal to the peer's endorser, past its gateway.
func (c *Client) query(ctx context.Context, chaincode, function string, args ...string) ([]byte, error) {
	proposal, err := c.network.GetContract(chaincode).NewProposal(function, client.WithArguments(args...))
	if err != nil {
		return nil, fmt.Errorf("make proposal %s.%s: %w", chaincode, function, err)
	}
	raw, err := proposal.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode proposal %s.%s: %w", chaincode, function, err)
	}
	proposed := new(gateway.ProposedTransaction)
	if err := proto.Unmarshal(raw, proposed); err != nil {
		return nil, fmt.Errorf("decode proposal %s.%s: %w", chaincode, function, err)
	}
	signed := &peer.SignedProposal{ProposalBytes: proposed.GetProposal().GetProposalBytes()}
	if signed.Signature, err = c.sign(hash.SHA256(signed.GetProposalBytes())); err != nil {
		return nil, fmt.Errorf("sign proposal %s.%s: %w", chaincode, function, err)
	}
	ctx, cancel := context.WithTimeout(ctx, evaluateTimeout)
	defer cancel()
	response, err := peer.NewEndorserClient(c.conn).ProcessProposal(ctx, signed)
	if err != nil {
		return nil, fmt.Errorf("ask %s.%s at %q: %w", chaincode, function, c.target.Name, err)
	}
	if r := response.GetResponse(); r.GetStatus() != int32(common.Status_SUCCESS) {
		return nil, fmt.Errorf("ask %s.%s at %q: status %d: %s", chaincode, function, c.target.Name, r.GetStatus(), r.GetMessage())
	}
	return response.GetResponse().GetPayload(), nil
}
