package ledger

import (
	"context"
	"fmt"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// Rows are results of a query, as contracts get them.
type Rows interface {
	// Next is a KV or, of a history, a KeyModification; nil after the last.
	Next(ctx context.Context) (proto.Message, error)
	// Bookmark is where the next page begins.
	Bookmark() string
	Close()
}

// Range goes over public keys. A size above 0 makes it a page.
func (s *Simulator) Range(ctx context.Context, ns, start, end string, size int, paged bool) (Rows, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if paged {
		if err := s.mayPage(); err != nil {
			return nil, err
		}
	}
	rows, err := s.reader.Range(ctx, ns, start, end, size)
	if err != nil {
		return nil, err
	}
	out := &rangeRows{
		Rows: rows, ns: ns, end: end, results: rwset.NewResults(rwset.MaxDegree), info: &kvrwset.RangeQueryInfo{StartKey: start},
	}
	s.rows = append(s.rows, out)
	return out, nil
}

func (s *Simulator) mayPage() error {
	if s.wrote {
		return fmt.Errorf("txid [%s]: unsuppored transaction. Paginated queries are supported only in a read-only transaction", s.txID)
	}
	s.paged = true
	return nil
}

// Query asks in the language of the state database. Its results are checked
// one by one at commit, not for what is missing.
func (s *Simulator) Query(ctx context.Context, ns, query string) (Rows, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	rows, err := s.reader.Query(ctx, ns, query)
	if err != nil {
		return nil, err
	}
	return &queryRows{Rows: rows, ns: ns, builder: s.builder}, nil
}

// Page is Query for one page.
func (s *Simulator) Page(ctx context.Context, ns, query, bookmark string, size int) (Rows, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	if err := s.mayPage(); err != nil {
		return nil, err
	}
	rows, err := s.reader.Page(ctx, ns, query, bookmark, size)
	if err != nil {
		return nil, err
	}
	return &queryRows{Rows: rows, ns: ns, builder: s.builder}, nil
}

// rangeRows notes how far the contract went.
type rangeRows struct {
	state.Rows

	ns, end string
	info    *kvrwset.RangeQueryInfo
	results *rwset.Results
}

func (r *rangeRows) Next(ctx context.Context) (proto.Message, error) {
	row, err := r.Rows.Next(ctx)
	if err != nil {
		return nil, err
	}
	if row == nil {
		r.info.ItrExhausted, r.info.EndKey = true, r.end
		return nil, nil //nolint:nilnil // the end of the rows is nothing wrong
	}
	if err := r.results.Add(row.Key, &row.Version); err != nil {
		return nil, err
	}
	r.info.EndKey = row.Key
	return &queryresult.KV{Namespace: r.ns, Key: row.Key, Value: row.Value.Value}, nil
}

// queryRows notes each row as a read.
type queryRows struct {
	state.Rows

	ns      string
	builder *rwset.Builder // nil for private data
}

func (r *queryRows) Next(ctx context.Context) (proto.Message, error) {
	row, err := r.Rows.Next(ctx)
	if err != nil || row == nil {
		return nil, err
	}
	if r.builder != nil {
		r.builder.Read(r.ns, row.Key, &row.Version)
	}
	return &queryresult.KV{Namespace: r.ns, Key: row.Key, Value: row.Value.Value}, nil
}
