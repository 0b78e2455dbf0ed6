package runtime

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/ledger"
)

// batchSize is how many rows a contract is sent at a time.
const batchSize = 100

// iterator is a query that a contract goes through.
type iterator struct {
	rows    ledger.Rows
	pending []*pb.QueryResultBytes
	// total is how many rows there were, limit how many there may be.
	total, limit int32
	paged        bool
}

func page(raw []byte) (*pb.QueryMetadata, bool, error) {
	if raw == nil {
		return nil, false, nil
	}
	out := &pb.QueryMetadata{}
	if err := proto.Unmarshal(raw, out); err != nil {
		return nil, false, fmt.Errorf("unmarshal failed: %w", err)
	}
	return out, out.GetPageSize() != 0 || out.GetBookmark() != "", nil
}

func getRange(ctx context.Context, r *Runtime, call *Call, in *pb.GetStateByRange) ([]byte, error) {
	paging, paged, err := page(in.GetMetadata())
	if err != nil {
		return nil, err
	}
	var rows ledger.Rows
	switch {
	case in.GetCollection() != "":
		paged = false
		if err := call.mayRead(ctx, r.o.Host, in.GetCollection()); err != nil {
			return nil, err
		}
		rows, err = call.Simulator.PrivateRange(ctx, call.Namespace, in.GetCollection(), in.GetStartKey(), in.GetEndKey())
	default:
		start := in.GetStartKey()
		if paged && paging.GetBookmark() != "" {
			start = paging.GetBookmark()
		}
		rows, err = call.Simulator.Range(ctx, call.Namespace, start, in.GetEndKey(), int(paging.GetPageSize()), paged)
	}
	if err != nil {
		return nil, err
	}
	return r.open(ctx, call, rows, paging, paged)
}

func getQuery(ctx context.Context, r *Runtime, call *Call, in *pb.GetQueryResult) ([]byte, error) {
	paging, paged, err := page(in.GetMetadata())
	if err != nil {
		return nil, err
	}
	var rows ledger.Rows
	switch {
	case in.GetCollection() != "":
		paged = false
		if err := call.mayRead(ctx, r.o.Host, in.GetCollection()); err != nil {
			return nil, err
		}
		rows, err = call.Simulator.PrivateQuery(ctx, call.Namespace, in.GetCollection(), in.GetQuery())
	case paged:
		rows, err = call.Simulator.Page(ctx, call.Namespace, in.GetQuery(), paging.GetBookmark(), int(paging.GetPageSize()))
	default:
		rows, err = call.Simulator.Query(ctx, call.Namespace, in.GetQuery())
	}
	if err != nil {
		return nil, err
	}
	return r.open(ctx, call, rows, paging, paged)
}

func getHistory(ctx context.Context, r *Runtime, call *Call, in *pb.GetHistoryForKey) ([]byte, error) {
	if !r.o.History {
		return nil, errors.New("history database is not enabled")
	}
	rows, err := call.Simulator.Ledger().History(call.Namespace, in.GetKey())
	if err != nil {
		return nil, err
	}
	return r.open(ctx, call, rows, nil, false)
}

// open keeps a query for the contract and gives the first rows.
func (r *Runtime) open(ctx context.Context, call *Call, rows ledger.Rows, paging *pb.QueryMetadata, paged bool) ([]byte, error) {
	limit := r.o.QueryLimit
	if size := paging.GetPageSize(); size > 0 && size < limit {
		limit = size
	}
	if call.iterators == nil {
		call.iterators = map[string]*iterator{}
	}
	call.nextID++
	id := strconv.Itoa(call.nextID)
	call.iterators[id] = &iterator{rows: rows, limit: limit, paged: paged}
	return call.more(ctx, id)
}

func queryNext(ctx context.Context, _ *Runtime, call *Call, in *pb.QueryStateNext) ([]byte, error) {
	it := call.iterators[in.GetId()]
	if it == nil {
		return nil, errors.New("query iterator not found")
	}
	return call.more(ctx, in.GetId())
}

func queryClose(_ context.Context, _ *Runtime, call *Call, in *pb.QueryStateClose) ([]byte, error) {
	call.end(in.GetId())
	return proto.Marshal(&pb.QueryResponse{Id: in.GetId()})
}

func (c *Call) end(id string) {
	if it := c.iterators[id]; it != nil {
		it.rows.Close()
		delete(c.iterators, id)
	}
}

// more gives the next rows. It always looks one row ahead, as Fabric does,
// which the read-write set shows.
func (c *Call) more(ctx context.Context, id string) ([]byte, error) {
	it := c.iterators[id]
	for it.total < it.limit {
		row, err := it.rows.Next(ctx)
		if err != nil {
			c.end(id)
			return nil, err
		}
		if row == nil {
			break
		}
		raw, err := proto.Marshal(row)
		if err != nil {
			c.end(id)
			return nil, fmt.Errorf("marshal failed: %w", err)
		}
		full := !it.paged && len(it.pending) == batchSize
		batch := it.pending
		if full {
			it.pending = nil
		}
		it.pending = append(it.pending, &pb.QueryResultBytes{ResultBytes: raw})
		it.total++
		if full {
			return proto.Marshal(&pb.QueryResponse{Results: batch, HasMore: true, Id: id})
		}
	}
	out := &pb.QueryResponse{Results: it.pending, Id: id}
	if it.paged {
		var err error
		out.Metadata, err = proto.Marshal(&pb.QueryResponseMetadata{Bookmark: it.rows.Bookmark(), FetchedRecordsCount: it.total})
		if err != nil {
			return nil, fmt.Errorf("marshal failed: %w", err)
		}
	}
	c.end(id)
	return proto.Marshal(out)
}
