package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"time"
)

const blockCRL = "X509 CRL"

// Revoked is one entry of a revocation list.
type Revoked struct {
	Serial *big.Int
	At     time.Time
}

// CRL signs the issuer's revocation list, in PEM. An issuer has one list, so
// the entries are all it ever revoked, and number has to grow from list to
// list. Fabric does not look at the next update but parsers demand one.
func (i *Issuer) CRL(revoked []Revoked, number int64, now, next time.Time) ([]byte, error) {
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: now.UTC(), NextUpdate: next.UTC()}
	for _, entry := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: entry.Serial, RevocationTime: entry.At.UTC()})
	}
	slices.SortFunc(template.RevokedCertificateEntries, func(a, b x509.RevocationListEntry) int {
		return a.SerialNumber.Cmp(b.SerialNumber)
	})
	der, err := x509.CreateRevocationList(rand.Reader, template, i.Cert, i.Key)
	if err != nil {
		return nil, fmt.Errorf("sign revocation list of %q: %w", i.Cert.Subject.CommonName, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockCRL, Bytes: der}), nil
}

// ParseCRL reads a revocation list in PEM.
func ParseCRL(text []byte) (*x509.RevocationList, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != blockCRL {
		return nil, fmt.Errorf("parse revocation list: no PEM block of type %s", blockCRL)
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse revocation list: %w", err)
	}
	return list, nil
}
