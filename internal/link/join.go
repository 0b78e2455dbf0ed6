package link

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"heddle.dev/heddle/internal/pki"
)

const (
	maxJoin       = 32 << 10
	exporterLabel = "EXPORTER-heddle-join"
	exporterSize  = 32
)

// joinRequest is what a site sends that uses a code.
type joinRequest struct {
	Version     int      `json:"v"`
	Code        string   `json:"code"`
	SiteID      string   `json:"site"`
	DisplayName string   `json:"name,omitempty"`
	Endpoints   []string `json:"endpoints"`
	// CA in PEM.
	CA string `json:"ca"`
	// Signature by the CA's key over all of it and over this very TLS session.
	Signature []byte `json:"signature"`
}

// joinAnswer is what it gets.
type joinAnswer struct {
	DisplayName string   `json:"name,omitempty"`
	Endpoints   []string `json:"endpoints"`
	Nonce       []byte   `json:"nonce"`
}

// Joiner is a site that uses a code and has proven its key.
type Joiner struct {
	// Code that it used.
	Code string
	// SiteID, DisplayName and Endpoints as it says.
	SiteID, DisplayName string
	Endpoints           []string
	// CA of its gateway.
	CA *x509.Certificate
}

func (q *joinRequest) digest(session []byte) []byte {
	fields := [][]byte{[]byte("heddle-join-v1"), session, []byte(q.Code), []byte(q.SiteID), []byte(q.DisplayName), []byte(q.CA)}
	for _, e := range q.Endpoints {
		fields = append(fields, []byte(e))
	}
	sum := sha256.Sum256(canonical(fields...))
	return sum[:]
}

func (q *joinRequest) sign(ca *pki.Issuer, cs *tls.ConnectionState) error {
	session, err := cs.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
	if err != nil {
		return fmt.Errorf("bind to the TLS session: %w", err)
	}
	if q.Signature, err = ca.Key.Sign(rand.Reader, q.digest(session), crypto.SHA256); err != nil {
		return fmt.Errorf("sign request to join: %w", err)
	}
	return nil
}

// verify checks form and proof of a request, whose code is known to be good.
func (q *joinRequest) verify(cs *tls.ConnectionState) (*Joiner, error) {
	if err := errors.Join(checkSite(q.SiteID), checkName(q.DisplayName), checkEndpoints(q.Endpoints)); err != nil {
		return nil, Refuse(RefusedInvalid, clip(err.Error(), maxMessage))
	}
	cas, err := ParseCAs([]byte(q.CA))
	if err != nil || len(cas) != 1 {
		return nil, Refuse(RefusedInvalid, "The CA is not one certificate that signed itself, with a key on P-256")
	}
	key, err := publicKey(cas[0])
	if err != nil {
		return nil, Refuse(RefusedInvalid, err.Error())
	}
	session, err := cs.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
	if err != nil {
		return nil, fmt.Errorf("bind to the TLS session: %w", err)
	}
	if !ecdsa.VerifyASN1(key, q.digest(session), q.Signature) {
		return nil, Refuse(RefusedInvalid, "The CA's key is not proven")
	}
	return &Joiner{Code: q.Code, SiteID: q.SiteID, DisplayName: q.DisplayName, Endpoints: q.Endpoints, CA: cas[0]}, nil
}

// join answers a site that uses a code.
func (s *Server) join(w http.ResponseWriter, r *http.Request) {
	value, err := s.admit(r)
	if err != nil {
		answerRefusal(w, err)
		return
	}
	answer(w, http.StatusOK, value)
}

func (s *Server) admit(r *http.Request) (*joinAnswer, error) {
	ctx := r.Context()
	self, err := s.opts.Self(ctx)
	if err != nil {
		return nil, err
	}
	var q joinRequest
	if err := readJSON(r, maxJoin, &q); err != nil {
		return nil, err
	}
	if q.Version != Version {
		return nil, Refuse(RefusedInvalid, fmt.Sprintf("The request is of version %d, this site has %d", q.Version, Version))
	}
	if err := s.invited(ctx, q.Code); err != nil {
		return nil, err
	}
	joiner, err := q.verify(r.TLS)
	if err != nil {
		return nil, err
	}
	if joiner.SiteID == self.SiteID {
		return nil, Refuse(RefusedConflict, "A site cannot be its own partner")
	}
	nonce, err := s.opts.Invitations.Join(ctx, joiner)
	if err != nil {
		return nil, err
	}
	return &joinAnswer{DisplayName: self.DisplayName, Endpoints: self.Endpoints, Nonce: nonce}, nil
}

// invited looks at the code before anything that costs more. Wrong ones beyond a rate are not even told to be wrong.
func (s *Server) invited(ctx context.Context, code string) error {
	err := error(&Refusal{Reason: RefusedCode, Message: "There is no such invitation"})
	if s.opts.Invitations != nil && codePattern.MatchString(code) {
		err = s.opts.Invitations.Invited(ctx, code)
	}
	if err == nil {
		return nil
	}
	if refusal, ok := AsRefusal(err); !ok || refusal.Reason != RefusedCode {
		return err
	}
	if !s.guesses.take(s.opts.Now()) {
		return Refuse(RefusedBusy, "Too many wrong codes: try again later")
	}
	s.opts.Note(ctx, "unknown", RefusedCode)
	return err
}
