package admin

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"heddle.dev/heddle/internal/pki"
)

const (
	// maxMessage is what Fabric's nodes themselves take.
	maxMessage = 100 << 20
	// keepaliveTime is above what nodes of any setting take offence at.
	keepaliveTime    = 2 * time.Minute
	keepaliveTimeout = 20 * time.Second
)

// DialFunc opens a connection, for instance through a port-forward or from
// another network namespace.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Target is a node and how to reach it.
type Target struct {
	// Address is what is dialled, host:port.
	Address string
	// ServerName is what the node's certificate has to name. Empty means the
	// host of Address.
	ServerName string
	// Roots are the TLS authorities of the node's organisation, in PEM.
	Roots []byte
	// Certificate authenticates us; needed for participation only.
	Certificate *tls.Certificate
	// DialContext opens connections; nil means directly.
	DialContext DialFunc
}

// ClientCertificate joins a certificate (with its chain, in PEM) and a key.
func ClientCertificate(certText []byte, key crypto.Signer) (*tls.Certificate, error) {
	certs, err := pki.ParseCerts(certText)
	if err != nil {
		return nil, err
	}
	if !pki.SameKey(certs[0], key) {
		return nil, fmt.Errorf("load TLS certificate %q: key and certificate do not belong together", certs[0].Subject.CommonName)
	}
	out := &tls.Certificate{PrivateKey: key, Leaf: certs[0]}
	for _, cert := range certs {
		out.Certificate = append(out.Certificate, cert.Raw)
	}
	return out, nil
}

// Connect makes a gRPC connection. It does not dial yet: the first call does.
func (t Target) Connect() (*grpc.ClientConn, error) {
	config, err := t.tlsConfig()
	if err != nil {
		return nil, err
	}
	dial := t.dialer()
	retry := backoff.DefaultConfig
	retry.BaseDelay, retry.MaxDelay = 100*time.Millisecond, 3*time.Second
	conn, err := grpc.NewClient("passthrough:///"+t.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return dial(ctx, "tcp", address) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: retry, MinConnectTimeout: 5 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %q: %w", t.Address, err)
	}
	return conn, nil
}

func (t Target) dialer() DialFunc {
	if t.DialContext != nil {
		return t.DialContext
	}
	return (&net.Dialer{}).DialContext
}

func (t Target) tlsConfig() (*tls.Config, error) {
	name := t.ServerName
	if name == "" {
		host, _, err := net.SplitHostPort(t.Address)
		if err != nil {
			return nil, fmt.Errorf("connect to %q: the address is not of the form host:port", t.Address)
		}
		name = host
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(t.Roots) {
		return nil, fmt.Errorf("connect to %q: %w", t.Address, errors.New("there is no TLS root certificate"))
	}
	config := &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}
	if t.Certificate != nil {
		config.Certificates = []tls.Certificate{*t.Certificate}
	}
	return config, nil
}
