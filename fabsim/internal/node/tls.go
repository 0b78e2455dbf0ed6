package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
)

// TLSFiles is the TLS setting of a server.
type TLSFiles struct {
	Enabled           bool
	Certificate, Key  string
	ClientRoots       []string
	RequireClientCert bool
}

// TLS is a server's TLS. The certificate authorities of clients can be
// replaced while it runs.
type TLS struct {
	// Certificate is the server's own.
	Certificate tls.Certificate
	// RequireClientCert tells whether clients must show a certificate.
	RequireClientCert bool

	base  *tls.Config
	files *x509.CertPool
	roots atomic.Pointer[x509.CertPool]
}

// LoadTLS reads a server's TLS files; it is nil if TLS is off.
func LoadTLS(files TLSFiles) (*TLS, error) {
	if !files.Enabled {
		return nil, nil //nolint:nilnil // no TLS is a setting, and every user of it asks for nil
	}
	if files.Certificate == "" || files.Key == "" {
		return nil, errors.New("load TLS: it is enabled but there is no certificate or no private key")
	}
	certificate, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		return nil, fmt.Errorf("load TLS: %w", err)
	}
	pool, err := LoadRoots(files.ClientRoots)
	if err != nil {
		return nil, err
	}
	t := &TLS{Certificate: certificate, RequireClientCert: files.RequireClientCert, files: pool}
	t.base = &tls.Config{
		MinVersion:             tls.VersionTLS12,
		Certificates:           []tls.Certificate{certificate},
		SessionTicketsDisabled: true,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		},
	}
	t.roots.Store(pool)
	return t, nil
}

// LoadRoots reads certificate authorities; a file may hold several.
func LoadRoots(files []string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("load TLS roots: %w", err)
		}
		if !pool.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("load TLS roots: no certificate in %s", file)
		}
	}
	return pool, nil
}

// AddClientRoots makes the given authorities (PEM), beside those of the files,
// the ones whose clients are let in. It replaces what the last call added and
// matters only where client certificates are required.
func (t *TLS) AddClientRoots(pem [][]byte) {
	pool := t.files.Clone()
	for _, root := range pem {
		pool.AppendCertsFromPEM(root)
	}
	t.roots.Store(pool)
}

// GRPC is the configuration of a gRPC server: clients may show any
// certificate, which services then judge, unless it is required.
func (t *TLS) GRPC() *tls.Config {
	config := t.base.Clone()
	config.NextProtos = []string{"h2"}
	config.ClientAuth = tls.RequestClientCert
	if !t.RequireClientCert {
		return config
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := config.Clone()
		now.GetConfigForClient, now.ClientCAs = nil, t.roots.Load()
		return now, nil
	}
	return config
}

// HTTP is the configuration of an HTTP server.
func (t *TLS) HTTP() *tls.Config {
	config := t.base.Clone()
	config.ClientCAs, config.ClientAuth = t.files, tls.VerifyClientCertIfGiven
	if t.RequireClientCert {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return config
}
