package rwset

import (
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"
)

// Space is what a transaction did in one namespace.
type Space struct {
	Name        string
	KV          *kvrwset.KVRWSet
	Collections []*Collection
}

// Collection is what it did in a collection, as far as everybody may know.
type Collection struct {
	Name   string
	Hashed *kvrwset.HashedRWSet
	// PrivateHash is that of the private part; nil if there is none.
	PrivateHash []byte
}

// Parse reads the results of a simulation.
func Parse(raw []byte) ([]*Space, error) {
	set := &rwset.TxReadWriteSet{}
	if err := proto.Unmarshal(raw, set); err != nil {
		return nil, fmt.Errorf("read read-write set: %w", err)
	}
	return FromSet(set)
}

// FromSet is Parse for a set that is unwrapped already.
func FromSet(set *rwset.TxReadWriteSet) ([]*Space, error) {
	var out []*Space
	for _, ns := range set.GetNsRwset() {
		s := &Space{Name: ns.GetNamespace(), KV: &kvrwset.KVRWSet{}}
		if err := proto.Unmarshal(ns.GetRwset(), s.KV); err != nil {
			return nil, fmt.Errorf("read read-write set of %q: %w", s.Name, err)
		}
		for _, coll := range ns.GetCollectionHashedRwset() {
			c := &Collection{Name: coll.GetCollectionName(), Hashed: &kvrwset.HashedRWSet{}, PrivateHash: coll.GetPvtRwsetHash()}
			if err := proto.Unmarshal(coll.GetHashedRwset(), c.Hashed); err != nil {
				return nil, fmt.Errorf("read read-write set of collection %q of %q: %w", c.Name, s.Name, err)
			}
			s.Collections = append(s.Collections, c)
		}
		out = append(out, s)
	}
	return out, nil
}

// Writes tells whether anything was written in the namespace.
func (s *Space) Writes() bool {
	if len(s.KV.GetWrites()) > 0 || len(s.KV.GetMetadataWrites()) > 0 {
		return true
	}
	for _, c := range s.Collections {
		if len(c.Hashed.GetHashedWrites()) > 0 || len(c.Hashed.GetMetadataWrites()) > 0 {
			return true
		}
	}
	return false
}
