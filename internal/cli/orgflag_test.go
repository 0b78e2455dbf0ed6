package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOrg(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want orgFlag
		bad  string
	}{
		"name alone":            {in: "banka", want: orgFlag{name: "banka", mspID: "BankaMSP", peers: 1}},
		"dashes make words":     {in: "bank-a", want: orgFlag{name: "bank-a", mspID: "BankAMSP", peers: 1}},
		"MSP ID":                {in: "a:Org1MSP", want: orgFlag{name: "a", mspID: "Org1MSP", peers: 1}},
		"counts":                {in: "a:peers=2:orderers=3", want: orgFlag{name: "a", mspID: "AMSP", peers: 2, orderers: 3}},
		"MSP ID and counts":     {in: "a:X:orderers=1:peers=0", want: orgFlag{name: "a", mspID: "X", orderers: 1}},
		"empty":                 {in: "", bad: "DNS label"},
		"upper case":            {in: "Bank", bad: "DNS label"},
		"dot":                   {in: "bank.a", bad: "DNS label"},
		"starts with digit":     {in: "1a", bad: "DNS label"},
		"too long":              {in: strings.Repeat("a", 25), bad: "DNS label"},
		"negative":              {in: "a:peers=-1", bad: "0 to 64"},
		"too many":              {in: "a:orderers=33", bad: "0 to 32"},
		"no number":             {in: "a:peers=", bad: "0 to 64"},
		"unknown key":           {in: "a:nodes=1", bad: "do not know"},
		"MSP ID after counts":   {in: "a:peers=1:XMSP", bad: "do not know"},
		"two MSP IDs":           {in: "a:X:Y", bad: "do not know"},
		"MSP ID with a slash":   {in: "a:X/Y", bad: "do not know"},
		"overflow is no wrap":   {in: "a:peers=4294967297", bad: "0 to 64"},
		"trailing colon is bad": {in: "a:", bad: "do not know"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseOrg(c.in)
			if c.bad != "" {
				if err == nil || !strings.Contains(err.Error(), c.bad) {
					t.Fatalf("parseOrg(%q) = %v, want an error with %q", c.in, err, c.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(orgFlag{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzParseOrg(f *testing.F) {
	for _, s := range []string{"banka", "a:Org1MSP:peers=2:orderers=3", "a::", "=", "a:peers=99999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := parseOrg(s)
		if err != nil {
			return
		}
		if !orgName.MatchString(o.name) || !orgMSP.MatchString(o.mspID) || o.peers < 0 || o.peers > 64 || o.orderers < 0 || o.orderers > 32 {
			t.Errorf("parseOrg(%q) let %+v through", s, o)
		}
	})
}
