package link

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode"

	"heddle.dev/heddle/internal/pki"
)

// Kinds of documents that this package and the controllers of sites send themselves.
const (
	// KindSite tells of the sender itself, as a SiteDocument.
	KindSite = "site"
	// KindRevocation says that the partnership is over.
	KindRevocation = "revocation"
)

// SiteDocument is the payload of KindSite.
type SiteDocument struct {
	// DisplayName and Endpoints of the site.
	DisplayName string   `json:"displayName,omitempty"`
	Endpoints   []string `json:"endpoints"`
	// Certificates in PEM are all CAs that are to be trusted: one, or two while the site changes its CA.
	Certificates string `json:"certificates"`
}

// Check checks what a partner tells of itself, and returns its CAs.
func (d *SiteDocument) Check() ([]*x509.Certificate, error) {
	if err := errors.Join(checkName(d.DisplayName), checkEndpoints(d.Endpoints)); err != nil {
		return nil, err
	}
	return ParseCAs([]byte(d.Certificates))
}

// Bounds of a document.
const (
	maxDocument = 4 << 20
	maxSubject  = 128
	// maxAge is how far a document's time may be from the receiver's clock. Clocks of sites differ.
	maxAge = 30 * time.Minute
)

// Envelope is a signed document from one site to another.
type Envelope struct {
	// Kind says what the payload is.
	Kind string `json:"kind"`
	// Subject is what it is about, such as a network's name; documents of one kind and subject follow one another.
	Subject string `json:"subject,omitempty"`
	// From and To are siteIDs.
	From string `json:"from"`
	To   string `json:"to"`
	// Sequence grows from document to document of a kind and subject.
	Sequence uint64 `json:"sequence"`
	// IssuedAt by the sender's clock.
	IssuedAt time.Time `json:"issuedAt"`
	// Payload in JSON, byte by byte as it was signed.
	Payload []byte `json:"payload"`
	// Signature by the sender's CA over all of it: ECDSA with SHA-256.
	Signature []byte `json:"signature"`
}

// Handler takes a document that was verified. from is the SiteLink's name. What it returns goes to the sender if it is
// a Refusal; of any other error the sender hears only that there was one, and may send again.
type Handler func(ctx context.Context, from string, e *Envelope) error

func (e *Envelope) digest() []byte {
	var sequence, at [8]byte
	binary.BigEndian.PutUint64(sequence[:], e.Sequence)
	binary.BigEndian.PutUint64(at[:], uint64(e.IssuedAt.UnixMilli()))
	sum := sha256.Sum256(canonical([]byte("heddle-envelope-v1"), []byte(e.Kind), []byte(e.Subject), []byte(e.From), []byte(e.To),
		sequence[:], at[:], e.Payload))
	return sum[:]
}

// Sign signs a document with the CA of the sender.
func (e *Envelope) Sign(ca *pki.Issuer) error {
	signature, err := ca.Key.Sign(rand.Reader, e.digest(), crypto.SHA256)
	if err != nil {
		return fmt.Errorf("sign document: %w", err)
	}
	e.Signature = signature
	return nil
}

var kindPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

func (e *Envelope) check() error {
	if !kindPattern.MatchString(e.Kind) {
		return fmt.Errorf("%q is no kind of document", clip(e.Kind, maxReason))
	}
	if len(e.Subject) > maxSubject {
		return fmt.Errorf("the subject is longer than %d bytes", maxSubject)
	}
	for _, r := range e.Subject {
		if r == unicode.ReplacementChar || !unicode.IsGraphic(r) {
			return errors.New("the subject has characters that cannot be shown")
		}
	}
	if !json.Valid(e.Payload) {
		return errors.New("the payload is not JSON")
	}
	return errors.Join(checkSite(e.From), checkSite(e.To))
}

// Verify checks form, addressee, age and signature of a document that came from a partner.
func (e *Envelope) Verify(p *Partner, to string, now time.Time) error {
	if err := e.check(); err != nil {
		return Refuse(RefusedInvalid, err.Error())
	}
	if e.From != p.SiteID || e.To != to {
		return Refuse(RefusedInvalid, fmt.Sprintf("The document goes from %s to %s, and not from %s to %s", e.From, e.To, p.SiteID, to))
	}
	if age := now.Sub(e.IssuedAt); age > maxAge || age < -maxAge {
		return Refuse(RefusedInvalid, fmt.Sprintf("The document's time differs by more than %s from the receiver's clock: set the clocks", maxAge))
	}
	for _, ca := range p.CAs {
		if key, err := publicKey(ca); err == nil && ecdsa.VerifyASN1(key, e.digest(), e.Signature) {
			return nil
		}
	}
	return Refuse(RefusedInvalid, "The document is not signed by the CA of "+p.SiteID)
}

// Decode reads the payload.
func (e *Envelope) Decode(into any) error {
	if err := json.Unmarshal(e.Payload, into); err != nil {
		return Refuse(RefusedInvalid, "The payload is not what a document of kind "+e.Kind+" has")
	}
	return nil
}
