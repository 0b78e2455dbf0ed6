package main

import (
	"slices"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-contract-api-go/v2/contractapi"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

// ledger is as much of a peer as the contract needs, in memory.
type ledger struct {
	shim.ChaincodeStubInterface
	state map[string][]byte
	event string
	query string // the last one; the answer is all of the state
}

func newLedger() *ledger {
	return &ledger{state: map[string][]byte{}}
}

func (l *ledger) GetState(key string) ([]byte, error) { return l.state[key], nil }

func (l *ledger) PutState(key string, value []byte) error {
	l.state[key] = value
	return nil
}

func (l *ledger) DelState(key string) error {
	delete(l.state, key)
	return nil
}

func (l *ledger) SetEvent(name string, payload []byte) error {
	l.event = name + " " + string(payload)
	return nil
}

func (l *ledger) GetQueryResultWithPagination(query string, _ int32, bookmark string) (
	shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error,
) {
	l.query = query
	found := &results{}
	for key, value := range l.state {
		found.entries = append(found.entries, &queryresult.KV{Key: key, Value: value})
	}
	slices.SortFunc(found.entries, func(a, b *queryresult.KV) int {
		if a.GetKey() < b.GetKey() {
			return -1
		}
		return 1
	})
	return found, &peer.QueryResponseMetadata{Bookmark: bookmark + "+"}, nil
}

type results struct{ entries []*queryresult.KV }

func (r *results) HasNext() bool { return len(r.entries) > 0 }
func (r *results) Close() error  { return nil }

func (r *results) Next() (*queryresult.KV, error) {
	next := r.entries[0]
	r.entries = r.entries[1:]
	return next, nil
}

func (l *ledger) context() contractapi.TransactionContextInterface {
	ctx := new(contractapi.TransactionContext)
	ctx.SetStub(l)
	return ctx
}
