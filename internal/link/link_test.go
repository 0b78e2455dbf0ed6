package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/linktest"
)

// site is one site with its servers behind a public port.
type site struct {
	*Self
	holder *Holder
	gate   *linktest.Gate
	server *Server
	client *Client
	// join and api are the addresses behind the gate.
	join, api string

	// ahead is how far the site's clock is; it is set before anything is said.
	ahead time.Duration

	mu       sync.Mutex
	partners map[string]*Partner
	code     string
	used     *Joiner
	nonce    []byte
	notes    []string
	got      []string
}

func newSite(t *testing.T, id string) *site {
	t.Helper()
	s := &site{partners: map[string]*Partner{}, holder: &Holder{}, code: NewCode()}
	ca, err := NewCA(id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.Self = &Self{SiteID: id, DisplayName: "Site " + id, CA: ca, Now: s.now}
	ready := make(chan struct{})
	s.server = NewServer(ServerOptions{
		Self: s.holder.Get, Partners: s.find, Invitations: s, Now: s.now,
		Note: func(_ context.Context, who, reason string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.notes = append(s.notes, who+" "+reason)
		},
		Listen: func(context.Context) (net.Listener, net.Listener, error) {
			j, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, nil, err
			}
			a, err := net.Listen("tcp", "127.0.0.1:0")
			s.join, s.api = j.Addr().String(), a.Addr().String()
			close(ready)
			return j, a, err
		},
	})
	s.server.Handle("note", func(_ context.Context, from string, e *Envelope) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		var text string
		if err := e.Decode(&text); err != nil {
			return err
		}
		if text == "no" {
			return Refuse("Never", "not today")
		}
		if text == "broken" {
			return errors.New("a secret of the inside")
		}
		s.got = append(s.got, from+": "+text)
		return nil
	})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.server.Start(ctx) }()
	<-ready
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s.gate = linktest.NewGate(t, func(sni string) string {
		if strings.HasPrefix(sni, "join.") {
			return s.join
		}
		return s.api
	})
	s.Endpoints = []string{s.gate.Address()}
	s.holder.Set(s.Self)
	s.client = NewClient(ClientOptions{Self: s.holder.Get, Now: s.now})
	return s
}

func (s *site) now() time.Time { return time.Now().Add(s.ahead) }

func (s *site) find(_ context.Context, id string) (*Partner, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partners[id]
	if p == nil {
		return nil, ErrNoPartner
	}
	c := *p
	return &c, nil
}

func (s *site) Invited(_ context.Context, code string) error {
	if !MatchCode(code, HashCode(s.code)) {
		return Refuse(RefusedCode, "There is no such invitation")
	}
	return nil
}

func (s *site) Join(_ context.Context, j *Joiner) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used != nil && !s.used.CA.Equal(j.CA) {
		return nil, Refuse(RefusedVoid, "It was used twice")
	}
	if s.used == nil {
		s.used = j
		var err error
		if s.nonce, err = NewNonce(); err != nil {
			return nil, err
		}
	}
	return s.nonce, nil
}

// know makes p a partner of s.
func (s *site) know(p *site, standing Standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partners[p.SiteID] = &Partner{Link: "link-" + p.SiteID, SiteID: p.SiteID, CAs: p.Trusted(), Standing: standing}
}

// to is s's SiteLink to p.
func (s *site) to(p *site) *v1alpha1.SiteLink {
	return &v1alpha1.SiteLink{
		ObjectMeta: metav1.ObjectMeta{Name: "link-" + p.SiteID},
		Spec:       v1alpha1.SiteLinkSpec{SiteID: p.SiteID, Endpoints: p.Endpoints, CACertificates: string(pki.EncodeCerts(p.Trusted()...))},
	}
}

func (s *site) invitation() Invitation {
	return Invitation{SiteID: s.SiteID, Endpoints: s.Endpoints, Pin: Pin(s.CA.Cert), Code: s.code}
}

func pair(t *testing.T) (a, b *site) {
	t.Helper()
	a, b = newSite(t, "banka1"), newSite(t, "bankb1")
	a.know(b, Accepted)
	b.know(a, Accepted)
	return a, b
}

func refused(t *testing.T, err error, reason string) {
	t.Helper()
	if r, ok := AsRefusal(err); !ok || r.Reason != reason {
		t.Errorf("got %v, want the refusal %s", err, reason)
	}
}

func TestJoin(t *testing.T) {
	a, b, c := newSite(t, "banka1"), newSite(t, "bankb1"), newSite(t, "bankc1")
	joined, err := b.client.Join(t.Context(), a.invitation())
	if err != nil {
		t.Fatal(err)
	}
	if !joined.CA.Equal(a.CA.Cert) || joined.DisplayName != a.DisplayName || joined.Endpoints[0] != a.Endpoints[0] {
		t.Errorf("got %+v", joined)
	}
	if !a.used.CA.Equal(b.CA.Cert) || a.used.SiteID != b.SiteID || a.used.Endpoints[0] != b.Endpoints[0] {
		t.Errorf("the inviting site has %+v", a.used)
	}
	if want := Check(a.code, a.CA.Cert, b.CA.Cert, a.nonce); joined.Check != want {
		t.Errorf("the two sites show %s and %s", want, joined.Check)
	}
	again, err := b.client.Join(t.Context(), a.invitation())
	if err != nil || again.Check != joined.Check {
		t.Errorf("the same site asks again: %+v, %v", again, err)
	}
	_, err = c.client.Join(t.Context(), a.invitation())
	refused(t, err, RefusedVoid)
}

func TestJoinRefused(t *testing.T) {
	a, b := newSite(t, "banka1"), newSite(t, "bankb1")
	for name, c := range map[string]struct {
		change func(*Invitation)
		is     func(error) bool
	}{
		"a wrong code":       {func(i *Invitation) { i.Code = NewCode() }, func(err error) bool { r, ok := AsRefusal(err); return ok && r.Reason == RefusedCode }},
		"no code":            {func(i *Invitation) { i.Code = "" }, func(err error) bool { r, ok := AsRefusal(err); return ok && r.Reason == RefusedCode }},
		"another CA's pin":   {func(i *Invitation) { i.Pin = Pin(b.CA.Cert) }, func(err error) bool { return errors.Is(err, errPin) }},
		"another site":       {func(i *Invitation) { i.SiteID = "bankx1" }, Untrusted},
		"nobody there":       {func(i *Invitation) { i.Endpoints = []string{"127.0.0.1:1"} }, func(err error) bool { return !Untrusted(err) }},
		"a forged site":      {func(i *Invitation) { i.Endpoints = b.Endpoints }, Untrusted},
		"first endpoint out": {func(i *Invitation) { i.Endpoints = append([]string{"127.0.0.1:1"}, i.Endpoints...) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			i := a.invitation()
			c.change(&i)
			_, err := b.client.Join(t.Context(), i)
			if c.is == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !c.is(err) {
				t.Errorf("got %v", err)
			}
			if err != nil && i.Code != "" && strings.Contains(err.Error(), i.Code) {
				t.Errorf("the error tells the code: %v", err)
			}
		})
	}
	_, err := a.client.Join(t.Context(), a.invitation())
	refused(t, err, RefusedConflict)
}

// TestJoinIsBoundToItsSession: what was overheard, or sent to an impostor, is of no use in another session.
func TestJoinIsBoundToItsSession(t *testing.T) {
	a, b := newSite(t, "banka1"), newSite(t, "bankb1")
	open := func() (*tls.Conn, tls.ConnectionState) {
		conn, err := tls.Dial("tcp", a.gate.Address(), &tls.Config{ServerName: "join.banka1", InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn, conn.ConnectionState()
	}
	request := func(cs tls.ConnectionState, change func(*joinRequest)) []byte {
		q := &joinRequest{Version: Version, Code: a.code, SiteID: b.SiteID, Endpoints: b.Endpoints, CA: string(pki.EncodeCerts(b.CA.Cert))}
		if err := q.sign(b.CA, &cs); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(q)
		}
		raw, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, c := range map[string]struct {
		other  bool
		change func(*joinRequest)
		status int
	}{
		"its own session":     {status: http.StatusOK},
		"another session":     {other: true, status: http.StatusBadRequest},
		"another CA":          {change: func(q *joinRequest) { q.CA = string(pki.EncodeCerts(a.CA.Cert)) }, status: http.StatusBadRequest},
		"another endpoint":    {change: func(q *joinRequest) { q.Endpoints = []string{"evil.example:1"} }, status: http.StatusBadRequest},
		"another site":        {change: func(q *joinRequest) { q.SiteID = "bankx1" }, status: http.StatusBadRequest},
		"a name to mislead":   {change: func(q *joinRequest) { q.DisplayName = "a\u202e" }, status: http.StatusBadRequest},
		"more than is read":   {change: func(q *joinRequest) { q.DisplayName = strings.Repeat("a", maxJoin) }, status: http.StatusBadRequest},
		"another version":     {change: func(q *joinRequest) { q.Version = 2 }, status: http.StatusBadRequest},
		"two CAs":             {change: func(q *joinRequest) { q.CA += string(pki.EncodeCerts(newCA(t, "bankb1").Cert)) }, status: http.StatusBadRequest},
		"no proof of the key": {change: func(q *joinRequest) { q.Signature = nil }, status: http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			conn, cs := open()
			if c.other {
				_, cs = open()
			}
			if got := post(t, conn, "https://join.banka1"+joinPath, request(cs, c.change)); got != c.status {
				t.Errorf("the answer is %d, want %d", got, c.status)
			}
		})
	}
}

func post(t *testing.T, conn net.Conn, url string, body []byte) int {
	t.Helper()
	transport := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// TestTenThousandGuesses: wrong codes get nowhere, are told to the operator a few times only, and keep nobody out.
func TestTenThousandGuesses(t *testing.T) {
	a, b := newSite(t, "banka1"), newSite(t, "bankb1")
	a.server.opts.Now = func() time.Time { return noon }
	codes, busy := 0, 0
	for range 10_000 {
		switch r, _ := AsRefusal(a.server.invited(t.Context(), NewCode())); {
		case r == nil:
			t.Fatal("a code was guessed")
		case r.Reason == RefusedCode:
			codes++
		case r.Reason == RefusedBusy:
			busy++
		}
	}
	if codes != guessBurst || busy != 10_000-guessBurst || len(a.notes) != guessBurst {
		t.Errorf("%d were told to be wrong, %d that it is too much, %d notes", codes, busy, len(a.notes))
	}
	i := a.invitation()
	i.Code = NewCode()
	_, err := b.client.Join(t.Context(), i)
	refused(t, err, RefusedBusy)
	a.server.opts.Now = time.Now
	if _, err := b.client.Join(t.Context(), a.invitation()); err != nil {
		t.Errorf("who has the code is kept out: %v", err)
	}
}

func TestDocuments(t *testing.T) {
	a, b := pair(t)
	for _, text := range []string{"one", "two"} {
		if err := b.client.Send(t.Context(), b.to(a), "note", "trade", text); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(a.got, ", "); got != "link-bankb1: one, link-bankb1: two" {
		t.Errorf("it got %q", got)
	}
	refused(t, b.client.Send(t.Context(), b.to(a), "note", "trade", "no"), "Never")
	refused(t, b.client.Send(t.Context(), b.to(a), "riddle", "", "x"), RefusedKind)
	err := b.client.Send(t.Context(), b.to(a), "note", "trade", "broken")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an error of the inside: %v", err)
	}
	if err := b.client.Send(t.Context(), b.to(a), "note", "trade", strings.Repeat("a", maxDocument)); err == nil {
		t.Error("a document was sent that is too long")
	}
	if err := b.client.Send(t.Context(), b.to(a), "Note", "", "x"); err == nil {
		t.Error("a document was sent that has no kind")
	}
}

func TestStandings(t *testing.T) {
	a, b := pair(t)
	for standing, reason := range map[Standing]string{Pending: RefusedPending, Revoked: RefusedRevoked} {
		a.know(b, standing)
		if got, err := b.client.Probe(t.Context(), b.to(a)); err != nil || got != standing {
			t.Errorf("the probe says %q, %v", got, err)
		}
		refused(t, b.client.Send(t.Context(), b.to(a), "note", "", "x"), reason)
	}
	a.know(b, Accepted)
	if got, err := b.client.Probe(t.Context(), b.to(a)); err != nil || got != Accepted {
		t.Errorf("the probe says %q, %v", got, err)
	}
	if len(a.got) > 0 {
		t.Errorf("documents came through: %v", a.got)
	}
}

// TestReplay: what was sent once is not taken again, and neither is what is older.
func TestReplay(t *testing.T) {
	a, b := pair(t)
	if err := b.client.Send(t.Context(), b.to(a), "note", "", "first"); err != nil {
		t.Fatal(err)
	}
	old := &Envelope{Kind: "note", From: b.SiteID, To: a.SiteID, Sequence: 1, IssuedAt: time.Now(), Payload: []byte(`"old"`)}
	foreign := &Envelope{Kind: "note", From: b.SiteID, To: a.SiteID, Sequence: 1 << 62, IssuedAt: time.Now(), Payload: []byte(`"foreign"`)}
	for e, ca := range map[*Envelope]*pki.Issuer{old: b.CA, foreign: newCA(t, b.SiteID)} {
		if err := e.Sign(ca); err != nil {
			t.Fatal(err)
		}
	}
	send := func(e *Envelope) error {
		raw, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return b.client.call(t.Context(), b.to(a), http.MethodPost, documentsPath, raw, &struct{}{})
	}
	refused(t, send(old), RefusedStale)
	refused(t, send(foreign), RefusedInvalid)
	if len(a.got) != 1 {
		t.Errorf("it got %v", a.got)
	}
	// A sender whose clock was set back, and who was started anew, still gets through.
	late := NewClient(ClientOptions{Self: b.holder.Get, Now: func() time.Time { return time.Now().Add(-20 * time.Minute) }})
	if err := late.Send(t.Context(), b.to(a), "note", "", "late"); err != nil {
		t.Error(err)
	}
}

// TestStrangers: who is not the partner, or does not show the certificate for this very link, gets nowhere.
func TestStrangers(t *testing.T) {
	a, b := pair(t)
	c := newSite(t, "bankc1")
	a.know(c, Accepted)
	leaf := func(s *site, name string) []tls.Certificate {
		cert, err := s.Leaf(name)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{*cert}
	}
	for name, x := range map[string]struct {
		sni   string
		certs []tls.Certificate
		most  uint16
		ok    bool
	}{
		"the partner":                  {sni: "api.bankb1.banka1", certs: leaf(b, "api.banka1.bankb1"), ok: true},
		"no certificate":               {sni: "api.bankb1.banka1"},
		"another partner's":            {sni: "api.bankb1.banka1", certs: leaf(c, "api.banka1.bankc1")},
		"a forged one":                 {sni: "api.bankb1.banka1", certs: leaf(c, "api.banka1.bankb1")},
		"one for a network":            {sni: "api.bankb1.banka1", certs: leaf(b, "trade.banka1.bankb1")},
		"one for another partner":      {sni: "api.bankb1.banka1", certs: leaf(b, "api.bankc1.bankb1")},
		"a site that is no partner":    {sni: "api.bankx1.banka1", certs: leaf(b, "api.banka1.bankb1")},
		"another site's name":          {sni: "api.bankb1.bankc1", certs: leaf(b, "api.banka1.bankb1")},
		"no name":                      {sni: "", certs: leaf(b, "api.banka1.bankb1")},
		"the partner in TLS 1.2":       {sni: "api.bankb1.banka1", certs: leaf(b, "api.banka1.bankb1"), most: tls.VersionTLS12},
		"an invitation in TLS 1.2":     {sni: "join.banka1", most: tls.VersionTLS12},
		"an invitation's name and api": {sni: "join.bankb1"},
	} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{
				ServerName: x.sni, InsecureSkipVerify: true, MaxVersion: x.most,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if len(x.certs) == 0 {
						return &tls.Certificate{}, nil
					}
					return &x.certs[0], nil
				},
			}
			conn, err := tls.Dial("tcp", a.gate.Address(), config)
			if err == nil {
				defer conn.Close()
				err = ask(conn, x.sni)
			}
			if x.ok != (err == nil) {
				t.Errorf("got %v", err)
			}
		})
	}
	// The calling side checks as well.
	l := b.to(a)
	l.Spec.CACertificates = string(pki.EncodeCerts(c.CA.Cert))
	if _, err := b.client.Probe(t.Context(), l); err == nil || !Untrusted(err) {
		t.Errorf("a partner with another CA: %v", err)
	}
	a.know(c, Accepted)
	a.partners[b.SiteID].CAs = c.Trusted()
	b.client.Cut(l.Name)
	if _, err := b.client.Probe(t.Context(), b.to(a)); err == nil || !Untrusted(err) {
		t.Errorf("the partner does not trust this site's CA: %v", err)
	}
}

func ask(conn *tls.Conn, host string) error {
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", statusPath, host); err != nil {
		return err
	}
	buf := make([]byte, 12)
	if _, err := io.ReadFull(conn, buf); err != nil {
		return err
	}
	if string(buf) != "HTTP/1.1 200" {
		return fmt.Errorf("it answers %q", buf)
	}
	return nil
}

// TestChangedCA: while two CAs are trusted, both are good; a connection made with the former one ends with it.
func TestChangedCA(t *testing.T) {
	a, b := pair(t)
	next, err := NewCA(b.SiteID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	both := b.Trusted()
	both = append(both[:len(both):len(both)], next.Cert)
	a.partners[b.SiteID].CAs = both
	probe := func(when string, ok bool) {
		t.Helper()
		if _, err := b.client.Probe(t.Context(), b.to(a)); (err == nil) != ok {
			t.Errorf("%s: %v", when, err)
		}
	}
	probe("the former CA", true)
	b.holder.Set(&Self{SiteID: b.SiteID, Endpoints: b.Endpoints, CA: next})
	probe("the next CA", true)
	if err := b.client.Send(t.Context(), b.to(a), "note", "", "signed by the next"); err != nil {
		t.Error(err)
	}
	b.holder.Set(b.Self)
	probe("the former CA, still", true)
	a.mu.Lock()
	a.partners[b.SiteID].CAs = both[1:]
	a.mu.Unlock()
	probe("the former CA, on an old connection", false)
	probe("the former CA, anew", false)
	b.holder.Set(&Self{SiteID: b.SiteID, Endpoints: b.Endpoints, CA: next})
	probe("the next CA alone", true)
}

// TestFlood: a partner that takes all it can get leaves the others their room.
func TestFlood(t *testing.T) {
	a, b := pair(t)
	c := newSite(t, "bankc1")
	a.know(c, Accepted)
	cert, err := b.Leaf("api.banka1.bankb1")
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	for range partnerConnections + 5 {
		conn, err := tls.Dial("tcp", a.gate.Address(), &tls.Config{ServerName: "api.bankb1.banka1", InsecureSkipVerify: true, Certificates: []tls.Certificate{*cert}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if ask(conn, "api.bankb1.banka1") == nil {
			served++
		}
	}
	if served != partnerConnections {
		t.Errorf("%d connections are served, want %d", served, partnerConnections)
	}
	if _, err := c.client.Probe(t.Context(), c.to(a)); err != nil {
		t.Errorf("another partner: %v", err)
	}
	busy := 0
	for range 3 * callBurst {
		_, err := c.client.Probe(t.Context(), c.to(a))
		if r, ok := AsRefusal(err); ok && r.Reason == RefusedBusy {
			busy++
		}
	}
	if busy == 0 {
		t.Errorf("%d calls in a row are all answered", 3*callBurst)
	}
}

// TestDocumentsWait: a partner that sends many documents at once has them read two at a time, and all of them in the end.
func TestDocumentsWait(t *testing.T) {
	a, b := pair(t)
	const documents = 6
	var mu sync.Mutex
	inside, most := 0, 0
	a.server.Handle("slow", func(context.Context, string, *Envelope) error {
		mu.Lock()
		inside++
		most = max(most, inside)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		inside--
		mu.Unlock()
		return nil
	})
	sent := make(chan error, documents)
	for i := range documents {
		// Each has a line of its own.
		c := NewClient(ClientOptions{Self: b.holder.Get})
		go func() { sent <- c.Send(t.Context(), b.to(a), "slow", fmt.Sprintf("subject %d", i), "x") }()
	}
	for range documents {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	if most > partnerDocuments {
		t.Errorf("%d were in work at once", most)
	}
}

// TestSlowHandshake: who says nothing, or half of something, is cut off, and keeps nobody else out meanwhile.
func TestSlowHandshake(t *testing.T) {
	a, b := pair(t)
	silent, err := net.Dial("tcp", a.api)
	if err != nil {
		t.Fatal(err)
	}
	half, err := tls.Dial("tcp", a.join, &tls.Config{ServerName: "join.banka1", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.Write([]byte("POST ")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.Probe(t.Context(), b.to(a)); err != nil {
		t.Errorf("meanwhile: %v", err)
	}
	for name, conn := range map[string]net.Conn{"silent": silent, "half": half} {
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: it is not cut off within a minute", name)
		}
	}
}

// TestClocks: sites whose clocks differ by twenty minutes understand each other.
func TestClocks(t *testing.T) {
	for _, ahead := range []time.Duration{-20 * time.Minute, 20 * time.Minute} {
		a, b := pair(t)
		b.ahead = ahead
		if _, err := b.client.Join(t.Context(), a.invitation()); err != nil {
			t.Errorf("join, %s: %v", ahead, err)
		}
		for from, to := range map[*site]*site{a: b, b: a} {
			if _, err := from.client.Probe(t.Context(), from.to(to)); err != nil {
				t.Errorf("probe, %s: %v", ahead, err)
			}
			if err := from.client.Send(t.Context(), from.to(to), "note", "", "x"); err != nil {
				t.Errorf("send, %s: %v", ahead, err)
			}
		}
	}
}

func TestNoSiteYet(t *testing.T) {
	var h Holder
	if _, err := h.Get(t.Context()); !errors.Is(err, ErrNoSite) {
		t.Errorf("got %v", err)
	}
	if _, err := NewClient(ClientOptions{Self: h.Get}).Join(t.Context(), Invitation{}); !errors.Is(err, ErrNoSite) {
		t.Errorf("got %v", err)
	}
}

// TestLeaf: a leaf is made once, lasts a month, and is renewed when a third of that is left.
func TestLeaf(t *testing.T) {
	now := noon
	s := &Self{SiteID: "banka1", CA: newCA(t, "banka1"), Now: func() time.Time { return now }}
	first, err := s.Leaf("join.banka1")
	if err != nil {
		t.Fatal(err)
	}
	if first.Leaf.NotBefore.After(noon.Add(-Backdate)) || first.Leaf.NotAfter.Before(noon.Add(LeafLifetime)) {
		t.Errorf("it lasts from %s to %s", first.Leaf.NotBefore, first.Leaf.NotAfter)
	}
	for days, same := range map[int]bool{19: true, 21: false} {
		now = noon.AddDate(0, 0, days)
		next, err := s.Leaf("join.banka1")
		if err != nil || next.Leaf.Equal(first.Leaf) != same {
			t.Errorf("after %d days: %v", days, err)
		}
		s.leaves["join.banka1"] = first
	}
}

func TestPartnerOf(t *testing.T) {
	ca := newCA(t, "bankb1")
	l := &v1alpha1.SiteLink{Spec: v1alpha1.SiteLinkSpec{SiteID: "bankb1", CACertificates: string(pki.EncodeCerts(ca.Cert))}}
	standing := func() Standing {
		p, err := PartnerOf(l)
		if err != nil {
			t.Fatal(err)
		}
		return p.Standing
	}
	if got := standing(); got != Pending {
		t.Error(got)
	}
	l.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue}}
	if got := standing(); got != Accepted {
		t.Error(got)
	}
	l.Spec.Partnership = v1alpha1.PartnershipRevoked
	if got := standing(); got != Revoked {
		t.Error(got)
	}
	l.Spec.CACertificates = ""
	if _, err := PartnerOf(l); err == nil {
		t.Error("a partner without a CA")
	}
}
