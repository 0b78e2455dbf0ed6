package rwset

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
)

// Version is the block and the transaction that last wrote a key. A nil
// Version is that of a key that there is not.
type Version struct{ Block, Tx uint64 }

// FromProto reads a version of a read-write set.
func FromProto(v *kvrwset.Version) *Version {
	if v == nil {
		return nil
	}
	return &Version{Block: v.GetBlockNum(), Tx: v.GetTxNum()}
}

// Proto is the version as read-write sets have it.
func (v *Version) Proto() *kvrwset.Version {
	if v == nil {
		return nil
	}
	return &kvrwset.Version{BlockNum: v.Block, TxNum: v.Tx}
}

// String is for messages.
func (v *Version) String() string {
	if v == nil {
		return "<nil>"
	}
	return fmt.Sprintf("{BlockNum: %d, TxNum: %d}", v.Block, v.Tx)
}

// Same tells whether two versions are equal; two that are nil are.
func Same(a, b *Version) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// Bytes is the encoding that goes into commit hashes: for each number its
// length and its big-endian bytes without leading zeros.
func (v *Version) Bytes() []byte {
	return append(orderedUint(v.Block), orderedUint(v.Tx)...)
}

func orderedUint(n uint64) []byte {
	var full [8]byte
	binary.BigEndian.PutUint64(full[:], n)
	short := bytes.TrimLeft(full[:], "\x00")
	return append([]byte{byte(len(short))}, short...) //nolint:gosec // it is at most 8
}

// Hash is the hash that private keys and values are known by; that of nothing
// is nothing.
func Hash(data []byte) []byte {
	if data == nil {
		return nil
	}
	sum := sha256.Sum256(data)
	return sum[:]
}

// IsDelete tells whether a write takes the key away: an empty value does, too.
func IsDelete(write *kvrwset.KVWrite) bool {
	return write.GetIsDelete() || len(write.GetValue()) == 0
}

// IsHashDelete is IsDelete for writes to collections.
func IsHashDelete(write *kvrwset.KVWriteHash) bool {
	empty := sha256.Sum256(nil)
	return write.GetIsDelete() || len(write.GetValueHash()) == 0 || bytes.Equal(write.GetValueHash(), empty[:])
}
