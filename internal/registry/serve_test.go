package registry

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"heddle.dev/heddle/api/v1alpha1"
)

func TestParse(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"HEDDLE_DIR": "/d", "HEDDLE_LOG_LEVEL": "debug"}[name]
	}
	got, err := Parse([]string{"--address", ":1", "--tls-cert", "c"}, env, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Address: ":1", ProbeAddress: ":8080", Dir: "/d", Certificate: "c", Key: "/etc/heddle/registry/tls.key", LogLevel: slog.LevelDebug}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for name, args := range map[string][]string{"argument": {"x"}, "level": {"--log-level", "loud"}, "flag": {"--what"}} {
		if _, err := Parse(args, func(string) string { return "" }, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Parse([]string{"-h"}, env, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

// pair writes a certificate for 127.0.0.1 and gives what trusts it.
func pair(t *testing.T, dir string) (Config, *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Certificate: dir + "/tls.crt", Key: dir + "/tls.key"}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	err = errors.Join(os.WriteFile(cfg.Certificate, certificate, 0o600),
		os.WriteFile(cfg.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return cfg, pool
}

func TestServe(t *testing.T) {
	cfg, trust := pair(t, t.TempDir())
	cfg.Dir, cfg.Builds = t.TempDir(), &fakeBuilds{all: map[string]*v1alpha1.ChaincodeBuild{}}
	defer quiet(logr.Discard())
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, cfg, front, back) }()
	get := func(url string, config *tls.Config) (int, string, error) {
		c := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		res, err := c.Get(url)
		if err != nil {
			return 0, "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return res.StatusCode, string(body), err
	}
	if status, _, err := get("https://"+front.Addr().String()+"/v2/", &tls.Config{RootCAs: trust}); status != 401 || err != nil {
		t.Errorf("status %d of /v2/ (%v), want 401", status, err)
	}
	if _, _, err := get("https://"+front.Addr().String()+"/v2/", &tls.Config{RootCAs: trust, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
	if status, body, err := get("http://"+back.Addr().String()+"/healthz", nil); status != 200 || err != nil {
		t.Errorf("status %d of /healthz (%v): %s", status, err, body)
	}
	if status, body, err := get("http://"+back.Addr().String()+"/metrics", nil); status != 200 || err != nil || !strings.Contains(body, "heddle_registry_refused_total{of=\"v2\"} 1") {
		t.Errorf("status %d of /metrics (%v): %s", status, err, body)
	}
	if status, _, err := get("http://"+back.Addr().String()+"/v2/", nil); status != 404 || err != nil {
		t.Errorf("status %d of /v2/ without TLS (%v)", status, err)
	}
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if status, _, err := get("http://"+back.Addr().String()+"/healthz", nil); status != 503 || err != nil {
		t.Errorf("status %d of /healthz without a folder (%v)", status, err)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("end: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestRunFails(t *testing.T) {
	cfg, _ := pair(t, t.TempDir())
	cfg.Dir, cfg.Address, cfg.ProbeAddress, cfg.Builds = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0", &fakeBuilds{}
	defer quiet(logr.Discard())
	for name, change := range map[string]func(*Config){
		"address":       func(c *Config) { c.Address = "nowhere" },
		"probe address": func(c *Config) { c.ProbeAddress = "nowhere" },
		"certificate":   func(c *Config) { c.Certificate = "/nowhere" },
		"folder":        func(c *Config) { c.Dir = "" },
	} {
		c := cfg
		change(&c)
		if err := Run(t.Context(), c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
