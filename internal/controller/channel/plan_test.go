package channel

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/kube"
)

func TestCompare(t *testing.T) {
	m := &memory{Wish: settings{"a": "1", "b": "1", "gone": "1"}, Accepted: settings{"acc": "7", "removed": "-"}}
	for name, c := range map[string]struct {
		wish, ledger settings
		memory       *memory
		want         verdict
	}{
		"all the same":                      {settings{"a": "1"}, settings{"a": "1"}, m, verdict{}},
		"the spec changed":                  {settings{"a": "2"}, settings{"a": "1"}, m, verdict{ours: []string{"a"}}},
		"the ledger changed":                {settings{"a": "1"}, settings{"a": "2"}, m, verdict{theirs: []string{"a"}}},
		"both changed":                      {settings{"a": "3"}, settings{"a": "2"}, m, verdict{ours: []string{"a"}}},
		"both changed alike":                {settings{"a": "2"}, settings{"a": "2"}, m, verdict{}},
		"the spec dropped it":               {settings{}, settings{"gone": "1"}, m, verdict{ours: []string{"gone"}}},
		"others added it":                   {settings{}, settings{"new": "1"}, m, verdict{theirs: []string{"new"}}},
		"the spec added it":                 {settings{"new": "1"}, settings{}, m, verdict{ours: []string{"new"}}},
		"others removed it":                 {settings{"a": "1"}, settings{}, m, verdict{theirs: []string{"a"}}},
		"one each":                          {settings{"a": "2", "b": "1"}, settings{"a": "1", "b": "9"}, m, verdict{ours: []string{"a"}, theirs: []string{"b"}}},
		"accepted":                          {settings{}, settings{"acc": "7"}, m, verdict{}},
		"accepted and then changed":         {settings{}, settings{"acc": "8"}, m, verdict{theirs: []string{"acc"}}},
		"without a memory nothing is ours":  {settings{"a": "2"}, settings{"a": "1"}, nil, verdict{theirs: []string{"a"}}},
		"a removal that was accepted":       {settings{"removed": "1"}, settings{}, &memory{Wish: settings{"removed": "1"}, Accepted: settings{"removed": "-"}}, verdict{}},
		"the spec insists on what was gone": {settings{"removed": "2"}, settings{}, &memory{Wish: settings{"removed": "1"}, Accepted: settings{"removed": "-"}}, verdict{ours: []string{"removed"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, compare(c.wish, c.ledger, c.memory), cmp.AllowUnexported(verdict{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNeverUndone plays a story: whatever others change stays, through our own changes and through a lost operator.
func TestNeverUndone(t *testing.T) {
	wish, ledger := settings{"batch": "500", "timeout": "200"}, settings{"batch": "500", "timeout": "200"}
	m := &memory{Generation: 1, Wish: wish}
	round := func(generation int64) verdict {
		v := compare(wish, ledger, m)
		m = m.learn(wish, ledger, v, generation)
		return compare(wish, ledger, m)
	}
	ledger = settings{"batch": "500", "timeout": "999"}
	if v := round(1); !slices.Equal(v.theirs, []string{"timeout"}) || v.ours != nil {
		t.Fatalf("after their change: %+v", v)
	}
	wish = settings{"batch": "100", "timeout": "200"}
	if v := round(2); !slices.Equal(v.ours, []string{"batch"}) || !slices.Equal(v.theirs, []string{"timeout"}) || m.Generation != 1 {
		t.Fatalf("after our wish: %+v, %+v", v, m)
	}
	ledger = settings{"batch": "100", "timeout": "999"}
	if v := round(2); v.ours != nil || !slices.Equal(v.theirs, []string{"timeout"}) || m.Generation != 2 {
		t.Fatalf("after our update: %+v, %+v", v, m)
	}
	text, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if m, err = parseMemory(text); err != nil {
		t.Fatal(err)
	}
	if v := round(2); v.ours != nil || !slices.Equal(v.theirs, []string{"timeout"}) {
		t.Fatalf("after a restart: %+v", v)
	}
	m = m.accept(ledger, []string{"timeout"})
	if v := round(2); v.ours != nil || v.theirs != nil {
		t.Fatalf("after accepting: %+v", v)
	}
	wish = settings{"batch": "100", "timeout": "300"}
	if v := round(3); !slices.Equal(v.ours, []string{"timeout"}) {
		t.Fatalf("after a new wish for what was accepted: %+v", v)
	}
}

func consenter(i int) channelconfig.Consenter {
	name := "orderer" + string(rune('0'+i)) + "-ord.trade"
	return channelconfig.Consenter{ID: uint32(i + 1), Host: name, Port: 7050, MSPID: "OrdMSP", ServerTLS: []byte(name), ClientTLS: []byte(name), Identity: []byte(name)}
}

func consenters(n int) []channelconfig.Consenter {
	var out []channelconfig.Consenter
	for i := range n {
		out = append(out, consenter(i))
	}
	return out
}

// scene is a channel with so many consenters on the ledger and in the wish; states describe orderers by letters:
// a active, f following and caught up, o onboarding, d down.
func scene(consensus channelconfig.Consensus, ledger, wish int, states string) *world {
	w := &world{
		channel: &v1alpha1.Channel{}, network: "trade", roster: &access.Roster{}, orgs: map[string]*access.Organization{"ord": {Name: "ord", MSPID: "OrdMSP"}},
		ledger: &channelconfig.Config{Channel: channelconfig.Channel{Consensus: consensus, Consenters: consenters(ledger)}},
		wish:   channelconfig.Channel{Consensus: consensus, Consenters: consenters(wish)},
	}
	w.ledger.Channel.OrdererOrgs = []channelconfig.Organization{{MSPID: "OrdMSP"}}
	w.wish.OrdererOrgs = w.ledger.Channel.OrdererOrgs
	for i, s := range states {
		name := "orderer" + string(rune('0'+i)) + "-ord"
		w.roster.Orderers = append(w.roster.Orderers, v1alpha1.Orderer{Spec: v1alpha1.OrdererSpec{Organization: "ord"}})
		w.roster.Orderers[i].Name = name
		n := &node{name: name, org: "ord", orderer: true, address: consenter(i).Address().String(), asked: true}
		switch s {
		case 'a', 'f':
			n.seen, n.joined, n.status, n.height = true, true, admin.Active, 100
		case 'o':
			n.seen, n.joined, n.status, n.height = true, true, admin.OnBoarding, 3
		}
		w.nodes = append(w.nodes, n)
	}
	w.verdict = compare(flatten(w.wish), flatten(w.ledger.Channel), &memory{Wish: flatten(w.ledger.Channel)})
	return w
}

func TestConsenterSteps(t *testing.T) {
	for name, c := range map[string]struct {
		world  *world
		size   int
		reason string
		part   string
	}{
		"one is added":                             {world: scene(channelconfig.Raft, 3, 5, "aaaff"), size: 4},
		"the new one has to catch up":              {world: scene(channelconfig.Raft, 3, 5, "aaaof"), reason: v1alpha1.ReasonCatchingUp, part: "orderer3-ord"},
		"the last one has to be active first":      {world: scene(channelconfig.Raft, 4, 5, "aaaof"), reason: v1alpha1.ReasonCatchingUp, part: "orderer3-ord"},
		"one is removed":                           {world: scene(channelconfig.Raft, 5, 3, "aaaaa"), size: 4},
		"a dead one is removed":                    {world: scene(channelconfig.Raft, 3, 2, "aad"), size: 2},
		"another one is dead":                      {world: scene(channelconfig.Raft, 5, 4, "aaada"), reason: v1alpha1.ReasonCatchingUp, part: "orderer3-ord"},
		"the rest would have no quorum":            {world: scene(channelconfig.Raft, 3, 2, "ada"), reason: v1alpha1.ReasonUnsafeChange, part: "orderer1-ord"},
		"no quorum for the new size":               {world: scene(channelconfig.Raft, 3, 4, "addf"), reason: v1alpha1.ReasonUnsafeChange, part: "orderer1-ord"},
		"BFT grows":                                {world: scene(channelconfig.BFT, 4, 5, "aaaaf"), size: 5},
		"nothing to do":                            {world: scene(channelconfig.Raft, 3, 3, "aaa")},
		"a consenter at another site counts as up": {world: without(scene(channelconfig.Raft, 3, 4, "aaaf"), 1), size: 4},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := c.world.next()
			if c.reason != "" {
				i, ok := kube.AsIntent(err)
				if !ok || i.Reason != c.reason || !strings.Contains(i.Message, c.part) {
					t.Fatalf("got %v, want %s with %q", err, c.reason, c.part)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.size == 0 {
				if u != nil {
					t.Fatalf("an update: %s", u.text)
				}
				return
			}
			if u == nil || len(u.target.Consenters) != c.size {
				t.Fatalf("update %+v, want %d consenters", u, c.size)
			}
			if got := len(u.target.OrdererOrgs[0].Endpoints); got != min(c.size, len(c.world.roster.Orderers)) {
				t.Errorf("%d endpoints: %v", got, u.target.OrdererOrgs[0].Endpoints)
			}
			if u.removes != (c.size < len(c.world.ledger.Channel.Consenters)) {
				t.Errorf("removes is %t", u.removes)
			}
		})
	}
}

func without(w *world, i int) *world {
	w.nodes = slices.Delete(w.nodes, i, i+1)
	w.roster.Orderers = slices.Delete(w.roster.Orderers, i, i+1)
	return w
}

// TestForeignConsenterStays: a consenter that somebody else added is not removed by our own next change.
func TestForeignConsenterStays(t *testing.T) {
	w := scene(channelconfig.Raft, 3, 4, "aaaf")
	foreign := channelconfig.Consenter{Host: "orderer0-far.trade", Port: 7050, ServerTLS: []byte("x"), ClientTLS: []byte("x")}
	before := &memory{Wish: flatten(w.ledger.Channel)}
	w.ledger.Channel.Consenters = append(w.ledger.Channel.Consenters, foreign)
	w.verdict = compare(flatten(w.wish), flatten(w.ledger.Channel), before)
	u, err := w.next()
	if err != nil {
		t.Fatal(err)
	}
	if len(u.target.Consenters) != 5 || !slices.ContainsFunc(u.target.Consenters, func(c channelconfig.Consenter) bool { return c.Host == foreign.Host }) {
		t.Errorf("consenters %v", u.target.Consenters)
	}
}

// TestNamesThatAreNotThere: a name written wrong must not cost the one that it stood for.
func TestNamesThatAreNotThere(t *testing.T) {
	w := scene(channelconfig.Raft, 3, 2, "aaa")
	w.channel.Spec.Consenters = []string{"orderer0-ord", "orderer1-ord", "ordrer2-ord"}
	_, err := w.next()
	if i, ok := kube.AsIntent(err); !ok || !strings.Contains(i.Message, "ordrer2-ord") {
		t.Errorf("consenters: %v", err)
	}
	w.channel.Spec.Consenters, w.channel.Spec.Organizations = nil, []string{"bankx"}
	_, err = w.next()
	if i, ok := kube.AsIntent(err); !ok || !strings.Contains(i.Message, "bankx") {
		t.Errorf("organizations: %v", err)
	}
	// With nothing else to do, the channel is not as the spec asks either.
	w = scene(channelconfig.Raft, 3, 3, "aaa")
	w.channel.Spec.Organizations = []string{"bankx"}
	_, err = w.next()
	if i, ok := kube.AsIntent(err); !ok || i.Ready || !strings.Contains(i.Message, "spec.organizations") {
		t.Errorf("nothing else to do: %v", err)
	}
}

func TestConsentersOf(t *testing.T) {
	w := scene(channelconfig.Raft, 3, 3, "aaa")
	w.roster.Orderers[1].DeletionTimestamp = &metav1.Time{Time: time.Now()}
	if diff := cmp.Diff([]string{"orderer0-ord", "orderer2-ord"}, consentersOf(w.channel, w.roster, nil)); diff != "" {
		t.Errorf("by default: %s", diff)
	}
	w.channel.Spec.Consenters = []string{"orderer0-ord", "orderer1-ord"}
	if diff := cmp.Diff([]string{"orderer0-ord", "orderer1-ord"}, consentersOf(w.channel, w.roster, nil)); diff != "" {
		t.Errorf("named: %s", diff)
	}
}

// TestCheck refuses wishes in the words of the spec.
func TestCheck(t *testing.T) {
	good := func(w *world) channelconfig.Channel {
		w.consenters = []string{"orderer0-ord"}
		return channelconfig.Channel{ID: "demo", Consensus: w.ledger.Channel.Consensus, Consenters: consenters(4)}.WithDefaults(channelconfig.LAN)
	}
	for name, c := range map[string]struct {
		change func(*world, *channelconfig.Channel)
		reason string
		part   string
	}{
		"BFT with 3": {func(_ *world, c *channelconfig.Channel) {
			c.Consensus, c.Consenters = channelconfig.BFT, c.Consenters[:3]
		}, v1alpha1.ReasonUnsafeChange, "at least 4"},
		"BFT with 3 from the start": {func(w *world, c *channelconfig.Channel) {
			w.genesis, c.Consensus, c.Consenters = nil, channelconfig.BFT, c.Consenters[:3]
		}, v1alpha1.ReasonInvalidSpec, "spec.consensus"},
		"nobody left": {func(_ *world, c *channelconfig.Channel) { c.Consenters = nil }, v1alpha1.ReasonUnsafeChange, "no consenter left"},
		"old nodes": {func(w *world, c *channelconfig.Channel) {
			w.roster.Orderers[0].Spec.Version, c.Capabilities.Channel = "2.5.16", "V3_0"
		}, v1alpha1.ReasonInvalidSpec, "orderer0-ord runs 2.5.16"},
		"a policy that cannot be read": {func(_ *world, c *channelconfig.Channel) {
			c.Policies.Application["Endorsement"] = channelconfig.Policy{Type: channelconfig.Signature, Rule: "AND("}
		}, v1alpha1.ReasonInvalidSpec, "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			w := scene(channelconfig.Raft, 4, 4, "aaaa")
			w.genesis = &cb.Block{}
			channel := good(w)
			c.change(w, &channel)
			i, ok := kube.AsIntent(w.check(channel))
			if !ok || !i.Stalled || i.Reason != c.reason || !strings.Contains(i.Message, c.part) {
				t.Errorf("got %+v, want %s with %q", i, c.reason, c.part)
			}
		})
	}
}

func TestSettingsUpdateTouchesOnlyOurs(t *testing.T) {
	org := func(name string) channelconfig.Organization {
		return channelconfig.Organization{Name: name, MSPID: name, Policies: channelconfig.OrganizationPolicies(name)}
	}
	base := channelconfig.Channel{
		ID: "demo", Consensus: channelconfig.Raft, Consenters: consenters(1),
		OrdererOrgs: []channelconfig.Organization{org("OrdMSP")}, ApplicationOrgs: []channelconfig.Organization{org("BankaMSP")},
	}.WithDefaults(channelconfig.LAN)
	ledger := base.Clone()
	ledger.Batch.Timeout = time.Second // somebody else's
	wish := base.Clone()
	wish.Batch.MaxMessages = 7
	wish.ACLs = map[string]string{"event/Block": "/Channel/Application/Admins"}
	wish.Policies.Application["Endorsement"] = channelconfig.Policy{Type: channelconfig.Signature, Rule: "OR('BankaMSP.peer')"}
	wish.ApplicationOrgs = append(wish.ApplicationOrgs, org("BankbMSP"))
	wish.ApplicationOrgs[0].Anchors = []channelconfig.Address{{Host: "peer0-banka.trade", Port: 7051}}
	w := &world{channel: &v1alpha1.Channel{}, ledger: &channelconfig.Config{Channel: ledger}, wish: wish}
	w.verdict = compare(flatten(wish), flatten(ledger), &memory{Wish: flatten(base)})
	if !slices.Equal(w.verdict.theirs, []string{"batch.timeoutMilliseconds"}) {
		t.Errorf("theirs: %v", w.verdict.theirs)
	}
	u, err := w.next()
	if err != nil {
		t.Fatal(err)
	}
	want := wish.Clone()
	want.Batch.Timeout = time.Second
	if diff := channelconfig.Diff(want, u.target); len(diff) > 0 {
		t.Errorf("differs from the wish with their change: %v", diff)
	}
	if w.ledger.Channel.Batch.MaxMessages != base.Batch.MaxMessages || len(w.ledger.Channel.ApplicationOrgs) != 1 {
		t.Error("planning changed what was observed")
	}
}

func TestJoinsAndLeaves(t *testing.T) {
	w := scene(channelconfig.Raft, 3, 3, "aaadf")
	w.consenters = []string{"orderer0-ord", "orderer1-ord", "orderer2-ord", "orderer3-ord"}
	if got := w.leaves(); len(got) != 1 || got[0].name != "orderer4-ord" {
		t.Errorf("leaves: %v", got)
	}
	w.now = time.Now()
	w.nodes[4].relation, w.nodes[4].removedAt = admin.Consenter, w.now.Add(-time.Second)
	if got := w.leaves(); len(got) != 0 {
		t.Errorf("leaves before it noticed: %v", got)
	}
	w.nodes[4].removedAt = w.now.Add(-time.Minute)
	if got := w.leaves(); len(got) != 1 {
		t.Errorf("leaves when it never noticed: %v", got)
	}
	w.nodes = append(w.nodes, &node{name: "peer0-banka", seen: true, joined: true, height: w.ledger.BlockNumber})
	w.nodes[4].removedAt = w.now.Add(-10 * time.Second)
	if got := w.leaves(); len(got) != 0 {
		t.Errorf("leaves before a peer knows: %v", got)
	}
	w.nodes[4].removedAt = w.now.Add(-time.Minute)
	if got := w.leaves(); len(got) != 1 {
		t.Errorf("leaves when the peer has its blocks from it: %v", got)
	}
	w.nodes[3].seen = true
	if got := w.joins(); len(got) != 0 {
		t.Errorf("joins before there is a genesis block: %v", got)
	}
}

func TestWords(t *testing.T) {
	for want, c := range map[string][3]string{
		`batch.maxMessageCount is "7" on the ledger and "500" in the spec`: {"batch.maxMessageCount", "7", "500"},
		`acls.event/Block is "x" on the ledger and not set in the spec`:    {"acls.event/Block", "x", ""},
		`member BankbMSP is not in the ledger's configuration`:             {"members.BankbMSP", "", "abc"},
		`consenter a.b:7050 is in the ledger's configuration and not in the spec`: {
			"consenters.a.b:7050", "abc", "",
		},
	} {
		if got := words(c[0], c[1], c[2]); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// TestJoinTurns keeps peers of different organizations from joining, and so from dialing each other, at the same moment.
func TestJoinTurns(t *testing.T) {
	nodes := []*node{
		{name: "orderer0-ord", org: "ord", orderer: true},
		{name: "peer0-a", org: "a"},
		{name: "orderer0-b", org: "b", orderer: true},
		{name: "peer0-b", org: "b"},
		{name: "peer1-a", org: "a"},
		{name: "peer0-c", org: "c"},
	}
	want := []time.Duration{0, 0, 0, joinTurn, 0, 2 * joinTurn}
	turns := joinTurns(nodes)
	for i, n := range nodes {
		if turns[n] != want[i] {
			t.Errorf("%s waits %s, want %s", n.name, turns[n], want[i])
		}
	}
}
