package rwset

import (
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"
)

// MaxDegree is how many results of a range query a read-write set lists
// before it has hashes in their place.
const MaxDegree = 50

// Results condenses what a range query gave: up to max reads as they are, more
// as the top level of a tree of hashes in which each node stands for max+1
// below it.
type Results struct {
	max     int
	pending []*kvrwset.KVRead
	levels  map[int][][]byte
	top     int
}

// NewResults makes an empty one; max is MaxDegree, or what the read-write set
// says that is checked.
func NewResults(degree int) *Results {
	return &Results{max: degree, levels: map[int][][]byte{}, top: 1}
}

// Add takes in the next result.
func (r *Results) Add(key string, version *Version) error {
	r.pending = append(r.pending, &kvrwset.KVRead{Key: key, Version: version.Proto()})
	if len(r.pending) > r.max {
		return r.hashPending()
	}
	return nil
}

func (r *Results) hashPending() error {
	raw, err := proto.Marshal(&kvrwset.QueryReads{KvReads: r.pending})
	if err != nil {
		return fmt.Errorf("hash results of range query: %w", err)
	}
	r.pending = nil
	r.levels[1] = append(r.levels[1], Hash(raw))
	for level := 1; len(r.levels[level]) > r.max; level++ {
		r.lift(level)
	}
	return nil
}

// lift replaces a level by one hash on the next.
func (r *Results) lift(level int) {
	combined := combine(r.levels[level])
	delete(r.levels, level)
	r.levels[level+1] = append(r.levels[level+1], combined)
	r.top = max(r.top, level+1)
}

// combine leaves a lone hash as it is.
func combine(hashes [][]byte) []byte {
	if len(hashes) == 1 {
		return hashes[0]
	}
	var all []byte
	for _, hash := range hashes {
		all = append(all, hash...)
	}
	return Hash(all)
}

// Done gives the reads, or the tree's top level; neither if there were none.
func (r *Results) Done() ([]*kvrwset.KVRead, *kvrwset.QueryReadsMerkleSummary, error) {
	if r.top == 1 && len(r.levels[1]) == 0 {
		return r.pending, nil, nil
	}
	if len(r.pending) > 0 {
		if err := r.hashPending(); err != nil {
			return nil, nil, err
		}
	}
	for level := 1; level < r.top; level++ {
		if len(r.levels[level]) > 0 {
			r.lift(level)
		}
	}
	if len(r.levels[r.top]) > r.max {
		r.lift(r.top)
	}
	return nil, r.Summary(), nil
}

// Summary is the tree's top level so far.
func (r *Results) Summary() *kvrwset.QueryReadsMerkleSummary {
	return &kvrwset.QueryReadsMerkleSummary{
		MaxDegree: uint32(r.max), MaxLevel: uint32(r.top), MaxLevelHashes: r.levels[r.top], //nolint:gosec // both are small
	}
}

// Set puts what was found into the description of a range query.
func (r *Results) Set(info *kvrwset.RangeQueryInfo) error {
	reads, summary, err := r.Done()
	if err != nil {
		return err
	}
	if reads != nil {
		info.ReadsInfo = &kvrwset.RangeQueryInfo_RawReads{RawReads: &kvrwset.QueryReads{KvReads: reads}}
	}
	if summary != nil {
		info.ReadsInfo = &kvrwset.RangeQueryInfo_ReadsMerkleHashes{ReadsMerkleHashes: summary}
	}
	return nil
}
