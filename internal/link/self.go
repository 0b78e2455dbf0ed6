package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"heddle.dev/heddle/internal/pki"
)

// Lifetimes of what a site issues for its links.
const (
	CALifetime   = 10 * 365 * 24 * time.Hour
	LeafLifetime = 30 * 24 * time.Hour
)

// Self is this site as its partners know it. It does not change: another Self takes its place.
type Self struct {
	// SiteID, DisplayName and Endpoints of the site.
	SiteID, DisplayName string
	Endpoints           []string
	// CA of the site's gateway: it signs documents and leaves.
	CA *pki.Issuer
	// Announced are the CAs that partners shall trust; empty means CA alone.
	Announced []*x509.Certificate
	// Now is the clock; nil is the machine's.
	Now func() time.Time

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// SelfFunc finds out who this site is.
type SelfFunc func(context.Context) (*Self, error)

// ErrNoSite says that this cluster is not yet set up as a site.
var ErrNoSite = errors.New("this cluster is not set up as a site")

// Trusted are the CAs that partners shall trust.
func (s *Self) Trusted() []*x509.Certificate {
	if len(s.Announced) > 0 {
		return s.Announced
	}
	return []*x509.Certificate{s.CA.Cert}
}

// Same tells whether two are the same site with the same CAs.
func (s *Self) Same(o *Self) bool {
	return s.SiteID == o.SiteID && s.DisplayName == o.DisplayName && slices.Equal(s.Endpoints, o.Endpoints) && s.CA.Cert.Equal(o.CA.Cert) &&
		slices.EqualFunc(s.Trusted(), o.Trusted(), (*x509.Certificate).Equal)
}

func (s *Self) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// Leaf is the site's certificate for a name, followed by the CA, and renewed when a third of its time is left. Its key
// is kept in memory only.
func (s *Self) Leaf(name string) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if have := s.leaves[name]; have != nil && now.Before(have.Leaf.NotAfter.Add(-LeafLifetime/3)) {
		return have, nil
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	leaf, err := s.CA.IssueTLS(pki.TLSRequest{
		CommonName: name, SANs: []string{name}, Public: key.Public(), Lifetime: LeafLifetime + Backdate, Now: now.Add(-Backdate),
	})
	if err != nil {
		return nil, fmt.Errorf("issue certificate of the link: %w", err)
	}
	if s.leaves == nil {
		s.leaves = map[string]*tls.Certificate{}
	}
	made := &tls.Certificate{Certificate: [][]byte{leaf.Raw, s.CA.Cert.Raw}, PrivateKey: key, Leaf: leaf}
	s.leaves[name] = made
	return made, nil
}

// Holder passes Self on from who makes it to all who need it.
type Holder struct{ self atomic.Pointer[Self] }

// Set tells who this site is; nil says that it is none.
func (h *Holder) Set(s *Self) { h.self.Store(s) }

// Get finds out who this site is.
func (h *Holder) Get(context.Context) (*Self, error) {
	if s := h.self.Load(); s != nil {
		return s, nil
	}
	return nil, ErrNoSite
}

// NewCA makes the CA of a site's gateway.
func NewCA(site string, now time.Time) (*pki.Issuer, error) {
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	// Two CAs of one site are told apart by the time of their making.
	name := fmt.Sprintf("%s gateway %s", site, now.UTC().Format("2006-01-02T15:04:05.000Z"))
	return pki.NewRoot(pki.IssuerRequest{CommonName: name, Key: key, Lifetime: CALifetime + Backdate, Now: now.Add(-Backdate)})
}
