package policy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hyperledger/fabric-admin-sdk/pkg/chaincode"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func TestSignature(t *testing.T) {
	for name, test := range map[string]struct{ rule, canonical string }{
		"one":              {"OR('A.member')", "OR('A.member')"},
		"and":              {"AND('A.peer','B.peer')", "AND('A.peer', 'B.peer')"},
		"lower case":       {"or('A.admin' , 'B.client' ) ", "OR('A.admin', 'B.client')"},
		"out of":           {"OutOf(2, 'A.peer', 'B.peer', 'C.peer')", "OutOf(2, 'A.peer', 'B.peer', 'C.peer')"},
		"out of all":       {"OutOf(2, 'A.peer', 'B.peer')", "AND('A.peer', 'B.peer')"},
		"nested":           {"OR('A.peer', AND('B.peer', OR('C.orderer', 'A.peer')))", "OR('A.peer', AND('B.peer', OR('C.orderer', 'A.peer')))"},
		"principals twice": {"OutOf(2, 'A.peer', AND('B.peer', 'A.peer'), 'C.peer', OR('A.peer', 'B.peer'))", "OutOf(2, 'A.peer', AND('B.peer', 'A.peer'), 'C.peer', OR('A.peer', 'B.peer'))"},
		"dots in names":    {"OR('org.example.com.member')", "OR('org.example.com.member')"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Signature(test.rule)
			if err != nil {
				t.Fatal(err)
			}
			// What Fabric's own parser makes of it.
			want, err := chaincode.NewApplicationPolicy(test.rule, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.GetSignaturePolicy(), got, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			text, err := Format(got)
			if err != nil || text != test.canonical {
				t.Errorf("written as %q, %v; want %q", text, err, test.canonical)
			}
		})
	}
}

func TestSignatureRefuses(t *testing.T) {
	for name, rule := range map[string]string{
		"nothing":         "",
		"no gate":         "'A.peer",
		"an unknown gate": "XOR('A.peer')",
		"no role":         "OR('A')",
		"an unknown role": "OR('A.king')",
		"upper-case role": "OR('A.PEER')",
		"no principal":    "OR()",
		"more than there": "OutOf(3, 'A.peer', 'B.peer')",
		"none of them":    "OutOf(0, 'A.peer')",
		"no number":       "OutOf('A.peer')",
		"text after it":   "OR('A.peer') OR('B.peer')",
		"not closed":      "OR('A.peer'",
		"too deep":        strings.Repeat("OR(", 40) + "'A.peer'" + strings.Repeat(")", 40),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Signature(rule); err == nil {
				t.Errorf("accepted as %v", got)
			}
		})
	}
}

func TestMembers(t *testing.T) {
	rule, err := Signature("AND('B.peer', OR('A.peer', 'B.admin'))")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A", "B"}, Members(rule)); diff != "" {
		t.Error(diff)
	}
}

func TestImplicit(t *testing.T) {
	for name, test := range map[string]struct{ rule, want string }{
		"any": {"ANY Readers", "ANY Readers"}, "lower case": {"majority  Admins", "MAJORITY Admins"}, "all": {"ALL Endorsement", "ALL Endorsement"},
		"no name": {"ANY", ""}, "an unknown rule": {"MOST Admins", ""}, "too many words": {"ANY Readers now", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Implicit(test.rule)
			if (err != nil) != (test.want == "") {
				t.Fatal(err)
			}
			if err == nil && FormatImplicit(got) != test.want {
				t.Errorf("got %q", FormatImplicit(got))
			}
		})
	}
}

func FuzzSignature(f *testing.F) {
	f.Add("OutOf(2, 'A.peer', OR('B.peer', 'C.admin'))")
	f.Add("and('A.peer'")
	f.Fuzz(func(t *testing.T, rule string) {
		first, err := Signature(rule)
		if err != nil {
			return
		}
		text, err := Format(first)
		if err != nil {
			t.Fatalf("%q was read and cannot be written: %v", rule, err)
		}
		second, err := Signature(text)
		if err != nil {
			t.Fatalf("%q was written and cannot be read: %v", text, err)
		}
		if !proto.Equal(first, second) {
			t.Errorf("%q means something else than %q", text, rule)
		}
	})
}
