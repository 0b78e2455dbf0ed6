package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/link"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/test/harness"
)

// post sends one request on a connection of its own, and returns the answer's number and its reason.
func (w way) post(ctx context.Context, path string, body any) (int, string, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	conn, err := w.dial(ctx)
	if err != nil {
		return 0, "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+w.outer+path, bytes.NewReader(raw))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	if err := r.Write(conn); err != nil {
		return 0, "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	var refusal link.Refusal
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<16)).Decode(&refusal); err != nil {
		return 0, "", err
	}
	return answer.StatusCode, refusal.Reason, nil
}

// documents: at the real endpoint, in the place of b's operator, only what b's own CA signed, for this site, now and for
// the first time, gets as far as somebody who reads it.
func (p *secured) documents(ctx context.Context, t *testing.T) {
	stranger, err := link.NewCA(p.b.id, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := way{from: p.b.Cluster, to: p.a.endpoint(t), outer: "api.siteb.sitea", verifies: p.a.ca, shows: leaf(t, p.b.ca, "api.sitea.siteb")}
	for name, c := range map[string]struct {
		kind   string
		change func(*link.Envelope)
		signer *pki.Issuer
		after  func(*link.Envelope)
		want   string
	}{
		"as agreed, of a kind that nobody knows": {kind: "nonsense", want: link.RefusedKind},
		"of a foreign CA of the same name":       {signer: stranger, want: link.RefusedInvalid},
		"of another partner's CA":                {signer: p.c.ca, want: link.RefusedInvalid},
		"of the receiver's CA":                   {signer: p.a.ca, want: link.RefusedInvalid},
		"without a signature":                    {after: func(e *link.Envelope) { e.Signature = nil }, want: link.RefusedInvalid},
		"changed afterwards":                     {after: func(e *link.Envelope) { e.Payload = []byte(`{"siteID":"sitec"}`) }, want: link.RefusedInvalid},
		"in another partner's name":              {change: func(e *link.Envelope) { e.From = "sitec" }, want: link.RefusedInvalid},
		"for another site":                       {change: func(e *link.Envelope) { e.To = "sitec" }, want: link.RefusedInvalid},
		"of yesterday":                           {change: func(e *link.Envelope) { e.IssuedAt = time.Now().Add(-24 * time.Hour) }, want: link.RefusedInvalid},
		"replayed":                               {change: func(e *link.Envelope) { e.Sequence = 1 }, want: link.RefusedStale},
	} {
		t.Run(name, func(t *testing.T) {
			e := &link.Envelope{
				Kind: "descriptor", Subject: "siteb", From: "siteb", To: "sitea", Sequence: uint64(time.Now().UnixNano()), IssuedAt: time.Now(), Payload: []byte(`{}`),
			}
			if c.kind != "" {
				e.Kind = c.kind
			}
			if c.change != nil {
				c.change(e)
			}
			signer := c.signer
			if signer == nil {
				signer = p.b.ca
			}
			if err := e.Sign(signer); err != nil {
				t.Fatal(err)
			}
			if c.after != nil {
				c.after(e)
			}
			if status, reason, err := w.post(ctx, "/v1/documents", e); err != nil || reason != c.want {
				t.Errorf("answered %d %q, %v; want %q", status, reason, err, c.want)
			}
		})
	}
}

// tokens: one whose pin was changed leads nowhere, one that a second site uses is void for both, and one that has ended is
// refused. expired was made a minute ago or more.
func (p *secured) tokens(ctx context.Context, t *testing.T, expired string) {
	good := p.invite(ctx, t, p.b, "bank-c", 15*time.Minute)
	forged := p.forge(t, good, func(token *link.Token) { token.Pin = strings.Repeat("0a", 32) })
	p.refusedToken(ctx, t, p.c, "forged-pin", forged, v1alpha1.ReasonUntrusted)
	elsewhere := p.forge(t, good, func(token *link.Token) { token.Endpoints = []string{p.a.endpoint(t)} })
	p.refusedToken(ctx, t, p.c, "forged-address", elsewhere, v1alpha1.ReasonUnreachable, v1alpha1.ReasonUntrusted)
	forgedCode := p.forge(t, good, func(token *link.Token) { token.Code = link.NewCode() })
	p.refusedToken(ctx, t, p.c, "forged-code", forgedCode, v1alpha1.ReasonJoinRefused)
	// None of that was a use of the code.
	heddle(ctx, t, p.c.Cluster, "site", "join", good, "--name", "bank-b")
	p.stranger(ctx, t, "replayed", good, link.RefusedVoid)
	invite := &v1alpha1.SiteInvite{ObjectMeta: metav1.ObjectMeta{Name: "bank-c"}}
	if err := p.b.Until(ctx, invite, func() bool { return invite.Status.State == v1alpha1.InviteVoid }); err != nil {
		t.Errorf("an invitation that two sites used: %v", err)
	}
	p.stranger(ctx, t, "of an invitation that is void", good, link.RefusedVoid)
	if err := p.c.Remove(ctx, &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: "bank-b"}}); err != nil {
		t.Error(err)
	}
	token, err := link.ParseToken(expired)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(token.ExpiresAt()); left > -time.Second {
		time.Sleep(left + time.Second)
	}
	p.refusedToken(ctx, t, p.c, "expired", expired, v1alpha1.ReasonJoinRefused)
}

// stranger uses a token as a site that nobody knows, which has to be refused for that reason.
func (p *secured) stranger(ctx context.Context, t *testing.T, what, text, reason string) {
	t.Helper()
	token, err := link.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := link.NewCA("sitex", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	self := &link.Self{SiteID: "sitex", Endpoints: []string{"192.0.2.7:443"}, CA: ca}
	caller := link.NewClient(link.ClientOptions{
		Self: func(context.Context) (*link.Self, error) { return self, nil },
		Dial: p.c.Site.DialContext,
	})
	_, err = caller.Join(ctx, link.Invitation{SiteID: token.SiteID, Endpoints: token.Endpoints, Pin: token.Pin, Code: token.Code})
	if r, ok := link.AsRefusal(err); !ok || r.Reason != reason {
		t.Errorf("a token %s: %v, want %s", what, err, reason)
	}
}

// forge changes a token as somebody on its way could.
func (p *secured) forge(t *testing.T, text string, change func(*link.Token)) string {
	t.Helper()
	token, err := link.ParseToken(text)
	if err != nil {
		t.Fatal(err)
	}
	change(&token)
	raw, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// refusedToken has a site use a token by the command, which has to say one of the reasons.
func (p *secured) refusedToken(ctx context.Context, t *testing.T, s *linkedSite, name, token string, reasons ...string) {
	t.Helper()
	out, err := s.Heddle(ctx, "site", "join", token, "--name", name, "--timeout", "20s", "-q")
	if err == nil {
		t.Errorf("token %q is taken:\n%s", name, out)
	}
	l := &v1alpha1.SiteLink{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := s.Get(ctx, client.ObjectKeyFromObject(l), l); err != nil {
		t.Fatal(err)
	}
	c := meta.FindStatusCondition(l.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil || !slices.Contains(reasons, c.Reason) || l.Status.Check != "" {
		t.Errorf("token %q: %+v, want one of %q", name, c, reasons)
	}
	if err := s.Remove(ctx, l); err != nil {
		t.Error(err)
	}
}

// guesses: ten thousand codes at the real endpoint are all refused, most of them without a look; who has the code gets in
// meanwhile.
func (p *secured) guesses(ctx context.Context, t *testing.T) {
	token := p.invite(ctx, t, p.b, "guessed", 15*time.Minute)
	w := way{from: p.c.Cluster, to: p.b.endpoint(t), outer: link.JoinName("siteb"), verifies: p.b.ca}
	var mu sync.Mutex
	answers := map[string]int{}
	guess := make(chan string)
	var workers sync.WaitGroup
	for range 12 {
		workers.Go(func() {
			for code := range guess {
				_, reason, err := w.post(ctx, "/v1/join", map[string]any{"v": link.Version, "code": code, "site": "sitex"})
				if err != nil {
					reason = "no answer"
				}
				mu.Lock()
				answers[reason]++
				mu.Unlock()
			}
		})
	}
	began := time.Now()
	for range 10_000 {
		guess <- link.NewCode()
	}
	heddle(ctx, t, p.c.Cluster, "site", "join", token, "--name", "bank-b")
	close(guess)
	workers.Wait()
	progress("10000 guesses took %.0f s: %v", time.Since(began).Seconds(), answers)
	for _, reason := range slices.Sorted(maps.Keys(answers)) {
		if reason != link.RefusedCode && reason != link.RefusedBusy && reason != "no answer" {
			t.Errorf("%d guesses were answered %q", answers[reason], reason)
		}
	}
	if answers[link.RefusedBusy] < 9_000 || answers["no answer"] > 100 {
		t.Errorf("the limit does not bite: %v", answers)
	}
}

// hello is what a TLS client says first.
func hello(t *testing.T, sni string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() { _ = tls.Client(theirs, &tls.Config{ServerName: sni, MinVersion: tls.VersionTLS13}).Handshake() }()
	defer theirs.Close()
	defer ours.Close()
	buf := make([]byte, 1<<14)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// handshakes: who is silent, slow or noisy, at the gateway, at the operator or inside a tunnel, is cut off, and partners
// get through meanwhile.
func (p *secured) handshakes(ctx context.Context, t *testing.T) {
	raw := way{from: p.b.Cluster, to: p.a.endpoint(t)}
	noise := make([]byte, 1<<20)
	_, _ = rand.Read(noise) // never fails
	record := append([]byte{22, 3, 1, 0x3f, 0xff}, noise...)
	header := []byte("POST /v1/join HTTP/1.1\r\nX-Noise: " + strings.Repeat("a", 1<<20))
	join := way{from: p.b.Cluster, to: raw.to, outer: "join.sitea", verifies: p.a.ca}
	api := way{from: p.b.Cluster, to: raw.to, outer: "api.siteb.sitea", verifies: p.a.ca, shows: leaf(t, p.b.ca, "api.sitea.siteb")}
	cases := map[string]struct {
		way   way
		says  []byte
		pause time.Duration
	}{
		"silence":                            {way: raw},
		"a hello drop by drop":               {way: raw, says: hello(t, p.intoA.outer), pause: 300 * time.Millisecond},
		"a megabyte of noise":                {way: raw, says: noise},
		"a hello of a megabyte":              {way: raw, says: record},
		"a link, then silence":               {way: raw, says: hello(t, p.intoA.outer)},
		"a link, then noise":                 {way: raw, says: slices.Concat(hello(t, p.intoA.outer), noise)},
		"an invitation, then silence":        {way: raw, says: hello(t, join.outer)},
		"an invitation with endless headers": {way: join, says: header},
		"a call, then silence":               {way: raw, says: hello(t, api.outer)},
		"a call drop by drop":                {way: api, says: []byte(strings.Repeat("POST /v1/documents", 10)), pause: time.Second},
		"a tunnel, then silence":             {way: p.intoA},
		"a tunnel, then noise":               {way: p.intoA, says: noise},
		"a tunnel, then half a hello":        {way: p.intoA, says: hello(t, peerA)[:100]},
	}
	var annoying sync.WaitGroup
	for name, c := range cases {
		annoying.Go(func() {
			began := time.Now()
			if err := c.way.annoy(ctx, c.says, c.pause); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			progress("%s: cut off after %.1f s", name, time.Since(began).Seconds())
		})
	}
	ended := make(chan struct{})
	go func() {
		annoying.Wait()
		close(ended)
	}()
	for meanwhile := true; meanwhile; {
		p.reachable(ctx, t, "meanwhile")
		select {
		case <-ended:
			meanwhile = false
		case <-time.After(100 * time.Millisecond):
		}
	}
	p.reachable(ctx, t, "afterwards")
}

// annoy says something, whole or byte by byte, and waits at most a minute for the connection's end.
func (w way) annoy(ctx context.Context, says []byte, pause time.Duration) error {
	dial := w.dial
	if w.verifies == nil {
		dial = func(ctx context.Context) (net.Conn, error) { return w.from.Site.DialContext(ctx, "tcp", w.to) }
	}
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		if pause == 0 {
			_, _ = conn.Write(says) // how far it gets is the other side's affair
			return
		}
		for _, b := range says {
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}()
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("it is not cut off within a minute")
	}
	return nil
}

// reachable demands that b and c get through to bank A's peer on new connections.
func (p *secured) reachable(ctx context.Context, t *testing.T, when string) {
	t.Helper()
	for who, w := range map[string]way{"b": p.intoA, "c": p.cIntoA} {
		if err := w.once(ctx, t, peerA, p.rootsA); err != nil {
			t.Errorf("%s %s does not get through: %v", when, who, err)
		}
	}
}

// once connects, calls and hangs up.
func (w way) once(ctx context.Context, t *testing.T, node string, roots []byte) error {
	t.Helper()
	tunnel := w.open(t, node, roots)
	defer tunnel.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return tunnel.ping(ctx)
}

// halfOpen: a partner that opens more connections than an address may have, and says nothing on them, keeps nobody out.
func (p *secured) halfOpen(ctx context.Context, t *testing.T) {
	const count = 1500
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	began := time.Now()
	for range count {
		conn, err := p.b.Site.DialContext(ctx, "tcp", p.a.endpoint(t))
		if err != nil {
			t.Fatalf("after %d connections: %v", len(open), err)
		}
		open = append(open, conn)
	}
	progress("%d half-open connections took %.1f s", count, time.Since(began).Seconds())
	p.reachable(ctx, t, "meanwhile")
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("one of them is not cut off within a minute")
		}
	}
	progress("all of them are cut off after %.1f s", time.Since(began).Seconds())
}

// flood: b takes all the tunnels that it gets, and goes on asking for more. It gets its share, and c notices little.
func (p *secured) flood(ctx context.Context, t *testing.T) {
	const share, callers = 512, 16
	live := p.cIntoA.open(t, peerA, p.rootsA)
	p.latency(ctx, t, live, "before the flood")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var held []*liveTunnel
	var refused atomic.Int64
	var workers sync.WaitGroup
	full := make(chan struct{})
	filled := sync.OnceFunc(func() { close(full) })
	for range callers {
		workers.Go(func() {
			for ctx.Err() == nil {
				tunnel := p.intoA.open(t, peerA, p.rootsA)
				calling, cancel := context.WithTimeout(ctx, 10*time.Second)
				err := tunnel.ping(calling)
				cancel()
				if err != nil {
					_ = tunnel.Close()
					if refused.Add(1) > 3*callers {
						filled()
					}
					continue
				}
				mu.Lock()
				held = append(held, tunnel)
				mu.Unlock()
			}
		})
	}
	select {
	case <-full:
	case <-time.After(3 * time.Minute):
		t.Error("b is never refused")
	}
	p.latency(ctx, t, live, "during the flood")
	stop()
	workers.Wait()
	progress("b holds %d tunnels and was refused %d", len(held), refused.Load())
	if len(held) > share || len(held) < share/2 {
		t.Errorf("b holds %d tunnels, its share is %d", len(held), share)
	}
	for _, tunnel := range held {
		_ = tunnel.Close()
	}
	err := harness.Poll(t.Context(), func(ctx context.Context) error { return p.intoA.once(ctx, t, peerA, p.rootsA) })
	if err != nil {
		t.Errorf("after the flood: %v", err)
	}
}

// latency calls bank A's peer as c, on one connection and on new ones. Each call has to be answered.
func (p *secured) latency(ctx context.Context, t *testing.T, live *liveTunnel, when string) {
	t.Helper()
	var old, fresh []time.Duration
	for range 60 {
		began := time.Now()
		live.lives(ctx, t, "c "+when)
		old = append(old, time.Since(began))
		began = time.Now()
		if err := p.cIntoA.once(ctx, t, peerA, p.rootsA); err != nil {
			t.Errorf("%s c does not get through: %v", when, err)
		}
		fresh = append(fresh, time.Since(began))
	}
	slices.Sort(old)
	slices.Sort(fresh)
	at := func(all []time.Duration, part int) string {
		return fmt.Sprint(all[len(all)*part/100].Round(10 * time.Microsecond))
	}
	progress("c %s: a call takes %s (p95 %s), a new connection with a call %s (p95 %s)", when, at(old, 50), at(old, 95), at(fresh, 50), at(fresh, 95))
}
