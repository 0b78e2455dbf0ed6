package consensus

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/simtest"
)

func named(names ...string) []*etcdraft.Consenter {
	var out []*etcdraft.Consenter
	for _, name := range names {
		out = append(out, &etcdraft.Consenter{Host: name, Port: 7050, ClientTlsCert: []byte(name), ServerTlsCert: []byte(name)})
	}
	return out
}

func three(t *testing.T) *members {
	t.Helper()
	m, err := newMembers(nil, &etcdraft.ConfigMetadata{Consenters: named("a", "b", "c")})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBecome(t *testing.T) {
	tests := map[string]struct {
		to      []string
		ids     []uint64
		next    uint64
		conf    *raftpb.ConfChange
		rotated uint64
		fails   bool
	}{
		"the same":                    {to: []string{"a", "b", "c"}, ids: []uint64{1, 2, 3}, next: 4},
		"in another order":            {to: []string{"c", "a", "b"}, ids: []uint64{3, 1, 2}, next: 4},
		"one more":                    {to: []string{"a", "b", "c", "d"}, ids: []uint64{1, 2, 3, 4}, next: 5, conf: &raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: 4}},
		"one more in front":           {to: []string{"d", "a", "b", "c"}, ids: []uint64{4, 1, 2, 3}, next: 5, conf: &raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: 4}},
		"one less":                    {to: []string{"a", "c"}, ids: []uint64{1, 3}, next: 4, conf: &raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode, NodeID: 2}},
		"another certificate":         {to: []string{"a", "B", "c"}, ids: []uint64{1, 2, 3}, next: 4, rotated: 2},
		"two more":                    {to: []string{"a", "b", "c", "d", "e"}, fails: true},
		"two less":                    {to: []string{"a"}, fails: true},
		"one for two":                 {to: []string{"a", "d"}, fails: true},
		"everybody else's altogether": {to: []string{"d", "e", "f"}, fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			change, err := three(t).become(named(test.to...))
			if (err != nil) != test.fails {
				t.Fatalf("error %v", err)
			}
			if test.fails {
				return
			}
			if diff := cmp.Diff(test.ids, change.next.meta.GetConsenterIds()); diff != "" {
				t.Error(diff)
			}
			if change.next.meta.GetNextConsenterId() != test.next || change.rotated != test.rotated {
				t.Errorf("next %d, rotated %d", change.next.meta.GetNextConsenterId(), change.rotated)
			}
			if diff := cmp.Diff(test.conf, change.conf); diff != "" {
				t.Error(diff)
			}
			for i, id := range test.ids {
				if change.next.nodes[id].GetHost() != test.to[i] {
					t.Errorf("node %d is %s, want %s", id, change.next.nodes[id].GetHost(), test.to[i])
				}
			}
		})
	}
}

func TestLosesQuorum(t *testing.T) {
	tests := map[string]struct {
		to     []string
		active []uint64
		want   bool
	}{
		"adding while all are there":     {[]string{"a", "b", "c", "d"}, []uint64{1, 2, 3}, false},
		"adding while one is away":       {[]string{"a", "b", "c", "d"}, []uint64{1, 2}, true},
		"removing the one that is away":  {[]string{"a", "b"}, []uint64{1, 2}, false},
		"removing one while another is":  {[]string{"a", "b"}, []uint64{1, 3}, true},
		"renewing while all are there":   {[]string{"a", "b", "C"}, []uint64{1, 2, 3}, false},
		"renewing while another is away": {[]string{"a", "b", "C"}, []uint64{1, 3}, true},
		"no change while two are away":   {[]string{"a", "b", "c"}, []uint64{1}, false},
		"renewing the one that is away":  {[]string{"a", "b", "C"}, []uint64{1, 2}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			change, err := three(t).become(named(test.to...))
			if err != nil {
				t.Fatal(err)
			}
			if got := change.losesQuorum(test.active); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestMissing(t *testing.T) {
	m := three(t)
	for name, test := range map[string]struct {
		voters []uint64
		want   *raftpb.ConfChange
	}{
		"nothing":              {[]uint64{1, 2, 3}, nil},
		"one is to be added":   {[]uint64{1, 3}, &raftpb.ConfChange{Type: raftpb.ConfChangeAddNode, NodeID: 2}},
		"one is to be removed": {[]uint64{1, 2, 3, 7}, &raftpb.ConfChange{Type: raftpb.ConfChangeRemoveNode, NodeID: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, m.missing(test.voters)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNumbersOfBlocks(t *testing.T) {
	raw, err := proto.Marshal(&etcdraft.BlockMetadata{ConsenterIds: []uint64{4, 2}, NextConsenterId: 5, RaftIndex: 9})
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMembers(raw, &etcdraft.ConfigMetadata{Consenters: named("d", "b")})
	if err != nil {
		t.Fatal(err)
	}
	if m.nodes[4].GetHost() != "d" || m.nodes[2].GetHost() != "b" {
		t.Errorf("nodes: %v", m.nodes)
	}
	if _, err := newMembers(raw, &etcdraft.ConfigMetadata{Consenters: named("d")}); err == nil {
		t.Error("two numbers fit one consenter")
	}
	if _, err := newMembers([]byte{0xff}, &etcdraft.ConfigMetadata{}); err == nil {
		t.Error("garbage was read")
	}
}

// TestFind compares public keys: a certificate renewed with the same key is
// the same orderer.
func TestFind(t *testing.T) {
	org := simtest.NewOrg(t, "ord")
	first, second, other := org.TLS(t, "a"), org.TLS(t, "b"), org.TLS(t, "c")
	m, err := newMembers(nil, &etcdraft.ConfigMetadata{Consenters: []*etcdraft.Consenter{
		{ServerTlsCert: first.Cert, ClientTlsCert: first.Cert}, {ServerTlsCert: second.Cert, ClientTlsCert: second.Cert},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for certificate, want := range map[string]uint64{string(first.Cert): 1, string(second.Cert): 2, string(other.Cert): 0} {
		if id, err := m.find([]byte(certificate)); id != want || err != nil {
			t.Errorf("got %d, want %d: %v", id, want, err)
		}
	}
	if _, err := m.find([]byte("no certificate")); err == nil {
		t.Error("garbage was found")
	}
}
