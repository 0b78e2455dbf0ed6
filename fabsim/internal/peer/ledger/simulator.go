package ledger

import (
	"context"
	"errors"
	"fmt"

	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// CollectionsFunc finds all collections of a contract, the implicit ones, too;
// nil if there is no such contract. What it reads through get is part of the
// simulation.
type CollectionsFunc func(ctx context.Context, get Getter, contract string) (*pb.CollectionConfigPackage, error)

// Getter reads public state.
type Getter interface {
	GetState(ctx context.Context, ns, key string) ([]byte, error)
}

// Simulator runs one transaction against a snapshot of the state and notes
// what it reads and writes. It is for one goroutine at a time.
type Simulator struct {
	txID        string
	ledger      *Ledger
	reader      state.Reader
	builder     *rwset.Builder
	rows        []*rangeRows
	collections map[string]map[string]bool
	interest    interest

	done, wrote, queriedPrivate, paged, built bool
}

// interest is what an endorsement has to satisfy beside the contract's policy.
type interest struct {
	privateReads map[string]map[string]bool
	// written: namespace, collection ("" is public), whether a key without a
	// policy of its own was written; and the policies of those that have one.
	written  map[string]map[string]bool
	policies map[string][][]byte
}

// Results of a simulation.
type Results struct {
	Public  *frwset.TxReadWriteSet
	Private *frwset.TxPvtReadWriteSet
	// Interest is what other endorsers have to be chosen by.
	Interest *pb.ChaincodeInterest
}

// NewSimulator starts a simulation; it has to be closed.
func (l *Ledger) NewSimulator(txID string) *Simulator {
	return &Simulator{
		txID: txID, ledger: l, reader: l.state.Snapshot(), builder: rwset.NewBuilder(), collections: map[string]map[string]bool{},
		interest: interest{privateReads: map[string]map[string]bool{}, written: map[string]map[string]bool{}, policies: map[string][][]byte{}},
	}
}

// Ledger is what is simulated on.
func (s *Simulator) Ledger() *Ledger { return s.ledger }

// Close ends the simulation.
func (s *Simulator) Close() {
	if s.done {
		return
	}
	s.done = true
	for _, rows := range s.rows {
		rows.Close()
	}
	s.reader.Close()
}

func (s *Simulator) usable() error {
	if s.done {
		return errors.New("this instance should not be used after calling Done()")
	}
	return nil
}

func (s *Simulator) get(ctx context.Context, ns, key string) (*state.Value, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	value, err := s.reader.Get(ctx, ns, key)
	if err != nil {
		return nil, err
	}
	s.builder.Read(ns, key, version(value))
	return value, nil
}

func version(v *state.Value) *rwset.Version {
	if v == nil {
		return nil
	}
	return &v.Version
}

func plain(v *state.Value) []byte {
	if v == nil {
		return nil
	}
	return v.Value
}

// GetState reads a key.
func (s *Simulator) GetState(ctx context.Context, ns, key string) ([]byte, error) {
	value, err := s.get(ctx, ns, key)
	return plain(value), err
}

// GetMetadata reads the metadata of a key.
func (s *Simulator) GetMetadata(ctx context.Context, ns, key string) (map[string][]byte, error) {
	value, err := s.get(ctx, ns, key)
	if err != nil || value == nil {
		return nil, err
	}
	return metadata(value.Metadata)
}

func metadata(raw []byte) (map[string][]byte, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	write := &kvrwset.KVMetadataWrite{}
	if err := proto.Unmarshal(raw, write); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	out := map[string][]byte{}
	for _, entry := range write.GetEntries() {
		out[entry.GetName()] = entry.GetValue()
	}
	return out, nil
}

func (s *Simulator) mayWrite(key string, value []byte) error {
	if err := s.usable(); err != nil {
		return err
	}
	if s.queriedPrivate {
		return fmt.Errorf("txid [%s]: unsuppored transaction. Transaction has already performed queries on pvt data. Writes are not allowed", s.txID)
	}
	if s.paged {
		return fmt.Errorf("txid [%s]: unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed", s.txID)
	}
	s.wrote = true
	return s.ledger.state.Check(key, value)
}

// SetState writes a key; no value deletes it.
func (s *Simulator) SetState(ctx context.Context, ns, key string, value []byte) error {
	if err := s.mayWrite(key, value); err != nil {
		return err
	}
	s.builder.Write(ns, key, value)
	return s.noteKey(ctx, ns, "", ns, key)
}

// SetMetadata writes the metadata of a key.
func (s *Simulator) SetMetadata(ctx context.Context, ns, key string, metadata map[string][]byte) error {
	if err := s.mayWrite(key, nil); err != nil {
		return err
	}
	s.builder.WriteMetadata(ns, key, metadata)
	return s.noteKey(ctx, ns, "", ns, key)
}

// noteKey notes whether a key that is written has a policy of its own.
func (s *Simulator) noteKey(ctx context.Context, ns, coll, physical, key string) error {
	value, err := s.reader.Get(ctx, physical, key)
	if err != nil {
		return err
	}
	if s.interest.written[ns] == nil {
		s.interest.written[ns] = map[string]bool{"": false}
	}
	if value != nil {
		found, err := metadata(value.Metadata)
		if err != nil {
			return err
		}
		if policy, ok := found[ValidationParameter]; ok {
			s.interest.policies[ns] = append(s.interest.policies[ns], policy)
			return nil
		}
	}
	s.interest.written[ns][coll] = true
	return nil
}

// ValidationParameter is the metadata that has a key's endorsement policy.
const ValidationParameter = "VALIDATION_PARAMETER"

// Results ends the simulation and gives what was read and written.
func (s *Simulator) Results() (*Results, error) {
	if s.built {
		return nil, errors.New("this function should only be called once on a transaction simulator instance")
	}
	s.built = true
	for _, rows := range s.rows {
		if err := rows.results.Set(rows.info); err != nil {
			return nil, err
		}
		s.builder.Range(rows.ns, rows.info)
	}
	public, private, err := s.builder.Build()
	if err != nil {
		return nil, err
	}
	chaincodes, err := s.interest.build(public)
	return &Results{Public: public, Private: private, Interest: chaincodes}, err
}
