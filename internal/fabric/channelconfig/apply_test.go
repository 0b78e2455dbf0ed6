package channelconfig_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	cb "github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/bare"
)

// wantApplied holds our judgement of what an update does against Fabric's own, and the words for it against those of
// the site that made it.
func wantApplied(t *testing.T, config *channelconfig.Config, raw []byte, judged *channelconfig.Config, words []string) {
	t.Helper()
	got, err := config.Apply(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got.Raw.GetChannelGroup(), judged.Raw.GetChannelGroup()) {
		t.Error("the applied update is not what Fabric makes of it")
	}
	changes, err := config.Explain(got)
	if err != nil {
		t.Fatal(err)
	}
	texts := make([]string, 0, len(changes))
	for _, c := range changes {
		texts = append(texts, c.Text)
	}
	if diff := cmp.Diff(words, texts); diff != "" {
		t.Error(diff)
	}
	if _, err := got.Apply(raw); !errors.Is(err, channelconfig.ErrStale) {
		t.Errorf("the same update again: %v", err)
	}
}

// edited is an update that was made by hand, with whatever edit does to the write set of one that changes the batch.
func edited(t *testing.T, config *channelconfig.Config, edit func(*cb.ConfigUpdate)) []byte {
	t.Helper()
	wish := config.Channel.Clone()
	wish.Batch.MaxMessages = 7
	update, err := config.Update(wish)
	if err != nil {
		t.Fatal(err)
	}
	var message cb.ConfigUpdate
	if err := proto.Unmarshal(update.Raw, &message); err != nil {
		t.Fatal(err)
	}
	edit(&message)
	raw, err := proto.Marshal(&message)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// reopened gives a group of the update the next version, with all members that the update does not touch.
func reopened(config *channelconfig.Config, u *cb.ConfigUpdate, name string) *cb.ConfigGroup {
	have, write := config.Raw.GetChannelGroup().GetGroups()[name], u.GetWriteSet().GetGroups()[name]
	read := &cb.ConfigGroup{
		Version: have.GetVersion(), Values: map[string]*cb.ConfigValue{}, Policies: map[string]*cb.ConfigPolicy{}, Groups: map[string]*cb.ConfigGroup{},
	}
	write.Version, write.ModPolicy = have.GetVersion()+1, have.GetModPolicy()
	write.Policies, write.Groups = read.Policies, read.Groups
	for key, v := range have.GetValues() {
		if key != "BatchSize" {
			read.Values[key] = &cb.ConfigValue{Version: v.GetVersion()}
			write.Values[key] = read.Values[key]
		}
	}
	for key, p := range have.GetPolicies() {
		read.Policies[key] = &cb.ConfigPolicy{Version: p.GetVersion()}
	}
	for key, g := range have.GetGroups() {
		read.Groups[key] = &cb.ConfigGroup{Version: g.GetVersion()}
	}
	u.GetReadSet().Groups[name] = read
	return write
}

// What is changed besides the settings that have words is named, so that nobody signs it unseen.
func TestExplainNamesWhatHasNoWords(t *testing.T) {
	w := newWorld(t, 3)
	_, config := genesis(t, w.channel(channelconfig.Raft, 3))
	for name, c := range map[string]struct {
		edit func(*cb.ConfigUpdate)
		want []string
	}{
		"who may change the batch": {func(u *cb.ConfigUpdate) {
			u.GetWriteSet().GetGroups()["Orderer"].GetValues()["BatchSize"].ModPolicy = "Writers"
		}, []string{
			"Change the messages per block from 100 to 7",
			`Change who may change /Channel/Orderer/BatchSize from "Admins" to "Writers"`,
		}},
		"a value of another kind": {func(u *cb.ConfigUpdate) {
			group := reopened(config, u, "Orderer")
			group.Values["ChannelRestrictions"] = &cb.ConfigValue{Value: []byte{8, 9}, ModPolicy: "Readers", Version: 1}
		}, []string{
			"Change the messages per block from 100 to 7",
			"Change the value /Channel/Orderer/ChannelRestrictions, for which there are no words",
			`Change who may change /Channel/Orderer/ChannelRestrictions from "Admins" to "Readers"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			raw := edited(t, config, c.edit)
			// Fabric's own code takes it, so it is no empty threat.
			update := &channelconfig.Update{ChannelID: "trade", Sequence: config.Sequence, Raw: raw}
			next := propose(t, config, update, w.ord.Admin, w.a.Admin, w.b.Admin)
			wantApplied(t, config, raw, next, c.want)
		})
	}
}

func TestApplyRefuses(t *testing.T) {
	w := newWorld(t, 3)
	_, config := genesis(t, w.channel(channelconfig.Raft, 3))
	for name, c := range map[string]struct {
		raw   []byte
		stale bool
	}{
		"nothing":         {raw: nil},
		"garbage":         {raw: []byte{0xff}},
		"another channel": {raw: edited(t, config, func(u *cb.ConfigUpdate) { u.ChannelId = "other" })},
		"no write set":    {raw: edited(t, config, func(u *cb.ConfigUpdate) { u.WriteSet = nil })},
		"version skipped": {stale: true, raw: edited(t, config, func(u *cb.ConfigUpdate) {
			u.GetWriteSet().GetGroups()["Orderer"].GetValues()["BatchSize"].Version = 9
		})},
		"another base": {stale: true, raw: edited(t, config, func(u *cb.ConfigUpdate) {
			u.ReadSet = &cb.ConfigGroup{Version: 4}
		})},
		"smuggled in": {raw: edited(t, config, func(u *cb.ConfigUpdate) {
			u.GetWriteSet().GetGroups()["Orderer"].GetValues()["Backdoor"] = &cb.ConfigValue{Value: []byte("x"), ModPolicy: "Admins"}
		})},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Apply(c.raw)
			if err == nil || errors.Is(err, channelconfig.ErrStale) != c.stale {
				t.Errorf("got %v, stale %t", err, c.stale)
			}
		})
	}
}

func TestSigner(t *testing.T) {
	w := newWorld(t, 3)
	_, config := genesis(t, w.channel(channelconfig.Raft, 3))
	wish := config.Channel.Clone()
	wish.Batch.MaxMessages = 7
	update, err := config.Update(wish)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(by *identity.Identity) *cb.ConfigSignature {
		update.Signatures = nil
		if err := update.Sign(by); err != nil {
			t.Fatal(err)
		}
		return update.Signatures[0]
	}
	other, err := bare.NewOrg("bankc")
	if err != nil {
		t.Fatal(err)
	}
	// The same MSP ID, with other issuers.
	forged, err := bare.NewOrg("banka")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := w.a.Issue("alice", pki.RoleClient)
	if err != nil {
		t.Fatal(err)
	}
	client, err := identity.New(w.a.MSPID, leaf.Sign, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	good := signed(w.a.Admin)
	now := time.Now()
	for name, c := range map[string]struct {
		signature *cb.ConfigSignature
		raw       []byte
		now       time.Time
		want      string
	}{
		"an administrator":     {good, update.Raw, now, "bankaMSP"},
		"another update":       {good, []byte("other"), now, ""},
		"no member":            {signed(other.Admin), update.Raw, now, ""},
		"forged issuers":       {signed(forged.Admin), update.Raw, now, ""},
		"no administrator":     {signed(client), update.Raw, now, ""},
		"expired":              {good, update.Raw, now.AddDate(50, 0, 0), ""},
		"empty":                {&cb.ConfigSignature{}, update.Raw, now, ""},
		"a changed header":     {&cb.ConfigSignature{SignatureHeader: append([]byte{}, append(good.GetSignatureHeader(), 0x18, 1)...), Signature: good.GetSignature()}, update.Raw, now, ""},
		"a changed signature":  {&cb.ConfigSignature{SignatureHeader: good.GetSignatureHeader(), Signature: good.GetSignature()[1:]}, update.Raw, now, ""},
		"an ordering admin":    {signed(w.ord.Admin), update.Raw, now, "ordMSP"},
		"garbage for a header": {&cb.ConfigSignature{SignatureHeader: []byte{0xff}, Signature: good.GetSignature()}, update.Raw, now, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.Signer(c.raw, c.signature, c.now)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func FuzzApply(f *testing.F) {
	w := newWorld(f, 3)
	_, config := genesis(f, w.channel(channelconfig.Raft, 3))
	wish := config.Channel.Clone()
	wish.Batch.MaxMessages = 7
	update, err := config.Update(wish)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(update.Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		next, err := config.Apply(raw)
		if err != nil {
			return
		}
		changes, err := config.Explain(next)
		if err == nil && len(changes) == 0 && !proto.Equal(stripped(next.Raw.GetChannelGroup()), stripped(config.Raw.GetChannelGroup())) {
			t.Error("an update changes something and says nothing")
		}
	})
}

// stripped is a group without versions.
func stripped(g *cb.ConfigGroup) *cb.ConfigGroup {
	g = proto.CloneOf(g)
	g.Version = 0
	for _, v := range g.GetValues() {
		v.Version = 0
	}
	for _, p := range g.GetPolicies() {
		p.Version = 0
	}
	for key, sub := range g.GetGroups() {
		g.Groups[key] = stripped(sub)
	}
	return g
}
