package ledger

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/tx"
)

// History gives the writes of a public key, the newest first.
func (l *Ledger) History(ns, key string) (Rows, error) {
	prefix := l.records.key(keyHistory, text(ns), text(key))
	upper := append(append([]byte{}, prefix...), 0xff)
	rows, err := l.records.store.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	rows.Last()
	return &historyRows{ledger: l, rows: rows, prefix: len(prefix), ns: ns, key: key}, nil
}

type historyRows struct {
	ledger  *Ledger
	rows    *pebble.Iterator
	prefix  int
	ns, key string
	closed  bool
}

func (h *historyRows) Next(context.Context) (proto.Message, error) {
	if h.closed || !h.rows.Valid() {
		return nil, nil //nolint:nilnil // the end of the rows is nothing wrong
	}
	at := h.rows.Key()[h.prefix:]
	if len(at) != 16 {
		return nil, fmt.Errorf("read history of %s: it is damaged", h.key)
	}
	block, index := binary.BigEndian.Uint64(at), binary.BigEndian.Uint64(at[8:])
	h.rows.Prev()
	return h.ledger.modification(block, index, h.ns, h.key)
}

func (*historyRows) Bookmark() string { return "" }

func (h *historyRows) Close() {
	if !h.closed {
		h.closed = true
		_ = h.rows.Close() // what went wrong was told by Next
	}
}

// modification finds what a transaction made of a key.
func (l *Ledger) modification(number, index uint64, ns, key string) (proto.Message, error) {
	block, err := l.blocks.Block(number)
	if err != nil {
		return nil, err
	}
	parsed, err := tx.Parse(block.GetData().GetData()[index])
	if err != nil {
		return nil, err
	}
	action, err := parsed.Action()
	if err != nil {
		return nil, err
	}
	spaces, err := rwset.Parse(action.GetResults())
	if err != nil {
		return nil, err
	}
	for _, space := range spaces {
		if space.Name != ns {
			continue
		}
		for _, write := range space.KV.GetWrites() {
			if write.GetKey() == key {
				return &queryresult.KeyModification{
					TxId: parsed.Channel.GetTxId(), Value: write.GetValue(), Timestamp: parsed.Channel.GetTimestamp(), IsDelete: rwset.IsDelete(write),
				}, nil
			}
		}
	}
	return nil, fmt.Errorf("no namespace or key is found for namespace %s and key %s with decoded blockNum %d and tranNum %d", ns, key, number, index)
}
