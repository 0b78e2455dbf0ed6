package cutter_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"

	"heddle.dev/heddle/fabsim/internal/orderer/cutter"
)

func TestCutter(t *testing.T) {
	limits := &ab.BatchSize{MaxMessageCount: 3, PreferredMaxBytes: 10}
	tests := map[string]struct {
		sizes   []int
		batches [][]int
		pending bool
	}{
		"one waits":                       {[]int{4}, nil, true},
		"as many as a block has":          {[]int{1, 1, 1}, [][]int{{1, 1, 1}}, false},
		"one more waits":                  {[]int{1, 1, 1, 2}, [][]int{{1, 1, 1}}, true},
		"what does not fit begins anew":   {[]int{6, 5}, [][]int{{6}}, true},
		"exactly full still waits":        {[]int{6, 4}, nil, true},
		"a large one alone":               {[]int{11}, [][]int{{11}}, false},
		"a large one after what waits":    {[]int{2, 11}, [][]int{{2}, {11}}, false},
		"an overflow that fills the next": {[]int{9, 9, 1, 1}, [][]int{{9}, {9, 1}}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var c cutter.Cutter
			var got [][]int
			var pending bool
			for _, size := range test.sizes {
				var batches [][]*cb.Envelope
				batches, pending = c.Ordered(&cb.Envelope{Payload: make([]byte, size-1), Signature: []byte{0}}, limits)
				for _, batch := range batches {
					got = append(got, sizes(batch))
				}
			}
			if diff := cmp.Diff(test.batches, got); diff != "" {
				t.Error(diff)
			}
			if pending != test.pending || pending != (len(c.Cut()) > 0) {
				t.Errorf("pending: %v", pending)
			}
			if len(c.Cut()) != 0 {
				t.Error("something is left after cutting")
			}
		})
	}
}

func sizes(batch []*cb.Envelope) []int {
	var out []int
	for _, message := range batch {
		out = append(out, int(cutter.Size(message)))
	}
	return out
}
