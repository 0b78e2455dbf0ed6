package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"testing"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
)

// messageStream is the peer's end of a contract's stream, whoever dialled.
type messageStream interface {
	Send(*peer.ChaincodeMessage) error
	Recv() (*peer.ChaincodeMessage, error)
}

// testPeer speaks the peer's half of the contract protocol over a real stream and
// keeps the world state in memory. Writes of a call that fails are thrown away.
type testPeer struct {
	stream messageStream
	name   string // what the contract registered as
	state  map[string][]byte
	calls  int
}

// result is what the peer would put into the endorsement.
type result struct {
	status  int32
	message string
	payload []byte
	event   *peer.ChaincodeEvent
}

func register(stream messageStream) (*testPeer, error) {
	m, err := stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("await registration: %w", err)
	}
	id := new(peer.ChaincodeID)
	if err := proto.Unmarshal(m.GetPayload(), id); err != nil {
		return nil, fmt.Errorf("decode registration: %w", err)
	}
	for _, t := range []peer.ChaincodeMessage_Type{peer.ChaincodeMessage_REGISTERED, peer.ChaincodeMessage_READY} {
		if err := stream.Send(&peer.ChaincodeMessage{Type: t}); err != nil {
			return nil, fmt.Errorf("answer registration: %w", err)
		}
	}
	return &testPeer{stream: stream, name: id.GetName(), state: map[string][]byte{}}, nil
}

// call runs one transaction, answering the contract's reads and collecting its writes.
func (p *testPeer) call(function string, args ...string) (*result, error) {
	input := &peer.ChaincodeInput{Args: [][]byte{[]byte(function)}}
	for _, a := range args {
		input.Args = append(input.Args, []byte(a))
	}
	payload, err := proto.Marshal(input)
	if err != nil {
		return nil, err
	}
	p.calls++
	m := &peer.ChaincodeMessage{
		Type: peer.ChaincodeMessage_TRANSACTION, Payload: payload,
		Txid: "tx" + strconv.Itoa(p.calls), ChannelId: "test",
	}
	writes := map[string][]byte{}
	for {
		if err := p.stream.Send(m); err != nil {
			return nil, fmt.Errorf("send %s: %w", m.GetType(), err)
		}
		got, err := p.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("call %s: contract hung up", function)
		}
		if err != nil {
			return nil, err
		}
		if got.GetType() == peer.ChaincodeMessage_COMPLETED {
			return p.commit(got, writes)
		}
		reply, err := p.answer(got, writes)
		if err != nil {
			return nil, err
		}
		m = &peer.ChaincodeMessage{
			Type: peer.ChaincodeMessage_RESPONSE, Payload: reply, Txid: got.GetTxid(), ChannelId: got.GetChannelId(),
		}
	}
}

func (p *testPeer) commit(m *peer.ChaincodeMessage, writes map[string][]byte) (*result, error) {
	response := new(peer.Response)
	if err := proto.Unmarshal(m.GetPayload(), response); err != nil {
		return nil, fmt.Errorf("decode response: %w", err)
	}
	if response.GetStatus() == 200 {
		for key, value := range writes {
			p.state[key] = value
			if value == nil {
				delete(p.state, key)
			}
		}
	}
	return &result{response.GetStatus(), response.GetMessage(), response.GetPayload(), m.GetChaincodeEvent()}, nil
}

func (p *testPeer) answer(m *peer.ChaincodeMessage, writes map[string][]byte) ([]byte, error) {
	switch m.GetType() {
	case peer.ChaincodeMessage_GET_STATE:
		r := new(peer.GetState)
		err := proto.Unmarshal(m.GetPayload(), r)
		return p.state[r.GetKey()], err
	case peer.ChaincodeMessage_PUT_STATE:
		r := new(peer.PutState)
		err := proto.Unmarshal(m.GetPayload(), r)
		writes[r.GetKey()] = r.GetValue()
		return nil, err
	case peer.ChaincodeMessage_DEL_STATE:
		r := new(peer.DelState)
		err := proto.Unmarshal(m.GetPayload(), r)
		writes[r.GetKey()] = nil
		return nil, err
	case peer.ChaincodeMessage_GET_STATE_BY_RANGE:
		return p.page(m.GetPayload())
	case peer.ChaincodeMessage_QUERY_STATE_CLOSE:
		return proto.Marshal(&peer.QueryResponse{})
	default:
		return nil, fmt.Errorf("contract sent %s, which this peer does not know", m.GetType())
	}
}

func (p *testPeer) page(request []byte) ([]byte, error) {
	r, metadata := new(peer.GetStateByRange), new(peer.QueryMetadata)
	if err := errors.Join(proto.Unmarshal(request, r), proto.Unmarshal(r.GetMetadata(), metadata)); err != nil {
		return nil, err
	}
	start := max(r.GetStartKey(), metadata.GetBookmark())
	var keys []string
	for key := range p.state {
		if key >= start && (r.GetEndKey() == "" || key < r.GetEndKey()) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	next := &peer.QueryResponseMetadata{}
	if size := int(metadata.GetPageSize()); size < len(keys) {
		next.Bookmark = keys[size]
		keys = keys[:size]
	}
	next.FetchedRecordsCount = int32(len(keys))
	response := new(peer.QueryResponse)
	for _, key := range keys {
		kv, err := proto.Marshal(&queryresult.KV{Namespace: "asset", Key: key, Value: bytes.Clone(p.state[key])})
		if err != nil {
			return nil, err
		}
		response.Results = append(response.Results, &peer.QueryResultBytes{ResultBytes: kv})
	}
	encoded, err := proto.Marshal(next)
	if err != nil {
		return nil, err
	}
	response.Metadata = encoded
	return proto.Marshal(response)
}

// must calls the contract and ends the test when the stream itself breaks.
func (p *testPeer) must(t *testing.T, function string, args ...string) *result {
	t.Helper()
	r, err := p.call(function, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
