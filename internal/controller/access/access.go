// Package access is how controllers reach the nodes of a network: it dials their Services, reads an organisation's
// public material from its ConfigMap and its administrator from its Secret, and makes the short-lived client
// certificate that the participation interface asks for. It decides nothing; controllers (the same room) do.
package access

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"heddle.dev/heddle/internal/fabric/admin"
	"heddle.dev/heddle/internal/fabric/identity"
	"heddle.dev/heddle/internal/fabric/msp"
	"heddle.dev/heddle/internal/pki"
	"heddle.dev/heddle/internal/specs"
)

// ErrMissing says that an organisation's material has not been made yet.
var ErrMissing = errors.New("not made yet")

// DialFunc opens a connection to host:port.
type DialFunc = admin.DialFunc

// Options tell how nodes are reached.
type Options struct {
	// Reader reads Secrets and ConfigMaps.
	Reader client.Reader
	// Dial opens connections; nil dials the address as it is.
	Dial DialFunc
	// Now is the clock.
	Now func() time.Time
}

// Nodes reaches the nodes of networks. It is safe for use by several goroutines.
type Nodes struct {
	reader client.Reader
	dial   DialFunc
	now    func() time.Time

	mu     sync.Mutex
	conns  map[poolKey]*connection
	admins map[poolKey]*participation
	certs  map[certKey]*clientCert
	// signers are the administrators that were needed lately.
	signers map[certKey]*signer
}

// New makes Nodes.
func New(opts Options) *Nodes {
	n := &Nodes{
		reader: opts.Reader, dial: opts.Dial, now: opts.Now,
		conns: map[poolKey]*connection{}, admins: map[poolKey]*participation{}, certs: map[certKey]*clientCert{}, signers: map[certKey]*signer{},
	}
	if n.dial == nil {
		n.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if n.now == nil {
		n.now = time.Now
	}
	return n
}

// Organization is the public side of an organisation.
type Organization struct {
	// Name of the Organization object.
	Name string
	// MSPID on the ledger.
	MSPID string
	// MSP material as it goes into a channel configuration.
	MSP msp.Material
	// TLSRoots in PEM: what verifies the organisation's nodes.
	TLSRoots []byte
}

// Organization reads an organisation's public material; ErrMissing if it has none yet.
func (n *Nodes) Organization(ctx context.Context, namespace, name string) (*Organization, error) {
	var cm corev1.ConfigMap
	key := types.NamespacedName{Namespace: namespace, Name: specs.MSPConfigMap(name)}
	if err := n.reader.Get(ctx, key, &cm); err != nil {
		return nil, fmt.Errorf("read MSP of organization %q: %w", name, missing(err))
	}
	return ParseOrganization(name, cm.Data)
}

// ParseOrganization reads the content of an organisation's public ConfigMap.
func ParseOrganization(name string, data map[string]string) (*Organization, error) {
	o := &Organization{Name: name, MSPID: data[specs.KeyMSPID], TLSRoots: []byte(data[specs.KeyTLSRoots])}
	if o.MSPID == "" || len(o.TLSRoots) == 0 {
		return nil, fmt.Errorf("read MSP of organization %q: ConfigMap lacks mspID or tlsca.pem", name)
	}
	o.MSP.NodeOUs = msp.DefaultNodeOUs()
	for _, part := range []struct {
		key  string
		to   *[][]byte
		must bool
	}{
		{specs.KeyCACerts, &o.MSP.CACerts, true},
		{specs.KeyIntermediates, &o.MSP.IntermediateCerts, false},
		{specs.KeyTLSCACerts, &o.MSP.TLSCACerts, true},
		{specs.KeyTLSIntermediates, &o.MSP.TLSIntermediates, false},
	} {
		if data[part.key] == "" && !part.must {
			continue
		}
		certs, err := pki.ParseCerts([]byte(data[part.key]))
		if err != nil {
			return nil, fmt.Errorf("read %s of organization %q: %w", part.key, name, err)
		}
		for _, c := range certs {
			*part.to = append(*part.to, pki.EncodeCerts(c))
		}
	}
	crls, err := splitCRLs([]byte(data[specs.KeyCRLs]))
	if err != nil {
		return nil, fmt.Errorf("read crls.pem of organization %q: %w", name, err)
	}
	o.MSP.CRLs = crls
	return o, nil
}

// signer is an administrator as it was read.
type signer struct {
	id    *identity.Identity
	until time.Time
}

// signerTime is how long an administrator is kept: a quiet network asks for it several times a minute.
const signerTime = 5 * time.Minute

// Admin reads an organisation's administrator, who signs for it; ErrMissing if there is none yet. It is kept for a few
// minutes, so a renewed one is used a little later than it could be.
func (n *Nodes) Admin(ctx context.Context, namespace string, org *Organization) (*identity.Identity, error) {
	key, now := certKey{namespace: namespace, org: org.Name, roots: sha256.Sum256(org.TLSRoots)}, n.now()
	n.mu.Lock()
	n.sweep(now)
	s := n.signers[key]
	n.mu.Unlock()
	if s != nil {
		return s.id, nil
	}
	id, err := n.readAdmin(ctx, namespace, org)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.signers[key] = &signer{id: id, until: now.Add(signerTime)}
	return id, nil
}

func (n *Nodes) readAdmin(ctx context.Context, namespace string, org *Organization) (*identity.Identity, error) {
	data, err := n.Secret(ctx, namespace, specs.AdminSecret(org.Name))
	if err != nil {
		return nil, err
	}
	key, err := pki.ParseKey(data[specs.KeyKey])
	if err != nil {
		return nil, fmt.Errorf("read administrator of organization %q: %w", org.Name, err)
	}
	return identity.New(org.MSPID, data[specs.KeyCert], key)
}

// NodeCertificates are the public halves of a node's identities.
type NodeCertificates struct {
	// Enrolment and TLS certificates in PEM, leaf only.
	Enrolment, TLS []byte
}

// NodeCertificates reads a node's certificates; ErrMissing if it has none yet.
func (n *Nodes) NodeCertificates(ctx context.Context, namespace, node string) (NodeCertificates, error) {
	data, err := n.Secret(ctx, namespace, node)
	if err != nil {
		return NodeCertificates{}, err
	}
	enrolment, err := pki.ParseCert(data[specs.KeyCert])
	if err != nil {
		return NodeCertificates{}, fmt.Errorf("read certificate of node %q: %w", node, err)
	}
	tls, err := pki.ParseCert(data[specs.KeyNodeTLSCert])
	if err != nil {
		return NodeCertificates{}, fmt.Errorf("read TLS certificate of node %q: %w", node, err)
	}
	return NodeCertificates{Enrolment: pki.EncodeCerts(enrolment), TLS: pki.EncodeCerts(tls)}, nil
}

// Secret reads a Secret; ErrMissing if there is none yet.
func (n *Nodes) Secret(ctx context.Context, namespace, name string) (map[string][]byte, error) {
	var s corev1.Secret
	if err := n.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &s); err != nil {
		return nil, fmt.Errorf("read Secret %q: %w", name, missing(err))
	}
	return s.Data, nil
}

// missing turns the API's not-found into ErrMissing.
func missing(err error) error {
	if apierrors.IsNotFound(err) {
		return ErrMissing
	}
	return err
}
