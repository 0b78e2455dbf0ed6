// Package keys keeps the leaves of an organisation in order: it reads pairs of
// key and certificate from Secrets, asks the predicates of internal/pki whether
// one has to be issued anew, and issues it for the same key. Which Secret, which
// names and when to look is decided by the controllers.
package keys

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"heddle.dev/heddle/api/v1alpha1"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// Lifetimes of what an organisation issues.
type Lifetimes struct {
	// Root and Intermediate are those of the organisation's issuers.
	Root, Intermediate time.Duration
	// Leaf is that of nodes and administrators; it is renewed when a third is left.
	Leaf time.Duration
}

const year = 365 * 24 * time.Hour

// DefaultLifetimes are the ones used unless a controller is told otherwise.
func DefaultLifetimes() Lifetimes {
	return Lifetimes{Root: 20 * year, Intermediate: 10 * year, Leaf: year}
}

// RenewBefore is how long before its end a leaf is renewed.
func (l Lifetimes) RenewBefore() time.Duration { return l.Leaf / 3 }

// Pair is a key with its certificate.
type Pair struct {
	// Cert is nil if there is none, or none that can be read.
	Cert *x509.Certificate
	// Chain are the certificates that follow Cert where it is stored.
	Chain []*x509.Certificate
	// Key is nil if there is none, or none that can be read.
	Key crypto.Signer
}

// Read reads a pair from a Secret's data. What cannot be read counts as missing: it is made anew, and says so.
func Read(data map[string][]byte, certKey, keyKey string) Pair {
	var p Pair
	if certs, err := pki.ParseCerts(data[certKey]); err == nil {
		p.Cert, p.Chain = certs[0], certs[1:]
	}
	if key, err := pki.ParseKey(data[keyKey]); err == nil {
		p.Key = key
	}
	return p
}

// Write puts a pair into a Secret's data.
func (p Pair) Write(data map[string][]byte, certKey, keyKey string) error {
	key, err := pki.EncodeKey(p.Key)
	if err != nil {
		return err
	}
	data[certKey] = pki.EncodeCerts(append([]*x509.Certificate{p.Cert}, p.Chain...)...)
	data[keyKey] = key
	return nil
}

// Status tells how long the pair's certificate lasts.
func (p Pair) Status(name string, now time.Time) v1alpha1.CertificateStatus {
	return Status(name, p.Cert, now)
}

// Status tells how long a certificate lasts.
func Status(name string, cert *x509.Certificate, now time.Time) v1alpha1.CertificateStatus {
	days := min(max(pki.DaysLeft(cert, now), -1<<20), 1<<20)
	return v1alpha1.CertificateStatus{
		Name: name, NotAfter: metav1.NewTime(cert.NotAfter), DaysLeft: ptr.To(int32(days)),
	}
}

// Issuers are one level of an organisation: what signs its members, and what signs TLS certificates.
type Issuers struct {
	Sign, TLS *pki.Issuer
}

// ReadIssuers reads the Secret of an issuer.
func ReadIssuers(data map[string][]byte) (Issuers, error) {
	sign, err := pki.LoadIssuer(data[specs.KeySignCert], data[specs.KeySignKey])
	if err != nil {
		return Issuers{}, fmt.Errorf("read %s and %s: %w", specs.KeySignCert, specs.KeySignKey, err)
	}
	tls, err := pki.LoadIssuer(data[specs.KeyTLSCert], data[specs.KeyTLSKey])
	if err != nil {
		return Issuers{}, fmt.Errorf("read %s and %s: %w", specs.KeyTLSCert, specs.KeyTLSKey, err)
	}
	return Issuers{Sign: sign, TLS: tls}, nil
}

// Write puts issuers into a Secret's data.
func (i Issuers) Write(data map[string][]byte) error {
	for _, one := range []struct {
		issuer    *pki.Issuer
		cert, key string
	}{{i.Sign, specs.KeySignCert, specs.KeySignKey}, {i.TLS, specs.KeyTLSCert, specs.KeyTLSKey}} {
		key, err := pki.EncodeKey(one.issuer.Key)
		if err != nil {
			return err
		}
		data[one.cert] = pki.EncodeCerts(append([]*x509.Certificate{one.issuer.Cert}, one.issuer.Parents...)...)
		data[one.key] = key
	}
	return nil
}
