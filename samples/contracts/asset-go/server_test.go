package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// TestMain turns the test binary into the contract itself, so that both ways of
// running it are tested from main on, in a process of their own.
func TestMain(m *testing.M) {
	if os.Getenv("ASSET_TEST_RUN_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func startProcess(t *testing.T, env []string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0], args...)
	command.Env = append([]string{"ASSET_TEST_RUN_MAIN=1"}, env...)
	command.Stderr = t.Output()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
}

// TestServiceWithMutualTLS runs the contract as a service and dials it like a peer.
func TestServiceWithMutualTLS(t *testing.T) {
	pki := newTestPKI(t)
	address := freeAddress(t)
	startProcess(t, []string{
		"CHAINCODE_SERVER_ADDRESS=" + address, "CHAINCODE_ID=asset:abc",
		"CHAINCODE_TLS_CERT=" + pki.certFile, "CHAINCODE_TLS_KEY=" + pki.keyFile, "CHAINCODE_TLS_CLIENT_CACERT=" + pki.certFile,
	})
	stream := dial(t, address, &tls.Config{RootCAs: pki.pool, Certificates: []tls.Certificate{pki.pair}, MinVersion: tls.VersionTLS12})
	p, err := register(stream)
	if err != nil {
		t.Fatal(err)
	}
	if p.name != "asset:abc" {
		t.Errorf("contract registered as %q", p.name)
	}
	if r := p.must(t, "Create", "a1", "alice", "7"); r.status != 200 {
		t.Errorf("create: %s", r.message)
	}
	anonymous := dial(t, address, &tls.Config{RootCAs: pki.pool, MinVersion: tls.VersionTLS12})
	if _, err := register(anonymous); err == nil {
		t.Error("a peer without a certificate was accepted")
	}
}

// TestLaunchedByPeer runs the contract as a peer launches it: it dials the peer.
func TestLaunchedByPeer(t *testing.T) {
	pki := newTestPKI(t)
	support := &chaincodeSupport{streams: make(chan peer.ChaincodeSupport_RegisterServer), done: make(chan struct{})}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pki.pair}, ClientCAs: pki.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})))
	peer.RegisterChaincodeSupportServer(server, support)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		close(support.done)
		server.Stop()
	})
	startProcess(t, []string{
		"CORE_CHAINCODE_ID_NAME=asset:abc", "CORE_PEER_TLS_ENABLED=true",
		"CORE_TLS_CLIENT_CERT_FILE=" + pki.certFile, "CORE_TLS_CLIENT_KEY_FILE=" + pki.keyFile, "CORE_PEER_TLS_ROOTCERT_FILE=" + pki.certFile,
	}, "-peer.address="+listener.Addr().String())
	select {
	case stream := <-support.streams:
		p, err := register(stream)
		if err != nil {
			t.Fatal(err)
		}
		if p.name != "asset:abc" {
			t.Errorf("contract registered as %q", p.name)
		}
		if r := p.must(t, "Create", "a1", "alice", "7"); r.status != 200 {
			t.Errorf("create: %s", r.message)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("contract did not dial the peer")
	}
}

func TestServerRefusesEnvironment(t *testing.T) {
	pki := newTestPKI(t)
	base := map[string]string{"CHAINCODE_SERVER_ADDRESS": "127.0.0.1:0", "CHAINCODE_ID": "asset:abc"}
	cases := map[string]map[string]string{
		"no id":            {"CHAINCODE_ID": ""},
		"key only":         {"CHAINCODE_TLS_KEY": pki.keyFile},
		"certificate only": {"CHAINCODE_TLS_CERT": pki.certFile},
		"client CA only":   {"CHAINCODE_TLS_CLIENT_CACERT": pki.certFile},
		"missing file":     {"CHAINCODE_TLS_CERT": pki.certFile + ".none", "CHAINCODE_TLS_KEY": pki.keyFile},
	}
	for name, env := range cases {
		t.Run(name, func(t *testing.T) {
			getenv := func(key string) string {
				if value, ok := env[key]; ok {
					return value
				}
				return base[key]
			}
			if err := run(getenv); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// chaincodeSupport hands each contract that dials in to the test.
type chaincodeSupport struct {
	peer.UnimplementedChaincodeSupportServer
	streams chan peer.ChaincodeSupport_RegisterServer
	done    chan struct{}
}

func (s *chaincodeSupport) Register(stream peer.ChaincodeSupport_RegisterServer) error {
	select {
	case s.streams <- stream:
	case <-s.done:
	}
	<-s.done
	return nil
}

type testPKI struct {
	certFile, keyFile string
	pair              tls.Certificate
	pool              *x509.CertPool
}

// newTestPKI makes one certificate that is its own CA and serves both ends.
func newTestPKI(t *testing.T) testPKI {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	p := testPKI{certFile: filepath.Join(folder, "cert.pem"), keyFile: filepath.Join(folder, "key.pem"), pool: x509.NewCertPool()}
	for name, block := range map[string]*pem.Block{p.certFile: {Type: "CERTIFICATE", Bytes: der}, p.keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if p.pair, err = tls.LoadX509KeyPair(p.certFile, p.keyFile); err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p.pool.AddCert(certificate)
	return p
}

func dial(t *testing.T, address string, config *tls.Config) peer.Chaincode_ConnectClient {
	t.Helper()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	stream, err := peer.NewChaincodeClient(connection).Connect(ctx, grpc.WaitForReady(config.Certificates != nil))
	if err != nil {
		return brokenStream{error: err}
	}
	return stream
}

// brokenStream carries a refused connection to where the test looks for it.
type brokenStream struct {
	grpc.ClientStream
	error error
}

func (s brokenStream) Send(*peer.ChaincodeMessage) error     { return s.error }
func (s brokenStream) Recv() (*peer.ChaincodeMessage, error) { return nil, s.error }

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
