package couch

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/fabsim/internal/peer/rwset"
	"heddle.dev/heddle/fabsim/internal/peer/state"
)

// TestDocument writes values as documents and reads them back.
func TestDocument(t *testing.T) {
	for name, c := range map[string]struct{ value, want string }{
		"object":            {`{"b":1,"a":"x"}`, `{"a":"x","b":1}`},
		"large number":      {`{"n":12345678901234567890}`, `{"n":12345678901234567890}`},
		"no object":         {`[1]`, `[1]`},
		"text":              {`hello`, `hello`},
		"null":              {`null`, `null`},
		"two objects":       {`{}{}`, `{}{}`},
		"bytes of all kind": {"\x00\xff", "\x00\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &state.Value{Value: []byte(c.value), Metadata: []byte("m"), Version: rwset.Version{Block: 4, Tx: 2}}
			raw, err := json.Marshal(document("k", "", in))
			if err != nil {
				t.Fatal(err)
			}
			again := object(raw)
			got, err := row(again)
			if err != nil {
				t.Fatal(err)
			}
			want := &state.Row{Key: "k", Value: state.Value{Value: []byte(c.want), Metadata: in.Metadata, Version: in.Version}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	db := &DB{}
	for name, c := range map[string]struct {
		key, value string
		ok         bool
	}{
		"plain": {"k", "v", true}, "object": {"k", `{"a":1}`, true}, "no key": {"", "v", false},
		"key of the server": {"_k", "v", false}, "no text": {"\xff", "v", false},
		"field of the server": {"k", `{"_id":1}`, false}, "version": {"k", `{"~version":1}`, false},
	} {
		if err := db.Check(c.key, []byte(c.value)); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	db := &DB{channel: "my.channel"}
	seen := map[string]string{}
	long := "ns-" + string(make([]byte, 300))
	for _, ns := range []string{"", "cc", "CC", "cc$$pcoll", "cc$$hcoll", long, long + "x"} {
		name := db.name(ns)
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q have the same database", other, ns)
		}
		seen[name] = ns
		if len(name) > maxName {
			t.Errorf("the name of %q is too long", ns)
		}
	}
	if got := db.name("aB"); got != "my$channel_a$b" {
		t.Errorf("got %q", got)
	}
}
