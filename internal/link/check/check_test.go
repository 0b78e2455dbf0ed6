package check

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/internal/pki"
)

const (
	outerName = "trade.banka1.bankb2"
	nodeName  = "peer0-bankb.trade"
)

func authority(t *testing.T, name string) *pki.Issuer {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ca, err := pki.NewRoot(pki.IssuerRequest{CommonName: name, Key: key, Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *pki.Issuer, name string) tls.Certificate {
	t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.IssueTLS(pki.TLSRequest{CommonName: name, SANs: []string{name}, Public: key.Public(), Lifetime: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func pool(ca *pki.Issuer) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Cert)
	return p
}

// partner is the other side: an end of the outer TLS that asks for certificates, behind it a node.
type partner struct {
	ours, theirs, nodes *pki.Issuer
	// outer and inner are the names in the certificates there.
	outer, inner string
	// clients is the CA of whom the partner lets in.
	clients *pki.Issuer
	// known are the inner names that lead somewhere.
	known string
	// speaks is what the node offers as its protocol, and answer what it answers calls with.
	speaks string
	answer http.HandlerFunc
}

func newPartner(t *testing.T) *partner {
	t.Helper()
	p := &partner{
		ours: authority(t, "ours"), theirs: authority(t, "theirs"), nodes: authority(t, "nodes"), outer: outerName, inner: nodeName, known: nodeName, speaks: "h2",
		answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			w.WriteHeader(http.StatusOK)
			w.Header().Set("Grpc-Status", "12")
		},
	}
	p.clients = p.ours
	return p
}

// serve listens until the test ends.
func (p *partner) serve(t *testing.T) string {
	t.Helper()
	outer := issue(t, p.theirs, p.outer)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{outer}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool(p.clients), MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	inner := issue(t, p.nodes, p.inner)
	var speaks []string
	if p.speaks != "" {
		speaks = []string{p.speaks}
	}
	config := &tls.Config{NextProtos: speaks, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName != p.known {
			_ = hello.Conn.Close() // as nginx does with names that lead nowhere
		}
		return &inner, nil
	}}
	server := &http.Server{Handler: p.answer, TLSConfig: config, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(tls.NewListener(l, config)) }()
	t.Cleanup(func() { _ = server.Close() })
	return l.Addr().String()
}

// states are what the steps came to, in a word each.
func states(results []Result) map[string]string {
	out := map[string]string{}
	for _, r := range results {
		out[r.Step] = r.State
	}
	return out
}

// until says that all steps before one are ok, that one failed, and those after it were not tried.
func until(failed string) map[string]string {
	out, state := map[string]string{}, OK
	for _, s := range Steps() {
		if s == failed {
			out[s], state = Failed, Skipped
			continue
		}
		out[s] = state
	}
	return out
}

func TestRun(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, p *partner)
		// endpoint replaces the partner's.
		endpoint string
		fails    string
		remedy   string
	}{
		"all is well":            {},
		"a host of nobody":       {endpoint: "nobody.invalid:443", fails: StepDNS, remedy: "spec.endpoints"},
		"a port of nobody":       {endpoint: "127.0.0.1:1", fails: StepTCP, remedy: "firewall"},
		"somebody else's CA":     {change: func(t *testing.T, p *partner) { p.theirs = authority(t, "theirs") }, fails: StepOuterTLS, remedy: "not the partner that was agreed"},
		"somebody else's name":   {change: func(_ *testing.T, p *partner) { p.outer = "trade.bankc3.bankb2" }, fails: StepOuterTLS, remedy: "another name"},
		"we are nobody there":    {change: func(t *testing.T, p *partner) { p.clients = authority(t, "ours") }, fails: StepAuthorisation, remedy: "does not take this site's certificate"},
		"a node not exported":    {change: func(_ *testing.T, p *partner) { p.known = "another" }, fails: StepInnerSNI, remedy: "does not export"},
		"a node of others":       {change: func(t *testing.T, p *partner) { p.nodes = authority(t, "nodes") }, fails: StepInnerCert, remedy: "TLS roots"},
		"a node of another name": {change: func(_ *testing.T, p *partner) { p.inner = "peer1-bankb.trade" }, fails: StepInnerCert, remedy: "TLS roots"},
		"no HTTP/2":              {change: func(_ *testing.T, p *partner) { p.speaks = "" }, fails: StepFabric, remedy: "no node of Fabric"},
		"no gRPC": {change: func(_ *testing.T, p *partner) {
			p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
		}, fails: StepFabric, remedy: "no node of Fabric"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPartner(t)
			checker := &Checker{Certificate: issue(t, p.ours, "trade.bankb2.banka1"), Partner: pool(p.theirs)}
			node := Node{Name: nodeName, Roots: string(pki.EncodeCerts(p.nodes.Cert))}
			if c.change != nil {
				c.change(t, p)
			}
			endpoint := c.endpoint
			if endpoint == "" {
				endpoint = p.serve(t)
			}
			got := checker.Run(t.Context(), Request{Endpoints: []string{endpoint}, Name: outerName, Nodes: []Node{node}})
			if diff := cmp.Diff(until(c.fails), states(got)); diff != "" {
				t.Errorf("steps (-want +got):\n%s\n%+v", diff, got)
			}
			for _, r := range got {
				if r.Step == c.fails && !strings.Contains(r.Remedy, c.remedy) {
					t.Errorf("the remedy is %q, want %q in it", r.Remedy, c.remedy)
				}
				if r.State == Failed && r.Step != c.fails {
					t.Errorf("%s failed: %s", r.Step, r.Detail)
				}
			}
		})
	}
}

// TestCut: a gateway that knows no such name closes the connection before any TLS.
func TestCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.ReadFull(c, make([]byte, 64))
			c.Close()
		}
	}()
	p := newPartner(t)
	got := (&Checker{Certificate: issue(t, p.ours, "a"), Partner: pool(p.theirs)}).Run(t.Context(), Request{Endpoints: []string{l.Addr().String()}, Name: outerName})
	last := got[2]
	if last.Step != StepOuterTLS || last.State != Failed || !strings.Contains(last.Remedy, "knows no "+outerName) {
		t.Errorf("got %+v", got)
	}
}

func TestServe(t *testing.T) {
	p := newPartner(t)
	cert := issue(t, p.ours, "trade.bankb2.banka1")
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	private, err := pki.EncodeKey(cert.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"tls.crt": pki.EncodeCerts(leaf), "tls.key": private, "partner-ca.crt": pki.EncodeCerts(p.theirs.Cert)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := json.Marshal(Request{Endpoints: []string{p.serve(t)}, Name: outerName})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Serve(context.WithoutCancel(t.Context()), bytes.NewReader(raw), &out, dir); err != nil {
		t.Fatal(err)
	}
	var got []Result
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != 4 || got[3].State != OK {
		t.Errorf("%v: %s", err, out.String())
	}
	for name, in := range map[string]string{"no JSON": "{", "nobody": "{}", "no name": `{"endpoints":["a:1"]}`, "too much": strings.Repeat(" ", maxRequest+1)} {
		if err := Serve(t.Context(), strings.NewReader(in), io.Discard, dir); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := Serve(t.Context(), bytes.NewReader(raw), io.Discard, t.TempDir()); err == nil {
		t.Error("it went without a key")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"endpoints":["a:1"],"name":"x","nodes":[{"name":"n","roots":"r"}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		if req, err := Parse(bytes.NewReader(in)); err == nil && (len(req.Endpoints) == 0 || req.Name == "") {
			t.Errorf("%q was taken: %+v", in, req)
		}
	})
}
