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
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
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

// poolKey is what connections are kept by: other roots need another connection.
type poolKey struct {
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
	key := poolKey{address: address, roots: sha256.Sum256(roots)}
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
		grpc.WithReadBufferSize(8<<10), grpc.WithWriteBufferSize(8<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		// A node that comes up is asked again at once: the default waits up to two minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.3, Jitter: 0.2, MaxDelay: 400 * time.Millisecond},
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
	for key, c := range n.certs {
		if !now.Before(c.until) {
			delete(n.certs, key)
		}
	}
	for key, s := range n.signers {
		if !now.Before(s.until) {
			delete(n.signers, key)
		}
	}
	for key, p := range n.admins {
		if now.Sub(p.used) > keepTime || !now.Before(p.until) {
			p.api.Close()
			delete(n.admins, key)
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
	for key, p := range n.admins {
		p.api.Close()
		delete(n.admins, key)
	}
}

type participation struct {
	api   *admin.Participation
	used  time.Time
	until time.Time
}

// certKey is what client certificates are kept by: a network of the same name with other issuers needs another.
type certKey struct {
	namespace, org string
	roots          [sha256.Size]byte
}

type clientCert struct {
	cert  *tls.Certificate
	until time.Time
}

// Participation returns the interface by which an orderer joins and leaves channels. It trusts the organisation's TLS
// roots and shows a client certificate that was made in memory by the organisation's issuer.
func (n *Nodes) Participation(ctx context.Context, namespace string, org *Organization, address string) (*admin.Participation, error) {
	key := poolKey{address: address, roots: sha256.Sum256(org.TLSRoots)}
	now := n.now()
	n.mu.Lock()
	n.sweep(now)
	if p, ok := n.admins[key]; ok {
		p.used = now
		n.mu.Unlock()
		return p.api, nil
	}
	n.mu.Unlock()
	cert, err := n.clientCertificate(ctx, namespace, org, now)
	if err != nil {
		return nil, err
	}
	api, err := admin.NewParticipation(admin.Target{Address: address, Roots: org.TLSRoots, Certificate: cert.cert, DialContext: n.dial})
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, ok := n.admins[key]; ok {
		return p.api, nil
	}
	n.admins[key] = &participation{api: api, used: now, until: cert.until}
	return api, nil
}

// Dial opens a plain connection as all the others are opened.
func (n *Nodes) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return n.dial(ctx, network, address)
}

// clientCertificate makes a client certificate, or returns the one that was made a while ago.
func (n *Nodes) clientCertificate(ctx context.Context, namespace string, org *Organization, now time.Time) (*clientCert, error) {
	key := certKey{namespace: namespace, org: org.Name, roots: sha256.Sum256(org.TLSRoots)}
	n.mu.Lock()
	c, ok := n.certs[key]
	n.mu.Unlock()
	if ok && now.Before(c.until) {
		return c, nil
	}
	data, err := n.Secret(ctx, namespace, specs.OpsSecret(org.Name))
	if err != nil {
		return nil, err
	}
	issuer, err := pki.LoadIssuer(data[specs.KeyTLSCert], data[specs.KeyTLSKey])
	if err != nil {
		return nil, fmt.Errorf("load TLS issuer of organization %q: %w", org.Name, err)
	}
	signer, err := pki.NewKey()
	if err != nil {
		return nil, err
	}
	leaf, err := issuer.IssueTLS(pki.TLSRequest{CommonName: "heddle-operator", Public: signer.Public(), Lifetime: clientLifetime, Now: now})
	if err != nil {
		return nil, err
	}
	cert := &tls.Certificate{PrivateKey: signer, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
	for _, above := range issuer.Chain() {
		cert.Certificate = append(cert.Certificate, above.Raw)
	}
	c = &clientCert{cert: cert, until: now.Add(leaf.NotAfter.Sub(now) / 2)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.certs[key] = c
	return c, nil
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
