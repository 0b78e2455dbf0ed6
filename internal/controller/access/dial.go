package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"k8s.io/apimachinery/pkg/types"

	"heddle.dev/heddle/internal/pki"
)

const (
	// dialTimeout bounds one attempt to connect: a node that does not answer costs no more than this.
	dialTimeout = 2 * time.Second
	// idleTimeout closes connections that are not used: at rest the operator holds none.
	idleTimeout = 20 * time.Second
	// keepTime is how long an unused entry stays in the pool.
	keepTime = 5 * time.Minute
	// clientLifetime of the certificate for the participation interface. It is never stored.
	clientLifetime = 24 * time.Hour
	// maxMessage allows blocks as large as Fabric's own limit.
	maxMessage = 100 << 20
)

type connKey struct {
	address string
	roots   [sha256.Size]byte
}

type connection struct {
	grpc *grpc.ClientConn
	used time.Time
}

// Conn returns a connection to a node's gRPC port, verified by roots (PEM). It belongs to the pool: do not close it.
// It connects at the first call, and again after it was idle.
func (n *Nodes) Conn(address string, roots []byte) (*grpc.ClientConn, error) {
	key := connKey{address: address, roots: sha256.Sum256(roots)}
	now := n.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweep(now)
	if c, ok := n.conns[key]; ok {
		c.used = now
		return c.grpc, nil
	}
	pool, err := certPool(roots)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	c, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: host(address), MinVersion: tls.VersionTLS12})),
		grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) { return n.dial(ctx, "tcp", a) }),
		grpc.WithIdleTimeout(idleTimeout),
		grpc.WithSharedWriteBuffer(true),
		grpc.WithReadBufferSize(8<<10), grpc.WithWriteBufferSize(8<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		// A node that comes up is asked again at once: the default waits up to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.3, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: dialTimeout,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", address, err)
	}
	n.conns[key] = &connection{grpc: c, used: now}
	return c, nil
}

// sweep forgets connections that nobody asked for in a long time.
func (n *Nodes) sweep(now time.Time) {
	for key, c := range n.conns {
		if now.Sub(c.used) > keepTime {
			_ = c.grpc.Close()
			delete(n.conns, key)
		}
	}
	for key, c := range n.clients {
		if now.Sub(c.used) > keepTime {
			c.http.CloseIdleConnections()
			delete(n.clients, key)
		}
	}
}

// Close closes every connection.
func (n *Nodes) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, c := range n.conns {
		_ = c.grpc.Close()
		delete(n.conns, key)
	}
	for key, c := range n.clients {
		c.http.CloseIdleConnections()
		delete(n.clients, key)
	}
}

type clientTLS struct {
	http  *http.Client
	roots [sha256.Size]byte
	until time.Time
	used  time.Time
}

// Participation returns an HTTP client for the participation interface of an organisation's orderers: it trusts the
// organisation's TLS roots and shows a client certificate that was made in memory by the organisation's issuer.
func (n *Nodes) Participation(ctx context.Context, namespace string, org *Organization) (*http.Client, error) {
	key := types.NamespacedName{Namespace: namespace, Name: org.Name}
	now, roots := n.now(), sha256.Sum256(org.TLSRoots)
	n.mu.Lock()
	if c, ok := n.clients[key]; ok && c.roots == roots && now.Before(c.until) {
		c.used = now
		n.mu.Unlock()
		return c.http, nil
	}
	n.mu.Unlock()
	cert, err := n.clientCertificate(ctx, namespace, org.Name, now)
	if err != nil {
		return nil, err
	}
	client, err := n.HTTP(org.TLSRoots, cert)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clients[key] = &clientTLS{http: client, roots: roots, until: now.Add(clientLifetime / 2), used: now}
	return client, nil
}

// Forget drops what is known of an organisation's client certificate: the next use makes another.
func (n *Nodes) Forget(namespace, org string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.clients, types.NamespacedName{Namespace: namespace, Name: org})
}

// HTTP returns a client that trusts roots (PEM) and shows cert, if there is one.
func (n *Nodes) HTTP(roots []byte, cert *tls.Certificate) (*http.Client, error) {
	pool, err := certPool(roots)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: n.dial, TLSClientConfig: cfg, TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: idleTimeout,
	}}, nil
}

func (n *Nodes) clientCertificate(ctx context.Context, namespace, org string, now time.Time) (*tls.Certificate, error) {
	data, err := n.secret(ctx, namespace, org+"-ops")
	if err != nil {
		return nil, err
	}
	issuer, err := pki.LoadIssuer(data["tls-ca.crt"], data["tls-ca.key"])
	if err != nil {
		return nil, fmt.Errorf("load TLS issuer of organization %q: %w", org, err)
	}
	key, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	leaf, err := issuer.IssueTLS(pki.TLSRequest{CommonName: "heddle-operator", Public: key.Public(), Lifetime: clientLifetime, Now: now})
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	for _, c := range issuer.Chain() {
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	return cert, nil
}

func certPool(roots []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return nil, errors.New("read TLS roots: no certificate")
	}
	return pool, nil
}

func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}

// splitCRLs splits a PEM text into its revocation lists.
func splitCRLs(text []byte) ([][]byte, error) {
	var out [][]byte
	for len(bytes.TrimSpace(text)) > 0 {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no PEM block")
		}
		one := pem.EncodeToMemory(block)
		if _, err := pki.ParseCRL(one); err != nil {
			return nil, err
		}
		out, text = append(out, one), rest
	}
	return out, nil
}
