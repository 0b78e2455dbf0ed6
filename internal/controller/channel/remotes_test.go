package channel

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/controller/access"
	"heddle.dev/heddle/internal/fabric/channelconfig"
)

// TestOvertaken plays what two sites do to one setting.
func TestOvertaken(t *testing.T) {
	wish, ledger := settings{"batch": "500", "timeout": "200"}, settings{"batch": "500", "timeout": "200"}
	m := &memory{Generation: 1, Wish: settings{"batch": "500", "timeout": "200"}}
	round := func() verdict {
		v := compare(wish, ledger, m)
		m = m.learn(wish, ledger, v, 2).overtake(m, wish, ledger, v.ours)
		return compare(wish, ledger, m)
	}
	want := func(what string, want verdict) {
		t.Helper()
		if diff := cmp.Diff(want, round(), cmp.AllowUnexported(verdict{})); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	wish["batch"] = "111"
	want("our wish is on its way", verdict{ours: []string{"batch"}})
	want("and stays so", verdict{ours: []string{"batch"}})
	ledger["timeout"] = "999"
	want("another setting is none of its business", verdict{ours: []string{"batch"}, theirs: []string{"timeout"}})
	ledger["batch"] = "222"
	want("somebody else was faster", verdict{theirs: []string{"batch", "timeout"}})
	want("and we do not try again", verdict{theirs: []string{"batch", "timeout"}})
	if m.Lost["batch"] != "222" || len(m.Tries) != 0 {
		t.Errorf("memory %+v", m)
	}
	wish["batch"] = "333"
	want("a new wish is a new try", verdict{ours: []string{"batch"}, theirs: []string{"timeout"}})
	ledger["batch"] = "333"
	want("which arrives", verdict{theirs: []string{"timeout"}})
	if len(m.Tries) != 0 || len(m.Lost) != 0 {
		t.Errorf("memory %+v", m)
	}
	// Two edits of our own in a row: the first one's arrival overtakes nothing.
	wish["batch"] = "20"
	want("a first edit", verdict{ours: []string{"batch"}, theirs: []string{"timeout"}})
	wish["batch"] = "30"
	want("a second edit", verdict{ours: []string{"batch"}, theirs: []string{"timeout"}})
	ledger["batch"] = "20"
	want("the first one arrives", verdict{ours: []string{"batch"}, theirs: []string{"timeout"}})
	ledger["batch"] = "77"
	want("now somebody else", verdict{theirs: []string{"batch", "timeout"}})
}

// stretch makes bankb of a scene an organization of another site, with an orderer that the channel may have.
func stretch(t *testing.T, w *world) {
	t.Helper()
	w.roster.Organizations = append(w.roster.Organizations, v1alpha1.Organization{})
	o := &w.roster.Organizations[len(w.roster.Organizations)-1]
	o.Name, o.Spec.MSPID = "bankx", "BankxMSP"
	o.Spec.Remote = &v1alpha1.RemoteOrganization{Link: "site-x", Nodes: []v1alpha1.RemoteNode{
		{Name: "orderer0-bankx", Port: v1alpha1.PortOrderer}, {Name: "peer0-bankx", Port: v1alpha1.PortPeer},
	}}
	w.orgs["bankx"] = &access.Organization{Name: "bankx", MSPID: "BankxMSP"}
	w.remotes = remotesOf(w.roster)
}

// TestMask tells what of another site's part is compared.
func TestMask(t *testing.T) {
	const member, anchors, consenter = "members.BankxMSP", "anchors.BankxMSP", "consenters.orderer0-bankx.trade:7050"
	for name, c := range map[string]struct {
		named      bool
		remembered bool
		onLedger   bool
		want       verdict
	}{
		"theirs and never ours":  {onLedger: true},
		"named and there":        {named: true, remembered: true, onLedger: true},
		"named and to be added":  {named: true, want: verdict{ours: []string{member}}},
		"named no more":          {remembered: true, onLedger: true, want: verdict{ours: []string{member}}},
		"named and taken out":    {named: true, remembered: true, want: verdict{theirs: []string{member}}},
		"gone from both":         {remembered: true},
		"never there, not named": {},
	} {
		t.Run(name, func(t *testing.T) {
			w := scene(channelconfig.Raft, 3, 3, "aaa")
			stretch(t, w)
			w.memory = &memory{Wish: settings{}}
			if c.remembered {
				w.memory.Wish[member] = "digest"
			}
			w.flatWish, w.flatLedger = settings{}, settings{}
			if c.named {
				w.channel.Spec.Organizations = []string{"bankx"}
				w.flatWish[member], w.flatWish[anchors] = "digest", "peer0"
			}
			if c.onLedger {
				w.flatLedger[member], w.flatLedger[anchors], w.flatLedger[consenter] = "digest", "peer1", "certs"
			}
			if c.named && !c.onLedger && c.remembered {
				w.flatWish[member] = "another digest"
			}
			w.mask()
			got := compare(w.flatWish, w.flatLedger, w.memory)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(verdict{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Without other sites nothing is masked: what somebody else did shows.
func TestMaskAlone(t *testing.T) {
	w := scene(channelconfig.Raft, 3, 3, "aaa")
	w.memory, w.flatWish, w.flatLedger = &memory{}, settings{}, settings{"members.BankxMSP": "digest"}
	w.mask()
	if got := compare(w.flatWish, w.flatLedger, w.memory); !slices.Equal(got.theirs, []string{"members.BankxMSP"}) {
		t.Errorf("%+v", got)
	}
}

// A consenter of another site is neither added to a living channel nor taken out by who did not put it in.
func TestForeignConsenters(t *testing.T) {
	w := scene(channelconfig.Raft, 3, 3, "aaa")
	stretch(t, w)
	foreign := channelconfig.Consenter{Host: "orderer9-bankx.trade", Port: 7050}
	w.ledger.Channel.Consenters = append(w.ledger.Channel.Consenters, foreign)
	wish := channelconfig.Channel{Consenters: []channelconfig.Consenter{{Host: "orderer0-bankx.trade", Port: 7050}}}
	w.channel.Spec.Consenters = []string{"orderer0-bankx"}
	w.keepForeign(&wish)
	var hosts []string
	for _, c := range wish.Consenters {
		hosts = append(hosts, c.Host)
	}
	if diff := cmp.Diff([]string{"orderer9-bankx.trade"}, hosts); diff != "" {
		t.Error(diff)
	}
	if got := consentersOf(w.channel, w.roster, w.remotes); !slices.Equal(got, []string{"orderer0-bankx"}) {
		t.Errorf("consenters %v", got)
	}
	if got := w.roster.Members(&v1alpha1.Channel{}); slices.Contains(got, "bankx") {
		t.Errorf("members by default %v", got)
	}
}

// A first block waits for the certificates of another site's orderer that is named, whose organization may be no member.
func TestGenesisWaitsForForeignConsenter(t *testing.T) {
	w := scene(channelconfig.Raft, 3, 3, "aaa")
	stretch(t, w)
	w.channel.Spec.Consenters = []string{"orderer0-ord", "orderer0-bankx"}
	w.consenters = consentersOf(w.channel, w.roster, w.remotes)
	w.certs = map[string]access.NodeCertificates{"orderer0-ord": {}}
	r := New(Options{Namespaced: true})
	if err := r.complete(t.Context(), w); err == nil || !strings.Contains(err.Error(), "certificates of orderer0-bankx") {
		t.Errorf("got %v, want to wait for the certificates of orderer0-bankx", err)
	}
	w.certs["orderer0-bankx"] = access.NodeCertificates{}
	if err := r.complete(t.Context(), w); err != nil {
		t.Errorf("all certificates are there: %v", err)
	}
}
