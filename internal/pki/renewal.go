package pki

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The reasons why a leaf is issued anew. They are stable words: conditions,
// events and metrics carry them.
const (
	ReasonMissing      = "CertificateMissing"
	ReasonKeyMismatch  = "KeyMismatch"
	ReasonExpired      = "CertificateExpired"
	ReasonExpiring     = "CertificateExpiring"
	ReasonIssuerDrift  = "IssuerChanged"
	ReasonRoleDrift    = "RoleChanged"
	ReasonNameDrift    = "NameChanged"
	ReasonSANDrift     = "AddressesChanged"
	ReasonNotTLSUsable = "UsageMissing"
)

// Leaf is what is stored and what is wanted of it.
type Leaf struct {
	// Cert is the stored certificate; nil if there is none.
	Cert *x509.Certificate
	// Key is the stored key; nil if there is none.
	Key crypto.Signer
	// CommonName that is wanted.
	CommonName string
	// Role that is wanted of an enrolment certificate.
	Role Role
	// SANs that are wanted of a TLS certificate.
	SANs []string
	// ServerOnly says that a TLS certificate must be no use to a client.
	ServerOnly bool
	// Issuer that should have signed.
	Issuer *x509.Certificate
	// RenewBefore is the window ahead of the expiry in which to renew.
	RenewBefore time.Duration
	// Now is the time of the question.
	Now time.Time
}

// Predicate answers one question about a leaf: does it fail, for what reason,
// and in which words.
type Predicate func(Leaf) (reason, message string, failed bool)

// Predicates are asked in order; the first that fails decides.
type Predicates []Predicate

// Check asks every predicate in turn.
func (p Predicates) Check(leaf Leaf) (reason, message string, failed bool) {
	for _, predicate := range p {
		if reason, message, failed = predicate(leaf); failed {
			return reason, message, true
		}
	}
	return "", "", false
}

// EnrolmentPredicates decide about enrolment certificates.
func EnrolmentPredicates() Predicates {
	return Predicates{Missing, KeyMismatch, Expiring, IssuerDrift, NameDrift, RoleDrift}
}

// TLSPredicates decide about TLS certificates.
func TLSPredicates() Predicates {
	return Predicates{Missing, KeyMismatch, Expiring, IssuerDrift, NameDrift, SANDrift, UsageDrift}
}

// Missing fails without a key or a certificate.
func Missing(l Leaf) (string, string, bool) {
	if l.Key == nil {
		return ReasonMissing, fmt.Sprintf("There is no key of %s", l.CommonName), true
	}
	if l.Cert == nil {
		return ReasonMissing, fmt.Sprintf("There is no certificate of %s", l.CommonName), true
	}
	return "", "", false
}

// KeyMismatch fails when the certificate was made for another key.
func KeyMismatch(l Leaf) (string, string, bool) {
	if SameKey(l.Cert, l.Key) {
		return "", "", false
	}
	return ReasonKeyMismatch, fmt.Sprintf("The certificate of %s was made for another key", l.CommonName), true
}

// Expiring fails after the expiry and in the window ahead of it. A leaf whose
// whole life is shorter than twice the window is renewed at its half, lest it
// be issued anew for ever.
func Expiring(l Leaf) (string, string, bool) {
	if !l.Now.Before(l.Cert.NotAfter) {
		return ReasonExpired, fmt.Sprintf("The certificate of %s expired on %s", l.CommonName, day(l.Cert.NotAfter)), true
	}
	window := min(l.RenewBefore, l.Cert.NotAfter.Sub(l.Cert.NotBefore)/2)
	if !l.Now.Before(l.Cert.NotAfter.Add(-window)) {
		return ReasonExpiring, fmt.Sprintf("The certificate of %s expires on %s", l.CommonName, day(l.Cert.NotAfter)), true
	}
	return "", "", false
}

// IssuerDrift fails when another authority signed the certificate.
func IssuerDrift(l Leaf) (string, string, bool) {
	if l.Issuer == nil || l.Cert.CheckSignatureFrom(l.Issuer) == nil {
		return "", "", false
	}
	return ReasonIssuerDrift, fmt.Sprintf("The certificate of %s was not signed by %s",
		l.CommonName, l.Issuer.Subject.CommonName), true
}

// NameDrift fails when the certificate carries another common name.
func NameDrift(l Leaf) (string, string, bool) {
	if l.CommonName == "" || l.Cert.Subject.CommonName == l.CommonName {
		return "", "", false
	}
	return ReasonNameDrift, fmt.Sprintf("The certificate is of %s and not of %s",
		l.Cert.Subject.CommonName, l.CommonName), true
}

// RoleDrift fails when the organisational unit is not exactly the role.
func RoleDrift(l Leaf) (string, string, bool) {
	if RoleOf(l.Cert) == l.Role {
		return "", "", false
	}
	return ReasonRoleDrift, fmt.Sprintf("The certificate of %s does not have the role %s", l.CommonName, l.Role), true
}

// SANDrift fails when a wanted name is missing. A name too many is left until
// the next renewal: it may be in use.
func SANDrift(l Leaf) (string, string, bool) {
	have := SANs(l.Cert)
	var missing []string
	for _, name := range l.SANs {
		if !slices.Contains(have, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return "", "", false
	}
	slices.Sort(missing)
	return ReasonSANDrift, fmt.Sprintf("The certificate of %s does not name %s",
		l.CommonName, strings.Join(missing, ", ")), true
}

// UsageDrift fails when a TLS certificate serves other ends of a connection than
// it should.
func UsageDrift(l Leaf) (string, string, bool) {
	have, want := l.Cert.ExtKeyUsage, tlsUsages(l.ServerOnly)
	for _, usage := range want {
		if !slices.Contains(have, usage) {
			return ReasonNotTLSUsable, fmt.Sprintf("The certificate of %s is not for servers and clients alike", l.CommonName), true
		}
	}
	if l.ServerOnly && len(have) > len(want) {
		return ReasonNotTLSUsable, fmt.Sprintf("The certificate of %s is not for servers alone", l.CommonName), true
	}
	return "", "", false
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
