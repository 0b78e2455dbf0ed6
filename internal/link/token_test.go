package link

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func token() Token {
	return Token{
		Version: Version, SiteID: "banka1", DisplayName: "Bank A", Endpoints: []string{"gateway.banka.example:443", "[2001:db8::1]:8443"},
		Pin: strings.Repeat("0a", 32), Code: NewCode(), Expires: 1_800_000_000,
	}
}

func TestTokenSurvives(t *testing.T) {
	want := token()
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseToken("\n " + text + " \n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.ContainsAny(text, "+/= \n") {
		t.Errorf("%q is not one word", text)
	}
}

func TestTokenRefused(t *testing.T) {
	for name, change := range map[string]func(*Token){
		"another version":       func(x *Token) { x.Version = 2 },
		"no site":               func(x *Token) { x.SiteID = "" },
		"a site with a dot":     func(x *Token) { x.SiteID = "bank.a" },
		"a name with a bell":    func(x *Token) { x.DisplayName = "a\a" },
		"a name that goes back": func(x *Token) { x.DisplayName = "a\u202eb" },
		"a long name":           func(x *Token) { x.DisplayName = strings.Repeat("a", 65) },
		"no endpoint":           func(x *Token) { x.Endpoints = nil },
		"five endpoints":        func(x *Token) { x.Endpoints = strings.Fields("a:1 b:1 c:1 d:1 e:1") },
		"no port":               func(x *Token) { x.Endpoints[0] = "a" },
		"port 0":                func(x *Token) { x.Endpoints[0] = "a:0" },
		"port 01":               func(x *Token) { x.Endpoints[0] = "a:01" },
		"port 65536":            func(x *Token) { x.Endpoints[0] = "a:65536" },
		"no host":               func(x *Token) { x.Endpoints[0] = ":1" },
		"a URL":                 func(x *Token) { x.Endpoints[0] = "https://a:1" },
		"half a bracket":        func(x *Token) { x.Endpoints[0] = "[::1:1" },
		"a zone":                func(x *Token) { x.Endpoints[0] = "[fe80::1%eth0]:1" },
		"no pin":                func(x *Token) { x.Pin = "" },
		"a pin in capitals":     func(x *Token) { x.Pin = strings.Repeat("0A", 32) },
		"a short code":          func(x *Token) { x.Code = x.Code[:25] },
		"no end":                func(x *Token) { x.Expires = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			x := token()
			change(&x)
			if text, err := x.Encode(); err == nil {
				t.Errorf("it was made: %s", text)
			}
		})
	}
	whole, err := token().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":        "",
		"cut off":        whole[:len(whole)-9],
		"no base64":      "heddle!",
		"long":           strings.Repeat("A", maxToken+1),
		"something else": base64.RawURLEncoding.EncodeToString([]byte(`[]`)),
		"twice":          base64.RawURLEncoding.EncodeToString([]byte(`{}{}`)),
	} {
		if _, err := ParseToken(text); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}

// TestTokenErrorsAreDiscreet: a token that cannot be used may still be shown around in an error.
func TestTokenErrorsAreDiscreet(t *testing.T) {
	x := token()
	raw := `{"v":7,"code":"` + x.Code + `"`
	for _, text := range []string{raw + "}", raw, raw + `,"endpoints":"` + x.Code + `"}`} {
		_, err := ParseToken(base64.RawURLEncoding.EncodeToString([]byte(text)))
		if err == nil || strings.Contains(err.Error(), x.Code) {
			t.Errorf("%v", err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	text, err := token().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"endpoints":["[::1]:1"]}`)))
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseToken(text)
		if err != nil {
			return
		}
		again, err := got.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if back, err := ParseToken(again); err != nil || cmp.Diff(got, back) != "" {
			t.Fatalf("%v, %v", back, err)
		}
	})
}

func TestCodes(t *testing.T) {
	code := NewCode()
	if !codePattern.MatchString(code) || code == NewCode() {
		t.Errorf("%q is no code, or there is only one", code)
	}
	hash := HashCode(code)
	if !MatchCode(code, hash) || MatchCode(NewCode(), hash) || MatchCode(code, "") || strings.Contains(hash, code) {
		t.Error("codes and their hashes do not match as they should")
	}
}
