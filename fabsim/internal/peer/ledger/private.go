package ledger

import (
	"context"
	"fmt"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// collection checks that a contract has a collection. What it needs to read
// for that becomes part of the simulation, once.
func (s *Simulator) collection(ctx context.Context, ns, coll string) error {
	names, ok := s.collections[ns]
	if !ok {
		found, err := s.ledger.collections(ctx, s, ns)
		if err != nil {
			return err
		}
		if found == nil {
			return fmt.Errorf("collection config not defined for chaincode [%s], pass the collection configuration upon chaincode definition/instantiation", ns)
		}
		names = map[string]bool{}
		for _, config := range found.GetConfig() {
			names[config.GetStaticCollectionConfig().GetName()] = true
		}
		s.collections[ns] = names
	}
	if !names[coll] {
		return fmt.Errorf("collection [%s] not defined in the collection config for chaincode [%s]", coll, ns)
	}
	return nil
}

// GetPrivate reads a private key.
func (s *Simulator) GetPrivate(ctx context.Context, ns, coll, key string) ([]byte, error) {
	if err := s.collection(ctx, ns, coll); err != nil {
		return nil, err
	}
	if err := s.usable(); err != nil {
		return nil, err
	}
	value, err := s.reader.Get(ctx, state.Private(ns, coll), key)
	if err != nil {
		return nil, err
	}
	hashed, err := s.reader.Get(ctx, state.Hashed(ns, coll), string(rwset.Hash([]byte(key))))
	if err != nil {
		return nil, err
	}
	if !rwset.Same(version(hashed), version(value)) {
		return nil, fmt.Errorf("private data matching public hash version is not available. Public hash version = %s, Private data version = %s",
			version(hashed), version(value))
	}
	s.builder.ReadHash(ns, coll, key, version(value))
	if s.interest.privateReads[ns] == nil {
		s.interest.privateReads[ns] = map[string]bool{}
	}
	s.interest.privateReads[ns][coll] = true
	return plain(value), nil
}

// GetPrivateHash reads the hash of a private value.
func (s *Simulator) GetPrivateHash(ctx context.Context, ns, coll, key string) ([]byte, error) {
	value, err := s.hashed(ctx, ns, coll, key)
	return plain(value), err
}

func (s *Simulator) hashed(ctx context.Context, ns, coll, key string) (*state.Value, error) {
	if err := s.collection(ctx, ns, coll); err != nil {
		return nil, err
	}
	if err := s.usable(); err != nil {
		return nil, err
	}
	value, err := s.reader.Get(ctx, state.Hashed(ns, coll), string(rwset.Hash([]byte(key))))
	if err != nil {
		return nil, err
	}
	s.builder.ReadHash(ns, coll, key, version(value))
	return value, nil
}

// GetPrivateMetadata reads the metadata of a private key.
func (s *Simulator) GetPrivateMetadata(ctx context.Context, ns, coll, key string) (map[string][]byte, error) {
	value, err := s.hashed(ctx, ns, coll, key)
	if err != nil || value == nil {
		return nil, err
	}
	return metadata(value.Metadata)
}

// SetPrivate writes a private key; no value deletes it.
func (s *Simulator) SetPrivate(ctx context.Context, ns, coll, key string, value []byte) error {
	return s.writePrivate(ctx, ns, coll, key, value, func() { s.builder.WritePrivate(ns, coll, key, value) })
}

// Purge deletes a private key and its history.
func (s *Simulator) Purge(ctx context.Context, ns, coll, key string) error {
	return s.writePrivate(ctx, ns, coll, key, nil, func() { s.builder.Purge(ns, coll, key) })
}

// SetPrivateMetadata writes the metadata of a private key.
func (s *Simulator) SetPrivateMetadata(ctx context.Context, ns, coll, key string, metadata map[string][]byte) error {
	return s.writePrivate(ctx, ns, coll, key, nil, func() { s.builder.WritePrivateMetadata(ns, coll, key, metadata) })
}

func (s *Simulator) writePrivate(ctx context.Context, ns, coll, key string, value []byte, note func()) error {
	if err := s.collection(ctx, ns, coll); err != nil {
		return err
	}
	if err := s.mayWrite(key, value); err != nil {
		return err
	}
	note()
	return s.noteKey(ctx, ns, coll, state.Hashed(ns, coll), string(rwset.Hash([]byte(key))))
}

// PrivateRange goes over private keys; only a transaction that writes nothing
// may, for nothing checks it at commit.
func (s *Simulator) PrivateRange(ctx context.Context, ns, coll, start, end string) (Rows, error) {
	if err := s.queryPrivate(ctx, ns, coll); err != nil {
		return nil, err
	}
	rows, err := s.reader.Range(ctx, state.Private(ns, coll), start, end, 0)
	if err != nil {
		return nil, err
	}
	return &queryRows{Rows: rows, ns: ns}, nil
}

// PrivateQuery asks in the language of the state database.
func (s *Simulator) PrivateQuery(ctx context.Context, ns, coll, query string) (Rows, error) {
	if err := s.queryPrivate(ctx, ns, coll); err != nil {
		return nil, err
	}
	rows, err := s.reader.Query(ctx, state.Private(ns, coll), query)
	if err != nil {
		return nil, err
	}
	return &queryRows{Rows: rows, ns: ns}, nil
}

func (s *Simulator) queryPrivate(ctx context.Context, ns, coll string) error {
	if s.wrote {
		return fmt.Errorf("txid [%s]: unsuppored transaction. Queries on pvt data is supported only in a read-only transaction", s.txID)
	}
	s.queriedPrivate = true
	if err := s.collection(ctx, ns, coll); err != nil {
		return err
	}
	return s.usable()
}
