package msp

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"heddle.dev/heddle/internal/pki"
)

// maxEntries bounds each list of an MSP that comes from outside.
const maxEntries = 16

// Texts is an organisation's public material as PEM texts, as it travels between sites.
type Texts struct {
	CACerts, Intermediates, TLSCACerts, TLSIntermediates, CRLs string
}

// Parse splits the texts into single blocks. Every block has to be what its list says; blanks and line breaks around
// blocks are all that may stand beside them. The roles are told apart by organisational unit, as Heddle's own are.
func (t Texts) Parse() (Material, error) {
	m := Material{NodeOUs: DefaultNodeOUs()}
	for _, part := range []struct {
		name, text, kind string
		to               *[][]byte
		must             bool
	}{
		{"caCertificates", t.CACerts, "CERTIFICATE", &m.CACerts, true},
		{"intermediateCertificates", t.Intermediates, "CERTIFICATE", &m.IntermediateCerts, false},
		{"tlsCACertificates", t.TLSCACerts, "CERTIFICATE", &m.TLSCACerts, true},
		{"tlsIntermediateCertificates", t.TLSIntermediates, "CERTIFICATE", &m.TLSIntermediates, false},
		{"revocationLists", t.CRLs, "X509 CRL", &m.CRLs, false},
	} {
		blocks, err := splitBlocks(part.text, part.kind)
		if err != nil {
			return Material{}, fmt.Errorf("read %s: %w", part.name, err)
		}
		if part.must && len(blocks) == 0 {
			return Material{}, fmt.Errorf("read %s: there is none", part.name)
		}
		*part.to = blocks
	}
	return m, nil
}

func splitBlocks(text, kind string) ([][]byte, error) {
	var out [][]byte
	for rest := []byte(text); ; {
		if strings.TrimSpace(string(rest)) == "" {
			return out, nil
		}
		if !strings.HasPrefix(strings.TrimSpace(string(rest)), "-----BEGIN ") {
			return nil, errors.New("there is something else than PEM")
		}
		block, after := pem.Decode(rest)
		switch {
		case block == nil:
			return nil, errors.New("there is something else than PEM")
		case block.Type != kind:
			return nil, fmt.Errorf("there is a block of type %q where only %q may be", block.Type, kind)
		case len(block.Headers) > 0:
			return nil, errors.New("a PEM block has headers")
		case len(out) == maxEntries:
			return nil, fmt.Errorf("there are more than %d blocks", maxEntries)
		}
		out, rest = append(out, pem.EncodeToMemory(block)), after
	}
}

// Verify tells whether the material holds together at a time: roots are authorities that signed themselves, what
// stands between leads to them, revocation lists can be read, and nothing has expired.
func (m Material) Verify(now time.Time) error {
	for _, part := range []struct {
		name           string
		roots, between [][]byte
	}{{"signing", m.CACerts, m.IntermediateCerts}, {"TLS", m.TLSCACerts, m.TLSIntermediates}} {
		if _, _, err := pools(part.roots, part.between, now); err != nil {
			return fmt.Errorf("verify %s certificates: %w", part.name, err)
		}
	}
	for _, text := range m.CRLs {
		if _, err := pki.ParseCRL(text); err != nil {
			return fmt.Errorf("verify revocation lists: %w", err)
		}
	}
	return nil
}

// pools are roots and intermediates, checked.
func pools(rootTexts, betweenTexts [][]byte, now time.Time) (roots, between *x509.CertPool, err error) {
	roots, between = x509.NewCertPool(), x509.NewCertPool()
	for _, text := range rootTexts {
		c, err := pki.ParseCert(text)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case !c.IsCA || c.CheckSignatureFrom(c) != nil:
			return nil, nil, fmt.Errorf("%q is no root: it is no authority that signed itself", c.Subject.CommonName)
		case now.After(c.NotAfter):
			return nil, nil, fmt.Errorf("root %q has expired on %s", c.Subject.CommonName, c.NotAfter.UTC().Format(time.DateOnly))
		}
		roots.AddCert(c)
	}
	list := make([]*x509.Certificate, 0, len(betweenTexts))
	for _, text := range betweenTexts {
		c, err := pki.ParseCert(text)
		if err != nil {
			return nil, nil, err
		}
		if !c.IsCA {
			return nil, nil, fmt.Errorf("%q is no authority and cannot stand between a root and a member", c.Subject.CommonName)
		}
		between.AddCert(c)
		list = append(list, c)
	}
	for _, c := range list {
		if err := leads(c, roots, between, now); err != nil {
			return nil, nil, err
		}
	}
	return roots, between, nil
}

func leads(c *x509.Certificate, roots, between *x509.CertPool, now time.Time) error {
	_, err := c.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("%q does not lead to a root: %w", c.Subject.CommonName, err)
	}
	return nil
}

// Enrolled reads a member's certificate that leads to the signing roots and is not revoked, with its role.
func (m Material) Enrolled(text []byte, now time.Time) (*x509.Certificate, pki.Role, error) {
	cert, err := m.member(text, m.CACerts, m.IntermediateCerts, now)
	if err != nil {
		return nil, "", err
	}
	for _, list := range m.CRLs {
		crl, err := pki.ParseCRL(list)
		if err != nil {
			return nil, "", err
		}
		for _, revoked := range crl.RevokedCertificateEntries {
			if string(crl.RawIssuer) == string(cert.RawIssuer) && revoked.SerialNumber.Cmp(cert.SerialNumber) == 0 {
				return nil, "", fmt.Errorf("certificate of %q is revoked", cert.Subject.CommonName)
			}
		}
	}
	return cert, pki.RoleOf(cert), nil
}

// Served reads a node's TLS certificate that leads to the TLS roots and is for the name.
func (m Material) Served(text []byte, name string, now time.Time) (*x509.Certificate, error) {
	cert, err := m.member(text, m.TLSCACerts, m.TLSIntermediates, now)
	if err != nil {
		return nil, err
	}
	if err := cert.VerifyHostname(name); err != nil {
		return nil, fmt.Errorf("TLS certificate of %q: %w", cert.Subject.CommonName, err)
	}
	return cert, nil
}

func (m Material) member(text []byte, rootTexts, betweenTexts [][]byte, now time.Time) (*x509.Certificate, error) {
	cert, err := pki.ParseCert(text)
	if err != nil {
		return nil, err
	}
	if cert.IsCA {
		return nil, fmt.Errorf("%q is an authority and no member", cert.Subject.CommonName)
	}
	roots, between, err := pools(rootTexts, betweenTexts, now)
	if err != nil {
		return nil, err
	}
	return cert, leads(cert, roots, between, now)
}
