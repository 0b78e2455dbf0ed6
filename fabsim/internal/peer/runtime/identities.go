package runtime

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/hyperledger/fabric-x-common/common/crypto/tlsgen"
)

// identities are the certificates that contracts connect with, of an authority
// that lives no longer than the peer. A certificate says which package a
// contract is.
type identities struct {
	ca     tlsgen.CA
	server *tls.Certificate

	mu    sync.Mutex
	known map[[sha256.Size]byte]string
}

func newIdentities(enabled bool, address string) (*identities, error) {
	ids := &identities{known: map[[sha256.Size]byte]string{}}
	if !enabled {
		return ids, nil
	}
	var err error
	if ids.ca, err = tlsgen.NewCA(); err != nil {
		return nil, fmt.Errorf("make authority for contracts: %w", err)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("read chaincode address: %w", err)
	}
	pair, err := ids.ca.NewServerCertKeyPair(host)
	if err != nil {
		return nil, fmt.Errorf("make server certificate for contracts: %w", err)
	}
	server, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("make server certificate for contracts: %w", err)
	}
	ids.server = &server
	return ids, nil
}

// ServerTLS is the TLS of the server that contracts dial; nil without TLS.
func (r *Runtime) ServerTLS() *tls.Config {
	ids := r.identities
	if ids.server == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ids.ca.CertBytes())
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*ids.server},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
}

// issue makes a certificate for one launch of a package.
func (ids *identities) issue(id string, told *launchFile) error {
	if ids.ca == nil {
		return nil
	}
	pair, err := ids.ca.NewClientCertKeyPair()
	if err != nil {
		return fmt.Errorf("failed to generate TLS certificates for %s: %w", id, err)
	}
	told.ClientCert, told.ClientKey, told.RootCert = string(pair.Cert), string(pair.Key), string(ids.ca.CertBytes())
	ids.mu.Lock()
	defer ids.mu.Unlock()
	ids.known[sha256.Sum256(pair.TLSCert.Raw)] = id
	return nil
}

// allowed is the package that a certificate stands for; empty without TLS.
func (ids *identities) allowed(certificate *x509.Certificate) (string, error) {
	if ids.ca == nil {
		return "", nil
	}
	if certificate == nil {
		return "", errors.New("TLS is active but chaincode didn't send certificate")
	}
	ids.mu.Lock()
	defer ids.mu.Unlock()
	id, ok := ids.known[sha256.Sum256(certificate.Raw)]
	if !ok {
		return "", errors.New("chaincode with given certificate hash not found in registry")
	}
	return id, nil
}
