package simtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	mspb "github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"

	"heddle.dev/heddle/fabsim/internal/node"
)

// Leaf is a certificate and its key (PEM).
type Leaf struct{ Cert, Key []byte }

// TLS is the leaf as TLS wants it.
func (l Leaf) TLS(tb testing.TB) tls.Certificate {
	tb.Helper()
	certificate, err := tls.X509KeyPair(l.Cert, l.Key)
	if err != nil {
		tb.Fatal(err)
	}
	return certificate
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// Org is an organisation with one authority for identities and one for TLS.
type Org struct {
	Name, MSPID string

	ca, tls authority
}

// NewOrg makes an organisation; its MSP is called after it: "banka", "bankaMSP".
func NewOrg(tb testing.TB, name string) *Org {
	tb.Helper()
	return &Org{Name: name, MSPID: name + "MSP", ca: newAuthority(tb, "ca."+name), tls: newAuthority(tb, "tls."+name)}
}

func newAuthority(tb testing.TB, name string) authority {
	tb.Helper()
	key := newKey(tb)
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		SubjectKeyId: []byte(name),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return authority{cert: cert, key: key, pem: encode("CERTIFICATE", raw)}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatal(err)
	}
	return number
}

func encode(kind string, raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
}

// Identity issues an identity of a role: "client", "peer", "admin" or
// "orderer". It ends after life, an hour if that is zero.
func (o *Org) Identity(tb testing.TB, name, role string, life time.Duration) Leaf {
	tb.Helper()
	return o.ca.issue(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: name, OrganizationalUnit: []string{role}}, KeyUsage: x509.KeyUsageDigitalSignature,
	}, life)
}

// TLS issues a certificate for TLS on the loopback, for servers and clients.
func (o *Org) TLS(tb testing.TB, name string) Leaf {
	tb.Helper()
	return o.tls.issue(tb, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, 0)
}

// TLSRoot (PEM) is the authority that TLS certificates come from.
func (o *Org) TLSRoot() []byte { return o.tls.pem }

func (a authority) issue(tb testing.TB, template *x509.Certificate, life time.Duration) Leaf {
	tb.Helper()
	if life == 0 {
		life = time.Hour
	}
	key := newKey(tb)
	template.SerialNumber = serial(tb)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(life)
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return Leaf{Cert: encode("CERTIFICATE", raw), Key: encode("PRIVATE KEY", rawKey)}
}

const configYAML = `NodeOUs:
  Enable: true
  ClientOUIdentifier: {OrganizationalUnitIdentifier: client}
  PeerOUIdentifier: {OrganizationalUnitIdentifier: peer}
  AdminOUIdentifier: {OrganizationalUnitIdentifier: admin}
  OrdererOUIdentifier: {OrganizationalUnitIdentifier: orderer}
`

// WriteMSP writes the local MSP of a node or a client into dir.
func (o *Org) WriteMSP(tb testing.TB, dir string, leaf Leaf) {
	tb.Helper()
	Write(tb, dir, map[string][]byte{
		"cacerts/ca.pem": o.ca.pem, "tlscacerts/tls.pem": o.tls.pem, "config.yaml": []byte(configYAML),
		"signcerts/cert.pem": leaf.Cert, "keystore/key.pem": leaf.Key,
	})
}

// Write writes files into dir.
func Write(tb testing.TB, dir string, files map[string][]byte) {
	tb.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// Signer issues an identity and loads it.
func (o *Org) Signer(tb testing.TB, role string, life time.Duration) *node.Identity {
	tb.Helper()
	dir := tb.TempDir()
	o.WriteMSP(tb, dir, o.Identity(tb, fmt.Sprintf("%s@%s", role, o.Name), role, life))
	identity, err := node.LoadIdentity(dir, o.MSPID)
	if err != nil {
		tb.Fatal(err)
	}
	return identity
}

// MSP is the organisation as channels know it.
func (o *Org) MSP(tb testing.TB) *mspb.MSPConfig {
	tb.Helper()
	unit := func(role string) *mspb.FabricOUIdentifier {
		return &mspb.FabricOUIdentifier{OrganizationalUnitIdentifier: role}
	}
	raw, err := proto.Marshal(&mspb.FabricMSPConfig{
		Name: o.MSPID, RootCerts: [][]byte{o.ca.pem}, TlsRootCerts: [][]byte{o.tls.pem},
		CryptoConfig: &mspb.FabricCryptoConfig{SignatureHashFamily: "SHA2", IdentityIdentifierHashFunction: "SHA256"},
		FabricNodeOus: &mspb.FabricNodeOUs{
			Enable: true, ClientOuIdentifier: unit("client"), PeerOuIdentifier: unit("peer"),
			AdminOuIdentifier: unit("admin"), OrdererOuIdentifier: unit("orderer"),
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &mspb.MSPConfig{Config: raw}
}
