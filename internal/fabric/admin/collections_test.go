package admin

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const members = `"policy":"OR('BankAMSP.member','BankBMSP.member')"`

func TestParseCollections(t *testing.T) {
	got, err := ParseCollections(`[
		{"name":"deals",` + members + `,"requiredPeerCount":1,"maxPeerCount":3,"blockToLive":100,"memberOnlyRead":true,"memberOnlyWrite":true,
		 "endorsementPolicy":{"signaturePolicy":"OR('BankAMSP.peer')"}},
		{"name":"own_1",` + members + `,"endorsementPolicy":{"channelConfigPolicy":"Endorsement"}},
		{"name":"far",` + members + `,"endorsementPolicy":{"channelConfigPolicy":"/Channel/Application/Writers"}}
	]
	`)
	if err != nil {
		t.Fatal(err)
	}
	policy := "OR('BankAMSP.member','BankBMSP.member')"
	want := []Collection{
		{
			Name: "deals", Policy: policy, RequiredPeers: 1, MaxPeers: 3, BlockToLive: 100, MemberOnlyRead: true, MemberOnlyWrite: true,
			EndorsementPolicy: "OR('BankAMSP.peer')",
		},
		{Name: "own_1", Policy: policy, EndorsementPolicy: "/Channel/Application/Endorsement"},
		{Name: "far", Policy: policy, EndorsementPolicy: "/Channel/Application/Writers"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseCollectionsRefuses(t *testing.T) {
	many := func(n int) string {
		entries := make([]string, n)
		for i := range entries {
			entries[i] = fmt.Sprintf(`{"name":"c%d",%s}`, i, members)
		}
		return "[" + strings.Join(entries, ",") + "]"
	}
	if _, err := ParseCollections(many(maxCollections)); err != nil {
		t.Errorf("as many as are allowed: %v", err)
	}
	for name, c := range map[string]struct{ in, want string }{
		"nothing":               {"", "parse collections"},
		"no list":               {`{}`, "parse collections"},
		"an empty list":         {`[]`, "1 to 256"},
		"null":                  {`null`, "1 to 256"},
		"too many":              {many(maxCollections + 1), "there are 257"},
		"an unknown field":      {`[{"name":"a",` + members + `,"memberOnlyread2":true}]`, "unknown field"},
		"twice":                 {`[{"name":"a",` + members + `},{"name":"a",` + members + `}]`, `"a" is there twice`},
		"no name":               {`[{` + members + `}]`, "entry 1: name"},
		"a bad name":            {`[{"name":"a.b",` + members + `}]`, `name "a.b"`},
		"a name with an end":    {`[{"name":"a-",` + members + `}]`, `name "a-"`},
		"no policy":             {`[{"name":"a",` + members + `},{"name":"b"}]`, `entry 2: collection "b" has no policy`},
		"a broken policy":       {`[{"name":"a","policy":"OR("}]`, "entry 1"},
		"fewer than required":   {`[{"name":"a",` + members + `,"requiredPeerCount":2,"maxPeerCount":1}]`, "maxPeerCount (1)"},
		"required, no maximum":  {`[{"name":"a",` + members + `,"requiredPeerCount":1}]`, "maxPeerCount (0)"},
		"less than none":        {`[{"name":"a",` + members + `,"requiredPeerCount":-1}]`, "at least 0"},
		"both endorsements":     {`[{"name":"a",` + members + `,"endorsementPolicy":{"signaturePolicy":"OR('A.peer')","channelConfigPolicy":"Writers"}}]`, "either"},
		"neither endorsement":   {`[{"name":"a",` + members + `,"endorsementPolicy":{}}]`, "either"},
		"a broken endorsement":  {`[{"name":"a",` + members + `,"endorsementPolicy":{"signaturePolicy":"OR("}}]`, "entry 1"},
		"garbage after":         {`[{"name":"a",` + members + `}] x`, "more after the list"},
		"another list after":    {`[{"name":"a",` + members + `}][]`, "more after the list"},
		"a number that is none": {`[{"name":"a",` + members + `,"blockToLive":-1}]`, "parse collections"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseCollections(c.in)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestCollectionsHash(t *testing.T) {
	hash := func(text string) string {
		t.Helper()
		c, err := ParseCollections(text)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Definition{Collections: c}.CollectionsHash()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	same := hash(`[{"name":"a",` + members + `}]`)
	for name, c := range map[string]struct {
		text  string
		equal bool
	}{
		"other blanks":       {`[ {"name": "a", "policy": "OR( 'BankAMSP.member' , 'BankBMSP.member' )"} ]`, true},
		"defaults spelt out": {`[{"name":"a",` + members + `,"requiredPeerCount":0,"blockToLive":0}]`, true},
		"another name":       {`[{"name":"b",` + members + `}]`, false},
		"another life":       {`[{"name":"a",` + members + `,"blockToLive":1}]`, false},
		"one more":           {`[{"name":"a",` + members + `},{"name":"b",` + members + `}]`, false},
		"open to others":     {`[{"name":"a",` + members + `,"memberOnlyRead":true}]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hash(c.text) == same; got != c.equal {
				t.Errorf("equal: %t, want %t", got, c.equal)
			}
		})
	}
	if got, err := (Definition{}).CollectionsHash(); got != "" || err != nil {
		t.Errorf("none: %q, %v", got, err)
	}
	if got, err := (Definition{CollectionsSum: "told"}).CollectionsHash(); got != "told" || err != nil {
		t.Errorf("what a peer told: %q, %v", got, err)
	}
	if _, err := (Definition{Collections: []Collection{{Name: "a", Policy: "OR("}}}).CollectionsHash(); err == nil {
		t.Error("a broken policy has a hash")
	}
}

func FuzzParseCollections(f *testing.F) {
	f.Add(`[{"name":"a",` + members + `,"requiredPeerCount":1,"maxPeerCount":2,"endorsementPolicy":{"channelConfigPolicy":"Writers"}}]`)
	f.Add(`[{"name":"a"}]`)
	f.Fuzz(func(t *testing.T, text string) {
		collections, err := ParseCollections(text)
		if err != nil {
			return
		}
		hash, err := Definition{Collections: collections}.CollectionsHash()
		if err != nil || len(hash) != 64 {
			t.Errorf("what was parsed has the hash %q, %v", hash, err)
		}
	})
}
