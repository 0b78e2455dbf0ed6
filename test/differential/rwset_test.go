package differential

import (
	"encoding/hex"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
)

// readable is a read-write set in plain values. Of the versions that were read
// only whether there was one counts: which block it was in varies.
func readable(t *testing.T, raw []byte) any {
	t.Helper()
	var set rwset.TxReadWriteSet
	decode(t, raw, &set)
	out := map[string]any{}
	if set.GetDataModel() != rwset.TxReadWriteSet_KV {
		out["model"] = set.GetDataModel().String()
	}
	names := []any{}
	for _, ns := range set.GetNsRwset() {
		var kv kvrwset.KVRWSet
		decode(t, ns.GetRwset(), &kv)
		one := public(&kv)
		one["namespace"] = ns.GetNamespace()
		var collections []any
		for _, c := range ns.GetCollectionHashedRwset() {
			collections = append(collections, hashed(t, c))
		}
		if collections != nil {
			one["collections"] = collections
		}
		names = append(names, one)
	}
	out["namespaces"] = names
	return out
}

func version(v *kvrwset.Version) string {
	if v == nil {
		return "none"
	}
	return "some"
}

func reads(list []*kvrwset.KVRead) []any {
	out := []any{}
	for _, read := range list {
		out = append(out, map[string]any{"key": read.GetKey(), "version": version(read.GetVersion())})
	}
	return out
}

func public(kv *kvrwset.KVRWSet) map[string]any {
	out := map[string]any{}
	if len(kv.GetReads()) > 0 {
		out["reads"] = reads(kv.GetReads())
	}
	var ranges, writes, metadata []any
	for _, q := range kv.GetRangeQueriesInfo() {
		one := map[string]any{"start": q.GetStartKey(), "end": q.GetEndKey(), "exhausted": q.GetItrExhausted()}
		if hashes := q.GetReadsMerkleHashes(); hashes != nil {
			one["merkle"] = []any{hashes.GetMaxDegree(), hashes.GetMaxLevel(), len(hashes.GetMaxLevelHashes())}
		} else {
			one["reads"] = reads(q.GetRawReads().GetKvReads())
		}
		ranges = append(ranges, one)
	}
	for _, w := range kv.GetWrites() {
		writes = append(writes, map[string]any{"key": w.GetKey(), "delete": w.GetIsDelete(), "value": payload(w.GetValue())})
	}
	for _, m := range kv.GetMetadataWrites() {
		one := map[string]any{"key": m.GetKey()}
		for _, e := range m.GetEntries() {
			one[e.GetName()] = payload(e.GetValue())
		}
		metadata = append(metadata, one)
	}
	for name, list := range map[string][]any{"ranges": ranges, "writes": writes, "metadata": metadata} {
		if list != nil {
			out[name] = list
		}
	}
	return out
}

// hashed is the part of a collection that goes to everybody.
func hashed(t *testing.T, c *rwset.CollectionHashedReadWriteSet) any {
	t.Helper()
	var set kvrwset.HashedRWSet
	decode(t, c.GetHashedRwset(), &set)
	out := map[string]any{"collection": c.GetCollectionName(), "pvtHash": len(c.GetPvtRwsetHash())}
	var read, writes, metadata []any
	for _, r := range set.GetHashedReads() {
		read = append(read, map[string]any{"key": short(r.GetKeyHash()), "version": version(r.GetVersion())})
	}
	for _, w := range set.GetHashedWrites() {
		writes = append(writes, map[string]any{
			"key": short(w.GetKeyHash()), "value": short(w.GetValueHash()), "delete": w.GetIsDelete(), "purge": w.GetIsPurge(),
		})
	}
	for _, m := range set.GetMetadataWrites() {
		metadata = append(metadata, short(m.GetKeyHash()))
	}
	for name, list := range map[string][]any{"reads": read, "writes": writes, "metadata": metadata} {
		if list != nil {
			out[name] = list
		}
	}
	return out
}

// short is the beginning of a hash: enough to tell right from wrong, and not
// taken for one that varies.
func short(hash []byte) string { return hex.EncodeToString(hash[:min(8, len(hash))]) }
