package differential

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	gw "github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// step is one thing that a case did and what came of it. What is empty does
// not count.
type step struct {
	// Do says what was done.
	Do string `json:"do"`
	// Code is the gRPC status.
	Code string `json:"code,omitempty"`
	// Says is the message, word for word but for what varies.
	Says string `json:"says,omitempty"`
	// Nodes are the nodes that an error of the gateway names.
	Nodes []nodeSaid `json:"nodes,omitempty"`
	// Status and Payload are of a contract's response.
	Status  int32 `json:"status,omitempty"`
	Payload any   `json:"payload,omitempty"`
	// Contract that an endorsement is for, RWSet what it read and wrote, Event
	// the contract's event.
	Contract string `json:"contract,omitempty"`
	RWSet    any    `json:"rwset,omitempty"`
	Event    any    `json:"event,omitempty"`
	// Answer is an orderer's, a deliver stream's, or an HTTP server's.
	Answer string `json:"answer,omitempty"`
	// Validation are the codes that the peers gave to a transaction.
	Validation map[string]string `json:"validation,omitempty"`
	// Facts are whatever else is to be compared.
	Facts map[string]any `json:"facts,omitempty"`
}

// nodeSaid is the part of a gateway's error that is about one node.
type nodeSaid struct {
	MSPID string `json:"mspID"`
	Says  string `json:"says,omitempty"`
}

// failed notes the outcome of a gRPC call.
func (s *step) failed(err error) {
	state := status.Convert(err)
	s.Code = state.Code().String()
	if state.Code() == codes.OK {
		return
	}
	s.say(state.Message())
	if state.Code() == codes.DeadlineExceeded {
		s.Says = "context deadline exceeded" // in the words of whichever side notices first
	}
	for _, detail := range state.Details() {
		if d, ok := detail.(*gw.ErrorDetail); ok {
			text := said(d.GetMessage())
			s.Nodes = append(s.Nodes, nodeSaid{MSPID: d.GetMspId(), Says: text})
		}
	}
	slices.SortFunc(s.Nodes, func(a, b nodeSaid) int { return strings.Compare(a.MSPID+a.Says, b.MSPID+b.Says) })
}

func (s *step) say(text string) { s.Says = said(text) }

// said is a message on one line, without what varies. The library for protocol
// buffers varies its blanks from program to program.
func said(text string) string { return clean(strings.Join(strings.Fields(text), " ")) }

// What varies from run to run, and what stands in its place.
var varying = []struct {
	pattern *regexp.Regexp
	name    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "<hash>"},
	{regexp.MustCompile(`\b[0-9a-f]{200,}\b`), "<hex>"},
	{regexp.MustCompile(`\b127\.0\.0\.1:\d+\b`), "<address>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d{4}|UTC))*`), "<time>"},
	{regexp.MustCompile(`(/[\w.-]+)+/data/`), "<data>/"},
	{regexp.MustCompile(`(?i)serial number:? ?\d+`), "serial number <serial>"},
	{regexp.MustCompile(`SN: ?[0-9a-f]+`), "SN: <serial>"},
	// Signatures have not all the same length.
	{regexp.MustCompile(`message payload is \d+ bytes`), "message payload is <n> bytes"},
	// Cases share blocks: which one a transaction gets into depends on the others.
	{regexp.MustCompile(`BlockNum: \d+, TxNum: \d+`), "BlockNum: <n>, TxNum: <n>"},
	// Launching lscc fails on all nodes, each for reasons in its own folders.
	{regexp.MustCompile(`could not launch chaincode lscc\.syscc: .*`), "could not launch chaincode lscc.syscc: <why>"},
}

func clean(text string) string {
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.name)
	}
	return text
}

// payload makes bytes readable: JSON as it is, text as text, large things by
// their size and all else in hex.
func payload(raw []byte) any {
	const longest = 1 << 10
	var value any
	switch {
	case len(raw) == 0:
		return nil
	case len(raw) > longest:
		return fmt.Sprintf("%d bytes", len(raw))
	case (raw[0] == '{' || raw[0] == '[') && json.Unmarshal(raw, &value) == nil:
		return value
	case utf8.Valid(raw) && !bytes.ContainsRune(raw, 0):
		return string(raw)
	}
	return "hex:" + hex.EncodeToString(raw)
}

// message makes a message's fields readable.
func message(m proto.Message) any {
	raw, err := protojson.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return err.Error()
	}
	return value
}

// normal is a record as plain JSON values, without what varies.
func normal(steps []*step) (any, error) {
	raw, err := json.Marshal(steps)
	if err != nil {
		return nil, err
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	return scrub(value, clean), nil
}

// scrub applies a function to every text in a value.
func scrub(value any, change func(string) string) any {
	switch v := value.(type) {
	case string:
		return change(v)
	case map[string]any:
		out := map[string]any{}
		for key, inner := range v {
			out[change(key)] = scrub(inner, change)
		}
		return out
	case []any:
		for i, inner := range v {
			v[i] = scrub(inner, change)
		}
	}
	return value
}
