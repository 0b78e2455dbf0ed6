package bare

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/channelconfig"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/fabric/msp"
	"heddle.dev/heddle/internal/pki"
)

const (
	issuerLife = 24 * time.Hour
	leafLife   = 12 * time.Hour
)

// Org is an organisation with its issuers, as the operator would make it.
type Org struct {
	// Name in file and node names; MSPID in Fabric.
	Name, MSPID string
	// Ops and App sign enrolments, TLSOps and TLSApp TLS certificates.
	Ops, App, TLSOps, TLSApp *pki.Issuer
	// Material is the organisation's MSP.
	Material msp.Material
	// Admin signs for the organisation, AdminTLS is its certificate for the
	// participation API.
	Admin    *identity.Identity
	AdminTLS *tls.Certificate
}

// Leaf is a key with its certificates.
type Leaf struct {
	Key crypto.Signer
	// Sign is the enrolment certificate, TLS the TLS certificate alone and
	// TLSChain with its intermediates; all PEM.
	Sign, TLS, TLSChain []byte
}

// NewOrg makes an organisation.
func NewOrg(name string) (*Org, error) {
	o := &Org{Name: name, MSPID: name + "MSP"}
	now := time.Now()
	var err error
	if o.Ops, o.App, err = pair(name, now, &o.Material.CACerts, &o.Material.IntermediateCerts); err != nil {
		return nil, err
	}
	if o.TLSOps, o.TLSApp, err = pair(name+" tls", now, &o.Material.TLSCACerts, &o.Material.TLSIntermediates); err != nil {
		return nil, err
	}
	o.Material.NodeOUs = msp.DefaultNodeOUs()
	leaf, err := o.Issue("admin", pki.RoleAdmin)
	if err != nil {
		return nil, err
	}
	if o.Admin, err = identity.New(o.MSPID, leaf.Sign, leaf.Key); err != nil {
		return nil, err
	}
	o.AdminTLS, err = admin.ClientCertificate(leaf.TLSChain, leaf.Key)
	return o, err
}

// pair makes a root and its two intermediates.
func pair(name string, now time.Time, roots, between *[][]byte) (ops, app *pki.Issuer, err error) {
	request := func(role string) (pki.IssuerRequest, error) {
		key, err := pki.NewKey()
		return pki.IssuerRequest{CommonName: name + " " + role, Organization: name, Key: key, Lifetime: issuerLife, Now: now}, err
	}
	req, err := request("root")
	if err != nil {
		return nil, nil, err
	}
	root, err := pki.NewRoot(req)
	if err != nil {
		return nil, nil, err
	}
	*roots = [][]byte{pki.EncodeCerts(root.Cert)}
	var out []*pki.Issuer
	for _, role := range []string{"ops", "app"} {
		if req, err = request(role); err != nil {
			return nil, nil, err
		}
		issuer, err := root.NewIntermediate(req)
		if err != nil {
			return nil, nil, err
		}
		*between = append(*between, pki.EncodeCerts(issuer.Cert))
		out = append(out, issuer)
	}
	return out[0], out[1], nil
}

// Issue makes a key and both of its certificates.
func (o *Org) Issue(name string, role pki.Role) (Leaf, error) {
	key, err := pki.NewKey()
	if err != nil {
		return Leaf{}, err
	}
	return o.Reissue(name, role, key)
}

// Reissue makes both certificates of a key.
func (o *Org) Reissue(name string, role pki.Role, key crypto.Signer) (Leaf, error) {
	now := time.Now()
	sign, err := o.Ops.Enrol(pki.EnrolRequest{CommonName: name, Role: role, Public: key.Public(), Lifetime: leafLife, Now: now})
	if err != nil {
		return Leaf{}, err
	}
	served, err := o.TLSOps.IssueTLS(pki.TLSRequest{
		CommonName: name, SANs: []string{name, "localhost", "127.0.0.1"}, Public: key.Public(), Lifetime: leafLife, Now: now,
	})
	if err != nil {
		return Leaf{}, err
	}
	return Leaf{
		Key: key, Sign: pki.EncodeCerts(sign), TLS: pki.EncodeCerts(served),
		TLSChain: pki.EncodeCerts(append([]*x509.Certificate{served}, o.TLSOps.Chain()...)...),
	}, nil
}

// TLSRoots is what others trust to reach the organisation's nodes.
func (o *Org) TLSRoots() []byte {
	var out []byte
	for _, block := range o.Material.TLSRoots() {
		out = append(out, block...)
	}
	return out
}

// Organization is the organisation's part of a channel configuration.
func (o *Org) Organization() channelconfig.Organization {
	return channelconfig.Organization{MSPID: o.MSPID, MSP: o.Material}
}

// write puts a node's MSP and TLS files into a folder.
func (o *Org) write(dir string, leaf Leaf) error {
	files := map[string][]byte{}
	for path, content := range o.Material.Files() {
		files["msp/"+path] = content
	}
	key, err := pki.EncodeKey(leaf.Key)
	if err != nil {
		return err
	}
	files["msp/signcerts/cert.pem"] = leaf.Sign
	files["msp/keystore/key.pem"] = key
	files["tls/tls.crt"] = leaf.TLSChain
	files["tls/tls.key"] = key
	files["tls/ca.crt"] = o.TLSRoots()
	for path, content := range files {
		full := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			return fmt.Errorf("write files of %s: %w", dir, err)
		}
		if err := os.WriteFile(full, content, 0o600); err != nil {
			return fmt.Errorf("write files of %s: %w", dir, err)
		}
	}
	return nil
}
