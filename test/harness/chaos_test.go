package harness

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLeadersOf(t *testing.T) {
	cases := map[string]struct {
		claims []claim
		want   []string
	}{
		"raft":             {claims: []claim{{orderer: "a"}, {orderer: "b", leads: true}, {orderer: "c"}}, want: []string{"b"}},
		"raft in election": {claims: []claim{{orderer: "a"}, {orderer: "b"}, {orderer: "c"}}},
		"bft": {
			claims: []claim{{orderer: "a", leads: true, leader: 1}, {orderer: "b", leader: 1}, {orderer: "c", leader: 1}, {orderer: "d", leader: 1}},
			want:   []string{"a"},
		},
		"bft with a leader of yesterday": {
			claims: []claim{
				{orderer: "a", leads: true, leader: 1}, {orderer: "b", leads: true, leader: 2}, {orderer: "c", leader: 2}, {orderer: "d", leader: 2},
			},
			want: []string{"b"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, leadersOf(tc.claims)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
