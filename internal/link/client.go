package link

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"heddle.dev/heddle/api/v1alpha1"
)

// DialFunc opens a connection to host:port.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// ClientOptions are what a client works with.
type ClientOptions struct {
	// Self is this site.
	Self SelfFunc
	// Dial opens connections to gateways; nil dials the address as it is.
	Dial DialFunc
	// Now is the clock.
	Now func() time.Time
}

// Client calls other sites. It is safe for use by several goroutines.
type Client struct {
	opts    ClientOptions
	counter counter

	mu    sync.Mutex
	lines map[string]*line
}

// line is a connection to a partner that is kept open, for as long as nothing about the two sites changes.
type line struct {
	mark      string
	transport *http.Transport
}

// NewClient makes a client.
func NewClient(o ClientOptions) *Client {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{opts: o, lines: map[string]*line{}}
}

const (
	// dialTimeout bounds the way to one of a gateway's endpoints.
	dialTimeout = 3 * time.Second
	sendTimeout = 30 * time.Second
	maxAnswer   = 64 << 10
)

// Probe asks a partner how this site stands with it. ctx bounds it.
func (c *Client) Probe(ctx context.Context, l *v1alpha1.SiteLink) (Standing, error) {
	var a StatusAnswer
	if err := c.call(ctx, l, http.MethodGet, statusPath, nil, &a); err != nil {
		return "", err
	}
	switch a.Standing {
	case Pending, Accepted, Revoked:
		return a.Standing, nil
	}
	return "", errors.New("ask partner: its answer is not known here")
}

// Send gives a partner a document. What the partner refuses comes back as a Refusal.
func (c *Client) Send(ctx context.Context, l *v1alpha1.SiteLink, kind, subject string, payload any) error {
	self, err := c.opts.Self(ctx)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("encode document: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	e := &Envelope{Kind: kind, Subject: subject, From: self.SiteID, To: l.Spec.SiteID, Payload: raw}
	t := topic{link: l.Spec.SiteID, kind: kind, subject: subject}
	for range 2 {
		err = c.sendOnce(ctx, l, self, t, e)
		refusal, ok := AsRefusal(err)
		if !ok || refusal.Reason != RefusedStale {
			break
		}
		// This site's clock was set back: the partner has seen higher numbers.
		c.counter.seen(t, refusal.Last)
	}
	if err != nil {
		return fmt.Errorf("send %s to %q: %w", kind, l.Name, err)
	}
	return nil
}

func (c *Client) sendOnce(ctx context.Context, l *v1alpha1.SiteLink, self *Self, t topic, e *Envelope) error {
	now := c.opts.Now()
	e.Sequence, e.IssuedAt = c.counter.next(t, now), now.UTC().Truncate(time.Millisecond)
	if err := e.check(); err != nil {
		return err
	}
	if err := e.Sign(self.CA); err != nil {
		return err
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode document: %w", err)
	}
	if len(raw) > maxDocument {
		return fmt.Errorf("it has %d bytes, more than the %d that a partner takes", len(raw), maxDocument)
	}
	return c.call(ctx, l, http.MethodPost, documentsPath, raw, &struct{}{})
}

func (c *Client) call(ctx context.Context, l *v1alpha1.SiteLink, method, path string, body []byte, into any) error {
	transport, name, err := c.line(ctx, l)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "https://"+name+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make call: %w", err)
	}
	if body == nil {
		request.Body, request.ContentLength = http.NoBody, 0
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("call partner: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	return readAnswer(response, into)
}

func readAnswer(response *http.Response, into any) error {
	raw, err := readBounded(response.Body, maxAnswer)
	if err != nil {
		return fmt.Errorf("read the partner's answer: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		if err := decodeOne(raw, into); err != nil {
			return fmt.Errorf("read the partner's answer: %w", err)
		}
		return nil
	}
	var r Refusal
	if decodeOne(raw, &r) != nil || r.Reason == "" {
		return fmt.Errorf("the partner answers with status %d", response.StatusCode)
	}
	r.Reason, r.Message = clip(r.Reason, maxReason), clip(r.Message, maxMessage)
	return &r
}

// line finds the partner's line, or lays another when endpoints, CAs or this site's certificate changed.
func (c *Client) line(ctx context.Context, l *v1alpha1.SiteLink) (*http.Transport, string, error) {
	self, err := c.opts.Self(ctx)
	if err != nil {
		return nil, "", err
	}
	cas, err := ParseCAs([]byte(l.Spec.CACertificates))
	if err != nil {
		return nil, "", err
	}
	leaf, err := self.Leaf(APIName(l.Spec.SiteID, self.SiteID))
	if err != nil {
		return nil, "", err
	}
	name := APIName(self.SiteID, l.Spec.SiteID)
	sum := sha256.Sum256(canonical(leaf.Certificate[0], []byte(l.Spec.CACertificates), []byte(strings.Join(l.Spec.Endpoints, " ")), []byte(name)))
	mark := hex.EncodeToString(sum[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.lines[l.Name]; have != nil {
		if have.mark == mark {
			return have.transport, name, nil
		}
		have.transport.CloseIdleConnections()
	}
	partner := &Partner{CAs: cas}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: name, RootCAs: partner.pool(), Time: c.opts.Now, NextProtos: []string{"http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return leaf, nil },
	}
	endpoints := slices.Clone(l.Spec.Endpoints)
	made := &line{mark: mark, transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return c.dial(ctx, endpoints, config)
		},
		MaxConnsPerHost: 4, IdleConnTimeout: idleTimeout / 2, MaxResponseHeaderBytes: maxHeader, DisableCompression: true,
	}}
	c.lines[l.Name] = made
	return made.transport, name, nil
}

// Cut ends the line to a partner.
func (c *Client) Cut(link string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.lines[link]; have != nil {
		have.transport.CloseIdleConnections()
		delete(c.lines, link)
	}
}

// dial tries the endpoints of a gateway in their order.
func (c *Client) dial(ctx context.Context, endpoints []string, config *tls.Config) (*tls.Conn, error) {
	var errs []error
	for _, e := range endpoints {
		conn, err := c.dialOne(ctx, e, config)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, fmt.Errorf("dial %s: %w", e, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (c *Client) dialOne(ctx context.Context, endpoint string, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := c.opts.Dial(ctx, "tcp", endpoint)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return nil, errors.Join(errHungUp, err)
		}
		return nil, err
	}
	return conn, nil
}

var errHungUp = errors.New("the gateway takes the call and hangs up")

// HungUp tells whether a partner's gateway took the call and ended it before anybody behind it answered. Its operator is
// away then, and the way to the site is good.
func HungUp(err error) bool { return errors.Is(err, errHungUp) }

// Untrusted tells whether a call failed because one of the two sites does not trust the other's certificate, and not
// because nobody answered.
func Untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var op *net.OpError
	return errors.As(err, &verification) || errors.As(err, &op) && op.Op == "remote error"
}

// WrongPin tells whether the inviting site showed another CA than the one that is pinned.
func WrongPin(err error) bool { return errors.Is(err, errPin) }

var errPin = errors.New("the site shows another CA than the invitation names: is the token genuine?")

// verifyPin makes the check of a server whose CA is known by its hash alone.
func verifyPin(pin, name string, now func() time.Time, found **x509.Certificate) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		ca := cs.PeerCertificates[len(cs.PeerCertificates)-1]
		if Pin(ca) != pin || checkCA(ca) != nil {
			return errPin
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: roots, DNSName: name, CurrentTime: now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if err != nil {
			return fmt.Errorf("verify the inviting site: %w", err)
		}
		*found = ca
		return nil
	}
}
