package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"time"
)

const (
	// issuerBackdate lets other issuers, such as fabric-ca, backdate what they
	// sign by some minutes: a chain must be valid at the leaf's own notBefore.
	issuerBackdate = 10 * time.Minute
	// leafBackdate forgives clocks that are behind ours.
	leafBackdate = 5 * time.Minute
)

// Issuer is a certificate authority: a key, its certificate, and the
// certificates between it and the root.
type Issuer struct {
	// Cert is the authority's own certificate.
	Cert *x509.Certificate
	// Key signs for it.
	Key crypto.Signer
	// Parents are the certificates above Cert, nearest first, without the
	// root. Empty for a root and for an intermediate right below one.
	Parents []*x509.Certificate
}

// IssuerRequest describes a new authority.
type IssuerRequest struct {
	// CommonName of the authority. It must be another one whenever the key is
	// another one; a renewed authority gets a new key, because an MSP refuses
	// a leaf to which two chains lead.
	CommonName string
	// Organization is written into the subject; optional.
	Organization string
	// Key is the new authority's key. SignIntermediate needs its public half.
	Key crypto.Signer
	// Lifetime of the certificate; an intermediate never outlives its issuer.
	Lifetime time.Duration
	// Now is the time of issue.
	Now time.Time
}

// NewRoot makes a self-signed authority.
func NewRoot(req IssuerRequest) (*Issuer, error) {
	if err := req.validate(); err != nil {
		return nil, err
	}
	template, err := req.template(req.Key.Public())
	if err != nil {
		return nil, err
	}
	cert, err := sign(template, template, req.Key.Public(), req.Key)
	if err != nil {
		return nil, fmt.Errorf("sign root %q: %w", req.CommonName, err)
	}
	return &Issuer{Cert: cert, Key: req.Key}, nil
}

// NewIntermediate makes an authority below i that may sign leaves only.
func (i *Issuer) NewIntermediate(req IssuerRequest) (*Issuer, error) {
	if err := req.validate(); err != nil {
		return nil, err
	}
	template, err := req.template(req.Key.Public())
	if err != nil {
		return nil, err
	}
	template.MaxPathLenZero = true
	i.clamp(template)
	cert, err := sign(template, i.Cert, req.Key.Public(), i.Key)
	if err != nil {
		return nil, fmt.Errorf("sign intermediate %q: %w", req.CommonName, err)
	}
	below := &Issuer{Cert: cert, Key: req.Key}
	if !i.isRoot() {
		below.Parents = append([]*x509.Certificate{i.Cert}, i.Parents...)
	}
	return below, nil
}

// LoadIssuer puts a stored authority together from PEM: the certificate
// (followed by its parents, if any) and the key.
func LoadIssuer(certText, keyText []byte) (*Issuer, error) {
	certs, err := ParseCerts(certText)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(keyText)
	if err != nil {
		return nil, err
	}
	if !certs[0].IsCA {
		return nil, fmt.Errorf("load issuer %q: its certificate is not an authority's", certs[0].Subject.CommonName)
	}
	if !SameKey(certs[0], key) {
		return nil, fmt.Errorf("load issuer %q: key and certificate do not belong together", certs[0].Subject.CommonName)
	}
	issuer := &Issuer{Cert: certs[0], Key: key}
	for _, parent := range certs[1:] {
		if parent.CheckSignatureFrom(parent) != nil {
			issuer.Parents = append(issuer.Parents, parent)
		}
	}
	return issuer, nil
}

// Chain is what a server presents after its own leaf: the authority and its
// parents, without the root.
func (i *Issuer) Chain() []*x509.Certificate {
	if i.isRoot() {
		return nil
	}
	return append([]*x509.Certificate{i.Cert}, i.Parents...)
}

func (i *Issuer) isRoot() bool { return i.Cert.CheckSignatureFrom(i.Cert) == nil }

// clamp keeps a certificate's validity within its issuer's: Fabric checks a
// chain at one second after the leaf's notBefore.
func (i *Issuer) clamp(template *x509.Certificate) {
	if template.NotBefore.Before(i.Cert.NotBefore) {
		template.NotBefore = i.Cert.NotBefore
	}
	if template.NotAfter.After(i.Cert.NotAfter) {
		template.NotAfter = i.Cert.NotAfter
	}
}

func (r IssuerRequest) validate() error {
	switch {
	case r.CommonName == "":
		return errors.New("make issuer: the common name is empty")
	case r.Key == nil:
		return fmt.Errorf("make issuer %q: there is no key", r.CommonName)
	case r.Lifetime <= 0:
		return fmt.Errorf("make issuer %q: lifetime %s is not positive", r.CommonName, r.Lifetime)
	case r.Now.IsZero():
		return fmt.Errorf("make issuer %q: the time of issue is not set", r.CommonName)
	}
	return nil
}

func (r IssuerRequest) template(public crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	subject := pkix.Name{CommonName: r.CommonName}
	if r.Organization != "" {
		subject.Organization = []string{r.Organization}
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               subject,
		NotBefore:             r.Now.Add(-issuerBackdate).UTC(),
		NotAfter:              r.Now.Add(r.Lifetime).UTC(),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          id,
	}, nil
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
