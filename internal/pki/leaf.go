package pki

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// Role is what an identity may be in its organisation. It stands in the
// certificate as the organisational unit.
type Role string

// The four roles that Fabric tells apart.
const (
	RolePeer    Role = "peer"
	RoleOrderer Role = "orderer"
	RoleAdmin   Role = "admin"
	RoleClient  Role = "client"
)

// EnrolRequest describes an enrolment (signing) certificate.
type EnrolRequest struct {
	// CommonName of the identity.
	CommonName string
	// Role becomes the organisational unit.
	Role Role
	// Public is the identity's key.
	Public crypto.PublicKey
	// Attributes are put where fabric-ca puts them and contracts read them;
	// optional.
	Attributes map[string]string
	// Lifetime of the certificate; it never outlives its issuer.
	Lifetime time.Duration
	// Now is the time of issue.
	Now time.Time
}

// TLSRequest describes a TLS certificate, for servers and clients alike unless
// told otherwise: Fabric's nodes use one certificate on both ends of a connection.
type TLSRequest struct {
	// CommonName of the node.
	CommonName string
	// SANs are DNS names and IP addresses.
	SANs []string
	// Public is the node's key.
	Public crypto.PublicKey
	// ServerOnly makes a certificate that is no use to a client: nodes let in
	// whoever shows one of their organisation.
	ServerOnly bool
	// Lifetime of the certificate; it never outlives its issuer.
	Lifetime time.Duration
	// Now is the time of issue.
	Now time.Time
}

// Enrol signs an enrolment certificate.
func (i *Issuer) Enrol(req EnrolRequest) (*x509.Certificate, error) {
	switch req.Role {
	case RolePeer, RoleOrderer, RoleAdmin, RoleClient:
	default:
		return nil, fmt.Errorf("enrol %q: role %q is none of peer, orderer, admin, client", req.CommonName, req.Role)
	}
	template, err := leafTemplate(req.CommonName, req.Public, req.Lifetime, req.Now)
	if err != nil {
		return nil, fmt.Errorf("enrol %q: %w", req.CommonName, err)
	}
	template.Subject.OrganizationalUnit = []string{string(req.Role)}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	if len(req.Attributes) > 0 {
		extension, err := attributesExtension(req.Attributes)
		if err != nil {
			return nil, fmt.Errorf("enrol %q: %w", req.CommonName, err)
		}
		template.ExtraExtensions = append(template.ExtraExtensions, extension)
	}
	return i.leaf(template, req.Public)
}

// IssueTLS signs a TLS certificate.
func (i *Issuer) IssueTLS(req TLSRequest) (*x509.Certificate, error) {
	template, err := leafTemplate(req.CommonName, req.Public, req.Lifetime, req.Now)
	if err != nil {
		return nil, fmt.Errorf("issue TLS certificate %q: %w", req.CommonName, err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement
	template.ExtKeyUsage = tlsUsages(req.ServerOnly)
	for _, san := range req.SANs {
		if ip := net.ParseIP(san); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, san)
	}
	return i.leaf(template, req.Public)
}

func tlsUsages(serverOnly bool) []x509.ExtKeyUsage {
	if serverOnly {
		return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
}

// SANs lists the subject alternative names of a certificate, sorted.
func SANs(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return names
}

// RoleOf reads the role of an enrolment certificate; empty if it has none or
// more than one.
func RoleOf(cert *x509.Certificate) Role {
	var found []Role
	for _, unit := range cert.Subject.OrganizationalUnit {
		switch role := Role(strings.ToLower(unit)); role {
		case RolePeer, RoleOrderer, RoleAdmin, RoleClient:
			found = append(found, role)
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

func (i *Issuer) leaf(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	i.clamp(template)
	if !template.NotAfter.After(template.NotBefore) {
		return nil, fmt.Errorf("sign %q: issuer %q has expired", template.Subject.CommonName, i.Cert.Subject.CommonName)
	}
	cert, err := sign(template, i.Cert, public, i.Key)
	if err != nil {
		return nil, fmt.Errorf("sign %q: %w", template.Subject.CommonName, err)
	}
	return cert, nil
}

func leafTemplate(name string, public crypto.PublicKey, lifetime time.Duration, now time.Time) (*x509.Certificate, error) {
	switch {
	case name == "":
		return nil, errors.New("the common name is empty")
	case lifetime <= 0:
		return nil, fmt.Errorf("lifetime %s is not positive", lifetime)
	case now.IsZero():
		return nil, errors.New("the time of issue is not set")
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-leafBackdate).UTC(),
		NotAfter:              now.Add(lifetime).UTC(),
		BasicConstraintsValid: true,
		SubjectKeyId:          id,
	}, nil
}
