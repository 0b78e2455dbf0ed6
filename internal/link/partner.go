package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"

	"heddle.dev/heddle/api/v1alpha1"
)

// Standing says what a partner may do.
type Standing string

// The standings of a partner. They are words of the protocol.
const (
	// Pending: a person at the inviting site has not approved yet.
	Pending Standing = "PendingApproval"
	// Accepted: documents are exchanged.
	Accepted Standing = "Accepted"
	// Revoked: it is over.
	Revoked Standing = "Revoked"
)

// Partner is another site, as its SiteLink has it.
type Partner struct {
	// Link is the SiteLink's name.
	Link string
	// SiteID of the partner.
	SiteID string
	// Endpoints of its gateway.
	Endpoints []string
	// CAs that verify it; two while it changes them.
	CAs []*x509.Certificate
	// Standing of the partner here.
	Standing Standing
}

// ErrNoPartner says that there is no SiteLink for a site.
var ErrNoPartner = errors.New("no such partner")

// Directory finds the partner with a siteID, or returns ErrNoPartner.
type Directory func(ctx context.Context, siteID string) (*Partner, error)

// PartnerOf reads a SiteLink.
func PartnerOf(l *v1alpha1.SiteLink) (*Partner, error) {
	p := &Partner{Link: l.Name, SiteID: l.Spec.SiteID, Endpoints: l.Spec.Endpoints, Standing: Pending}
	if meta.IsStatusConditionTrue(l.Status.Conditions, v1alpha1.ConditionAccepted) {
		p.Standing = Accepted
	}
	if l.IsRevoked() || !l.DeletionTimestamp.IsZero() {
		p.Standing = Revoked
	}
	var err error
	if p.CAs, err = ParseCAs([]byte(l.Spec.CACertificates)); err != nil {
		return nil, fmt.Errorf("read SiteLink %q: %w", l.Name, err)
	}
	return p, nil
}

func (p *Partner) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range p.CAs {
		pool.AddCert(c)
	}
	return pool
}

// trusts tells whether one of the chains ends at a CA of the partner as it is now.
func (p *Partner) trusts(chains [][]*x509.Certificate) bool {
	for _, chain := range chains {
		for _, ca := range p.CAs {
			if len(chain) > 1 && chain[len(chain)-1].Equal(ca) {
				return true
			}
		}
	}
	return false
}

// publicKey of a certificate: ECDSA on P-256, the only kind that is used.
func publicKey(c *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the certificate's key is not ECDSA on P-256")
	}
	return key, nil
}
