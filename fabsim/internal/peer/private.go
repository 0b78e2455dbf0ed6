package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	frwset "github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/ledger"
	"heddle.dev/heddle/fabsim/internal/peer/lifecycle"
	"heddle.dev/heddle/fabsim/internal/peer/members"
	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// transient keeps private data between endorsement and commit. Its keys are
// those of no channel: names of channels have no zero byte.
type transient struct {
	store     *pebble.DB
	retention uint64
	serial    atomic.Uint64
}

func transientKey(id, txID string) []byte { return []byte("\x00t" + id + "\x00" + txID + "\x00") }

// add keeps one set; a transaction may have several, of several endorsers.
func (t *transient) add(id, txID string, height uint64, raw []byte) error {
	key := binary.BigEndian.AppendUint64(transientKey(id, txID), uint64(time.Now().UnixNano())+t.serial.Add(1))
	if err := t.store.Set(key, append(binary.BigEndian.AppendUint64(nil, height), raw...), pebble.Sync); err != nil {
		return fmt.Errorf("keep private data: %w", err)
	}
	return nil
}

func after(prefix []byte) []byte {
	out := slices.Clone(prefix)
	out[len(out)-1]++
	return out
}

// get gives all sets of a transaction.
func (t *transient) get(id, txID string) ([]*frwset.TxPvtReadWriteSet, error) {
	prefix := transientKey(id, txID)
	rows, err := t.store.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, fmt.Errorf("find private data: %w", err)
	}
	defer func() { _ = rows.Close() }() // what was wrong, rows.Error tells
	var out []*frwset.TxPvtReadWriteSet
	for rows.First(); rows.Valid(); rows.Next() {
		set := &frwset.TxPvtReadWriteSet{}
		if len(rows.Value()) < 8 || proto.Unmarshal(rows.Value()[8:], set) != nil {
			continue
		}
		out = append(out, set)
	}
	return out, rows.Error()
}

// done lets go of what belongs to committed transactions, and now and then of
// what nobody ever submitted.
func (t *transient) done(id string, txIDs []string, height uint64) error {
	batch := t.store.NewBatch()
	for _, txID := range txIDs {
		prefix := transientKey(id, txID)
		if err := batch.DeleteRange(prefix, after(prefix), nil); err != nil {
			return fmt.Errorf("let go of private data: %w", err)
		}
	}
	if t.retention > 0 && height%t.retention == 0 && height >= t.retention {
		if err := t.purge(batch, id, height-t.retention); err != nil {
			return err
		}
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("let go of private data: %w", err)
	}
	return nil
}

func (t *transient) purge(batch *pebble.Batch, id string, below uint64) error {
	prefix := []byte("\x00t" + id + "\x00")
	rows, err := t.store.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return fmt.Errorf("let go of private data: %w", err)
	}
	defer func() { _ = rows.Close() }() // what was wrong, rows.Error tells
	for rows.First(); rows.Valid(); rows.Next() {
		if len(rows.Value()) >= 8 && binary.BigEndian.Uint64(rows.Value()) < below {
			if err := batch.Delete(slices.Clone(rows.Key()), nil); err != nil {
				return fmt.Errorf("let go of private data: %w", err)
			}
		}
	}
	return rows.Error()
}

// distribute keeps private data of an endorsement and brings each collection
// to as many of its members as it asks for.
func (p *Peer) distribute(ctx context.Context, id, txID string, set *frwset.TxPvtReadWriteSet) error {
	j := p.channels.get(id)
	if j == nil {
		return fmt.Errorf("channel %s is gone", id)
	}
	raw, err := proto.Marshal(set)
	if err != nil {
		return fmt.Errorf("keep private data: %w", err)
	}
	if err := p.transient.add(id, txID, j.ledger.Height(), raw); err != nil {
		return err
	}
	for _, ns := range set.GetNsPvtRwset() {
		for _, coll := range ns.GetCollectionPvtRwset() {
			if err := p.push(ctx, j, txID, ns.GetNamespace(), coll); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Peer) push(ctx context.Context, j *joined, txID, ns string, coll *frwset.CollectionPvtReadWriteSet) error {
	collection, err := j.collection(ctx, ns, coll.GetCollectionName())
	if err != nil {
		return err
	}
	if collection == nil {
		return fmt.Errorf("failed to obtain collections config: collection %s of %s is not defined", coll.GetCollectionName(), ns)
	}
	one := &frwset.TxPvtReadWriteSet{DataModel: frwset.TxReadWriteSet_KV, NsPvtRwset: []*frwset.NsPvtReadWriteSet{{
		Namespace: ns, CollectionPvtRwset: []*frwset.CollectionPvtReadWriteSet{coll},
	}}}
	raw, err := proto.Marshal(one)
	if err != nil {
		return fmt.Errorf("write private data: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.settings.pushTimeout)
	defer cancel()
	sent := 0
	for _, m := range p.members.Of(ctx, j.Config().ID()) {
		if sent >= int(collection.GetMaximumPeerCount()) {
			break
		}
		if m.Local || m.Identity == nil || !members.InCollection(j.Config(), m, collection) {
			continue
		}
		err := p.members.Push(ctx, m, &members.Private{Channel: j.Config().ID(), TxID: txID, Height: j.ledger.Height(), Set: raw})
		if err != nil {
			p.log.Warnf("Cannot bring private data of %s to %s: %s", ns, m.Endpoint, err)
			continue
		}
		sent++
	}
	if sent < int(collection.GetRequiredPeerCount()) {
		return fmt.Errorf("could not build private data dissemination plan for chaincode %s and collection %s: "+
			"required to disseminate to at least %d peers, but know of only %d eligible peers",
			ns, coll.GetCollectionName(), collection.GetRequiredPeerCount(), sent)
	}
	return nil
}

// collection describes a collection; the own organisation's implicit one is
// spread as the settings say.
func (j *joined) collection(ctx context.Context, ns, name string) (*pb.StaticCollectionConfig, error) {
	out, err := lifecycle.Collection(ctx, ns, name, lifecycle.Committed(j.ledger))
	if err != nil || out == nil {
		return nil, err
	}
	if mspID, ok := lifecycle.ImplicitOrg(name); ok && mspID == j.peer.settings.mspID {
		out.RequiredPeerCount = int32(j.peer.settings.implicitRequired) //nolint:gosec // it is small
		out.MaximumPeerCount = int32(j.peer.settings.implicitMax)       //nolint:gosec // it is small
	}
	return out, nil
}

// keepPushed takes private data that another peer brings.
func (p *Peer) keepPushed(_ context.Context, in *members.Private) error {
	j := p.channels.get(in.Channel)
	if j == nil {
		return errors.New("the channel is not here")
	}
	if err := proto.Unmarshal(in.Set, &frwset.TxPvtReadWriteSet{}); err != nil {
		return fmt.Errorf("read private data: %w", err)
	}
	return p.transient.add(in.Channel, in.TxID, j.ledger.Height(), in.Set)
}

// giveWanted gives private data away to a peer that may have it.
func (p *Peer) giveWanted(ctx context.Context, w *members.Wanted, creator string) (*members.Private, error) {
	j := p.channels.get(w.Channel)
	if j == nil {
		return nil, errors.New("the channel is not here")
	}
	collection, err := j.collection(ctx, w.Namespace, w.Collection)
	if err != nil || collection == nil || !members.InCollection(j.Config(), &members.Member{Identity: []byte(creator)}, collection) {
		return nil, errors.Join(err, errors.New("the collection is not for this peer"))
	}
	var sets []*frwset.TxPvtReadWriteSet
	if w.Block < j.ledger.Height() {
		kept, err := j.ledger.Private(w.Block)
		if err != nil {
			return nil, err
		}
		sets = append(sets, kept[w.Tx])
	} else if sets, err = p.transient.get(w.Channel, w.TxID); err != nil {
		return nil, err
	}
	for _, set := range sets {
		for _, ns := range set.GetNsPvtRwset() {
			for _, coll := range ns.GetCollectionPvtRwset() {
				if ns.GetNamespace() == w.Namespace && coll.GetCollectionName() == w.Collection {
					raw, err := proto.Marshal(coll)
					return &members.Private{Channel: w.Channel, TxID: w.TxID, Set: raw}, err
				}
			}
		}
	}
	return nil, errors.New("it is not here")
}

// gather finds the private data of a block: kept since endorsement, or with
// other members. It also tells what this peer should have.
func (j *joined) gather(ctx context.Context, block *cb.Block, spaces map[uint64][]*rwset.Space) (map[uint64]*frwset.TxPvtReadWriteSet, []ledger.Missing, error) {
	out, wanted := map[uint64]*frwset.TxPvtReadWriteSet{}, []ledger.Missing{}
	for index, all := range spaces {
		txID := tx.ID(block.GetData().GetData()[index])
		for _, space := range all {
			for _, coll := range space.Collections {
				m := ledger.Missing{Block: block.GetHeader().GetNumber(), Tx: index, Namespace: space.Name, Collection: coll.Name}
				ours, found, err := j.gatherOne(ctx, txID, m, coll.PrivateHash)
				if err != nil {
					return nil, nil, err
				}
				if ours {
					wanted = append(wanted, m)
				}
				if found != nil {
					out[index] = with(out[index], space.Name, found)
				}
			}
		}
	}
	return out, wanted, nil
}

// gatherOne tells whether a collection is for this peer, and finds its data.
func (j *joined) gatherOne(ctx context.Context, txID string, m ledger.Missing, hash []byte) (bool, *frwset.CollectionPvtReadWriteSet, error) {
	if hash == nil {
		return false, nil, nil
	}
	collection, err := j.collection(ctx, m.Namespace, m.Collection)
	if err != nil || collection == nil || !members.InCollection(j.Config(), j.peer.selfMember(), collection) {
		return false, nil, err
	}
	found, err := j.findPrivate(ctx, txID, m, hash, collection)
	return true, found, err
}

func with(set *frwset.TxPvtReadWriteSet, ns string, coll *frwset.CollectionPvtReadWriteSet) *frwset.TxPvtReadWriteSet {
	if set == nil {
		set = &frwset.TxPvtReadWriteSet{DataModel: frwset.TxReadWriteSet_KV}
	}
	for _, one := range set.GetNsPvtRwset() {
		if one.GetNamespace() == ns {
			one.CollectionPvtRwset = append(one.CollectionPvtRwset, coll)
			return set
		}
	}
	set.NsPvtRwset = append(set.NsPvtRwset, &frwset.NsPvtReadWriteSet{Namespace: ns, CollectionPvtRwset: []*frwset.CollectionPvtReadWriteSet{coll}})
	return set
}

// findPrivate looks for one collection's data that fits its hash.
func (j *joined) findPrivate(ctx context.Context, txID string, m ledger.Missing, hash []byte, of *pb.StaticCollectionConfig) (*frwset.CollectionPvtReadWriteSet, error) {
	sets, err := j.peer.transient.get(j.Config().ID(), txID)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		for _, ns := range set.GetNsPvtRwset() {
			for _, coll := range ns.GetCollectionPvtRwset() {
				if ns.GetNamespace() == m.Namespace && coll.GetCollectionName() == m.Collection && slices.Equal(rwset.Hash(coll.GetRwset()), hash) {
					return coll, nil
				}
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	return j.fetch(ctx, txID, m, of), nil
}

// pullTimeout is how long a commit waits for private data of others; after it
// the data counts as missing and is looked for later.
const pullTimeout = 2 * time.Second

func (j *joined) fetch(ctx context.Context, txID string, m ledger.Missing, of *pb.StaticCollectionConfig) *frwset.CollectionPvtReadWriteSet {
	w := &members.Wanted{Channel: j.Config().ID(), TxID: txID, Block: m.Block, Tx: m.Tx, Namespace: m.Namespace, Collection: m.Collection}
	for _, other := range j.peer.members.Of(ctx, w.Channel) {
		if other.Local || other.Identity == nil || !members.InCollection(j.Config(), other, of) {
			continue
		}
		got, err := j.peer.members.Pull(ctx, other, w)
		if err != nil {
			continue
		}
		coll := &frwset.CollectionPvtReadWriteSet{}
		if proto.Unmarshal(got.Set, coll) == nil {
			return coll
		}
	}
	return nil
}

// reconcile looks for missing private data now and then until ctx ends.
func (p *Peer) reconcile(ctx context.Context) error {
	ticker := time.NewTicker(max(p.settings.reconcileEvery, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		for _, j := range p.channels.all() {
			if err := j.reconcile(ctx); err != nil {
				p.log.Warnf("Channel %s: cannot look for private data: %s", j.Config().ID(), err)
			}
		}
	}
}

const reconcileBatch = 100

func (j *joined) reconcile(ctx context.Context) error {
	missing, err := j.ledger.Missing(reconcileBatch)
	if err != nil {
		return err
	}
	for _, m := range missing {
		collection, err := j.collection(ctx, m.Namespace, m.Collection)
		if err != nil || collection == nil {
			return err
		}
		coll := j.fetch(ctx, "", m, collection)
		if coll == nil {
			continue
		}
		if err := j.takeMissing(ctx, m, coll); err != nil {
			return err
		}
	}
	return nil
}

// takeMissing commits private data that has turned up.
func (j *joined) takeMissing(ctx context.Context, m ledger.Missing, coll *frwset.CollectionPvtReadWriteSet) error {
	if m.Namespace == lifecycle.Namespace {
		defer j.peer.lifecycle.Changing()()
	}
	_, err := j.ledger.Reconcile(ctx, m, coll)
	return err
}
