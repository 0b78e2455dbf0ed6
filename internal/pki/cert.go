package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

const blockCertificate = "CERTIFICATE"

// EncodeCerts writes certificates as PEM, in the order given. For a TLS server
// that order is the leaf first, then its issuers without the root.
func EncodeCerts(certs ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs {
		// Writing to a buffer cannot fail, and the block has no headers.
		_ = pem.Encode(&out, &pem.Block{Type: blockCertificate, Bytes: cert.Raw})
	}
	return out.Bytes()
}

// ParseCert reads the first certificate of a PEM text.
func ParseCert(text []byte) (*x509.Certificate, error) {
	certs, err := ParseCerts(text)
	if err != nil {
		return nil, err
	}
	return certs[0], nil
}

// ParseCerts reads every certificate of a PEM text; none at all is an error.
func ParseCerts(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != blockCertificate {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("parse certificates: no PEM block of type CERTIFICATE")
	}
	return certs, nil
}

// SameCert tells whether two PEM texts hold the same first certificate,
// whatever their line breaks.
func SameCert(a, b []byte) bool {
	x, _ := pem.Decode(a)
	y, _ := pem.Decode(b)
	return x != nil && y != nil && bytes.Equal(x.Bytes, y.Bytes)
}

// DaysLeft is the number of whole days until the certificate expires,
// negative afterwards.
func DaysLeft(cert *x509.Certificate, now time.Time) int {
	const day = 24 * time.Hour
	left := cert.NotAfter.Sub(now)
	if left < 0 {
		return int((left - day + 1) / day)
	}
	return int(left / day)
}

// NodeSANs are the subject alternative names of a node's TLS certificate: its
// Service in every form that a resolver in the cluster may be asked for,
// localhost, and extras (DNS names or IP addresses). Doubles are dropped.
func NodeSANs(node, namespace string, extra ...string) []string {
	qualified := node + "." + namespace
	names := append([]string{node, qualified, qualified + ".svc", qualified + ".svc.cluster.local", "localhost"}, extra...)
	var out []string
	for _, name := range names {
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// keyID is the subject key identifier as Fabric's own tools compute it: the
// SHA-256 of the uncompressed point.
func keyID(public crypto.PublicKey) ([]byte, error) {
	ec, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("identify key: %T is not an ECDSA key", public)
	}
	point, err := ec.Bytes()
	if err != nil {
		return nil, fmt.Errorf("identify key: %w", err)
	}
	sum := sha256.Sum256(point)
	return sum[:], nil
}

func newSerial() (*big.Int, error) {
	limit := new(big.Int).Lsh(big.NewInt(1), 127)
	serial, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	return serial, nil
}
