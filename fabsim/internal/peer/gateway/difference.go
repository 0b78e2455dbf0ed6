package gateway

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	pb "github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
)

// difference says in which parts two endorsed results differ, for the log: a
// contract that is not deterministic is found by it.
func difference(first, second []byte) string {
	a, b := &pb.ProposalResponsePayload{}, &pb.ProposalResponsePayload{}
	x, y := &pb.ChaincodeAction{}, &pb.ChaincodeAction{}
	for _, part := range []struct {
		raw  func() []byte
		into proto.Message
	}{
		{func() []byte { return first }, a},
		{func() []byte { return second }, b},
		{a.GetExtension, x},
		{b.GetExtension, y},
	} {
		if err := proto.Unmarshal(part.raw(), part.into); err != nil {
			return err.Error()
		}
	}
	var out []string
	if !bytes.Equal(a.GetProposalHash(), b.GetProposalHash()) {
		out = append(out, "proposal hash")
	}
	if !proto.Equal(x.GetResponse(), y.GetResponse()) {
		out = append(out, fmt.Sprintf("response {%v} and {%v}", x.GetResponse(), y.GetResponse()))
	}
	if !bytes.Equal(x.GetEvents(), y.GetEvents()) {
		out = append(out, "event")
	}
	if !proto.Equal(x.GetChaincodeId(), y.GetChaincodeId()) {
		out = append(out, fmt.Sprintf("contract {%v} and {%v}", x.GetChaincodeId(), y.GetChaincodeId()))
	}
	if !bytes.Equal(x.GetResults(), y.GetResults()) {
		out = append(out, resultsDifference(x.GetResults(), y.GetResults()))
	}
	return strings.Join(out, "; ")
}

func resultsDifference(first, second []byte) string {
	a, err := rwset.Parse(first)
	if err != nil {
		return err.Error()
	}
	b, err := rwset.Parse(second)
	if err != nil {
		return err.Error()
	}
	left, right := lines(a), lines(b)
	var out []string
	for _, line := range left {
		if !slices.Contains(right, line) {
			out = append(out, "only the first: "+line)
		}
	}
	for _, line := range right {
		if !slices.Contains(left, line) {
			out = append(out, "only the second: "+line)
		}
	}
	return "read-write set: " + strings.Join(out, ", ")
}

// lines has one line for each thing that was read or written, without values.
func lines(spaces []*rwset.Space) []string {
	var out []string
	for _, s := range spaces {
		out = append(out, fmt.Sprintf("namespace %s", s.Name))
		for _, read := range s.KV.GetReads() {
			out = append(out, fmt.Sprintf("%s: read %q at %v", s.Name, read.GetKey(), rwset.FromProto(read.GetVersion())))
		}
		for _, write := range s.KV.GetWrites() {
			out = append(out, fmt.Sprintf("%s: write %q, value with hash %.8x", s.Name, write.GetKey(), rwset.Hash(write.GetValue())))
		}
		for _, info := range s.KV.GetRangeQueriesInfo() {
			out = append(out, fmt.Sprintf("%s: range %v", s.Name, info))
		}
		for _, c := range s.Collections {
			out = append(out, fmt.Sprintf("%s/%s with hash %.8x", s.Name, c.Name, c.PrivateHash))
			for _, read := range c.Hashed.GetHashedReads() {
				out = append(out, fmt.Sprintf("%s/%s: read %.8x at %v", s.Name, c.Name, read.GetKeyHash(), rwset.FromProto(read.GetVersion())))
			}
			for _, write := range c.Hashed.GetHashedWrites() {
				out = append(out, fmt.Sprintf("%s/%s: write %.8x, value %.8x", s.Name, c.Name, write.GetKeyHash(), write.GetValueHash()))
			}
		}
	}
	return out
}
