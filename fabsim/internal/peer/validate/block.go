package validate

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"heddle.dev/heddle/fabsim/internal/blocks"
	"heddle.dev/heddle/fabsim/internal/channel"
	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// Result of a block.
type Result struct {
	// Config is the next configuration, if the block brings one.
	Config *channel.Config
	// Spaces are what the transactions that were found valid did, by index.
	Spaces map[uint64][]*rwset.Space
}

// Block judges the transactions of a block and writes their codes into its
// metadata.
func Block(ctx context.Context, config *channel.Config, on *ledger.Ledger, block *cb.Block) (*Result, error) {
	data := block.GetData().GetData()
	judged := forms(config, data)
	policies := newPolicies(config, on)
	flags := make([]byte, len(data))
	out := &Result{Spaces: map[uint64][]*rwset.Space{}}
	seen := map[string]bool{}
	for i := range judged {
		j := &judged[i]
		if err := j.judge(ctx, config, on, policies, out, uint64(i)); err != nil {
			return nil, fmt.Errorf("validate transaction %d of block %d: %w", i, block.GetHeader().GetNumber(), err)
		}
		if j.code == pb.TxValidationCode_VALID && j.action != nil {
			if id := j.tx.Channel.GetTxId(); seen[id] {
				j.code = pb.TxValidationCode_DUPLICATE_TXID
				delete(out.Spaces, uint64(i))
			} else {
				seen[id] = true
			}
		}
		flags[i] = byte(j.code) //nolint:gosec // codes are below 256
	}
	blocks.InitMetadata(block)
	block.Metadata.Metadata[cb.BlockMetadataIndex_TRANSACTIONS_FILTER] = flags
	return out, nil
}

type judgement struct {
	tx     *tx.Transaction
	action *tx.Action
	code   pb.TxValidationCode
}

// forms checks signatures on all processors.
func forms(config *channel.Config, data [][]byte) []judgement {
	out := make([]judgement, len(data))
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	var group sync.WaitGroup
	for i, raw := range data {
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			out[i].tx, out[i].action, out[i].code = Form(config, raw)
		})
	}
	group.Wait()
	return out
}

func (j *judgement) judge(ctx context.Context, config *channel.Config, on *ledger.Ledger, policies *policies, out *Result, index uint64) error {
	if j.code != pb.TxValidationCode_VALID {
		return nil
	}
	if j.tx.Channel.GetChannelId() != config.ID() {
		j.code = pb.TxValidationCode_TARGET_CHAIN_NOT_FOUND
		return nil
	}
	if j.action == nil {
		_, proposed, err := channel.ParseConfig(j.tx.Envelope)
		if err != nil {
			return err
		}
		out.Config, err = config.Apply(proposed)
		return err
	}
	known, err := on.Blocks().HasTransaction(j.tx.Channel.GetTxId())
	if err != nil {
		return err
	}
	if known {
		j.code = pb.TxValidationCode_DUPLICATE_TXID
		return nil
	}
	var spaces []*rwset.Space
	if j.code, spaces, err = policies.endorsed(ctx, j.tx, j.action); err != nil {
		return err
	}
	if j.code == pb.TxValidationCode_VALID {
		out.Spaces[index] = spaces
	}
	return nil
}
