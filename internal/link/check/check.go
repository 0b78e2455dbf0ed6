// Package check goes the way from a link's pod to a partner's nodes step by step and says at each whether it can be gone:
// the names of the partner's gateway, a connection, the outer TLS, the partner's consent, the node behind the inner SNI,
// its certificate, and whether Fabric answers there. It runs inside the link's pod, so with the keys, the name servers
// and under the network policies of what it checks.
//
// It asks and changes nothing. What the command line adds about objects of Kubernetes is in internal/cli.
package check

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Names of the steps.
const (
	StepDNS           = "DNS"
	StepTCP           = "TCP"
	StepOuterTLS      = "outer TLS"
	StepAuthorisation = "authorisation"
	StepInnerSNI      = "inner SNI"
	StepInnerCert     = "inner certificate"
	StepFabric        = "Fabric handshake"
)

// Steps are all of them in their order.
func Steps() []string {
	return []string{StepDNS, StepTCP, StepOuterTLS, StepAuthorisation, StepInnerSNI, StepInnerCert, StepFabric}
}

const (
	// maxRequest bounds a question.
	maxRequest = 1 << 20
	// patience bounds each step.
	patience = 5 * time.Second
	// silence is how long a gateway that takes us says nothing: it waits for us. One that refuses us closes at once.
	silence = 1500 * time.Millisecond
)

// Request is what is to be checked.
type Request struct {
	// Endpoints of the partner's gateway, host:port.
	Endpoints []string `json:"endpoints"`
	// Name is the outer SNI of the network at the partner.
	Name string `json:"name"`
	// Nodes of the partner to go to.
	Nodes []Node `json:"nodes,omitempty"`
}

// Node is a node of the partner.
type Node struct {
	// Name is its inner SNI, such as peer0-bankb.trade.
	Name string `json:"name"`
	// Roots in PEM verify its certificate.
	Roots string `json:"roots"`
}

// Result is what came of one step.
type Result struct {
	// Step is one of the constants above.
	Step string `json:"step"`
	// Subject is the endpoint or node that was tried.
	Subject string `json:"subject"`
	// State is "ok", "failed" or "skipped".
	State string `json:"state"`
	// Detail says what was seen.
	Detail string `json:"detail,omitempty"`
	// Remedy says what to do about it.
	Remedy string `json:"remedy,omitempty"`
}

// States of a step.
const (
	OK      = "ok"
	Failed  = "failed"
	Skipped = "skipped"
)

// Serve reads a Request from in and writes a list of Results to out. keys is the folder with the link's key and what
// verifies the partner.
func Serve(ctx context.Context, in io.Reader, out io.Writer, keys string) error {
	req, err := Parse(in)
	if err != nil {
		return err
	}
	c, err := load(keys)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(c.Run(ctx, req)); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// Parse reads a Request.
func Parse(in io.Reader) (Request, error) {
	raw, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	if len(raw) > maxRequest {
		return Request{}, fmt.Errorf("read request: it is larger than %d bytes", maxRequest)
	}
	var req Request
	if err := json.Unmarshal(raw, &req); err != nil {
		return Request{}, fmt.Errorf("read request: %w", err)
	}
	if len(req.Endpoints) == 0 || req.Name == "" {
		return Request{}, errors.New("read request: it names no endpoint or no outer SNI")
	}
	return req, nil
}

// Checker goes the way.
type Checker struct {
	// Certificate that this site shows.
	Certificate tls.Certificate
	// Partner verifies the partner's gateway.
	Partner *x509.CertPool
	// Resolver looks names up; the standard one unless given.
	Resolver *net.Resolver
}

func load(folder string) (*Checker, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	if err != nil {
		return nil, fmt.Errorf("read the link's key: %w", err)
	}
	ca, err := os.ReadFile(filepath.Join(folder, "partner-ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the partner's CA: %w", err)
	}
	c := &Checker{Certificate: certificate, Partner: x509.NewCertPool()}
	if !c.Partner.AppendCertsFromPEM(ca) {
		return nil, errors.New("read the partner's CA: there is no certificate")
	}
	return c, nil
}

// run collects the results of one endpoint or node.
type run struct{ results []Result }

func (r *run) ok(step, subject, format string, args ...any) {
	r.results = append(r.results, Result{Step: step, Subject: subject, State: OK, Detail: fmt.Sprintf(format, args...)})
}

func (r *run) failed(step, subject, remedy string, err error) {
	r.results = append(r.results, Result{Step: step, Subject: subject, State: Failed, Detail: err.Error(), Remedy: remedy})
}

// skip says of all steps after one that they were not tried.
func (r *run) skip(after, until, subject string) {
	on := false
	for _, s := range Steps() {
		if on {
			r.results = append(r.results, Result{Step: s, Subject: subject, State: Skipped})
		}
		on = (on || s == after) && s != until
	}
}

// Run goes to every endpoint, and from the first that takes us to every node.
func (c *Checker) Run(ctx context.Context, req Request) []Result {
	r := &run{}
	way := ""
	for _, endpoint := range req.Endpoints {
		if c.endpoint(ctx, r, endpoint, req.Name) && way == "" {
			way = endpoint
		}
	}
	for _, node := range req.Nodes {
		if way == "" {
			r.skip(StepAuthorisation, "", node.Name)
			continue
		}
		c.node(ctx, r, way, req.Name, node)
	}
	return r.results
}

// endpoint goes as far as the partner's consent.
func (c *Checker) endpoint(ctx context.Context, r *run, endpoint, name string) bool {
	fail := func(step, remedy string, err error) bool {
		r.failed(step, endpoint, remedy, err)
		r.skip(step, StepAuthorisation, endpoint)
		return false
	}
	addresses, err := c.lookUp(ctx, endpoint)
	if err != nil {
		return fail(StepDNS, "check the host in the SiteLink's spec.endpoints, and that the cluster's DNS knows it", err)
	}
	r.ok(StepDNS, endpoint, "%s", addresses)
	raw, err := dial(ctx, endpoint)
	if err != nil {
		return fail(StepTCP, "ask the partner whether its gateway runs and its firewall lets this one port in; check that yours lets it out", err)
	}
	defer raw.Close()
	r.ok(StepTCP, endpoint, "%s answers", raw.RemoteAddr())
	outer, err := c.outer(ctx, raw, name)
	if err != nil {
		return fail(StepOuterTLS, outerRemedy(err, name), err)
	}
	r.ok(StepOuterTLS, endpoint, "%s, until %s", name, outer.ConnectionState().PeerCertificates[0].NotAfter.UTC().Format(time.DateOnly))
	if err := consent(outer); err != nil {
		return fail(StepAuthorisation, "the partner does not take this site's certificate: its SiteLink has to have the CA of this site's gateway, and must not be revoked", err)
	}
	r.ok(StepAuthorisation, endpoint, "the partner takes this site's certificate")
	return true
}

func (c *Checker) lookUp(ctx context.Context, endpoint string) ([]string, error) {
	host, _, err := net.SplitHostPort(endpoint)
	if err != nil {
		return nil, err
	}
	resolver := c.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return resolver.LookupHost(ctx, host)
}

func dial(ctx context.Context, endpoint string) (net.Conn, error) {
	return (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", endpoint)
}

func (c *Checker) outer(ctx context.Context, raw net.Conn, name string) (*tls.Conn, error) {
	conn := tls.Client(raw, &tls.Config{
		RootCAs: c.Partner, ServerName: name, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c.Certificate},
	})
	return conn, handshake(ctx, conn)
}

func handshake(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return conn.HandshakeContext(ctx)
}

// outerRemedy tells apart what goes wrong between two gateways.
func outerRemedy(err error, name string) string {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "who answers there is not the partner that was agreed: compare the CA in spec.caCertificates with the partner's Site"
	case errors.As(err, &host):
		return fmt.Sprintf("the partner's certificate bears another name than %s: check the siteIDs of both sides", name)
	case errors.As(err, &invalid):
		return "check the clocks of both sites: the partner's certificate is out of its time"
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), isReset(err):
		return fmt.Sprintf("the partner's gateway knows no %s: it has no link for this network yet, or its side is down or revoked", name)
	}
	return "something between the sites changes or stops TLS: only plain TCP must stand between the gateways"
}

// consent waits for the partner to refuse: in TLS 1.3 a client hears that only after its own handshake.
func consent(conn *tls.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return nil
	}
	if err == nil {
		return errors.New("the partner speaks first, which a link does not")
	}
	return fmt.Errorf("the partner closes the connection: %w", err)
}

// node goes through the partner's link to one node.
func (c *Checker) node(ctx context.Context, r *run, endpoint, name string, node Node) {
	fail := func(step, remedy string, err error) {
		r.failed(step, node.Name, remedy, err)
		r.skip(step, "", node.Name)
	}
	raw, err := dial(ctx, endpoint)
	if err != nil {
		fail(StepInnerSNI, "the partner's gateway answered a moment ago: try again", err)
		return
	}
	defer raw.Close()
	outer, err := c.outer(ctx, raw, name)
	if err != nil {
		fail(StepInnerSNI, "the partner's gateway answered a moment ago: try again", err)
		return
	}
	inner := tls.Client(outer, &tls.Config{
		ServerName: node.Name, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"},
		InsecureSkipVerify: true, //nolint:gosec // the next step verifies, so that the two can be told apart
	})
	if err := handshake(ctx, inner); err != nil {
		fail(StepInnerSNI, "the partner does not export the node to this site, or the node does not run: ask it to look at 'heddle node list'", err)
		return
	}
	r.ok(StepInnerSNI, node.Name, "it answers")
	leaf := inner.ConnectionState().PeerCertificates[0]
	if err := verify(inner.ConnectionState().PeerCertificates, node); err != nil {
		fail(StepInnerCert, "the node is not one of the organization that was agreed: compare the TLS roots in the NodeImport with the organization's", err)
		return
	}
	sum := sha256.Sum256(leaf.Raw)
	r.ok(StepInnerCert, node.Name, "SHA-256 %s", hex.EncodeToString(sum[:]))
	answer, err := greet(ctx, inner, node.Name)
	if err != nil {
		fail(StepFabric, "what answers is no node of Fabric: the partner has to look at the node's log", err)
		return
	}
	r.ok(StepFabric, node.Name, "%s", answer)
}

func verify(chain []*x509.Certificate, node Node) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(node.Roots)) {
		return errors.New("no TLS roots of the node's organization are known")
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: node.Name, Roots: roots, Intermediates: between})
	return err
}
