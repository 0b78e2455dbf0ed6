package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// ConfigKey is the key, in the namespace without a name, of the last
// configuration.
const ConfigKey = "CHANNEL_CONFIG_ENV_BYTES"

// commit is the way of one block into the ledger.
type commit struct {
	ledger  *Ledger
	block   *cb.Block
	private map[uint64]*frwset.TxPvtReadWriteSet
	batch   *state.Batch
	reader  state.Reader
	// spaces are those of the valid transactions.
	spaces map[uint64][]*rwset.Space
	// purged are private keys that were purged: their namespaces and hashes.
	purged   []purge
	outcomes map[string]Outcome
}

// Result of a commit.
type Result struct {
	// Block as it was appended, with codes and commit hash.
	Block *cb.Block
	// Spaces of the valid transactions.
	Spaces map[uint64][]*rwset.Space
	// Missing is private data that should be here and is not.
	Missing []Missing
}

// Commit checks versions and appends a block whose transactions have codes
// already, from what can be told of a transaction alone. Private data may be
// missing; what does not fit its hash counts as missing.
func (l *Ledger) Commit(ctx context.Context, block *cb.Block, private map[uint64]*frwset.TxPvtReadWriteSet, wanted []Missing) (*Result, error) {
	c := &commit{ledger: l, block: block, private: private, batch: state.NewBatch()}
	if err := c.prepare(ctx, true); err != nil {
		return nil, err
	}
	if err := c.hash(); err != nil {
		return nil, err
	}
	missing := c.missing(wanted)
	expiries, err := c.expiries(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.records.addPrivate(block.GetHeader().GetNumber(), c.private, missing, expiries); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.blocks.Append(block); err != nil {
		return nil, err
	}
	if err := c.applyState(ctx); err != nil {
		return nil, err
	}
	if err := l.records.addHistory(block.GetHeader().GetNumber(), c.spaces); err != nil {
		return nil, err
	}
	l.tell(c.outcomes)
	return &Result{Block: block, Spaces: c.spaces, Missing: missing}, nil
}

// prepare makes the batch of updates, with or without looking at versions.
func (c *commit) prepare(ctx context.Context, check bool) error {
	c.spaces, c.outcomes = map[uint64][]*rwset.Space{}, map[string]Outcome{}
	c.reader = c.ledger.state.Snapshot()
	defer c.reader.Close()
	flags := c.block.GetMetadata().GetMetadata()[cb.BlockMetadataIndex_TRANSACTIONS_FILTER]
	number := c.block.GetHeader().GetNumber()
	for i, raw := range c.block.GetData().GetData() {
		if pb.TxValidationCode(flags[i]) == pb.TxValidationCode_VALID {
			code, err := c.transaction(ctx, uint64(i), raw, check)
			if err != nil {
				return fmt.Errorf("check transaction %d of block %d: %w", i, number, err)
			}
			flags[i] = byte(code) //nolint:gosec // codes are below 256
		}
		if id := tx.ID(raw); id != "" {
			if _, seen := c.outcomes[id]; !seen {
				c.outcomes[id] = Outcome{Code: pb.TxValidationCode(flags[i]), Block: number}
			}
		}
	}
	if err := c.privateUpdates(ctx); err != nil {
		return err
	}
	return nil
}

func (c *commit) transaction(ctx context.Context, index uint64, raw []byte, check bool) (pb.TxValidationCode, error) {
	parsed, err := tx.Parse(raw)
	if err != nil {
		return pb.TxValidationCode_INVALID_OTHER_REASON, nil //nolint:nilerr // it is the transaction's fault
	}
	version := rwset.Version{Block: c.block.GetHeader().GetNumber(), Tx: index}
	if parsed.Type == cb.HeaderType_CONFIG {
		c.batch.Put("", ConfigKey, state.Value{Value: parsed.Payload.GetData(), Version: version})
		return pb.TxValidationCode_VALID, nil
	}
	action, err := parsed.Action()
	if err != nil {
		return pb.TxValidationCode_NIL_TXACTION, nil //nolint:nilerr // it is the transaction's fault
	}
	spaces, err := rwset.Parse(action.GetResults())
	if err != nil {
		return pb.TxValidationCode_INVALID_OTHER_REASON, nil //nolint:nilerr // it is the transaction's fault
	}
	if !c.storable(spaces) {
		return pb.TxValidationCode_INVALID_WRITESET, nil
	}
	if check {
		if code, err := c.versions(ctx, spaces); err != nil || code != pb.TxValidationCode_VALID {
			return code, err
		}
	}
	c.spaces[index] = spaces
	return pb.TxValidationCode_VALID, c.write(ctx, spaces, version)
}

// storable tells whether the state can hold all that is written.
func (c *commit) storable(spaces []*rwset.Space) bool {
	for _, space := range spaces {
		for _, write := range space.KV.GetWrites() {
			if c.ledger.state.Check(write.GetKey(), write.GetValue()) != nil {
				return false
			}
		}
	}
	return true
}

// hash chains the commit hash on and puts it into the block.
func (c *commit) hash() error {
	l, number := c.ledger, c.block.GetHeader().GetNumber()
	if number != 1 && len(l.commitHash) == 0 {
		return nil
	}
	slots := c.block.GetMetadata().GetMetadata()
	flags := slots[cb.BlockMetadataIndex_TRANSACTIONS_FILTER]
	text := protowire.AppendVarint(nil, uint64(len(flags)))
	text = append(text, flags...)
	text = append(text, updateBytes(c.batch)...)
	text = append(text, l.commitHash...)
	sum := sha256.Sum256(text)
	raw, err := proto.Marshal(&cb.Metadata{Value: sum[:]})
	if err != nil {
		return fmt.Errorf("write commit hash: %w", err)
	}
	slots[cb.BlockMetadataIndex_COMMIT_HASH], l.commitHash = raw, sum[:]
	return nil
}

// updateBytes is a message of all updates in an order of its own: namespaces,
// in each the public keys, then collections; names stand at the first key
// only. Configuration and plain private values are not in it.
func updateBytes(batch *state.Batch) []byte {
	type group struct{ ns, coll, physical string }
	var groups []group
	for physical := range batch.Spaces {
		if physical == "" || strings.Contains(physical, "$$p") {
			continue
		}
		g := group{ns: physical, physical: physical}
		if i := strings.Index(physical, "$$h"); i >= 0 {
			g.ns, g.coll = physical[:i], physical[i+3:]
		}
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b group) int {
		return cmp.Or(strings.Compare(a.ns, b.ns), strings.Compare(a.coll, b.coll))
	})
	var out []byte
	last := ""
	for _, g := range groups {
		for i, key := range slices.Sorted(maps.Keys(batch.Spaces[g.physical])) {
			var one []byte
			if i == 0 && g.ns != last {
				one = protowire.AppendString(protowire.AppendTag(one, 1, protowire.BytesType), g.ns)
				last = g.ns
			}
			if i == 0 && g.coll != "" {
				one = protowire.AppendString(protowire.AppendTag(one, 2, protowire.BytesType), g.coll)
			}
			one = appendUpdate(one, key, batch.Spaces[g.physical][key])
			out = protowire.AppendBytes(protowire.AppendTag(out, 1, protowire.BytesType), one)
		}
	}
	return out
}

func appendUpdate(out []byte, key string, value *state.Value) []byte {
	if key != "" {
		out = protowire.AppendString(protowire.AppendTag(out, 3, protowire.BytesType), key)
	}
	if value.Deleted() {
		out = protowire.AppendVarint(protowire.AppendTag(out, 4, protowire.VarintType), 1)
	}
	if len(value.Value) > 0 {
		out = protowire.AppendBytes(protowire.AppendTag(out, 5, protowire.BytesType), value.Value)
	}
	return protowire.AppendBytes(protowire.AppendTag(out, 6, protowire.BytesType), value.Version.Bytes())
}

// applyState adds what expires with this block and writes the batch.
func (c *commit) applyState(ctx context.Context) error {
	number := c.block.GetHeader().GetNumber()
	if err := c.expire(ctx); err != nil {
		return err
	}
	if err := c.ledger.records.purge(c.purged); err != nil {
		return err
	}
	return c.ledger.state.Apply(ctx, c.batch, number)
}
