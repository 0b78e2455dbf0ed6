package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Bounds of the two servers. Before a partner is known, a connection gets seconds; what one partner does takes no room
// from the others.
const (
	joinConnections = 128
	apiConnections  = 512
	// partnerConnections and the rate are one partner's share.
	partnerConnections = 16
	partnerDocuments   = 2
	callBurst          = 100
	callsPerSecond     = 20
	// guessBurst and guessesPerSecond are wrong codes that are answered as such, and told to the operator.
	guessBurst       = 10
	guessesPerSecond = 0.2

	headerTimeout   = 5 * time.Second
	joinTimeout     = 10 * time.Second
	documentTimeout = 60 * time.Second
	deskTimeout     = 20 * time.Second
	idleTimeout     = 30 * time.Second
	maxHeader       = 8 << 10
)

// Invitations decides about codes. It is called by the server.
type Invitations interface {
	// Invited tells whether a code may be used: nil, or a Refusal. It costs little, whatever the code is.
	Invited(ctx context.Context, code string) error
	// Join takes in the site that used a code, whose key is proven, fixes its key and endpoints, and returns the nonce that
	// it made afterwards. The same site may ask again and gets the same nonce.
	Join(ctx context.Context, j *Joiner) (nonce []byte, err error)
}

// ServerOptions are what a server works with.
type ServerOptions struct {
	// Self is this site.
	Self SelfFunc
	// Partners finds partners by their siteID.
	Partners Directory
	// Sequences keeps documents from counting twice.
	Sequences Sequences
	// Invitations decides about codes; nil takes none.
	Invitations Invitations
	// Listen opens the two listeners; it is called by Start.
	Listen func(ctx context.Context) (join, api net.Listener, err error)
	// Note is told, at a bounded rate, that a call was refused: who called, as far as that is known, and the reason.
	Note func(ctx context.Context, who, reason string)
	// Now is the clock.
	Now func() time.Time
}

// Server answers other sites.
type Server struct {
	opts    ServerOptions
	guesses *bucket
	notes   *bucket
	crowd   *crowd

	mu       sync.Mutex
	handlers map[string]Handler
}

// NewServer makes a server; Start runs it.
func NewServer(o ServerOptions) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sequences == nil {
		o.Sequences = &Memory{}
	}
	if o.Note == nil {
		o.Note = func(context.Context, string, string) {}
	}
	return &Server{
		opts: o, guesses: newBucket(guessBurst, guessesPerSecond), notes: newBucket(guessBurst, guessesPerSecond),
		crowd:    newCrowd(),
		handlers: map[string]Handler{},
	}
}

// Handle gives documents of a kind to a handler.
func (s *Server) Handle(kind string, h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[kind] = h
}

func (s *Server) handler(kind string) Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handlers[kind]
}

// Start serves until ctx ends.
func (s *Server) Start(ctx context.Context) error {
	join, api, err := s.opts.Listen(ctx)
	if err != nil {
		return fmt.Errorf("listen for other sites: %w", err)
	}
	servers := []*http.Server{s.joinServer(ctx), s.apiServer(ctx)}
	ended := make(chan error, len(servers))
	for i, l := range []net.Listener{limit(join, joinConnections), limit(api, apiConnections)} {
		go func() { ended <- servers[i].ServeTLS(l, "", "") }()
	}
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	for _, server := range servers {
		_ = server.Close()
	}
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve other sites: %w", err)
	}
	return nil
}

func (s *Server) joinServer(ctx context.Context) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+joinPath, s.join)
	server := newServer(ctx, mux, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: s.joinTLS})
	server.ReadTimeout, server.WriteTimeout = joinTimeout, joinTimeout
	// One connection, one attempt.
	server.SetKeepAlivesEnabled(false)
	return server
}

func (s *Server) apiServer(ctx context.Context) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, s.partnerCall(s.status))
	mux.HandleFunc("POST "+documentsPath, s.partnerCall(s.document))
	server := newServer(ctx, mux, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: s.apiTLS})
	server.ReadTimeout, server.WriteTimeout = documentTimeout, documentTimeout
	seats := &sync.Map{}
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		place := &seat{}
		seats.Store(c, place)
		return withSeat(ctx, place)
	}
	server.ConnState = func(c net.Conn, state http.ConnState) {
		if state != http.StateClosed && state != http.StateHijacked {
			return
		}
		if place, ok := seats.LoadAndDelete(c); ok {
			if place, ok := place.(*seat); ok {
				s.crowd.leave(place)
			}
		}
	}
	return server
}

func newServer(ctx context.Context, h http.Handler, config *tls.Config) *http.Server {
	return &http.Server{
		Handler: h, TLSConfig: config, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		// What strangers do wrong in a handshake is no news.
		ErrorLog:    log.New(io.Discard, "", 0), //nolint:forbidigo // this is how it is made to log nothing
		BaseContext: func(net.Listener) context.Context { return ctx },
		// HTTP/1.1 alone: less to go wrong before the caller is known.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}

func (s *Server) baseTLS(cert *tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*cert}, NextProtos: []string{"http/1.1"},
		// A resumed session would not be verified again.
		SessionTicketsDisabled: true, Time: s.opts.Now,
	}
}

func (s *Server) joinTLS(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	self, err := s.opts.Self(hello.Context())
	if err != nil {
		return nil, err
	}
	if hello.ServerName != JoinName(self.SiteID) {
		return nil, fmt.Errorf("answer %q: it is not a name of this site", clip(hello.ServerName, maxName))
	}
	leaf, err := self.Leaf(hello.ServerName)
	if err != nil {
		return nil, err
	}
	return s.baseTLS(leaf), nil
}

// apiTLS lets in who shows a certificate of the partner that is called for, made for calls to this site.
func (s *Server) apiTLS(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	self, err := s.opts.Self(hello.Context())
	if err != nil {
		return nil, err
	}
	id, ok := partnerOf(hello.ServerName, self.SiteID)
	if !ok {
		return nil, fmt.Errorf("answer %q: it is not a name of this site", clip(hello.ServerName, maxName))
	}
	partner, err := s.opts.Partners(hello.Context(), id)
	if err != nil {
		return nil, err
	}
	leaf, err := self.Leaf(hello.ServerName)
	if err != nil {
		return nil, err
	}
	config := s.baseTLS(leaf)
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, partner.pool()
	name := APIName(self.SiteID, id)
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := cs.PeerCertificates[0].VerifyHostname(name); err != nil {
			return fmt.Errorf("verify the partner's name: %w", err)
		}
		return nil
	}
	return config, nil
}

// call is a call of a partner.
type call struct {
	self    *Self
	partner *Partner
}

// partnerCall finds out anew who calls: a connection may be older than what was decided about the partner.
func (s *Server) partnerCall(f func(context.Context, *call, *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := s.asPartner(r, f)
		if err == nil {
			answer(w, http.StatusOK, value)
			return
		}
		// What this connection did is not forgotten, but it does not go on.
		w.Header().Set("Connection", "close")
		answerRefusal(w, err)
	}
}

func (s *Server) asPartner(r *http.Request, f func(context.Context, *call, *http.Request) (any, error)) (any, error) {
	ctx := r.Context()
	self, err := s.opts.Self(ctx)
	if err != nil {
		return nil, err
	}
	id, ok := partnerOf(r.TLS.ServerName, self.SiteID)
	if !ok {
		return nil, Refuse(RefusedInvalid, "The name is not one of this site")
	}
	if !s.crowd.sit(ctx, id, s.opts.Now()) {
		return nil, Refuse(RefusedBusy, "The partner calls too often: less will do")
	}
	partner, err := s.opts.Partners(ctx, id)
	if errors.Is(err, ErrNoPartner) {
		return nil, Refuse(RefusedRevoked, "There is no link to this site any more")
	}
	if err != nil {
		return nil, err
	}
	if !partner.trusts(r.TLS.VerifiedChains) {
		return nil, Refuse(RefusedInvalid, "The certificate's CA is not trusted any more: connect anew")
	}
	value, err := f(ctx, &call{self: self, partner: partner}, r)
	if refusal, ok := AsRefusal(err); ok && s.notes.take(s.opts.Now()) {
		s.opts.Note(ctx, partner.Link, refusal.Reason)
	}
	return value, err
}

// StatusAnswer tells a partner how things stand with it.
type StatusAnswer struct {
	// Standing of the caller.
	Standing Standing `json:"standing"`
	// Version of the protocol.
	Version int `json:"version"`
}

func (s *Server) status(_ context.Context, c *call, _ *http.Request) (any, error) {
	return StatusAnswer{Standing: c.partner.Standing, Version: Version}, nil
}

func (s *Server) document(ctx context.Context, c *call, r *http.Request) (any, error) {
	switch c.partner.Standing {
	case Accepted:
	case Revoked:
		return nil, Refuse(RefusedRevoked, "The partnership is over")
	default:
		return nil, Refuse(RefusedPending, "The partnership has not been approved yet")
	}
	leave, err := s.crowd.desk(ctx, c.partner.SiteID)
	if err != nil {
		return nil, err
	}
	defer leave()
	var e Envelope
	if err := readJSON(r, maxDocument, &e); err != nil {
		return nil, err
	}
	if err := e.Verify(c.partner, c.self.SiteID, s.opts.Now()); err != nil {
		return nil, err
	}
	h := s.handler(e.Kind)
	if h == nil {
		return nil, Refuse(RefusedKind, "Documents of kind "+e.Kind+" are not taken here: is the release older?")
	}
	last, fresh, err := s.opts.Sequences.Advance(ctx, c.partner.Link, e.Kind, e.Subject, e.Sequence)
	if err != nil {
		return nil, err
	}
	if !fresh {
		return nil, &Refusal{Reason: RefusedStale, Message: "A newer document of the kind was seen", Last: last}
	}
	if err := h(ctx, c.partner.Link, &e); err != nil {
		return nil, err
	}
	return struct{}{}, nil
}

// Paths of the protocol.
const (
	joinPath      = "/v1/join"
	statusPath    = "/v1/status"
	documentsPath = "/v1/documents"
)

// isJSON keeps out what a browser could be made to send.
func isJSON(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/json")
}
