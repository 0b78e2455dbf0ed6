package ledger

import (
	"context"
	"maps"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// versions checks that what a transaction read is still so, after the blocks
// before and the transactions before it in this one.
func (c *commit) versions(ctx context.Context, spaces []*rwset.Space) (pb.TxValidationCode, error) {
	for _, space := range spaces {
		if code, err := c.spaceVersions(ctx, space); err != nil || code != pb.TxValidationCode_VALID {
			return code, err
		}
	}
	return pb.TxValidationCode_VALID, nil
}

func (c *commit) spaceVersions(ctx context.Context, space *rwset.Space) (pb.TxValidationCode, error) {
	for _, read := range space.KV.GetReads() {
		same, err := c.same(ctx, space.Name, read.GetKey(), read.GetVersion())
		if err != nil || !same {
			return pb.TxValidationCode_MVCC_READ_CONFLICT, err
		}
	}
	for _, info := range space.KV.GetRangeQueriesInfo() {
		same, err := c.sameRange(ctx, space.Name, info)
		if err != nil || !same {
			return pb.TxValidationCode_PHANTOM_READ_CONFLICT, err
		}
	}
	for _, coll := range space.Collections {
		for _, read := range coll.Hashed.GetHashedReads() {
			same, err := c.same(ctx, state.Hashed(space.Name, coll.Name), string(read.GetKeyHash()), read.GetVersion())
			if err != nil || !same {
				return pb.TxValidationCode_MVCC_READ_CONFLICT, err
			}
		}
	}
	return pb.TxValidationCode_VALID, nil
}

func (c *commit) same(ctx context.Context, ns, key string, read *kvrwset.Version) (bool, error) {
	if c.batch.Get(ns, key) != nil {
		return false, nil
	}
	value, err := c.reader.Get(ctx, ns, key)
	if err != nil {
		return false, err
	}
	return rwset.Same(version(value), rwset.FromProto(read)), nil
}

func (c *commit) sameRange(ctx context.Context, ns string, info *kvrwset.RangeQueryInfo) (bool, error) {
	now, err := c.rangeNow(ctx, ns, info)
	if err != nil {
		return false, err
	}
	if summary := info.GetReadsMerkleHashes(); summary != nil {
		if summary.GetMaxDegree() < 2 {
			return false, nil
		}
		results := rwset.NewResults(int(summary.GetMaxDegree()))
		for _, row := range now {
			if err := results.Add(row.Key, &row.Version); err != nil {
				return false, err
			}
		}
		_, found, err := results.Done()
		return found != nil && proto.Equal(found, summary), err
	}
	reads := info.GetRawReads().GetKvReads()
	return slices.EqualFunc(now, reads, func(row state.Row, read *kvrwset.KVRead) bool {
		return row.Key == read.GetKey() && rwset.Same(&row.Version, rwset.FromProto(read.GetVersion()))
	}), nil
}

// rangeNow is the range as it is now: the state with the batch over it. The
// end is part of it where the contract stopped early.
func (c *commit) rangeNow(ctx context.Context, ns string, info *kvrwset.RangeQueryInfo) ([]state.Row, error) {
	start, end, withEnd := info.GetStartKey(), info.GetEndKey(), !info.GetItrExhausted()
	found, err := c.stored(ctx, ns, start, end)
	if err != nil {
		return nil, err
	}
	if withEnd && end != "" {
		last, err := c.reader.Get(ctx, ns, end)
		if err != nil {
			return nil, err
		}
		if last != nil {
			found[end] = *last
		}
	}
	for key, value := range c.batch.Spaces[ns] {
		within := key >= start && (end == "" || key < end || withEnd && key == end)
		switch {
		case !within:
		case value.Deleted():
			delete(found, key)
		default:
			found[key] = *value
		}
	}
	var out []state.Row
	for _, key := range slices.Sorted(maps.Keys(found)) {
		out = append(out, state.Row{Key: key, Value: found[key]})
	}
	return out, nil
}

// stored is a range as the blocks before have left it.
func (c *commit) stored(ctx context.Context, ns, start, end string) (map[string]state.Value, error) {
	rows, err := c.reader.Range(ctx, ns, start, end, 0)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]state.Value{}
	for {
		row, err := rows.Next(ctx)
		if err != nil || row == nil {
			return found, err
		}
		found[row.Key] = row.Value
	}
}
