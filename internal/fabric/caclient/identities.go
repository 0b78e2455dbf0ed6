package caclient

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net"
	"strings"
	"time"

	"heddle.dev/heddle/internal/fabric/identity"
)

// Profile is what a certificate is for.
type Profile string

// The profiles.
const (
	// Signing is for transactions; it is the server's default.
	Signing Profile = ""
	// TLS is for connections.
	TLS Profile = "tls"
)

// Info is what a CA says of itself.
type Info struct {
	// Name and Version of the CA.
	Name, Version string
	// Chain are its certificate and those above it, in PEM.
	Chain []byte
}

// Enrolment is a request for a certificate.
type Enrolment struct {
	// Key to certify; only its public half and a signature leave us.
	Key crypto.Signer
	// Profile of the certificate.
	Profile Profile
	// Hosts become subject alternative names; for TLS.
	Hosts []string
	// Attributes to put into the certificate beyond the server's default.
	Attributes []string
}

// Enrolled is a certificate with what is needed to use it.
type Enrolled struct {
	// Cert in PEM.
	Cert []byte
	// CAChain are the CA's certificate and those above it, in PEM.
	CAChain []byte
}

// Registration of an identity.
type Registration struct {
	// Name of the identity.
	Name string
	// Type becomes the role: client, peer, orderer or admin.
	Type string
	// Secret to enrol with; drawn by the server if empty.
	Secret string
	// MaxEnrollments bounds how often the secret works; 0 leaves it to the
	// server, -1 is without bound.
	MaxEnrollments int
	// Affiliation below which the identity stands; optional.
	Affiliation string
	// Attributes of the identity.
	Attributes []Attribute
}

// Attribute of an identity.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// InCert puts the attribute into certificates by default.
	InCert bool `json:"ecert,omitempty"`
}

// Revocation of an identity, or of one certificate by serial and AKI.
type Revocation struct {
	// Name of the identity: all of its certificates are revoked.
	Name string
	// Serial and AKI of one certificate, both in hex.
	Serial, AKI string
	// Reason such as keycompromise; optional.
	Reason string
}

type certificateRequest struct {
	Hosts      []string    `json:"hosts,omitempty"`
	Request    string      `json:"certificate_request"`
	Profile    Profile     `json:"profile,omitempty"`
	CAName     string      `json:"CAName,omitempty"`
	Attributes []attribute `json:"attr_reqs,omitempty"`
}

type attribute struct {
	Name     string `json:"name"`
	Optional bool   `json:"optional,omitempty"`
}

type serverInfo struct {
	CAName  string `json:"CAName"`
	CAChain string `json:"CAChain"`
	Version string `json:"Version"`
}

type certificateAnswer struct {
	Cert       string     `json:"Cert"`
	ServerInfo serverInfo `json:"ServerInfo"`
}

// Info asks the CA for its name and chain. It needs no identity.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var answer serverInfo
	if err := c.call(ctx, "/cainfo", nil, map[string]string{"caname": c.name}, &answer); err != nil {
		return Info{}, fmt.Errorf("ask CA %s for its chain: %w", c.address, err)
	}
	chain, err := base64.StdEncoding.DecodeString(answer.CAChain)
	if err != nil {
		return Info{}, fmt.Errorf("ask CA %s for its chain: %w", c.address, err)
	}
	return Info{Name: answer.CAName, Version: answer.Version, Chain: chain}, nil
}

// Enrol gets a first certificate with a name and a secret.
func (c *Client) Enrol(ctx context.Context, name, secret string, e Enrolment) (Enrolled, error) {
	enrolled, err := c.certificate(ctx, "/enroll", name, basic(name, secret), e)
	if err != nil {
		return Enrolled{}, fmt.Errorf("enrol %q at CA %s: %w", name, c.address, err)
	}
	return enrolled, nil
}

// Reenrol gets a further certificate with one that is still good; the key may
// be the same or another.
func (c *Client) Reenrol(ctx context.Context, by *identity.Identity, name string, e Enrolment) (Enrolled, error) {
	enrolled, err := c.certificate(ctx, "/reenroll", name, token(by), e)
	if err != nil {
		return Enrolled{}, fmt.Errorf("renew %q at CA %s: %w", name, c.address, err)
	}
	return enrolled, nil
}

func (c *Client) certificate(ctx context.Context, path, name string, sign credentials, e Enrolment) (Enrolled, error) {
	csr, err := signingRequest(name, e)
	if err != nil {
		return Enrolled{}, err
	}
	request := certificateRequest{Hosts: e.Hosts, Request: csr, Profile: e.Profile, CAName: c.name}
	for _, name := range e.Attributes {
		request.Attributes = append(request.Attributes, attribute{Name: name})
	}
	var answer certificateAnswer
	if err := c.call(ctx, path, sign, request, &answer); err != nil {
		return Enrolled{}, err
	}
	cert, err := base64.StdEncoding.DecodeString(answer.Cert)
	if err != nil {
		return Enrolled{}, fmt.Errorf("read certificate: %w", err)
	}
	chain, err := base64.StdEncoding.DecodeString(answer.ServerInfo.CAChain)
	if err != nil {
		return Enrolled{}, fmt.Errorf("read chain: %w", err)
	}
	return Enrolled{Cert: cert, CAChain: chain}, nil
}

// signingRequest is a CSR in PEM.
func signingRequest(name string, e Enrolment) (string, error) {
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	for _, host := range e.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, e.Key)
	if err != nil {
		return "", fmt.Errorf("sign request: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// Register makes an identity known to the CA and returns the secret to enrol
// with.
func (c *Client) Register(ctx context.Context, by *identity.Identity, r Registration) (secret string, err error) {
	request := struct {
		ID             string      `json:"id"`
		Type           string      `json:"type,omitempty"`
		Secret         string      `json:"secret,omitempty"`
		MaxEnrollments int         `json:"max_enrollments,omitempty"`
		Affiliation    string      `json:"affiliation"`
		Attributes     []Attribute `json:"attrs,omitempty"`
		CAName         string      `json:"caname,omitempty"`
	}{r.Name, r.Type, r.Secret, r.MaxEnrollments, r.Affiliation, r.Attributes, c.name}
	var answer struct {
		Secret string `json:"secret"`
	}
	if err := c.call(ctx, "/register", token(by), request, &answer); err != nil {
		return "", fmt.Errorf("register %q at CA %s: %w", r.Name, c.address, err)
	}
	return answer.Secret, nil
}

// Revoke revokes certificates and returns the CA's new revocation list, in
// PEM.
func (c *Client) Revoke(ctx context.Context, by *identity.Identity, r Revocation) (crl []byte, err error) {
	request := struct {
		Name   string `json:"id,omitempty"`
		Serial string `json:"serial,omitempty"`
		AKI    string `json:"aki,omitempty"`
		Reason string `json:"reason,omitempty"`
		CAName string `json:"caname,omitempty"`
		GenCRL bool   `json:"gencrl"`
	}{r.Name, strings.ToLower(r.Serial), strings.ToLower(r.AKI), r.Reason, c.name, true}
	return c.crl(ctx, "/revoke", "revoke "+r.Name+r.Serial, by, request)
}

// CRL is the CA's revocation list, in PEM.
func (c *Client) CRL(ctx context.Context, by *identity.Identity) ([]byte, error) {
	// Without bounds the server leaves out certificates that have expired.
	request := struct {
		RevokedAfter time.Time `json:"revokedafter"`
		CAName       string    `json:"caname,omitempty"`
	}{CAName: c.name}
	return c.crl(ctx, "/gencrl", "make revocation list", by, request)
}

func (c *Client) crl(ctx context.Context, path, what string, by *identity.Identity, request any) ([]byte, error) {
	var answer struct {
		CRL string `json:"CRL"`
	}
	if err := c.call(ctx, path, token(by), request, &answer); err != nil {
		return nil, fmt.Errorf("%s at CA %s: %w", what, c.address, err)
	}
	text, err := base64.StdEncoding.DecodeString(answer.CRL)
	if err != nil {
		return nil, fmt.Errorf("%s at CA %s: %w", what, c.address, err)
	}
	return text, nil
}
