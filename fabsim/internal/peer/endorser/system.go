package endorser

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
)

func refuse(format string, args ...any) *pb.Response {
	return &pb.Response{Status: errorStatus, Message: fmt.Sprintf(format, args...)}
}

func give(message proto.Message) *pb.Response {
	raw, err := proto.Marshal(message)
	if err != nil {
		return refuse("%s", err)
	}
	return &pb.Response{Status: 200, Payload: raw}
}

// system calls one of the peer's own contracts.
func (e *Endorser) system(ctx context.Context, x *execution, name string, args [][]byte) *pb.Response {
	switch name {
	case lifecycle.Namespace:
		call := &lifecycle.Call{Channel: x.channel, Simulator: x.simulator, Access: func(resource string) error { return e.access(x, resource, x.channel) }}
		if x.channel != "" {
			ch := e.o.Channel(x.channel)
			if ch == nil {
				return refuse("could not get channelconfig for channel '%s'", x.channel)
			}
			call.Config = ch.Config()
		}
		return e.o.Lifecycle.Invoke(ctx, call, args)
	case "cscc":
		return e.cscc(ctx, x, args)
	case "qscc":
		return e.qscc(x, args)
	default:
		return refuse("%s is not supported by a simulated peer", name)
	}
}

func (e *Endorser) access(x *execution, resource, id string) error {
	by, err := x.proposal.SignedData()
	if err != nil {
		return err
	}
	return e.o.Access.Check(resource, id, by)
}

// cscc joins channels and tells of them.
func (e *Endorser) cscc(ctx context.Context, x *execution, args [][]byte) *pb.Response {
	if len(args) < 1 || len(args) < 2 && string(args[0]) != "GetChannels" {
		return refuse("Incorrect number of arguments, %d", len(args))
	}
	if by := x.proposal.Contract; by != "cscc" {
		return refuse("Rejecting invoke of CSCC from another chaincode, original invocation for '%s'", by)
	}
	function := string(args[0])
	switch function {
	case "JoinChain":
		return e.join(ctx, x, args[1])
	case "GetChannels":
		if err := e.access(x, "cscc/GetChannels", ""); err != nil {
			return refuse("access denied for [%s]: %s", function, err)
		}
		out := &pb.ChannelQueryResponse{}
		for _, id := range e.o.Channels() {
			out.Channels = append(out.Channels, &pb.ChannelInfo{ChannelId: id})
		}
		return give(out)
	case "GetConfigBlock", "GetChannelConfig":
		id := string(args[1])
		if id == "" && function == "GetChannelConfig" {
			return refuse("empty channel name provided")
		}
		if err := e.access(x, "cscc/"+function, id); err != nil {
			return refuse("access denied for [%s][%s]: %s", function, id, err)
		}
		return e.configuration(function, id)
	default:
		return refuse("Requested function %s not found.", function)
	}
}

func (e *Endorser) configuration(function, id string) *pb.Response {
	if id == "" {
		return refuse("ChannelID must not be nil.")
	}
	ch := e.o.Channel(id)
	if ch == nil {
		return refuse("Unknown channel ID, %s", id)
	}
	if function == "GetChannelConfig" {
		return give(ch.Config().Proto())
	}
	block, err := ch.Ledger().Blocks().LastConfig()
	if err != nil {
		return refuse("%s", err)
	}
	return give(block)
}

func (e *Endorser) join(ctx context.Context, x *execution, raw []byte) *pb.Response {
	if raw == nil {
		return refuse("Cannot join the channel <nil> configuration block provided")
	}
	block := &cb.Block{}
	if err := proto.Unmarshal(raw, block); err != nil {
		return refuse("Failed to reconstruct the genesis block, error unmarshalling Block: %s", err)
	}
	id, err := channelOf(block)
	if err != nil {
		return refuse("\"JoinChain\" request failed to extract channel id from the block due to [%s]", err)
	}
	if err := joinable(block); err != nil {
		return refuse("\"JoinChain\" for channelID = %s failed because of validation of configuration block, because of %s", id, err)
	}
	if err := e.access(x, "cscc/JoinChain", ""); err != nil {
		return refuse("access denied for [JoinChain][%s]: [%s]", id, err)
	}
	if err := e.o.Join(ctx, block); err != nil {
		return refuse("%s", err)
	}
	return &pb.Response{Status: 200}
}

func channelOf(block *cb.Block) (string, error) {
	if len(block.GetData().GetData()) == 0 {
		return "", errors.New("failed to retrieve channel id - block is empty")
	}
	envelope := &cb.Envelope{}
	if err := proto.Unmarshal(block.GetData().GetData()[0], envelope); err != nil {
		return "", fmt.Errorf("error reconstructing envelope: %w", err)
	}
	header, _, err := channel.ParseConfig(envelope)
	if err != nil {
		return "", err
	}
	return header.GetChannelId(), nil
}

func joinable(block *cb.Block) error {
	envelope := &cb.Envelope{}
	if err := proto.Unmarshal(block.GetData().GetData()[0], envelope); err != nil {
		return fmt.Errorf("Bad configuration envelope: %w", err) //nolint:staticcheck // Fabric's words
	}
	_, update, err := channel.ParseConfig(envelope)
	if err != nil {
		return fmt.Errorf("Bad configuration envelope: %w", err) //nolint:staticcheck // Fabric's words
	}
	group := update.GetConfig().GetChannelGroup()
	switch {
	case update.GetConfig() == nil:
		return errors.New("Nil config envelope Config") //nolint:staticcheck // Fabric's words
	case group == nil:
		return errors.New("Nil channel group") //nolint:staticcheck // Fabric's words
	case group.GetGroups() == nil:
		return errors.New("No channel configuration groups are available") //nolint:staticcheck // Fabric's words
	case group.GetGroups()["Application"] == nil:
		return errors.New("Invalid configuration block, missing Application configuration group") //nolint:staticcheck // Fabric's words
	}
	config, err := channel.FromBlock(block)
	if err != nil {
		return err
	}
	if err := config.ChannelConfig().Capabilities().Supported(); err != nil {
		return fmt.Errorf("Failed capabilities check: [%w]", err) //nolint:staticcheck // Fabric's words
	}
	return nil
}

// qscc tells of blocks and transactions.
func (e *Endorser) qscc(x *execution, args [][]byte) *pb.Response {
	if len(args) < 2 {
		return refuse("Incorrect number of arguments, %d", len(args))
	}
	if by := x.proposal.Contract; by != "qscc" {
		return refuse("Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original invocation for '%s'", by)
	}
	function, id := string(args[0]), string(args[1])
	if function != "GetChainInfo" && len(args) < 3 {
		return refuse("missing 3rd argument for %s", function)
	}
	ch := e.o.Channel(id)
	if ch == nil {
		return refuse("Invalid chain ID, %s", id)
	}
	if err := e.access(x, "qscc/"+function, id); err != nil {
		return refuse("access denied for [%s][%s]: [%s]", function, id, err)
	}
	on := ch.Ledger().Blocks()
	switch function {
	case "GetChainInfo":
		info, err := on.Info()
		if err != nil {
			return refuse("Failed to get block info with error %s", err)
		}
		return give(info)
	case "GetTransactionByID":
		return transaction(on, string(args[2]))
	default:
		return findBlock(on, function, args[2])
	}
}

func transaction(on *blocks.Ledger, txID string) *pb.Response {
	if txID == "" {
		return refuse("Transaction ID must not be nil.")
	}
	envelope, err := on.Transaction(txID)
	if err != nil {
		return refuse("Failed to get transaction with id %s, error %s", txID, missing(err, "no such transaction ID [%s] in index", txID))
	}
	code, _, err := on.Validation(txID)
	if err != nil {
		return refuse("%s", err)
	}
	return give(&pb.ProcessedTransaction{TransactionEnvelope: envelope, ValidationCode: int32(code)})
}

func missing(err error, format string, args ...any) string {
	if blocks.IsNotFound(err) {
		return fmt.Sprintf(format, args...)
	}
	return err.Error()
}

func findBlock(on *blocks.Ledger, function string, arg []byte) *pb.Response {
	switch function {
	case "GetBlockByNumber":
		if arg == nil {
			return refuse("Block number must not be nil.")
		}
		number, err := strconv.ParseUint(string(arg), 10, 64)
		if err != nil {
			return refuse("Failed to parse block number with error %s", err)
		}
		block, err := on.Block(number)
		if err != nil {
			return refuse("Failed to get block number %d, error %s", number, missing(err, "no such block number [%d] in index", number))
		}
		return give(block)
	case "GetBlockByHash":
		if arg == nil {
			return refuse("Block hash must not be nil.")
		}
		block, err := on.BlockByHash(arg)
		if err != nil {
			return refuse("Failed to get block hash %s, error %s", string(arg), missing(err, "no such block hash [%s] in index", hex.EncodeToString(arg)))
		}
		return give(block)
	case "GetBlockByTxID":
		block, err := on.BlockByTxID(string(arg))
		if err != nil {
			return refuse("Failed to get block for txID %s, error %s", string(arg), missing(err, "no such transaction ID [%s] in index", string(arg)))
		}
		return give(block)
	default:
		return refuse("Requested function %s not found.", function)
	}
}
