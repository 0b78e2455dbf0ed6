package ledger

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

func plainWrites(raw []byte) []*kvrwset.KVWrite {
	set := &kvrwset.KVRWSet{}
	if proto.Unmarshal(raw, set) != nil {
		return nil
	}
	return set.GetWrites()
}

// Missing lists private data that is missing, up to some.
func (l *Ledger) Missing(limit int) ([]Missing, error) { return l.records.missing(limit) }

// Reconcile takes in private data that was missing. It tells whether the data
// fitted.
func (l *Ledger) Reconcile(ctx context.Context, m Missing, coll *frwset.CollectionPvtReadWriteSet) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	block, err := l.blocks.Block(m.Block)
	if err != nil {
		return false, err
	}
	if m.Tx >= uint64(len(block.GetData().GetData())) {
		return false, nil
	}
	spaces, err := spacesOf(block.GetData().GetData()[m.Tx])
	if err != nil {
		return false, err
	}
	got := &frwset.TxPvtReadWriteSet{NsPvtRwset: []*frwset.NsPvtReadWriteSet{{
		Namespace: m.Namespace, CollectionPvtRwset: []*frwset.CollectionPvtReadWriteSet{coll},
	}}}
	if len(fit(got, spaces).GetNsPvtRwset()) == 0 {
		return false, nil
	}
	if err := l.addLate(m, coll); err != nil {
		return false, err
	}
	return true, l.applyLate(ctx, m, coll)
}

func (l *Ledger) addLate(m Missing, coll *frwset.CollectionPvtReadWriteSet) error {
	sets, err := l.records.private(m.Block)
	if err != nil {
		return err
	}
	set := sets[m.Tx]
	if set == nil {
		set = &frwset.TxPvtReadWriteSet{DataModel: frwset.TxReadWriteSet_KV}
	}
	var space *frwset.NsPvtReadWriteSet
	for _, ns := range set.GetNsPvtRwset() {
		if ns.GetNamespace() == m.Namespace {
			space = ns
		}
	}
	if space == nil {
		space = &frwset.NsPvtReadWriteSet{Namespace: m.Namespace}
		set.NsPvtRwset = append(set.NsPvtRwset, space)
	}
	space.CollectionPvtRwset = append(space.CollectionPvtRwset, coll)
	batch := l.records.store.NewBatch()
	if err := l.records.setPrivate(batch, m.Block, m.Tx, set); err != nil {
		return err
	}
	if err := batch.Delete(l.records.key(keyMissing, m.key()), nil); err != nil {
		return fmt.Errorf("keep private data: %w", err)
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("keep private data: %w", err)
	}
	return nil
}

// applyLate writes those values that nothing newer has replaced.
func (l *Ledger) applyLate(ctx context.Context, m Missing, coll *frwset.CollectionPvtReadWriteSet) error {
	reader := l.state.Snapshot()
	batch := state.NewBatch()
	for _, write := range plainWrites(coll.GetRwset()) {
		hashed, err := reader.Get(ctx, state.Hashed(m.Namespace, m.Collection), string(rwset.Hash([]byte(write.GetKey()))))
		if err != nil {
			reader.Close()
			return err
		}
		if hashed == nil || hashed.Version.Block != m.Block || hashed.Version.Tx != m.Tx || rwset.IsDelete(write) {
			continue
		}
		batch.Put(state.Private(m.Namespace, m.Collection), write.GetKey(), state.Value{Value: write.GetValue(), Version: hashed.Version})
	}
	reader.Close()
	return l.state.Apply(ctx, batch, l.blocks.Height()-1)
}
