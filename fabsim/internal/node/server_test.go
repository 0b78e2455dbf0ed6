package node_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	ab "github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"heddle.dev/heddle/fabsim/internal/node"
	"heddle.dev/heddle/fabsim/internal/simtest"
)

// serverTLS writes and loads the TLS of a server.
func serverTLS(t *testing.T, org *simtest.Org, requireClient bool) *node.TLS {
	t.Helper()
	dir, leaf := t.TempDir(), org.TLS(t, "server")
	simtest.Write(t, dir, map[string][]byte{"crt": leaf.Cert, "key": leaf.Key, "ca": org.TLSRoot()})
	out, err := node.LoadTLS(node.TLSFiles{
		Enabled: true, Certificate: dir + "/crt", Key: dir + "/key", ClientRoots: []string{dir + "/ca"}, RequireClientCert: requireClient,
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// during serves in the background until the test ends.
func during(t *testing.T, serve func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("it did not end orderly: %v", err)
		}
	})
}

func TestServer(t *testing.T) {
	org, stranger := simtest.NewOrg(t, "org"), simtest.NewOrg(t, "stranger")
	mutual := serverTLS(t, org, true)
	for name, test := range map[string]struct {
		tls    *node.TLS
		client *simtest.Org
		want   codes.Code
	}{
		"nobody needs a certificate":     {tls: serverTLS(t, org, false), want: codes.OK},
		"any certificate may be shown":   {tls: serverTLS(t, org, false), client: stranger, want: codes.OK},
		"one's own where it is required": {tls: mutual, client: org, want: codes.OK},
		"none where one is required":     {tls: mutual, want: codes.Unavailable},
		"another's where it is required": {tls: mutual, client: stranger, want: codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := node.NewServer(t.Context(), node.ServerOptions{Address: "127.0.0.1:0", TLS: test.tls})
			if err != nil {
				t.Fatal(err)
			}
			during(t, server.Serve)
			dial := node.DialOptions{Roots: [][]byte{org.TLSRoot()}}
			if test.client != nil {
				certificate := test.client.TLS(t, "client").TLS(t)
				dial.Certificate = &certificate
			}
			conn, err := node.Dial(server.Addr(), dial)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, err = healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{})
			if got := status.Code(err); got != test.want {
				t.Fatalf("got %s (%v), want %s", got, err, test.want)
			}
			if test.want != codes.OK {
				return
			}
			stream, err := ab.NewAtomicBroadcastClient(conn).Broadcast(t.Context())
			if err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "orderer.AtomicBroadcast") {
				t.Errorf("a service that is not there must be named: %v", err)
			}
		})
	}
}

// TestClientRoots lets clients of another authority in while the server runs.
func TestClientRoots(t *testing.T) {
	org, stranger := simtest.NewOrg(t, "org"), simtest.NewOrg(t, "stranger")
	mutual := serverTLS(t, org, true)
	server, err := node.NewServer(t.Context(), node.ServerOptions{Address: "127.0.0.1:0", TLS: mutual})
	if err != nil {
		t.Fatal(err)
	}
	during(t, server.Serve)
	certificate := stranger.TLS(t, "client").TLS(t)
	check := func() error {
		conn, err := node.Dial(server.Addr(), node.DialOptions{Roots: [][]byte{org.TLSRoot()}, Certificate: &certificate})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{})
		return err
	}
	if check() == nil {
		t.Error("a stranger was let in")
	}
	mutual.AddClientRoots([][]byte{stranger.TLSRoot()})
	if err := check(); err != nil {
		t.Errorf("one whose authority was added was not let in: %v", err)
	}
}

func TestOperations(t *testing.T) {
	ops, err := node.NewOperations(t.Context(), node.OperationsOptions{Address: "127.0.0.1:0", Metrics: true, Kind: "orderer"})
	if err != nil {
		t.Fatal(err)
	}
	during(t, ops.Serve)
	get := func(path string) (int, string) {
		t.Helper()
		response, err := http.Get("http://" + ops.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
	code, body := get("/healthz")
	if code != http.StatusOK || !strings.Contains(body, `"status":"OK"`) {
		t.Errorf("health: %d %s", code, body)
	}
	if err := ops.Check("disk", func(context.Context) error { return errors.New("full") }); err != nil {
		t.Fatal(err)
	}
	if code, body = get("/healthz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "full") {
		t.Errorf("health when the disk is full: %d %s", code, body)
	}
	if _, body = get("/metrics"); !strings.Contains(body, `fabsim_info{kind="orderer",simulated="true"`) {
		t.Error("metrics do not say that the node is simulated")
	}
	var version map[string]string
	if _, body = get("/version"); json.Unmarshal([]byte(body), &version) != nil || version["Version"] != "v3.1.5" || version["CommitSHA"] != "simulated" {
		t.Errorf("version: %s", body)
	}
	if code, _ = get("/logspec"); code != http.StatusOK {
		t.Errorf("log levels: %d", code)
	}
}

// TestOperationsSecure keeps metrics, but not health, from who shows no
// certificate.
func TestOperationsSecure(t *testing.T) {
	org := simtest.NewOrg(t, "org")
	ops, err := node.NewOperations(t.Context(), node.OperationsOptions{Address: "127.0.0.1:0", TLS: serverTLS(t, org, false), Metrics: true})
	if err != nil {
		t.Fatal(err)
	}
	during(t, ops.Serve)
	for _, test := range []struct {
		path string
		own  bool
		want int
	}{
		{"/healthz", false, http.StatusOK},
		{"/version", false, http.StatusOK},
		{"/metrics", false, http.StatusUnauthorized},
		{"/metrics", true, http.StatusOK},
		{"/logspec", false, http.StatusUnauthorized},
	} {
		config := &tls.Config{InsecureSkipVerify: true} // whom the client trusts is not the question
		if test.own {
			config.Certificates = []tls.Certificate{org.TLS(t, "client").TLS(t)}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		response, err := client.Get("https://" + ops.Addr() + test.path)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		client.CloseIdleConnections()
		if response.StatusCode != test.want {
			t.Errorf("%s, with a certificate: %v: got %d, want %d", test.path, test.own, response.StatusCode, test.want)
		}
	}
}

func TestIdentity(t *testing.T) {
	org := simtest.NewOrg(t, "org")
	signer := org.Signer(t, "orderer", 0)
	envelope := simtest.Transaction(t, signer, "trade", []byte("x"))
	identity, err := signer.MSP.GetDefaultSigningIdentity()
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.GetPublicVersion().Verify(envelope.GetPayload(), envelope.GetSignature()); err != nil {
		t.Error(err)
	}
	if _, err := node.LoadIdentity(t.TempDir(), "orgMSP"); err == nil {
		t.Error("an empty folder was taken for an MSP")
	}
}
