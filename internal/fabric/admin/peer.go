package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"heddle.dev/heddle/internal/fabric/identity"
)

// Clock tells the time.
type Clock func() time.Time

// Peer is a peer as its organisation's administrator sees it.
type Peer struct {
	conn     grpc.ClientConnInterface
	endorser pb.EndorserClient
	id       *identity.Identity
	now      Clock
}

// NewPeer makes a client of a peer that signs as id.
func NewPeer(conn grpc.ClientConnInterface, id *identity.Identity, now Clock) *Peer {
	return &Peer{conn: conn, endorser: pb.NewEndorserClient(conn), id: id, now: now}
}

// Height is how far a ledger has come.
type Height struct {
	// Blocks is how many there are; the newest has one less as its number.
	Blocks uint64
	// Hash is the newest block's.
	Hash []byte
}

// Channels names the channels that the peer has joined, sorted.
func (p *Peer) Channels(ctx context.Context) ([]string, error) {
	raw, err := p.propose(ctx, "", "cscc", "GetChannels")
	if err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	var answer pb.ChannelQueryResponse
	if err := proto.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("list channels: %w", err)
	}
	names := make([]string, 0, len(answer.GetChannels()))
	for _, channel := range answer.GetChannels() {
		names = append(names, channel.GetChannelId())
	}
	slices.Sort(names)
	return names, nil
}

// Join makes the peer part of the channel of a genesis block, or fails with
// ErrChannelExists.
func (p *Peer) Join(ctx context.Context, genesis *cb.Block) error {
	raw, err := proto.Marshal(genesis)
	if err != nil {
		return fmt.Errorf("encode block: %w", err)
	}
	if _, err := p.propose(ctx, "", "cscc", "JoinChain", raw); err != nil {
		var refused *RefusedError
		if errors.As(err, &refused) && strings.Contains(refused.Message, "already exists") {
			return fmt.Errorf("join peer: %w", ErrChannelExists)
		}
		return fmt.Errorf("join peer: %w", err)
	}
	return nil
}

// Height is how far the peer's ledger of a channel has come.
func (p *Peer) Height(ctx context.Context, channelID string) (Height, error) {
	raw, err := p.propose(ctx, channelID, "qscc", "GetChainInfo", []byte(channelID))
	if err != nil {
		return Height{}, fmt.Errorf("read height of channel %q: %w", channelID, err)
	}
	var info cb.BlockchainInfo
	if err := proto.Unmarshal(raw, &info); err != nil {
		return Height{}, fmt.Errorf("read height of channel %q: %w", channelID, err)
	}
	return Height{Blocks: info.GetHeight(), Hash: info.GetCurrentBlockHash()}, nil
}

// Block is the peer's block of that number.
func (p *Peer) Block(ctx context.Context, channelID string, number uint64) (*cb.Block, error) {
	return p.block(ctx, channelID, "qscc", "GetBlockByNumber", []byte(channelID), strconv.AppendUint(nil, number, 10))
}

// BlockOf is the block of that transaction.
func (p *Peer) BlockOf(ctx context.Context, channelID, txID string) (*cb.Block, error) {
	return p.block(ctx, channelID, "qscc", "GetBlockByTxID", []byte(channelID), []byte(txID))
}

// ConfigBlock is the newest config block that the peer has.
func (p *Peer) ConfigBlock(ctx context.Context, channelID string) (*cb.Block, error) {
	return p.block(ctx, channelID, "cscc", "GetConfigBlock", []byte(channelID))
}

func (p *Peer) block(ctx context.Context, channelID, contract, function string, args ...[]byte) (*cb.Block, error) {
	raw, err := p.propose(ctx, channelID, contract, function, args...)
	if err != nil {
		return nil, fmt.Errorf("read block of channel %q: %w", channelID, err)
	}
	var out cb.Block
	if err := proto.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("read block of channel %q: %w", channelID, err)
	}
	return &out, nil
}

// RefusedError is a peer's answer that is not a success.
type RefusedError struct {
	// Status in HTTP's numbers.
	Status int32
	// Message says why.
	Message string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the peer refuses (%d): %s", e.Status, e.Message)
}

// propose calls a system contract of this very peer.
func (p *Peer) propose(ctx context.Context, channelID, contract, function string, args ...[]byte) ([]byte, error) {
	signed, err := p.proposal(channelID, contract, append([][]byte{[]byte(function)}, args...))
	if err != nil {
		return nil, err
	}
	answer, err := p.endorser.ProcessProposal(ctx, signed)
	if err != nil {
		return nil, err
	}
	if status := answer.GetResponse().GetStatus(); status < 200 || status >= 400 {
		return nil, &RefusedError{Status: status, Message: answer.GetResponse().GetMessage()}
	}
	return answer.GetResponse().GetPayload(), nil
}

func (p *Peer) proposal(channelID, contract string, args [][]byte) (*pb.SignedProposal, error) {
	creator, err := p.id.SignatureHeader()
	if err != nil {
		return nil, err
	}
	id := &pb.ChaincodeID{Name: contract}
	extension, err := proto.Marshal(&pb.ChaincodeHeaderExtension{ChaincodeId: id})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append(append([]byte{}, creator.GetNonce()...), creator.GetCreator()...))
	channel, err := proto.Marshal(&cb.ChannelHeader{
		Type: int32(cb.HeaderType_ENDORSER_TRANSACTION), ChannelId: channelID,
		Timestamp: timestamppb.New(p.now()), TxId: hex.EncodeToString(sum[:]), Extension: extension,
	})
	if err != nil {
		return nil, err
	}
	signature, err := proto.Marshal(creator)
	if err != nil {
		return nil, err
	}
	header, err := proto.Marshal(&cb.Header{ChannelHeader: channel, SignatureHeader: signature})
	if err != nil {
		return nil, err
	}
	input, err := proto.Marshal(&pb.ChaincodeInvocationSpec{ChaincodeSpec: &pb.ChaincodeSpec{ChaincodeId: id, Input: &pb.ChaincodeInput{Args: args}}})
	if err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(&pb.ChaincodeProposalPayload{Input: input})
	if err != nil {
		return nil, err
	}
	raw, err := proto.Marshal(&pb.Proposal{Header: header, Payload: payload})
	if err != nil {
		return nil, err
	}
	signed, err := p.id.Sign(raw)
	if err != nil {
		return nil, err
	}
	return &pb.SignedProposal{ProposalBytes: raw, Signature: signed}, nil
}
