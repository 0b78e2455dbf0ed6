package link

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"heddle.dev/heddle/internal/pki"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func newCA(tb testing.TB, site string) *pki.Issuer {
	tb.Helper()
	ca, err := NewCA(site, noon)
	if err != nil {
		tb.Fatal(err)
	}
	return ca
}

func document(tb testing.TB, ca *pki.Issuer) *Envelope {
	tb.Helper()
	e := &Envelope{
		Kind: "descriptor", Subject: "trade", From: "bankb1", To: "banka1", Sequence: 7, IssuedAt: noon, Payload: []byte(`{"a": 1}`),
	}
	if err := e.Sign(ca); err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestEnvelope(t *testing.T) {
	ca, next, other := newCA(t, "bankb1"), newCA(t, "bankb1"), newCA(t, "bankb1")
	partner := &Partner{Link: "bank-b", SiteID: "bankb1", CAs: parse(t, ca, next)}
	for name, c := range map[string]struct {
		signer *pki.Issuer
		change func(*Envelope)
		to     string
		now    time.Time
		ok     bool
	}{
		"as it was sent":         {ok: true},
		"signed by the next CA":  {signer: next, ok: true},
		"29 minutes old":         {now: noon.Add(29 * time.Minute), ok: true},
		"29 minutes ahead":       {now: noon.Add(-29 * time.Minute), ok: true},
		"31 minutes old":         {now: noon.Add(31 * time.Minute)},
		"31 minutes ahead":       {now: noon.Add(-31 * time.Minute)},
		"signed by a foreign CA": {signer: other},
		"not signed":             {change: func(e *Envelope) { e.Signature = nil }},
		"another kind":           {change: func(e *Envelope) { e.Kind = "proposal" }},
		"another subject":        {change: func(e *Envelope) { e.Subject = "deals" }},
		"kind and subject moved": {change: func(e *Envelope) { e.Kind, e.Subject = "descripto", "rtrade" }},
		"another sequence":       {change: func(e *Envelope) { e.Sequence++ }},
		"another time":           {change: func(e *Envelope) { e.IssuedAt = e.IssuedAt.Add(time.Second) }},
		"another payload":        {change: func(e *Envelope) { e.Payload = []byte(`{"a": 2}`) }},
		"from somebody else":     {change: func(e *Envelope) { e.From = "bankc1" }},
		"to somebody else":       {to: "bankc1"},
		"no kind":                {change: func(e *Envelope) { e.Kind = "" }},
		"no payload":             {change: func(e *Envelope) { e.Payload = nil }},
		"a broken payload":       {change: func(e *Envelope) { e.Payload = []byte(`{`) }},
		"a long subject":         {change: func(e *Envelope) { e.Subject = strings.Repeat("a", maxSubject+1) }},
		"a subject with a bell":  {change: func(e *Envelope) { e.Subject = "\a" }},
	} {
		t.Run(name, func(t *testing.T) {
			signer, to, now := ca, "banka1", noon
			if c.signer != nil {
				signer = c.signer
			}
			if c.to != "" {
				to = c.to
			}
			if !c.now.IsZero() {
				now = c.now
			}
			sent := document(t, signer)
			if c.change != nil {
				c.change(sent)
			}
			err := sent.Verify(partner, to, now)
			if c.ok && err != nil {
				t.Error(err)
			}
			if refusal, refused := AsRefusal(err); !c.ok && (!refused || refusal.Reason != RefusedInvalid) {
				t.Errorf("got %v, want a refusal", err)
			}
		})
	}
}

// TestEnvelopeTravels: JSON between the sites changes nothing that is signed.
func TestEnvelopeTravels(t *testing.T) {
	ca := newCA(t, "bankb1")
	raw, err := json.Marshal(document(t, ca))
	if err != nil {
		t.Fatal(err)
	}
	var got Envelope
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if err := got.Verify(&Partner{SiteID: "bankb1", CAs: parse(t, ca)}, "banka1", noon); err != nil {
		t.Error(err)
	}
}

func FuzzEnvelope(f *testing.F) {
	ca := newCA(f, "bankb1")
	good := document(f, ca)
	raw, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"kind":"a","payload":null,"issuedAt":"2026-11-27T12:00:00Z"}`))
	partner := &Partner{SiteID: "bankb1", CAs: parse(f, ca)}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e Envelope
		if decodeOne(raw, &e) != nil || e.Verify(partner, "banka1", noon) != nil {
			return
		}
		// ECDSA allows another signature of the same; what is signed has to be what was.
		if !bytes.Equal(e.digest(), good.digest()) {
			t.Fatalf("a document that nobody signed: %s", raw)
		}
	})
}

func parse(tb testing.TB, issuers ...*pki.Issuer) []*x509.Certificate {
	tb.Helper()
	var text []byte
	for _, i := range issuers {
		text = append(text, pki.EncodeCerts(i.Cert)...)
	}
	certs, err := ParseCAs(text)
	if err != nil {
		tb.Fatal(err)
	}
	return certs
}

func TestParseCAs(t *testing.T) {
	ca := newCA(t, "banka1")
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.IssueTLS(pki.TLSRequest{CommonName: "a", SANs: []string{"a"}, Public: key.Public(), Lifetime: time.Hour, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	below, err := ca.NewIntermediate(pki.IssuerRequest{CommonName: "below", Key: key, Lifetime: time.Hour, Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	one := pki.EncodeCerts(ca.Cert)
	for name, c := range map[string]struct {
		text []byte
		ok   bool
	}{
		"one":             {one, true},
		"two":             {append(bytes.Clone(one), pki.EncodeCerts(newCA(t, "banka1").Cert)...), true},
		"three":           {bytes.Repeat(one, 3), false},
		"none":            {nil, false},
		"a leaf":          {pki.EncodeCerts(leaf), false},
		"an intermediate": {pki.EncodeCerts(below.Cert), false},
		"too long":        {append(bytes.Clone(one), bytes.Repeat([]byte("#"), maxCABundle)...), false},
		"with its key":    {[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), false},
	} {
		if _, err := ParseCAs(c.text); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseCAs(f *testing.F) {
	f.Add(pki.EncodeCerts(newCA(f, "banka1").Cert))
	f.Fuzz(func(t *testing.T, text []byte) {
		certs, err := ParseCAs(text)
		if err == nil && (len(certs) == 0 || len(certs) > maxCAs) {
			t.Fatalf("%d certificates", len(certs))
		}
	})
}

func TestCheck(t *testing.T) {
	a, b, c := newCA(t, "banka1").Cert, newCA(t, "bankb1").Cert, newCA(t, "bankc1").Cert
	code := NewCode()
	nonce, err := NewNonce()
	if err != nil {
		t.Fatal(err)
	}
	want := Check(code, a, b, nonce)
	if len(want) != 7 || want[3] != '-' || want != Check(code, a, b, nonce) {
		t.Fatalf("%q is no check, or another each time", want)
	}
	// Each of these has the same digits by chance once in a million.
	another := bytes.Clone(nonce)
	another[0] ^= 1
	same := 0
	for _, got := range []string{Check(NewCode(), a, b, nonce), Check(code, c, b, nonce), Check(code, a, c, nonce), Check(code, b, a, nonce), Check(code, a, b, another)} {
		if got == want {
			same++
		}
	}
	if same > 1 {
		t.Error("the digits do not depend on all that they should")
	}
}

func TestCanonicalKeepsFieldsApart(t *testing.T) {
	if bytes.Equal(canonical([]byte("ab"), []byte("c")), canonical([]byte("a"), []byte("bc"))) {
		t.Error("two lists of fields give the same bytes")
	}
}

func TestSequences(t *testing.T) {
	m := &Memory{}
	for _, c := range []struct {
		link, kind, subject string
		sequence, last      uint64
		fresh               bool
	}{
		{"b", "k", "s", 5, 0, true},
		{"b", "k", "s", 5, 5, false},
		{"b", "k", "s", 4, 5, false},
		{"b", "k", "s", 9, 5, true},
		{"b", "k", "t", 1, 0, true},
		{"b", "l", "s", 1, 0, true},
		{"c", "k", "s", 1, 0, true},
		{"b", "k", "s", 0, 9, false},
	} {
		last, fresh, err := m.Advance(t.Context(), c.link, c.kind, c.subject, c.sequence)
		if err != nil || last != c.last || fresh != c.fresh {
			t.Errorf("%+v: got %d, %t, %v", c, last, fresh, err)
		}
	}
	var n counter
	x := topic{"b", "k", "s"}
	first := n.next(x, noon)
	if second := n.next(x, noon.Add(-time.Hour)); second <= first {
		t.Errorf("%d follows %d", second, first)
	}
	n.seen(x, first+100)
	if next := n.next(x, noon); next <= first+100 {
		t.Errorf("%d was seen, and %d is next", first+100, next)
	}
}

func TestBucket(t *testing.T) {
	b := newBucket(3, 0.5)
	took := 0
	for range 10 {
		if b.take(noon) {
			took++
		}
	}
	if took != 3 {
		t.Errorf("%d at once", took)
	}
	if !b.take(noon.Add(2*time.Second)) || b.take(noon.Add(2*time.Second)) {
		t.Error("two seconds do not let exactly one more happen")
	}
	if b.take(noon) {
		t.Error("a clock that goes back lets more happen")
	}
}
