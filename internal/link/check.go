package link

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"heddle.dev/heddle/internal/pki"
)

// nonceSize is that of what the inviting site adds once the joining site's key is fixed.
const nonceSize = 32

// NewNonce makes a nonce for one join.
func NewNonce() ([]byte, error) {
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("draw nonce: %w", err)
	}
	return nonce, nil
}

// Pin is the SHA-256 of a certificate's public key, in hexadecimal.
func Pin(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// Check is the six digits that people at both sites compare. They follow from the code, from both sites' keys and from a
// nonce that is made after both keys are fixed: whoever has the code cannot look for a key with the same digits.
func Check(code string, inviter, joiner *x509.Certificate, nonce []byte) string {
	mac := hmac.New(sha256.New, []byte(code))
	// Writing to a hash cannot fail.
	_, _ = mac.Write(canonical([]byte("heddle-join-check-v1"), []byte(Pin(inviter)), []byte(Pin(joiner)), nonce))
	n := binary.BigEndian.Uint64(mac.Sum(nil)) % 1_000_000
	return fmt.Sprintf("%03d-%03d", n/1000, n%1000)
}

// canonical writes fields so that no two lists of them give the same bytes.
func canonical(fields ...[]byte) []byte {
	var out []byte
	for _, f := range fields {
		out = binary.BigEndian.AppendUint64(out, uint64(len(f)))
		out = append(out, f...)
	}
	return out
}

// Certificates of partners.
const (
	// maxCAs is that of one partner: two while it changes its CA.
	maxCAs      = 2
	maxCABundle = 16384
)

// Backdate is how far behind a partner's clock may be: what a site issues is valid that long before its issue.
const Backdate = time.Hour

// ParseCAs reads the CAs of a partner: one, or two while it changes them.
func ParseCAs(text []byte) ([]*x509.Certificate, error) {
	if len(text) > maxCABundle {
		return nil, fmt.Errorf("read CA: more than %d bytes", maxCABundle)
	}
	certs, err := pki.ParseCerts(text)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	if len(certs) > maxCAs {
		return nil, fmt.Errorf("read CA: %d certificates, at most %d are taken", len(certs), maxCAs)
	}
	for _, c := range certs {
		if err := checkCA(c); err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
	}
	return certs, nil
}

func checkCA(c *x509.Certificate) error {
	if !c.IsCA || !c.BasicConstraintsValid || c.CheckSignatureFrom(c) != nil {
		return errors.New("the certificate is not that of a CA which signed itself")
	}
	if _, err := publicKey(c); err != nil {
		return err
	}
	return nil
}
